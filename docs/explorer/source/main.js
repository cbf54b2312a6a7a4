// The explorer: one graph, its forward and its backward, step by step.

import { select } from "d3-selection";
import { zoom, zoomIdentity, zoomTransform } from "d3-zoom";
import MiniSearch from "minisearch";

import { brief, formulaText, gradientText, makeGraph, reach, shapeText, shortName } from "./graph.js";
import { layoutOf, warmUp } from "./layout.js";
import { Painter, s, sizeOf } from "./paint.js";
import { Panel, h } from "./panel.js";
import { savedSvg } from "./save.js";
import { boxKey, firstOpen, viewOf } from "./view.js";
import { widthOf } from "./heat.js";
import css from "./style.css";

const started = performance.now();
warmUp(); // the engine starts while the rest is made ready

const graph = makeGraph(window.story);
const { story } = graph;
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const systemDark = matchMedia("(prefers-color-scheme: dark)");

const sheet = new CSSStyleSheet();
sheet.replaceSync(css);
document.adoptedStyleSheets = [sheet];

// --- what the page remembers -----------------------------------------------------------

const usual = firstOpen(graph, story.fold, story.depth);
const state = { step: graph.steps.length, open: new Set(usual), chosen: null, rest: true, theme: document.body.dataset.theme ?? "auto" };

function readAddress() {
  const words = new URLSearchParams(location.hash.slice(1));
  const step = Number(words.get("step"));
  state.rest = !words.has("step") || !Number.isInteger(step);
  state.step = state.rest ? graph.steps.length : clamped(step);
  const toggled = (words.get("fold") ?? "").split(".").filter((x) => /^\d+$/.test(x)).map(Number).filter((id) => graph.boxes[id]);
  state.open = new Set(usual);
  for (const id of toggled) flip(state.open, id);
  const node = words.get("node");
  const box = words.get("box");
  state.chosen = null;
  if (/^\d+$/.test(node ?? "") && graph.nodes[node]) state.chosen = { node: Number(node) };
  else if (/^\d+$/.test(box ?? "") && graph.boxes[box]) state.chosen = { box: Number(box) };
  if (["light", "dark"].includes(words.get("theme"))) state.theme = words.get("theme");
}

function clamped(step) {
  return Math.max(0, Math.min(graph.steps.length, step));
}

function writeAddress() {
  const words = new URLSearchParams();
  if (!state.rest) words.set("step", state.step);
  if (state.chosen?.node !== undefined) words.set("node", state.chosen.node);
  if (state.chosen?.box !== undefined) words.set("box", state.chosen.box);
  const toggled = graph.boxes.filter((box) => state.open.has(box.id) !== usual.has(box.id)).map((box) => box.id);
  if (toggled.length) words.set("fold", toggled.join("."));
  if (state.theme !== (document.body.dataset.given ?? "auto")) words.set("theme", state.theme);
  const text = words.toString();
  try {
    history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  } catch {
    // A frame without an address of its own.
  }
}

let writing = 0;
function remember() {
  clearTimeout(writing);
  writing = setTimeout(writeAddress, 150);
}

function flip(set, id) {
  if (!set.delete(id)) set.add(id);
}

// --- the page --------------------------------------------------------------------------

const button = (label, title, act, content = label) => {
  const made = h("button", { type: "button", "aria-label": title, title }, content);
  made.addEventListener("click", act);
  return made;
};

const icon = (d, filled = false) => s("svg", { viewBox: "0 0 16 16", width: 16, height: 16, class: filled ? "icon filled" : "icon", "aria-hidden": "true" }, s("path", { d }));

const heading = h("h1", { title: story.title ?? "" }, story.title ?? "computation graph");
const counts = h("span", { class: "counts" }, countText());
const search = h("input", { type: "search", placeholder: "Search   /", "aria-label": "Search nodes", autocomplete: "off", spellcheck: "false", role: "combobox", "aria-expanded": "false", "aria-controls": "found" });
const found = h("ul", { id: "found", class: "found", role: "listbox", hidden: "" });
const foldAll = button("Fold", "Fold all layers", () => setOpen(new Set()));
const openAll = button("Unfold", "Unfold all layers", () => setOpen(new Set(graph.boxes.map((box) => box.id))));
if (!graph.boxes.length) for (const b of [foldAll, openAll]) b.hidden = true;
const themeButton = button("Theme", "Light or dark", switchTheme, icon("M8 1.5 A6.5 6.5 0 1 0 8 14.5 Z M8 1.5 A6.5 6.5 0 0 1 8 14.5", false));
const helpButton = button("?", "Help (?)", () => showHelp(true), "?");
const top = h(
  "header",
  {},
  h("div", { class: "titles" }, heading, counts),
  h("div", { class: "searching" }, search, found),
  h("div", { class: "tools" }, foldAll, openAll, button("Fit", "Show the whole graph (0)", () => fit(true)), button("Save SVG", "Save the picture as SVG", saveSvg), themeButton, helpButton),
);

