// What is seen of the graph: boxes that are open or folded, the cards and the lines
// between them.

const FEW = 26; // cards that are opened without being asked for

export const nodeKey = (id) => `n${id}`;
export const boxKey = (id) => `b${id}`;

/** Boxes to begin with: what was asked for, or open while the page stays easy to read. */
export function firstOpen(graph, fold, depth) {
  const open = new Set();
  if (fold !== null || depth !== null) {
    const layersAround = (box) => {
      let count = 0;
      for (let b = box.in; b >= 0; b = graph.boxes[b].in) count += graph.boxes[b].kind === "layer";
      return count;
    };
    for (const box of graph.boxes) {
      const shallow = box.kind !== "layer" || depth === null || layersAround(box) < depth;
      if (shallow && (fold === false || box.kind !== "run")) open.add(box.id);
    }
    return open;
  }
  const direct = new Map([[-1, 0]]);
  for (const box of graph.boxes) direct.set(box.id, 0);
  for (const id of graph.ops) {
    const node = graph.nodes[id];
    if (!node.asChip) direct.set(node.box, direct.get(node.box) + 1);
  }
  for (const box of graph.boxes) direct.set(box.in, direct.get(box.in) + 1);
  let shown = direct.get(-1);
  let level = graph.boxes.filter((box) => box.in < 0);
  while (level.length) {
    const next = [];
    for (const box of level) {
      const more = direct.get(box.id) - 1;
      const alone = level.length === 1 && shown === 1;
      if (box.kind === "run" && !alone) continue;
      if (shown + more > FEW && !(alone && direct.get(box.id) <= 60)) continue;
      shown += more;
      open.add(box.id);
      next.push(...box.boxes.map((id) => graph.boxes[id]));
    }
    level = next;
  }
  return open;
}

/** Cards and lines, given which boxes are open. */
export function viewOf(graph, open) {
  const { nodes, boxes } = graph;
  const homeOf = leafHomes(graph);
  // Where each node is seen: its own card, a chip on a card, or a folded box.
  const seenAt = new Map();
  const cards = new Map();
  const outermostFolded = (box) => {
    let found = -1;
    for (let b = box; b >= 0; b = boxes[b].in) if (!open.has(b)) found = b;
    return found;
  };
  for (const box of boxes) {
    if (outermostFolded(box.id) === box.id) {
      cards.set(boxKey(box.id), { key: boxKey(box.id), box, parent: box.in, chips: [] });
    }
  }
  for (const node of nodes) {
    if (node.asChip) continue;
    const home = homeOf(node);
    const folded = outermostFolded(home);
    if (folded >= 0) {
      seenAt.set(node.id, boxKey(folded));
    } else {
      const key = nodeKey(node.id);
      cards.set(key, { key, node, parent: home, chips: [] });
      seenAt.set(node.id, key);
    }
  }
  // Chips: from each op to the leaves behind what it takes.
  for (const node of nodes) {
    if (node.asChip || !node.op) continue;
    const card = cards.get(nodeKey(node.id));
    for (const x of node.operands) {
      if (!nodes[x].asChip) continue;
      const leaf = graph.turned.get(x) ?? x;
      const key = seenAt.get(node.id);
      for (const id of [x, leaf]) if (!seenAt.has(id)) seenAt.set(id, key);
      if (card && !card.chips.some((chip) => chip.id === leaf)) {
        card.chips.push({ id: leaf, also: x === leaf ? null : x });
      }
    }
  }
  const lines = new Map();
  for (const node of nodes) {
    if (node.asChip) continue;
    const to = seenAt.get(node.id);
    node.operands.forEach((x, position) => {
      if (nodes[x].asChip) return;
      const from = seenAt.get(x);
      if (from === to) return;
      const single = from === nodeKey(x) && to === nodeKey(node.id);
      const key = single ? `${from}>${to}>${position}` : `${from}>${to}`;
      if (!lines.has(key)) lines.set(key, { key, from, to, uses: [] });
      lines.get(key).uses.push({ from: x, to: node.id, position });
    });
  }
  const opened = boxes.filter((box) => open.has(box.id) && outermostFolded(box.id) < 0);
  return { cards, lines: [...lines.values()], opened, seenAt };
}

/** A leaf lives in the innermost box that holds all who take it. */
function leafHomes(graph) {
  const { nodes, boxes } = graph;
  const chain = (box) => {
    const path = [];
    for (let b = box; b >= 0; b = boxes[b].in) path.unshift(b);
    return path;
  };
  return (node) => {
    if (node.op || !node.consumers.length || node.kind === "data" || node.kind === "more") {
      return node.op ? node.box : -1;
    }
    let common = chain(nodes[node.consumers[0]].box);
    for (const id of node.consumers.slice(1)) {
      const path = chain(nodes[id].box);
      let same = 0;
      while (same < Math.min(common.length, path.length) && common[same] === path[same]) same += 1;
      common = common.slice(0, same);
    }
    return common.at(-1) ?? -1;
  };
}
