// Cards, chips, boxes and lines as SVG. Built once for a layout; a step of the play
// touches only what changes.

import { brief, formulaText, shapeText, shortName, stateAt } from "./graph.js";
import { fitted, pictureOf, sumOf, widthOf } from "./heat.js";

const SPACE = "http://www.w3.org/2000/svg";
const SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";
const font = (weight, size) => `${weight} ${size}px ${SANS}`;

export function s(tag, attributes = {}, ...inside) {
  const element = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...inside);
  return element;
}

const PAD = 12;
const WIDE = 208;
const MAP = { width: (WIDE - 2 * PAD - 8) / 2, height: 44 };
const CHIP = 26;

const isNumber = (node) => node.shape && node.shape.length === 0;

/** Width and height of a card, before it is laid out. */
export function sizeOf(graph, card) {
  if (card.box) return { width: WIDE, height: 128 };
  const { node } = card;
  if (node.kind === "more") return { width: 180, height: 40 };
  if (graph.scalar) return { width: 164, height: node.op ? 102 : 84 };
  const formula = node.op ? 18 : 0;
  const body = isNumber(node) ? 44 : MAP.height + 18;
  const chips = card.chips.length ? 6 + card.chips.length * (CHIP + 4) : 0;
  return { width: WIDE, height: 32 + formula + body + chips + PAD };
}

export class Painter {
  constructor(graph, layer, theme) {
    this.graph = graph;
    this.layer = layer;
    this.theme = theme;
    this.parts = new Map();
    this.lineParts = [];
  }

  /** Make the maps that will be seen, before it is known where. */
  prepare(view) {
    for (const card of view.cards.values()) {
      const shown = [card.node ?? this.graph.nodes[card.box.ops.at(-1)], ...card.chips.map((chip) => this.graph.nodes[chip.id])];
      for (const { value, grad } of shown) {
        for (const field of [value, grad]) if (field?.map && field.n > 1) pictureOf(field, this.theme);
      }
    }
  }

  /** Draw a layout anew. */
  draw(view, layout, sizes) {
    this.view = view;
    this.parts = new Map(); // key -> element and what of it changes
    this.lineParts = [];
    const boxes = s("g", { class: "boxes" });
    const lines = s("g", { class: "lines" });
    const cards = s("g", { class: "cards" });
    for (const box of view.opened) {
      boxes.append(this.#box(box, layout.boxes.get(box.id)));
    }
    const byKey = new Map(view.lines.map((line) => [line.key, line]));
    for (const segment of layout.lines) lines.append(this.#line(segment, byKey));
    const ordered = [...view.cards.values()].sort((a, b) => first(a) - first(b));
    for (const card of ordered) {
      const place = layout.cards.get(card.key);
      const element = card.box ? this.#folded(card, sizes.get(card.key)) : this.#card(card, sizes.get(card.key));
      element.setAttribute("transform", `translate(${place.x} ${place.y})`);
      cards.append(element);
    }
    this.layer.replaceChildren(boxes, lines, cards);
    this.shown = null;
  }

  #box(box, { x, y, width, height }) {
    const title = fitted(box.title, width - 60, font(600, 12));
    const toggle = s(
      "g",
      { class: "toggle", role: "button", tabindex: "0", "aria-label": `Fold ${box.title}`, "data-fold": box.id },
      s("rect", { x: 8, y: 8, width: Math.min(width - 16, 34 + widthOf(title, font(600, 12))), height: 22, rx: 6 }),
      s("path", { class: "mark", d: "M17 17 l4.5 5 l4.5 -5" }),
      text(33, 23, title, "box-title"),
    );
    const after = 33 + widthOf(title, font(600, 12)) + 10;
    const of = width - after > 40 ? fitted(box.of, width - after - 12, font(400, 11)) : "";
    if (title !== box.title) toggle.append(s("title", {}, box.title));
    return s(
      "g",
      { class: "box", transform: `translate(${x} ${y})` },
      s("rect", { class: "paper", width, height, rx: 12 }),
      toggle,
      text(after, 23, of, "muted"),
    );
  }

  #line(segment, byKey) {
    const lines = segment.lines.map((key) => byKey.get(key));
    const element = s("g", { class: "line" }, s("path", { class: "way", d: rounded(segment.points) }));
    const part = { element, uses: lines.flatMap((line) => line.uses), label: null };
    if (segment.last) {
      const [[ax, ay], [bx, by]] = segment.points.slice(-2);
      const angle = Math.round((Math.atan2(by - ay, bx - ax) * 180) / Math.PI);
      element.append(
        s("path", { class: "head", d: "M0 0 L-7.5 -3.6 L-7.5 3.6 Z", transform: `translate(${bx} ${by}) rotate(${angle})` }),
      );
    }
    if (segment.label) {
      const { x, y, width, height } = segment.label;
      part.label = text(x + width / 2, y + height - 3, lines[0].label, "line-label");
      part.label.setAttribute("text-anchor", "middle");
      element.append(part.label);
    }
    this.lineParts.push(part);
    return element;
  }