const canvas = s("svg", { class: "canvas", role: "group", "aria-label": "Computation graph" });
const ground = s("g", {});
canvas.append(ground);
const panelElement = h("aside", { class: "panel", "aria-label": "Details", hidden: "" });
const working = h("p", { class: "working", role: "status" }, "Laying out …");
const stage = h("main", {}, canvas, working, panelElement);

const slider = h("input", { type: "range", min: 0, max: graph.steps.length, step: 1, "aria-label": "Step of the play" });
const marks = h("div", { class: "marks", "aria-hidden": "true" });
const says = h("p", { class: "says", role: "status", "aria-live": "polite" });
const playButton = button("Play", "Play (space)", () => play(!playing));
const back = button("Back", "A step back (←)", () => goto(state.step - 1), icon("M10.5 3.5 L6 8 L10.5 12.5"));
const ahead = button("Ahead", "A step ahead (→)", () => goto(state.step + 1), icon("M5.5 3.5 L10 8 L5.5 12.5"));
const bottom = h("footer", {}, h("div", { class: "playing" }, back, playButton, ahead), h("div", { class: "sliding" }, marks, slider), says);

const help = h(
  "dialog",
  { class: "help", "aria-label": "Help" },
  h("h2", {}, "Reading this page"),
  h("p", {}, "A card is an operation. At the left is its value, at the right its gradient: blue below zero, red above it, each scaled to its own largest size. Violet is NaN, amber is infinite. Parameters stand on the card that uses them."),
  h("p", {}, "The slider goes through every operation forward, then through every operation backward. A gradient appears when backward reaches it; where several uses pass one back, the shares are summed as they arrive."),
  h(
    "table",
    { class: "keys" },
    h(
      "tbody",
      {},
      ...[
        ["← →", "a step back, a step ahead"],
        ["Home End", "before the first step, after the last"],
        ["space", "play, pause"],
        ["/", "search"],
        ["Tab Enter", "go through the cards; select, or unfold"],
        ["F", "fold the layer of what is selected"],
        ["+ − 0", "larger, smaller, the whole graph"],
        ["Escape", "close, clear"],
        ["?", "this help"],
      ].map(([keys, words]) => h("tr", {}, h("th", { scope: "row" }, ...keys.split(" ").map((k) => h("kbd", {}, k))), h("td", {}, words))),
    ),
  ),
);
const closeHelp = button("Close", "Close help", () => showHelp(false));
help.append(closeHelp);
help.addEventListener("click", (event) => {
  if (event.target === help) showHelp(false);
});

document.body.dataset.given = state.theme;
document.body.append(top, stage, bottom, help);
if (!graph.steps.length) bottom.hidden = true;

function countText() {
  const parameters = graph.nodes.filter((node) => node.kind === "parameter");
  const numbers = parameters.reduce((sum, node) => sum + node.value.n, 0);
  const parts = [`${graph.ops.length.toLocaleString("en")} ops`];
  if (numbers) parts.push(`${numbers.toLocaleString("en")} parameters`);
  return parts.join(" · ");
}

// --- light and dark --------------------------------------------------------------------

function theme() {
  if (state.theme !== "auto") return state.theme;
  return systemDark.matches ? "dark" : "light";
}

function applyTheme() {
  document.documentElement.dataset.theme = theme();
  painter.theme = theme();
}

function switchTheme() {
  state.theme = theme() === "dark" ? "light" : "dark";
  applyTheme();
  redraw();
  remember();
}

systemDark.addEventListener("change", () => {
  if (state.theme !== "auto") return;
  applyTheme();
  redraw();
});

// --- layout ----------------------------------------------------------------------------

const acts = {
  select: choose,
  toggle: toggleBox,
  isOpen: (id) => state.open.has(id),
  step: () => state.step,
};
const painter = new Painter(graph, ground, "light");
const panel = new Panel(graph, panelElement, acts);

