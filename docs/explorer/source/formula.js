// Formulas as MathML. They come from Python with slots in place of names; the page fills
// in names, or the numbers themselves. Only elements and attributes of this list are
// taken over, and names are text, so nothing that a user wrote becomes markup.

import { brief, slotName } from "./graph.js";

const SPACE = "http://www.w3.org/1998/Math/MathML";
const ELEMENTS = new Set(
  "mrow mi mo mn mtext msub msup msubsup mfrac msqrt mroot mtable mtr mtd mspace munder mover munderover mstyle mpadded mphantom".split(" "),
);
const ATTRIBUTES = new Set(
  "mathvariant stretchy fence form columnalign width displaystyle accent lspace rspace".split(" "),
);
const SLOT = /[\uA000-\uA03F]/u;

export function m(tag, ...inside) {
  const element = document.createElementNS(SPACE, tag);
  element.append(...inside);
  return element;
}

/** A name: letters with their number below; anything else as plain text. */
export function nameOf(name) {
  const parts = /^([A-Za-zͰ-Ͽ]+?)_?(\d+|[₀-₉]+)?(ᵀ)?$/u.exec(name);
  if (!parts) return m("mtext", name);
  let found = m("mi", parts[1]);
  if (parts[2]) {
    const digits = parts[2].replace(/[₀-₉]/g, (c) => String(c.charCodeAt(0) - 0x2080));
    found = m("msub", found, m("mn", digits));
  }
  return parts[3] ? m("msup", found, m("mo", "⊤")) : found;
}

export function gradientName(name) {
  const d = m("mi", "d");
  d.setAttribute("mathvariant", "normal");
  const inside = [d, nameOf(name)];
  if (/^\p{L}{3}/u.test(name)) {
    const space = m("mspace");
    space.setAttribute("width", "0.12em");
    inside.splice(1, 0, space);
  }
  return m("mrow", ...inside);
}

const parsed = new Map();

function treeOf(text) {
  if (!parsed.has(text)) {
    parsed.set(text, new DOMParser().parseFromString(text, "application/xml").documentElement);
  }
  return parsed.get(text);
}

function copied(element, fill) {
  if (element.nodeType === Node.TEXT_NODE) return document.createTextNode(element.data);
  const tag = element.localName;
  const text = element.childElementCount === 0 ? element.textContent : "";
  if (text.length === 1 && SLOT.test(text)) return fill(text.charCodeAt(0) - 0xa000);
  // What was turned already and is turned again is itself: Wᵀ of W.
  if (tag === "msup" && element.children[1]?.textContent === "⊤") {
    const base = element.children[0].textContent;
    const name = base.length === 1 && SLOT.test(base) && fill.called?.(base.charCodeAt(0) - 0xa000);
    if (name && /^[\w.]+ᵀ$/u.test(name)) return nameOf(name.slice(0, -1));
  }
  const inside = spaced([...element.childNodes].map((child) => copied(child, fill)));
  if (!ELEMENTS.has(tag)) return m("mrow", ...inside);
  // A word in upright letters is one word.
  const letters = [...element.children];
  if (tag === "mrow" && letters.length > 1 && letters.every((x) => x.localName === "mi" && x.getAttribute("mathvariant") === "normal")) {
    return word(element.textContent);
  }
  const made = m(tag, ...inside);
  for (const { name, value } of element.attributes) {
    if (ATTRIBUTES.has(name)) made.setAttribute(name, value);
  }
  return made;
}

/** A function's name keeps a distance from what it is applied to: tanh add. */
function spaced(elements) {
  return elements.flatMap((element, i) => {
    const next = elements[i + 1];
    const named = element.localName === "mi" && [...element.textContent].length > 1 && /^\p{L}+$/u.test(element.textContent);
    if (!named || !next || next.localName === "mo" || next.localName === "mspace" || next.nodeType === Node.TEXT_NODE) return [element];
    const space = m("mspace");
    space.setAttribute("width", "0.17em");
    return [element, space];
  });
}

function word(text) {
  const found = m("mi", text);
  if (text.length === 1) found.setAttribute("mathvariant", "normal");
  return found;
}

/** The right side of a formula, as MathML or, without it, as text. */
export function rightSide(graph, node, index, fill) {
  const [text, mathml] = graph.story.formulas[index];
  if (!mathml) return [m("mtext", filledText(graph, node, text))];
  return spaced([...treeOf(mathml).childNodes].map((child) => copied(child, fill)));
}

function filledText(graph, node, text) {
  return text.replace(/[\uA000-\uA03F]/gu, (c) => slotName(graph, node, c.charCodeAt(0) - 0xa000));
}

export function byName(graph, node) {
  const fill = (slot) => {
    if (slot === 1) return gradientName(slotName(graph, node, 0));
    const name = slotName(graph, node, slot);
    const x = node.in[slot - 2];
    return slot > 1 && typeof x === "object" ? numberIn(name) : nameOf(name);
  };
  fill.called = (slot) => (slot === 1 ? null : slotName(graph, node, slot));
  return fill;
}

function numberIn(text) {
  return text.startsWith("-") ? m("mrow", m("mo", "−"), m("mn", text.slice(1))) : m("mn", text);
}

const MOST = 9;

const few = (field) => field && field.x && field.x.length <= MOST;

/** Whether a formula can be shown with the numbers themselves. */
export function hasFew(graph, node, gradientToo) {
  const operands = node.in.filter((x) => typeof x === "number").map((x) => graph.nodes[x]);
  const flat = [node, ...operands].every((x) => few(x.value) && x.shape.length <= 2);
  return flat && (!gradientToo || few(node.grad));
}

export function byNumber(graph, node) {
  return (slot) => {
    if (slot === 0) return matrix(node.value, node.shape);
    if (slot === 1) return matrix(node.grad, node.shape);
    const x = node.in[slot - 2];
    if (typeof x === "object") return numberIn(x.number);
    return matrix(graph.nodes[x].value, graph.nodes[x].shape, true);
  };
}

/** Numbers in brackets: rows and columns as they are. */
export function matrix(field, shape, fenced = false) {
  const numbers = field.x.map((x) => brief(x, 3));
  if (!shape.length) {
    const number = m("mn", numbers[0]);
    return fenced && numbers[0].startsWith("−") ? m("mrow", m("mo", "("), number, m("mo", ")")) : number;
  }
  const columns = shape.at(-1);
  const rows = [];
  for (let i = 0; i < numbers.length; i += columns) {
    rows.push(m("mtr", ...numbers.slice(i, i + columns).map((x) => m("mtd", m("mn", x)))));
  }
  const open = m("mo", "[");
  const shut = m("mo", "]");
  return m("mrow", open, m("mtable", ...rows), shut);
}

/** A whole line: left = right. */
export function equation(left, ...right) {
  const sides = right.flatMap((side) => [m("mo", "="), ...side]);
  const whole = m("math", m("mrow", ...left, ...sides));
  whole.setAttribute("display", "block");
  return whole;
}
