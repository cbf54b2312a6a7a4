// The side panel: all that is known of one node, at the step that is shown.

import { byName, byNumber, equation, gradientName, hasFew, m, matrix, nameOf, rightSide } from "./formula.js";
import { brief, numberOf, shapeText, shortName, stateAt } from "./graph.js";
import { colourOf, cellsOf, pictureOf } from "./heat.js";
import { gradientAt, s } from "./paint.js";

export function h(tag, attributes = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...inside.filter((x) => x !== null && x !== undefined && x !== ""));
  return element;
}

export class Panel {
  constructor(graph, element, acts) {
    Object.assign(this, { graph, element, acts });
  }

  /** Show a node, a box, or nothing. */
  show(what, step, theme) {
    this.theme = theme;
    const key = what && `${what.box !== undefined ? "b" : "n"}${what.box ?? what.node}|${this.#stateKey(what, step)}|${theme}`;
    if (key === this.key) return;
    const same = this.key && key && key.split("|")[0] === this.key.split("|")[0];
    this.key = key;
    const scroll = same ? this.element.scrollTop : 0;
    this.element.hidden = !what;
    if (!what) {
      this.element.replaceChildren();
      return;
    }
    const content = what.box !== undefined ? this.#box(this.graph.boxes[what.box]) : this.#node(this.graph.nodes[what.node], step);
    this.element.replaceChildren(this.#close(), ...content);
    this.element.scrollTop = scroll;
  }

  #stateKey(what, step) {
    if (what.box !== undefined) return "";
    const state = stateAt(this.graph.nodes[what.node], step);
    return `${state.value}${state.arrived}${state.grad}`;
  }