let view = null;
let layout = null;
let sizes = null;
let turn = 0;

async function relayout(keep = null) {
  turn += 1;
  const mine = turn;
  const next = viewOf(graph, state.open);
  const measured = new Map([...next.cards].map(([key, card]) => [key, sizeOf(graph, card)]));
  if (graph.scalar) labelLines(next);
  const slow = setTimeout(() => working.classList.add("shown"), 120);
  let laid;
  try {
    const places = layoutOf(graph, next, measured, room());
    painter.prepare(next); // while the engine is at work
    laid = await places;
  } finally {
    clearTimeout(slow);
    working.classList.remove("shown");
  }
  if (mine !== turn) return;
  const before = keep && layout ? placeOf(keep) : null;
  [view, layout, sizes] = [next, laid, measured];
  redraw();
  const after = before && placeOf(keep);
  if (after) {
    // What was clicked stays where it was.
    const t = transform();
    moveTo(zoomIdentity.translate(t.x + (before.x - after.x) * t.k, t.y + (before.y - after.y) * t.k).scale(t.k), false);
  } else {
    fit(false);
  }
}

function redraw() {
  if (!view) return;
  painter.draw(view, layout, sizes);
  painter.step(state.step, state.rest);
  showChosen();
}

/** In a graph of numbers a line tells the share it brings: upstream × local derivative. */
function labelLines(next) {
  for (const line of next.lines) {
    if (line.uses.length > 1) continue;
    const use = line.uses[0];
    const from = graph.nodes[use.from];
    const to = graph.nodes[use.to];
    const arrival = from.arrivals.find((a) => a.from === use.to && a.position === use.position);
    const share = arrival?.share?.x?.[0];
    const upstream = to.grad?.x?.[0];
    if (share === undefined || upstream === undefined) continue;
    const local = Number(share) / Number(upstream);
    const known = Number.isFinite(local);
    line.label = known ? `${brief(upstream, 3)} × ${brief(local, 3)}` : brief(share, 3);
    line.labelSize = { width: widthOf(line.label, "400 10.5px system-ui") + 8, height: 14 };
  }
}

function placeOf(what) {
  if (what.box !== undefined && layout.boxes.has(what.box)) return layout.boxes.get(what.box);
  const key = what.box !== undefined ? boxKey(what.box) : view.seenAt.get(what.node);
  return layout.cards.get(key) ?? null;
}

function setOpen(open) {
  state.open = open;
  remember();
  return relayout();
}

function toggleBox(id) {
  flip(state.open, id);
  remember();
  return relayout({ box: id });
}

/** Open every box around a node. */
async function reveal(what) {
  let inner = what.box !== undefined ? graph.boxes[what.box].in : graph.nodes[what.node].box;
  if (what.node !== undefined && inner < 0 && graph.nodes[what.node].asChip) {
    inner = graph.nodes[graph.nodes[what.node].consumers[0]]?.box ?? -1;
    const turned = graph.nodes[what.node].consumers[0];
    if (graph.turned.has(turned)) inner = graph.nodes[graph.nodes[turned].consumers[0]]?.box ?? -1;
  }
  let changed = false;
  for (let b = inner; b >= 0; b = graph.boxes[b].in) {
    if (!state.open.has(b)) {
      state.open.add(b);
      changed = true;
    }
  }
  if (changed) {
    remember();
    await relayout();
  }
}

// --- the camera ------------------------------------------------------------------------

const camera = zoom()
  .scaleExtent([0.03, 4])
  .filter((event) => !event.button && (event.type !== "dblclick"))
  .on("zoom", ({ transform: t }) => {
    ground.setAttribute("transform", t);
    canvas.classList.toggle("far", t.k < 0.34);
  });
select(canvas).call(camera).on("dblclick.zoom", null);

const transform = () => zoomTransform(canvas);

let gliding = 0;
function moveTo(target, glide) {
  cancelAnimationFrame(gliding);
  if (!glide || calm.matches) {
    select(canvas).call(camera.transform, target);
    return;
  }
  const from = transform();
  const begun = performance.now();
  const move = (now) => {
    const t = Math.min(1, (now - begun) / 260);
    const e = 1 - (1 - t) ** 3;
    const mix = (a, b) => a + (b - a) * e;
    select(canvas).call(camera.transform, zoomIdentity.translate(mix(from.x, target.x), mix(from.y, target.y)).scale(mix(from.k, target.k)));
    if (t < 1) gliding = requestAnimationFrame(move);
  };
  gliding = requestAnimationFrame(move);
}