  #frame(card, size, kind, label) {
    const element = s("g", {
      class: `card ${kind}`,
      role: "button",
      tabindex: "0",
      "aria-label": label,
      "data-key": card.key,
    });
    element.append(s("rect", { class: "paper", width: size.width, height: size.height, rx: 10 }));
    return element;
  }

  #card(card, size) {
    const { graph } = this;
    const { node } = card;
    const name = shortName(node);
    const shape = shapeText(node);
    const element = this.#frame(card, size, node.kind, `${node.name}, ${node.op ?? node.kind}${shape ? `, shape ${shape}` : ""}`);
    const part = { element, node, size, fields: [] };
    this.parts.set(card.key, part);
    if (node.kind === "more") {
      element.append(text(size.width / 2, 25, node.name, "muted middle"));
      return element;
    }
    const note = node.op ? shape : shape || node.kind;
    const room = size.width - 2 * PAD - (note ? widthOf(note, font(400, 11)) + 10 : 0);
    element.append(text(PAD, 23, fitted(name, room, font(600, 13)), "name"));
    if (note) element.append(text(size.width - PAD, 23, note, "note end"));
    element.append(s("title", {}, node.name === name ? name : node.name));
    let y = 32;
    if (node.op) {
      const formula = formulaText(graph, node);
      element.append(text(PAD, 40, fitted(formula, size.width - 2 * PAD, font(400, 11.5)), "formula"));
      y += 18;
    }
    this.#pair(element, part, node, y, size);
    y += isNumber(node) ? 44 : MAP.height + 18;
    if (card.chips.length) {
      y += 6;
      for (const chip of card.chips) {
        element.append(this.#chip(chip, y, size));
        y += CHIP + 4;
      }
    }
    this.#badges(element, node.badges ?? [], size);
    return element;
  }

  /** Value at the left, gradient at the right. */
  #pair(element, part, node, y, size) {
    const width = (size.width - 2 * PAD - 8) / 2;
    const places = [
      { which: "value", x: PAD },
      { which: "grad", x: PAD + width + 8 },
    ];
    for (const { which, x } of places) {
      const field = new Field(node, which, x, y, width, this.theme, isNumber(node));
      element.append(field.element);
      part.fields.push(field);
    }
  }

  #chip(chip, y, size) {
    const leaf = this.graph.nodes[chip.id];
    const width = size.width - 2 * PAD;
    const name = shortName(leaf) + (chip.also === null ? "" : turnMark(this.graph.nodes[chip.also]));
    const element = s("g", {
      class: `chip ${leaf.kind}`,
      transform: `translate(${PAD} ${y})`,
      role: "button",
      tabindex: "0",
      "aria-label": `${leaf.name}, ${leaf.kind}, shape ${shapeText(leaf) || "number"}`,
      "data-node": chip.id,
    });
    const maps = 42;
    element.append(s("rect", { class: "paper", width, height: CHIP, rx: 6 }));
    const room = width - 2 * maps - 20;
    const shape = shapeText(leaf);
    const shapeRoom = shape ? widthOf(shape, font(400, 10)) + 5 : 0;
    const tight = widthOf(name, font(600, 11.5)) + shapeRoom > room;
    const label = fitted(name, tight ? room : room - shapeRoom, font(600, 11.5));
    element.append(text(8, 17, label, "chip-name"));
    if (!tight && shape) element.append(text(8 + widthOf(label, font(600, 11.5)) + 5, 17, shape, "chip-note"));
    element.append(s("title", {}, `${leaf.name} ${shape}`));
    const part = { element, node: leaf, also: chip.also, fields: [], chip: true };
    ["value", "grad"].forEach((which, i) => {
      const x = width - (2 - i) * (maps + 4);
      const field = new SmallField(leaf, which, x, 4, maps, CHIP - 8, this.theme);
      element.append(field.element);
      part.fields.push(field);
    });
    const key = `c${chip.id}`;
    if (!this.parts.has(key)) this.parts.set(key, { all: [] });
    this.parts.get(key).all.push(part);
    return element;
  }

  #folded(card, size) {
    const { graph } = this;
    const { box } = card;
    const ops = box.ops;
    const element = this.#frame(card, size, "folded", `${box.title}, folded, ${ops.length} ops`);
    element.dataset.unfold = box.id;
    element.prepend(
      s("rect", { class: "paper under", x: 7, y: -7, width: size.width - 14, height: 20, rx: 8 }),
      s("rect", { class: "paper under", x: 3.5, y: -3.5, width: size.width - 7, height: 20, rx: 9 }),
    );
    const times = box.times > 1 ? `×${box.times}` : "";
    const room = size.width - 2 * PAD - 18 - (times ? widthOf(times, font(600, 12)) + 8 : 0);
    element.append(s("path", { class: "mark", d: "M14 14.5 l5 4.5 l-5 4.5" }));
    element.append(text(PAD + 14, 23, fitted(box.title, room, font(600, 13)), "name"));
    if (times) element.append(text(size.width - PAD, 23, times, "times end"));
    element.append(s("title", {}, `${box.title} ${times}`));
    const last = graph.nodes[ops.at(-1)];
    const parameters = box.parameters.length;
    const facts = [box.of, `${ops.length} ops`].filter(Boolean);
    if (parameters) facts.push(`${parameters} parameter${parameters > 1 ? "s" : ""}`);
    while (facts.length > 2 && widthOf(facts.join(" · "), font(400, 11.5)) > size.width - 2 * PAD) facts.pop();
    element.append(text(PAD, 41, fitted(facts.join(" · "), size.width - 2 * PAD, font(400, 11.5)), "muted"));
    const part = { element, node: last, box, ops: new Set(ops), size, fields: [] };
    this.parts.set(card.key, part);
    this.#pair(element, part, last, 50, size);
    part.bar = s("rect", { class: "bar", x: PAD, y: size.height - 7, width: 0, height: 2.5, rx: 1.25 });
    element.append(s("rect", { class: "bar-ground", x: PAD, y: size.height - 7, width: size.width - 2 * PAD, height: 2.5, rx: 1.25 }), part.bar);
    this.#badges(element, box.badges, size);
    return element;
  }

  #badges(element, badges, size) {
    let x = size.width - 10;
    for (const badge of badges.slice(0, 3)) {
      const wide = widthOf(badge.word, font(600, 10)) + 12;
      x -= wide;
      element.append(
        s(
          "g",
          { class: `badge ${badge.is}`, transform: `translate(${x} -8)` },
          s("rect", { width: wide, height: 16, rx: 8 }),
          text(wide / 2, 11.5, badge.word, "badge-word middle"),
          s("title", {}, badge.why),
        ),
      );
      x -= 4;
    }
  }

  /** Show the graph as it is at a step. */
  step(index, rest = false) {
    const { graph } = this;
    const step = index > 0 && !rest ? graph.steps[index - 1] : null;
    for (const part of this.parts.values()) {
      for (const one of part.all ?? [part]) this.#partAt(one, index, step);
    }
    for (const part of this.lineParts) {
      let state = "";
      let reached = false;
      for (const use of part.uses) {
        const to = graph.nodes[use.to];
        if (to.valueAt <= index) reached = true;
        if (step && step.id === use.to && step.way !== "seed") {
          if (step.way === "forward") state = " flows-forward";
          else if (graph.nodes[use.from].hasGrad) state = " flows-backward";
        }
      }
      const classes = `line${reached ? "" : " ahead"}${state}`;
      if (part.classes !== classes) {
        part.classes = classes;
        part.element.setAttribute("class", classes + (part.trace ?? ""));
      }
      if (part.label) {
        const there = graph.nodes[part.uses[0].to].backwardAt <= index;
        if (part.labelThere !== there) {
          part.labelThere = there;
          part.label.setAttribute("class", there ? "line-label" : "line-label hidden");
        }
      }
    }
  }

  #partAt(part, index, step) {
    if (part.node.kind === "more") return;
    const state = stateAt(part.node, index);
    let current = "";
    if (step) {
      const here = part.ops ? part.ops.has(step.id) : part.node.id === step.id || part.also === step.id;
      if (here) current = step.way === "forward" ? " now-forward" : " now-backward";
    }
    if (part.ops) {
      const done = [...part.ops].filter((id) => this.graph.nodes[id].valueAt <= index).length;
      const back = [...part.ops].filter((id) => this.graph.nodes[id].backwardAt <= index).length;
      const share = back ? back / part.box.backwardOps : done / part.ops.size;
      const wide = ((part.size.width - 2 * PAD) * share).toFixed(1);
      if (part.wide !== wide || part.back !== Boolean(back)) {
        part.wide = wide;
        part.back = Boolean(back);
        part.bar.setAttribute("width", wide);
        part.bar.setAttribute("class", back ? "bar back" : "bar");
      }
      if (done) state.begun = true;
    }
    const classes = `${state.value || state.begun ? "" : " ahead"}${current}`;
    if (part.classes !== classes) {
      part.classes = classes;
      this.#classes(part);
    }
    for (const field of part.fields) field.at(state);
  }

  #classes(part) {
    part.kindClass ??= part.element.getAttribute("class");
    part.element.setAttribute("class", `${part.kindClass}${part.classes ?? ""}${part.trace ?? ""}${part.chosen ?? ""}`);
  }

  /** Dim all but some nodes; null: nothing is dimmed. */
  trace(nodes) {
    for (const part of this.parts.values()) {
      for (const one of part.all ?? [part]) {
        const on = !nodes || (one.ops ? [...one.ops].some((id) => nodes.has(id)) : nodes.has(one.node.id));
        const trace = on ? "" : " dim";
        if ((one.trace ?? "") !== trace) {
          one.trace = trace;
          this.#classes(one);
        }
      }
    }
    for (const part of this.lineParts) {
      const on = !nodes || part.uses.some((use) => nodes.has(use.from) && nodes.has(use.to));
      const trace = on ? (nodes ? " traced" : "") : " dim";
      if ((part.trace ?? "") !== trace) {
        part.trace = trace;
        part.element.setAttribute("class", (part.classes ?? "line") + trace);
      }
    }
  }

  /** Mark what is selected. */
  choose(key, chipId) {
    for (const [k, part] of this.parts) {
      for (const one of part.all ?? [part]) {
        const chosen = (one.chip ? one.node.id === chipId : k === key) ? " chosen" : "";
        if ((one.chosen ?? "") !== chosen) {
          one.chosen = chosen;
          this.#classes(one);
        }
      }
    }
  }
}

