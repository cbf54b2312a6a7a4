// Places for cards and ways for lines, by ELK: its program runs in a worker, so the page
// stays awake; where workers are forbidden it runs here.

let engine = null;

function startEngine() {
  // The loader started the worker already, while this program was still unpacked.
  const { worker } = window.explorerEngine;
  engine ??= worker ? overWorker(worker) : later(inPage());
  return engine;
}

function overWorker(worker) {
  let count = 0;
  const waiting = new Map();
  const settle = (id, act) => {
    const pair = waiting.get(id);
    waiting.delete(id);
    if (pair) act(pair);
  };
  worker.onmessage = ({ data }) =>
    settle(data.id, ([resolve, reject]) => (data.error ? reject(data.error) : resolve(data.data)));
  const ask = (message) =>
    new Promise((resolve, reject) => {
      count += 1;
      waiting.set(count, [resolve, reject]);
      worker.postMessage({ ...message, id: count });
    });
  let failed = null;
  worker.onerror = (event) => {
    // A worker that may not start says so here: go on without it.
    event.preventDefault();
    failed = later(inPage());
    for (const [, reject] of waiting.values()) reject(new Error("worker"));
    waiting.clear();
  };
  const ready = ask({ cmd: "register", algorithms: ["layered"] });
  ready.catch(() => {}); // told where a layout waits for it
  return async (graph) => {
    try {
      // Both are on their way: the worker takes them in order.
      const laid = ask({ cmd: "layout", graph, layoutOptions: {}, options: {} });
      return (await Promise.all([ready, laid]))[1];
    } catch (error) {
      if (failed) return failed(graph);
      throw error;
    }
  };
}

const later = (engineToBe) => async (graph) => (await engineToBe)(graph);

/** The engine without a worker: its program runs here, and keeps the page waiting. */
async function inPage() {
  const text = await window.explorerEngine.text.text();
  window.exports = {};
  window.module = { exports: window.exports };
  const script = document.createElement("script");
  script.textContent = text;
  document.body.append(script);
  const { Worker: Stand } = window.module.exports;
  return overWorker(new Stand());
}

export function warmUp() {
  startEngine();
}

/** The sizes of cards are known before; returns boxes and lines with their places. */
export async function layoutOf(graph, view, sizes, { width, height }) {
  const aspect = Math.max(0.6, Math.min(2.6, width / Math.max(1, height)));
  const down = graph.story.direction === "TB";
  const sides = down ? ["NORTH", "SOUTH"] : ["WEST", "EAST"];
  const common = {
    "elk.algorithm": "layered",
    "elk.direction": down ? "DOWN" : "RIGHT",
    "elk.edgeRouting": "ORTHOGONAL",
    "elk.layered.spacing.nodeNodeBetweenLayers": graph.scalar ? "34" : "44",
    "elk.spacing.nodeNode": "26",
    "elk.spacing.edgeNode": "18",
    "elk.spacing.edgeEdge": "12",
    "elk.layered.spacing.edgeNodeBetweenLayers": "18",
    "elk.layered.spacing.edgeEdgeBetweenLayers": "12",
    "elk.layered.nodePlacement.strategy": "BRANDES_KOEPF",
    "elk.layered.considerModelOrder.strategy": "NODES_AND_EDGES",
    "elk.layered.thoroughness": "3",
    "elk.layered.layering.strategy": "LONGEST_PATH",
    // Nearly a thread: there is little to disentangle, and the first picture is not late.
    ...(view.lines.length <= view.cards.size + 6 && {
      "elk.layered.thoroughness": "1",
      "elk.layered.crossingMinimization.greedySwitch.type": "OFF",
    }),
  };
  const wrapped = {
    "elk.layered.wrapping.strategy": "MULTI_EDGE",
    "elk.aspectRatio": String(down ? 1 / aspect : aspect),
    "elk.layered.wrapping.correctionFactor": "1.1",
    "elk.layered.wrapping.additionalEdgeSpacing": "14",
  };
  const wraps = (box) => isChain(graph, view, box, (1.5 * width) / (graph.scalar ? 200 : 256));
  const root = { id: "root", layoutOptions: { ...common, ...(wraps(-1) ? wrapped : {}) }, children: [], edges: [] };
  const places = new Map([[-1, root]]);
  for (const box of view.opened) {
    const place = {
      id: `b${box.id}`,
      children: [],
      edges: [],
      ports: [],
      layoutOptions: {
        ...common,
        "elk.padding": "[top=40,left=20,bottom=20,right=20]",
        "elk.portConstraints": "FIXED_SIDE",
        "elk.spacing.portPort": "14",
        "elk.nodeSize.constraints": "MINIMUM_SIZE PORTS",
      },
    };
    if (wraps(box.id)) Object.assign(place.layoutOptions, wrapped);
    places.set(box.id, place);
  }
  for (const box of view.opened) places.get(box.in).children.push(places.get(box.id));
  for (const card of view.cards.values()) {
    places.get(card.parent).children.push({ id: card.key, ...sizes.get(card.key) });
  }
  for (const place of places.values()) place.children.sort((a, b) => rank(view, a) - rank(view, b));

  const segments = new Map();
  const known = new Set();
  const port = (box, side, source) => {
    const id = `b${box}:${side}:${source}`;
    if (!known.has(id)) {
      known.add(id);
      places.get(box).ports.push({
        id,
        width: 0,
        height: 0,
        layoutOptions: { "elk.port.side": side },
      });
    }
    return id;
  };
  const link = (container, from, to, line) => {
    const key = `${container}|${from}|${to}|${graph.scalar ? line.key : ""}`;
    if (!segments.has(key)) {
      const edge = { id: `e${segments.size}`, sources: [from], targets: [to], lines: [] };
      segments.set(key, edge);
      places.get(container).edges.push(edge);
    }
    segments.get(key).lines.push(line.key);
    return segments.get(key);
  };
  const path = (box) => {
    const found = [];
    for (let b = box; b >= 0; b = graph.boxes[b].in) found.unshift(b);
    return [-1, ...found];
  };
  for (const line of view.lines) {
    const up = path(view.cards.get(line.from).parent);
    const into = path(view.cards.get(line.to).parent);
    let same = 0;
    while (same < Math.min(up.length, into.length) && up[same] === into[same]) same += 1;
    let at = line.from;
    for (let k = up.length - 1; k >= same; k -= 1) {
      const next = port(up[k], sides[1], line.from);
      link(up[k], at, next, line);
      at = next;
    }
    const ends = [];
    for (let k = same; k < into.length; k += 1) ends.push([into[k], port(into[k], sides[0], line.from)]);
    let container = up[same - 1];
    for (const [box, entry] of ends) {
      link(container, at, entry, line);
      at = entry;
      container = box;
    }
    const last = link(container, at, line.to, line);
    last.last = true;
    if (line.label) last.labels = [{ text: line.label, ...line.labelSize, id: `l${last.id}`, layoutOptions: { "elk.edgeLabels.inline": "false" } }];
  }
  const extra = new Map([...segments.values()].map((edge) => [edge.id, { lines: edge.lines, last: edge.last }]));
  const stripped = JSON.parse(JSON.stringify(root, (k, v) => (k === "lines" || k === "last" ? undefined : v)));
  const laid = await startEngine()(stripped);
  return placed(laid, extra);
}