function room() {
  const { width, height } = canvas.getBoundingClientRect();
  return { width, height };
}

function fit(glide) {
  if (!layout) return;
  const { width, height } = room();
  const margin = 28;
  const whole = Math.min((width - 2 * margin) / layout.width, (height - 2 * margin) / layout.height);
  const scale = Math.min(1.15, Math.max(0.03, whole));
  moveTo(zoomIdentity.translate((width - layout.width * scale) / 2, (height - layout.height * scale) / 2).scale(scale), glide);
}

/** Bring what is out of sight, or too small to read, into view. */
function look(what, glide = true, close = false) {
  const place = what && placeOf(what);
  if (!place) return;
  const { width, height } = room();
  const t = transform();
  const scale = close ? Math.max(t.k, 0.75) : t.k;
  const x = place.x * t.k + t.x;
  const y = place.y * t.k + t.y;
  const inside = x > 10 && y > 10 && x + place.width * t.k < width - 10 && y + place.height * t.k < height - 10;
  if (inside && scale === t.k) return;
  const cx = place.x + Math.min(place.width, 600) / 2;
  const cy = place.y + Math.min(place.height, 400) / 2;
  moveTo(zoomIdentity.translate(width / 2 - cx * scale, height / 2 - cy * scale).scale(scale), glide);
}

// --- steps -----------------------------------------------------------------------------

let playing = 0;

function goto(step, follow = true) {
  state.step = clamped(step);
  state.rest = false;
  showStep();
  const at = graph.steps[state.step - 1];
  if (follow && at && playing) look({ node: at.id });
  remember();
}

function showStep() {
  painter.step(state.step, state.rest);
  panel.show(state.chosen, state.step, theme());
  sayStep();
}

function sayStep() {
  slider.value = String(state.step);
  const share = graph.steps.length ? (100 * state.step) / graph.steps.length : 0;
  slider.style.setProperty("--share", `${share}%`);
  const step = state.rest ? null : graph.steps[state.step - 1];
  back.disabled = state.step === 0;
  ahead.disabled = state.step === graph.steps.length;
  let way = "";
  let words = state.rest ? "All is computed. Play it from the start." : "Nothing is computed yet.";
  if (step) {
    const node = graph.nodes[step.id];
    way = step.way;
    if (step.way === "forward") words = `${shortName(node)} = ${formulaText(graph, node)}`;
    else if (step.way === "seed") words = `${gradientText(node)} = 1`;
    else words = passedOn(node);
  }
  slider.setAttribute("aria-valuetext", `step ${state.step} of ${graph.steps.length}: ${way}, ${words}`);
  says.replaceChildren(
    h("span", { class: "number" }, `${state.step} / ${graph.steps.length}`),
    h("span", { class: `way ${way}` }, way === "seed" ? "backward" : way),
    h("span", { class: "words", title: words }, words),
  );
}

function passedOn(node) {
  const to = [...new Set(node.operands)].filter((x) => graph.nodes[x].hasGrad).map((x) => gradientText(graph.nodes[x]));
  return `${gradientText(node)} → ${to.join(", ")}`;
}

function play(on) {
  clearInterval(playing);
  playing = 0;
  if (on) {
    if (state.step === graph.steps.length) goto(0);
    const pause = Math.max(60, Math.min(650, 30_000 / Math.max(1, graph.steps.length)));
    playing = setInterval(() => {
      if (state.step >= graph.steps.length) play(false);
      else goto(state.step + 1);
    }, pause);
  }
  says.setAttribute("aria-live", playing ? "off" : "polite"); // or it would never end
  const label = playing ? "Pause" : "Play";
  playButton.replaceChildren(icon(playing ? "M4.5 3 V13 M11.5 3 V13" : "M4.5 2.5 L13 8 L4.5 13.5 Z", !playing), label);
  playButton.setAttribute("aria-label", `${label} (space)`);
  playButton.title = `${label} (space)`;
}

slider.addEventListener("input", () => {
  play(false);
  goto(Number(slider.value), false);
});