function first(card) {
  return card.node ? card.node.id : card.box.ops[0];
}

function turnMark(node) {
  return node.op === "transpose" ? "ᵀ" : "";
}

function text(x, y, content, classes) {
  return s("text", { x, y, class: classes }, content);
}

/** Corners of a way, rounded. */
function rounded(points) {
  const r = 8;
  const n = (x) => Math.round(x * 10) / 10;
  let d = `M${n(points[0][0])} ${n(points[0][1])}`;
  for (let i = 1; i < points.length - 1; i += 1) {
    const [px, py] = points[i - 1];
    const [x, y] = points[i];
    const [qx, qy] = points[i + 1];
    const before = Math.hypot(x - px, y - py);
    const after = Math.hypot(qx - x, qy - y);
    const k = Math.min(r, before / 2, after / 2);
    if (!before || !after) continue;
    const ax = x - ((x - px) / before) * k;
    const ay = y - ((y - py) / before) * k;
    const bx = x + ((qx - x) / after) * k;
    const by = y + ((qy - y) / after) * k;
    d += ` L${n(ax)} ${n(ay)} Q${n(x)} ${n(y)} ${n(bx)} ${n(by)}`;
  }
  const [x, y] = points.at(-1);
  return `${d} L${n(x)} ${n(y)}`;
}

