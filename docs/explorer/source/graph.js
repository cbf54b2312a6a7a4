// The story as a graph: nodes and who takes them, boxes, and the steps of the play.

/** A number of the story: JSON has no nan and no infinity, so these come as words. */
export function numberOf(x) {
  if (typeof x === "number") return x;
  return { nan: NaN, inf: Infinity, "-inf": -Infinity }[x] ?? NaN;
}

/** A number in few digits, with a true minus sign. */
export function brief(x, digits = 3) {
  const value = numberOf(x);
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  let text;
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) {
    text = value.toExponential(Math.max(0, digits - 2)).replace("e+", "e").replace(/\.0+e/, "e");
  } else {
    text = String(Number(value.toPrecision(digits)));
  }
  return text.replace(/-/g, "−");
}

export function makeGraph(story) {
  const nodes = story.nodes.map((told, id) => ({ ...told, id, consumers: [], arrivals: [] }));
  const boxes = story.boxes.map((told, id) => ({ ...told, id, boxes: [], ops: [] }));
  for (const box of boxes) {
    if (box.in >= 0) boxes[box.in].boxes.push(box.id);
  }
  for (const node of nodes) {
    if (node.box === undefined) node.box = -1;
    else for (let b = node.box; b >= 0; b = boxes[b].in) boxes[b].ops.push(node.id);
    node.operands = node.in.filter((x) => typeof x === "number");
    for (const x of new Set(node.operands)) nodes[x].consumers.push(node.id);
  }
  const ops = nodes.filter((node) => node.op).map((node) => node.id);
  for (const node of nodes) node.hasGrad = node.grad !== null && typeof node.grad === "object";

  // First every op forward, in the order of the tape; then the seed, and every op that
  // a gradient passes, backward.
  const steps = ops.map((id) => ({ way: "forward", id }));
  const output = story.outputs[0];
  if (story.backward && nodes[output].hasGrad) {
    if (nodes[output].op) {
      steps.push({ way: "seed", id: output });
      for (const id of [...ops].reverse()) {
        const node = nodes[id];
        const passes = node.hasGrad && node.operands.some((x) => nodes[x].hasGrad);
        if (passes) steps.push({ way: "backward", id });
      }
    }
  }
  const forwardAt = new Map();
  const backwardAt = new Map();
  let seedAt = Infinity;
  steps.forEach((step, i) => {
    if (step.way === "forward") forwardAt.set(step.id, i + 1);
    else if (step.way === "seed") seedAt = i + 1;
    else backwardAt.set(step.id, i + 1);
  });
  for (const node of nodes) {
    // A leaf is there from the start.
    node.valueAt = node.op ? forwardAt.get(node.id) : 0;
    node.backwardAt = backwardAt.get(node.id) ?? Infinity;
    if (!node.hasGrad) continue;
    for (const [from, position, share] of node.from ?? []) {
      const at = backwardAt.get(from);
      if (at !== undefined) node.arrivals.push({ from, position, share, at });
    }
    node.arrivals.sort((a, b) => a.at - b.at || a.position - b.position);
    if (node.id === output) node.arrivals.unshift({ from: -1, position: 0, share: null, at: seedAt });
    // A gradient that no arrival explains was left by an earlier backward.
    node.gradAt = node.arrivals.length ? node.arrivals[0].at : story.backward ? steps.length : 0;
    node.wholeAt = node.arrivals.length ? node.arrivals.at(-1).at : node.gradAt;
  }

  const graph = { story, nodes, boxes, ops, steps, output, scalar: story.scalar };
  graph.turned = turnedLeaves(graph);
  for (const node of nodes) node.asChip = isChip(graph, node);
  for (const box of boxes) describe(graph, box);
  return graph;
}