function markSlider() {
  const turnAt = graph.steps.findIndex((step) => step.way !== "forward");
  if (turnAt < 0) return;
  const share = (100 * turnAt) / graph.steps.length;
  const forward = h("span", { class: "forward" }, "forward");
  const backward = h("span", { class: "backward" }, "backward");
  forward.style.width = `${share}%`;
  backward.style.width = `${100 - share}%`;
  marks.append(forward, backward);
}

// --- choosing and tracing --------------------------------------------------------------

async function choose(what, far = false) {
  state.chosen = what;
  if (what && far) await reveal(what);
  showChosen();
  if (what) look(what, true, far);
  remember();
}

function showChosen() {
  const { chosen } = state;
  const was = panelElement.hidden;
  panel.show(chosen, state.step, theme());
  if (was !== panelElement.hidden) stage.classList.toggle("beside", !panelElement.hidden);
  const key = chosen && view ? (chosen.box !== undefined ? boxKey(chosen.box) : view.seenAt.get(chosen.node)) : null;
  const chip = chosen?.node !== undefined && graph.nodes[chosen.node].asChip ? (graph.turned.get(chosen.node) ?? chosen.node) : null;
  painter.choose(chip === null ? key : null, chip);
}

function targetOf(element) {
  const chip = element.closest?.("[data-node]");
  if (chip) return { node: Number(chip.dataset.node) };
  const card = element.closest?.("[data-key]");
  if (!card) return null;
  const id = Number(card.dataset.key.slice(1));
  return card.dataset.key[0] === "b" ? { box: id } : { node: id };
}

function act(element) {
  const toggle = element.closest?.("[data-fold]");
  if (toggle) return toggleBox(Number(toggle.dataset.fold));
  const target = targetOf(element);
  if (target?.box !== undefined) return toggleBox(target.box);
  return choose(target);
}

canvas.addEventListener("click", (event) => {
  if (event.defaultPrevented) return;
  act(event.target);
});
canvas.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  const key = event.target.dataset?.key ?? null;
  const fold = event.target.dataset?.fold ?? null;
  Promise.resolve(act(event.target)).then(() => {
    if (document.activeElement !== document.body && document.activeElement) return;
    const next = key ? canvas.querySelector(`[data-key="${key}"]`) ?? canvas.querySelector(`[data-fold="${key.slice(1)}"]`) : canvas.querySelector(`[data-key="b${fold}"]`);
    next?.focus();
  });
});

let traced = null;
function trace(target) {
  const key = target && JSON.stringify(target);
  if (key === traced) return;
  traced = key;
  if (!target) {
    painter.trace(null);
    return;
  }
  const starts = target.box !== undefined ? graph.boxes[target.box].ops : [target.node];
  const nodes = new Set([...reach(graph, starts, "up"), ...reach(graph, starts, "down")]);
  painter.trace(nodes);
}
let waiting = 0;
canvas.addEventListener("pointerover", (event) => {
  clearTimeout(waiting);
  const target = targetOf(event.target);
  // A short rest, so that crossing the picture does not make it flicker.
  waiting = setTimeout(() => trace(target), target ? 90 : 160);
});
canvas.addEventListener("pointerleave", () => {
  clearTimeout(waiting);
  trace(null);
});

// --- search ----------------------------------------------------------------------------

let index = null;
function indexed() {
  if (index) return index;
  index = new MiniSearch({ fields: ["name", "op", "kind", "layer", "source"], searchOptions: { boost: { name: 4, op: 2 }, prefix: true, fuzzy: (word) => (word.length > 3 ? 0.2 : false) } });
  index.addAll([
    ...graph.nodes.map((node) => ({
      id: `n${node.id}`,
      name: node.name,
      op: node.op ?? "",
      kind: `${node.kind} ${(node.badges ?? []).map((b) => b.word).join(" ")}`,
      layer: node.box >= 0 ? graph.boxes[node.box].title : "",
      source: node.line ? `${node.line[0]} ${node.line[3]}` : "",
    })),
    ...graph.boxes.map((box) => ({ id: `b${box.id}`, name: box.title, op: "", kind: `layer ${box.of}`, layer: "", source: "" })),
  ]);
  return index;
}