/** What a gradient looks like when so many of its shares have arrived. */
export function gradientAt(node, state) {
  if (!node.hasGrad || !state.grad) return null;
  if (state.whole) return node.grad;
  const shares = node.arrivals.slice(0, state.arrived).map((a) => a.share);
  if (shares.some((share) => !share || !share.map)) return null;
  return sumOf(shares);
}

/** A map, or a number, with a line below it. */
class Field {
  constructor(node, which, x, y, width, theme, number) {
    Object.assign(this, { node, which, width, theme, number });
    this.element = s("g", { class: `field ${which}`, transform: `translate(${x} ${y})` });
    const height = number ? 40 : MAP.height;
    this.frame = s("rect", { class: "hollow", width, height, rx: 4 });
    this.middle = text(width / 2, height / 2 + 4, "", number ? "big middle" : "hint middle");
    this.caption = text(width / 2, height + 13, "", "caption middle");
    this.height = height;
    this.element.append(this.frame, this.middle);
    if (!number) this.element.append(this.caption);
  }

  at(state) {
    const key = this.which === "value" ? String(state.value) : `${state.arrived}${state.grad}${state.whole}`;
    if (key === this.key) return;
    this.key = key;
    const { node, which } = this;
    let field = null;
    let hint = which === "value" ? "" : "gradient";
    let caption = "";
    if (which === "value") {
      if (state.value) field = node.value;
    } else if (node.grad === "constant") {
      hint = "constant";
    } else if (!node.hasGrad) {
      hint = "no gradient";
    } else {
      field = gradientAt(node, state);
      if (state.grad && !state.whole) {
        caption = `${state.arrived} of ${node.arrivals.length}`;
        if (!field) hint = caption;
      }
    }
    if (field && !field.n) {
      hint = "empty";
      field = null;
    }
    if (this.number) {
      const there = field && field.x;
      this.middle.textContent = there ? numberIn(field.x[0], this.width - 8, font(600, 15)) : hint;
      this.middle.setAttribute("class", there ? "big middle" : "hint middle");
      this.frame.setAttribute("class", there ? "hollow filled" : "hollow");
      return;
    }
    this.image?.remove();
    this.image = null;
    this.middle.textContent = field ? "" : hint;
    if (field) {
      this.image = picture(field, this.theme, this.width, this.height);
      this.element.insertBefore(this.image, this.middle);
      caption ||= rangeOf(field, which);
      if (widthOf(caption, font(400, 10.5)) > this.width) caption = `±${brief(field.top, 2)}`;
    }
    this.caption.textContent = fitted(caption, this.width, font(400, 10.5));
  }
}