  #close() {
    const button = h("button", { type: "button", class: "close", "aria-label": "Close the panel (Escape)" }, "×");
    button.addEventListener("click", () => this.acts.select(null));
    return button;
  }

  #link(id, label) {
    const node = this.graph.nodes[id];
    const button = h("button", { type: "button", class: "link", title: node.name }, label ?? shortName(node));
    button.addEventListener("click", () => this.acts.select({ node: id }, true));
    return button;
  }

  #box(box) {
    const { graph } = this;
    const fold = h("button", { type: "button", class: "plain" }, this.acts.isOpen(box.id) ? "Fold" : "Unfold");
    fold.addEventListener("click", () => this.acts.toggle(box.id));
    const counts = new Map();
    for (const id of box.ops) counts.set(graph.nodes[id].op, (counts.get(graph.nodes[id].op) ?? 0) + 1);
    const numbers = box.parameters.reduce((sum, id) => sum + (graph.nodes[id].value?.n ?? 0), 0);
    const rows = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 12);
    const shown = box.parameters.slice(0, 40);
    return [
      h("h2", {}, box.title),
      h("p", { class: "tags" }, box.of ? tag(box.of) : "", tag(`${box.ops.length} ops`), numbers ? tag(`${numbers.toLocaleString("en")} parameters`) : "", box.times > 1 ? tag(`×${box.times}`) : ""),
      h("p", {}, fold),
      ...(box.badges.length ? [h("ul", { class: "faults" }, ...box.badges.map((b) => h("li", { class: b.is }, b.why)))] : []),
      h("h3", {}, "Ops"),
      table(rows.map(([name, count]) => [name, String(count)])),
      ...(shown.length
        ? [
            h("h3", {}, "Parameters"),
            h("ul", { class: "list" }, ...shown.map((id) => h("li", {}, this.#link(id, graph.nodes[id].name), h("span", { class: "muted" }, ` ${shapeText(graph.nodes[id])}`)))),
          ]
        : []),
    ];
  }

  #node(node, step) {
    const { graph } = this;
    const state = stateAt(node, step);
    const parts = [h("h2", {}, node.name)];
    const kind = node.op ?? node.kind;
    parts.push(
      h(
        "p",
        { class: "tags" },
        tag(kind),
        node.shape ? tag(shapeText(node) || "number") : "",
        node.dtype ? tag(node.dtype) : "",
        node.settings ? tag(node.settings) : "",
        node.box >= 0 ? tag(graph.boxes[node.box].title) : "",
      ),
    );
    if (node.badges?.length) {
      parts.push(h("ul", { class: "faults" }, ...node.badges.map((b) => h("li", { class: b.is }, h("b", {}, b.word), ` — ${b.why}`))));
    }
    if (node.line) {
      const [file, number, , code] = node.line;
      parts.push(h("p", { class: "source" }, h("span", { class: "muted" }, `${file}:${number}`), code ? h("code", {}, code) : ""));
    }
    if (node.times) {
      const [forward, backward] = node.times.map((x) => `${brief(numberOf(x) * 1e6, 3)} µs`);
      parts.push(h("p", { class: "muted" }, `forward ${forward} · backward ${backward}`));
    }
    parts.push(...this.#neighbours(node));
    if (node.op && node.formula !== undefined) parts.push(...this.#forward(node, state));
    if (node.op && node.hasGrad) parts.push(...this.#backward(node, state));
    if (node.hasGrad && (node.arrivals.length > 1 || node.id === graph.output)) parts.push(...this.#arrivals(node, state));
    parts.push(...this.#field("Value", node, state.value ? node.value : null, "Not computed yet at this step."));
    let why = "Backward has not come here yet.";
    if (node.grad === "constant") why = "A constant: no gradient is asked for.";
    else if (!node.hasGrad) why = graph.story.note ?? "No gradient reaches it.";
    const partial = state.grad && !state.whole ? `${state.arrived} of ${node.arrivals.length} shares so far` : "";
    parts.push(...this.#field("Gradient", node, gradientAt(node, state), why, partial));
    return parts;
  }

  #forward(node, state) {
    const { graph } = this;
    const parts = [h("h3", {}, "Forward"), h("div", { class: "formula" }, equation([nameOf(shortName(node))], rightSide(graph, node, node.formula, byName(graph, node))))];
    if (state.value && hasFew(graph, node, false) && graph.story.formulas[node.formula][1]) {
      parts.push(h("div", { class: "formula numbers" }, equation([matrix(node.value, node.shape)], rightSide(graph, node, node.formula, byNumber(graph, node)))));
    }
    return parts;
  }

  #backward(node, state) {
    const { graph } = this;
    const rules = (node.back ?? []).filter(([position]) => graph.nodes[node.in[position]]?.hasGrad);
    if (!rules.length) return [];
    const parts = [h("h3", {}, "Backward: what it passes on")];
    for (const [position, formula] of rules) {
      const x = graph.nodes[node.in[position]];
      const line = h("div", { class: "formula" }, equation([gradientName(shortName(x))], rightSide(graph, node, formula, byName(graph, node))));
      parts.push(line);
      const share = x.arrivals.find((a) => a.from === node.id && a.position === position);
      const whole = share?.share ?? (x.arrivals.length === 1 ? x.grad : null);
      const done = share && state.whole && this.acts.step() >= share.at;
      if (done && whole?.x?.length <= 9 && x.shape.length <= 2 && hasFew(graph, node, true) && graph.story.formulas[formula][1]) {
        parts.push(h("div", { class: "formula numbers" }, equation([matrix(whole, x.shape)], rightSide(graph, node, formula, byNumber(graph, node)))));
      }
    }
    return parts;
  }

  #arrivals(node, state) {
    const { graph } = this;
    if (node.arrivals.length === 1 && node.arrivals[0].from < 0) {
      return [h("h3", {}, "Where backward begins"), h("div", { class: "formula" }, equation([gradientName(shortName(node))], [m("mn", "1")]))];
    }
    const count = node.arrivals.length;
    const items = node.arrivals.map((arrival, i) => {
      const here = i < state.arrived;
      const label = arrival.from < 0 ? "the output itself" : null;
      const field = here && arrival.share?.map ? arrival.share : null;
      return h(
        "li",
        { class: here ? "" : "ahead" },
        h("span", { class: "sum" }, i ? "+" : ""),
        field ? image(field, this.theme, "small") : h("span", { class: "small hollow" }),
        label ?? this.#link(arrival.from),
        h("span", { class: "muted" }, field ? amount(field) : here ? "" : "not yet"),
      );
    });
    return [
      h("h3", {}, `Gradient arrives from ${count} uses, summed`),
      h("ol", { class: "arrivals" }, ...items),
      h("p", { class: "muted" }, state.whole ? `Sum: ${amount(node.grad)}` : `${state.arrived} of ${count} arrived.`),
    ];
  }

  #neighbours(node) {
    const { graph } = this;
    const row = (title, ids) => (ids.length ? [h("p", { class: "neighbours" }, h("span", { class: "muted" }, title), ...[...new Set(ids)].slice(0, 24).map((id) => this.#link(id)))] : []);
    return [...row("takes", node.operands), ...row("used by", node.consumers.filter((id) => graph.nodes[id].kind !== "more"))];
  }

  #field(title, node, field, why, partial = "") {
    const parts = [h("h3", {}, title, partial ? h("span", { class: "muted" }, ` ${partial}`) : "")];
    if (!field) return [...parts, h("p", { class: "muted" }, why)];
    if (!field.n) return [...parts, h("p", { class: "muted" }, "Empty: no elements.")];
    const numbers = field.x && (node.shape.length < 2 || (node.shape.length === 2 && node.shape[1] <= 6));
    if (numbers) parts.push(grid(field, node.shape, this.theme));
    else parts.push(image(field, this.theme, "large"), legend(field, node));
    if (field.n > 1) {
      if (field.bars?.length) parts.push(histogram(field, title));
      parts.push(table(statistics(field)));
    }
    return parts;
  }
}

const tag = (text) => h("span", { class: "tag" }, text);

const amount = (field) => (field.x && field.x.length === 1 ? brief(field.x[0], 4) : field.norm === undefined ? "" : `‖·‖ ${brief(field.norm, 3)}`);

function statistics(field) {
  const rows = [];
  if (field.lo !== undefined) rows.push(["range", `${brief(field.lo, 4)} … ${brief(field.hi, 4)}`]);
  if (field.true !== undefined) rows.push(["true", `${field.true.toLocaleString("en")} of ${field.n.toLocaleString("en")}`]);
  else if (field.mean !== undefined) rows.push(["mean ± std", `${brief(field.mean, 4)} ± ${brief(field.std, 3)}`]);
  if (field.norm !== undefined && field.true === undefined) rows.push(["norm", brief(field.norm, 4)]);
  const share = (count) => `${count.toLocaleString("en")} of ${field.n.toLocaleString("en")} (${brief((100 * count) / field.n, 3)} %)`;
  if (field.lo !== undefined && field.true === undefined) rows.push(["zeros", field.zero ? share(field.zero) : "none"]);
  if (field.nan) rows.push(["NaN", share(field.nan)]);
  if (field.inf) rows.push(["infinite", share(field.inf)]);
  return rows;
}

function table(rows) {
  return h("table", { class: "facts" }, h("tbody", {}, ...rows.map(([a, b]) => h("tr", {}, h("th", { scope: "row" }, a), h("td", {}, b)))));
}

function image(field, theme, kind) {
  const element = h("img", { src: pictureOf(field, theme), class: `map ${kind}`, alt: "", draggable: "false" });
  if (kind === "large") {
    const ratio = field.rows / field.cols;
    element.height = Math.round(Math.min(220, Math.max(36, 340 * ratio)));
  }
  return element;
}

function legend(field, node) {
  const sampled = field.rows * field.cols < field.n;
  const words = `${sampled ? "a sample, " : ""}colours from ${brief(-numberOf(field.top), 3)} to ${brief(field.top, 3)}`;
  return h("p", { class: "muted fine" }, node.shape.length > 2 ? `${words}; leading axes run down` : words);
}

/** Few numbers: each in its colour. */
function grid(field, shape, theme) {
  const columns = shape.length === 2 ? shape[1] : Math.min(6, shape[0] ?? 1);
  const cells = cellsOf(field);
  const numbers = field.x.map((x, i) => {
    const [r, g, b] = colourOf(cells.length === field.x.length ? cells[i] : 0, theme);
    const cell = h("td", {}, brief(x, shape.length ? 3 : 6));
    cell.style.backgroundColor = `rgb(${r} ${g} ${b})`;
    cell.style.color = 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#10161d" : "#ffffff";
    return cell;
  });
  const rows = [];
  for (let i = 0; i < numbers.length; i += columns) rows.push(h("tr", {}, ...numbers.slice(i, i + columns)));
  return h("table", { class: "grid" }, h("tbody", {}, ...rows));
}

function histogram(field, title) {
  const width = 340;
  const height = 54;
  const step = width / field.bars.length;
  const bars = field.bars.map((bar, i) =>
    s("rect", { x: (i * step + 0.75).toFixed(2), y: (height - (bar / 99) * height).toFixed(2), width: (step - 1.5).toFixed(2), height: ((bar / 99) * height).toFixed(2), rx: 1 }),
  );
  const low = numberOf(field.lo);
  const high = numberOf(field.hi);
  const zero = low < 0 && high > 0 ? [s("line", { class: "zero", x1: (-low / (high - low)) * width, x2: (-low / (high - low)) * width, y1: 0, y2: height })] : [];
  const picture = s("svg", { class: `histogram ${title.toLowerCase()}`, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Histogram of the ${title.toLowerCase()}` }, ...zero, ...bars);
  return h("div", { class: "bars" }, picture, h("p", { class: "ends" }, h("span", {}, brief(field.lo, 3)), h("span", {}, brief(field.hi, 3))));
}