function within(graph, box, outer) {
  let b = box;
  while (b >= 0 && b !== outer) b = graph.boxes[b].in;
  return b === outer;
}

/** Whether the cards in a box are one long thread, which is wrapped: more than so many. */
function isChain(graph, view, box, many) {
  const depth = new Map();
  const into = new Map();
  for (const line of view.lines) into.set(line.to, [...(into.get(line.to) ?? []), line.from]);
  const first = (card) => card.node?.id ?? card.box.ops[0];
  const inside = [...view.cards.values()].filter((card) => box < 0 || within(graph, card.parent, box));
  for (const card of inside.sort((a, b) => first(a) - first(b))) {
    const before = (into.get(card.key) ?? []).map((key) => depth.get(key) ?? 0);
    depth.set(card.key, 1 + Math.max(0, ...before));
  }
  const longest = Math.max(1, ...depth.values());
  return longest > many && inside.length < 3 * longest;
}

function rank(view, child) {
  if (child.id.startsWith("n")) return Number(child.id.slice(1));
  const box = child.id.startsWith("b") ? Number(child.id.slice(1)) : 0;
  const card = view.cards.get(child.id);
  const ops = (card ? card.box : view.opened.find((b) => b.id === box)).ops;
  return ops.length ? ops[0] : 0;
}

function placed(root, extra) {
  const cards = new Map();
  const boxes = new Map();
  const lines = [];
  const stack = [[root, 0, 0]];
  while (stack.length) {
    const [place, x, y] = stack.pop();
    for (const child of place.children ?? []) {
      const at = { x: x + child.x, y: y + child.y, width: child.width, height: child.height };
      if (child.children) {
        boxes.set(Number(child.id.slice(1)), at);
        stack.push([child, at.x, at.y]);
      } else {
        cards.set(child.id, at);
      }
    }
    for (const edge of place.edges ?? []) {
      const { lines: keys, last } = extra.get(edge.id);
      for (const section of edge.sections ?? []) {
        const points = [section.startPoint, ...(section.bendPoints ?? []), section.endPoint];
        lines.push({
          lines: keys,
          last,
          points: points.map((p) => [p.x + x, p.y + y]),
          label: edge.labels?.[0] && {
            x: edge.labels[0].x + x,
            y: edge.labels[0].y + y,
            width: edge.labels[0].width,
            height: edge.labels[0].height,
          },
        });
      }
    }
  }
  return { cards, boxes, lines, width: root.width, height: root.height };
}