/** A number in as many digits as there is room for. */
function numberIn(x, room, style) {
  for (const digits of [4, 3, 2]) {
    const text = brief(x, digits);
    if (widthOf(text, style) <= room) return text;
  }
  return brief(x, 1);
}

class SmallField {
  constructor(node, which, x, y, width, height, theme) {
    Object.assign(this, { node, which, width, height, theme });
    this.element = s("g", { class: `field ${which}`, transform: `translate(${x} ${y})` });
    this.frame = s("rect", { class: "hollow", width, height, rx: 3 });
    this.element.append(this.frame);
  }

  at(state) {
    const key = this.which === "value" ? "value" : `${state.arrived}${state.whole}`;
    if (key === this.key) return;
    this.key = key;
    const field = this.which === "value" ? this.node.value : gradientAt(this.node, state);
    this.image?.remove();
    this.image = null;
    if (field?.n) {
      if (this.node.shape.length === 0 && field.x) {
        this.image = text(this.width / 2, this.height - 5, fitted(brief(field.x[0], 3), this.width, font(400, 10.5)), "caption middle");
      } else {
        this.image = picture(field, this.theme, this.width, this.height);
      }
      this.element.append(this.image);
    }
  }
}

function picture(field, theme, width, height) {
  return s("image", {
    width,
    height,
    preserveAspectRatio: "none",
    href: pictureOf(field, theme),
    class: "map",
  });
}

function rangeOf(field, which) {
  if (field.true !== undefined) return `${field.true} true`;
  if (which === "grad" && field.norm !== undefined && !field.nan && !field.inf) return `‖·‖ ${brief(field.norm, 3)}`;
  if (field.lo === undefined) return field.norm === undefined ? `±${brief(field.top, 3)}` : "";
  if (field.nan) return `${field.nan.toLocaleString("en")} NaN`;
  if (field.inf) return `${field.inf.toLocaleString("en")} ∞`;
  if (field.lo === field.hi) return `all ${brief(field.lo, 3)}`;
  const text = `${brief(field.lo, 2)} … ${brief(field.hi, 2)}`;
  return text;
}