let picked = 0;
function searchFor(text) {
  let hits = text.trim() ? indexed().search(text, { combineWith: "AND" }) : [];
  if (!hits.length && text.trim()) hits = indexed().search(text);
  hits = hits.slice(0, 12);
  picked = 0;
  found.replaceChildren(
    ...hits.map(({ id }, i) => {
      const target = id[0] === "n" ? { node: Number(id.slice(1)) } : { box: Number(id.slice(1)) };
      const node = target.node === undefined ? null : graph.nodes[target.node];
      const item = h(
        "li",
        { role: "option", id: `hit${i}`, "aria-selected": i === 0 ? "true" : "false" },
        h("b", {}, node ? node.name : graph.boxes[target.box].title),
        h("span", { class: "muted" }, node ? [node.op ?? node.kind, shapeText(node), node.box >= 0 ? graph.boxes[node.box].title : ""].filter(Boolean).join(" · ") : "layer"),
      );
      item.addEventListener("pointerdown", (event) => {
        event.preventDefault();
        take(target);
      });
      item.target = target;
      return item;
    }),
  );
  if (text.trim() && !hits.length) found.append(h("li", { class: "none" }, "Nothing of that name."));
  const open = Boolean(text.trim());
  found.hidden = !open;
  search.setAttribute("aria-expanded", String(open));
  if (hits.length) search.setAttribute("aria-activedescendant", "hit0");
  else search.removeAttribute("aria-activedescendant");
}

function take(target) {
  search.value = "";
  searchFor("");
  search.blur();
  choose(target, true);
}

search.addEventListener("input", () => searchFor(search.value));
search.addEventListener("blur", () => setTimeout(() => searchFor(""), 120));
search.addEventListener("focus", () => searchFor(search.value));
search.addEventListener("keydown", (event) => {
  const items = [...found.querySelectorAll("[role=option]")];
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    if (!items.length) return;
    picked = (picked + (event.key === "ArrowDown" ? 1 : items.length - 1)) % items.length;
    items.forEach((item, i) => item.setAttribute("aria-selected", String(i === picked)));
    search.setAttribute("aria-activedescendant", `hit${picked}`);
  } else if (event.key === "Enter" && items[picked]) {
    event.preventDefault();
    take(items[picked].target);
  } else if (event.key === "Escape") {
    search.value = "";
    searchFor("");
    search.blur();
  }
  event.stopPropagation();
});

// --- help, keys, saving ----------------------------------------------------------------

function showHelp(on) {
  if (on) help.showModal();
  else help.close();
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  const onButton = event.target instanceof Element && event.target.closest("button, a, [role=button]");
  const keys = {
    ArrowRight: () => goto(state.step + 1),
    ArrowLeft: () => goto(state.step - 1),
    Home: () => goto(0),
    End: () => goto(graph.steps.length),
    "/": () => search.focus(),
    "?": () => showHelp(true),
    "+": () => select(canvas).call(camera.scaleBy, 1.25),
    "=": () => select(canvas).call(camera.scaleBy, 1.25),
    "-": () => select(canvas).call(camera.scaleBy, 0.8),
    0: () => fit(true),
    f: foldChosen,
    F: foldChosen,
    Escape: () => (playing ? play(false) : choose(null)),
  };
  if (event.key === " " && (!onButton || canvas.contains(event.target))) keys[" "] = () => play(!playing);
  const does = keys[event.key];
  if (!does) return;
  event.preventDefault();
  if (event.key.startsWith("Arrow") || event.key === "Home" || event.key === "End") play(false);
  does();
});

function foldChosen() {
  const { chosen } = state;
  if (!chosen) return;
  if (chosen.box !== undefined) toggleBox(chosen.box);
  else if (graph.nodes[chosen.node].box >= 0) toggleBox(graph.nodes[chosen.node].box);
}

function saveSvg() {
  const text = savedSvg(ground, layout, css, theme(), story.title);
  const address = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  const link = h("a", { href: address, download: `${(story.title ?? "graph").replace(/[^\p{L}\p{N} _-]+/gu, " ").trim().slice(0, 60) || "graph"}.svg` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

addEventListener("hashchange", () => {
  const before = [...state.open].sort().join();
  readAddress();
  applyTheme();
  if ([...state.open].sort().join() !== before) relayout();
  else redraw();
  showStep();
});

// --- begin -----------------------------------------------------------------------------

readAddress();
applyTheme();
play(false);
markSlider();
sayStep();
showChosen();
if (story.note) bottom.append(h("p", { class: "note" }, story.note));

relayout().then(() => {
  document.body.dataset.ready = "yes";
  window.explorer = { drawn: performance.now(), started, goto, steps: graph.steps.length, savedSvg: () => savedSvg(ground, layout, css, theme(), story.title) };
});