/** What a box tells of itself while it is folded. */
function describe(graph, box) {
  box.title = box.name;
  const inside = box.ops.map((id) => graph.nodes[id]);
  const leaves = new Set(inside.flatMap((node) => node.operands).filter((x) => graph.nodes[x].kind === "parameter" || (graph.nodes[x].kind === "input" && graph.nodes[x].asChip)));
  box.parameters = [...leaves];
  box.backwardOps = inside.filter((node) => node.backwardAt < Infinity).length || 1;
  const words = new Map();
  for (const node of [...inside, ...box.parameters.map((id) => graph.nodes[id])]) {
    for (const badge of node.badges ?? []) {
      const word = badge.word.split(" ")[0] === "dead" ? "dead" : badge.word;
      if (!words.has(word)) words.set(word, { ...badge, word, why: `${node.name}: ${badge.why}` });
    }
  }
  box.badges = [...words.values()];
}

/** What was only moved into another shape stands with its leaf: Wᵀ with W. */
function turnedLeaves(graph) {
  const turned = new Map();
  if (graph.scalar) return turned;
  const moves = new Set(["transpose", "reshape", "broadcast_to", "astype", "swapaxes", "moveaxis"]);
  for (const node of graph.nodes) {
    if (!node.op || !moves.has(node.op) || node.operands.length !== 1) continue;
    if (graph.story.outputs.includes(node.id)) continue;
    const leaf = graph.nodes[node.operands[0]];
    if (!leaf.op && leaf.kind !== "more" && leaf.kind !== "data") turned.set(node.id, leaf.id);
  }
  return turned;
}

/** Parameters and constants stand on the card of the op that takes them. */
function isChip(graph, node) {
  if (graph.scalar || node.kind === "more" || !node.consumers.length) return false;
  if (graph.story.outputs.includes(node.id)) return false;
  if (graph.turned.has(node.id)) return true;
  if (node.op) return false;
  if (node.kind === "data") return false;
  if (node.kind !== "input") return true;
  // The user's own leaf may be a weight, or where the data enter: it is a weight when
  // something else on the same card is data.
  return node.consumers.every((id) =>
    graph.nodes[id].operands.some((x) => x !== node.id && (graph.nodes[x].op || graph.nodes[x].kind === "data")),
  );
}

/** All nodes from which one is computed, or that are computed from it. */
export function reach(graph, starts, way) {
  const seen = new Set(starts);
  const stack = [...starts];
  while (stack.length) {
    const node = graph.nodes[stack.pop()];
    for (const next of way === "down" ? node.consumers : node.operands) {
      if (!seen.has(next)) {
        seen.add(next);
        stack.push(next);
      }
    }
  }
  return seen;
}

/** How much of a node is there at a step: its value, and how many shares arrived. */
export function stateAt(node, step) {
  const arrived = node.hasGrad ? node.arrivals.filter((a) => a.at <= step).length : 0;
  return {
    value: node.valueAt <= step,
    arrived,
    grad: node.hasGrad && node.gradAt <= step,
    whole: node.hasGrad && node.wholeAt <= step,
  };
}

/** The name on a card: inside a layer the layer's own name need not be repeated. */
export function shortName(node) {
  const dot = node.name.lastIndexOf(".");
  const plain = /^[\w.[\]ᵀ]+$/u.test(node.name);
  return plain && dot > 0 && dot < node.name.length - 1 ? node.name.slice(dot + 1) : node.name;
}

export function shapeText(node) {
  return node.shape ? node.shape.join("×") : "";
}

/** dZ2 for a letter; for a word a thin space keeps the d apart. */
export function gradientText(node) {
  const name = shortName(node);
  return /^\p{L}{3}/u.test(name) ? `d\u2009${name}` : `d${name}`;
}

/** A formula as plain text, names in their slots. */
export function formulaText(graph, node) {
  if (node.formula === undefined) return "";
  const text = graph.story.formulas[node.formula][0];
  return text.replace(/[\uA000-\uA03F]/g, (c) => slotName(graph, node, c.charCodeAt(0) - 0xa000));
}

export function slotName(graph, node, slot) {
  if (slot === 0) return shortName(node);
  if (slot === 1) return gradientText(node);
  const x = node.in[slot - 2];
  if (x === undefined) return "?";
  return typeof x === "number" ? shortName(graph.nodes[x]) : x.number;
}
