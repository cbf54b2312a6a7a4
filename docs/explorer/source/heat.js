// Maps of numbers as small pictures. Colours: RdBu of ColorBrewer on light ground, Berlin
// of Fabio Crameri on dark (both published for maps around zero, and safe for readers who
// see red and green alike).

const SCALES = {
  light: ["#053061", "#1c5c9f", "#3783bb", "#6bacd1", "#a7d0e4", "#d7e8f1", "#f7f6f6", "#fcdfcf", "#f7b799", "#e48066", "#c94741", "#a51429", "#67001f"],
  dark: ["#9eb0ff", "#6ca9e6", "#3e90bc", "#286886", "#1a4256", "#11212a", "#190c09", "#310f00", "#501803", "#7d341e", "#a85a4a", "#d2837a", "#ffadad"],
};
const NAN = [214, 0, 214];
const INFINITE = [255, 176, 0];

const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
const tables = {};

/** 253 colours; the outermost are so dark that they are left to themselves. */
function tableOf(theme) {
  if (!tables[theme]) {
    const marks = SCALES[theme].map(rgb);
    tables[theme] = Array.from({ length: 253 }, (_, i) => {
      const at = (i / 252) * (marks.length - 1);
      const low = Math.min(Math.floor(at), marks.length - 2);
      return marks[low].map((c, k) => Math.round(c + (marks[low + 1][k] - c) * (at - low)));
    });
  }
  return tables[theme];
}

export function colourOf(share, theme) {
  if (Number.isNaN(share)) return NAN;
  if (!Number.isFinite(share)) return INFINITE;
  return tableOf(theme)[126 + Math.round(104 * Math.max(-1, Math.min(1, share)))];
}

/** Cells of a field as shares of its top: −1 … 1, NaN, ±Infinity. */
export function cellsOf(field) {
  if (!field.cells) {
    const bytes = Int8Array.from(atob(field.map), (c) => (c.charCodeAt(0) << 24) >> 24);
    field.cells = Float32Array.from(bytes, (b) =>
      b === -128 ? NaN : b === 127 ? Infinity : b === -127 ? -Infinity : b / 126,
    );
  }
  return field.cells;
}

/** The sum of shares as far as they have arrived: a field to look at, with few numbers. */
export function sumOf(fields) {
  const first = fields[0];
  const total = new Float64Array(cellsOf(first).length);
  for (const field of fields) {
    const top = Number(field.top);
    cellsOf(field).forEach((share, i) => {
      total[i] += Number.isFinite(share) ? share * top : share;
    });
  }
  let top = 0;
  for (const x of total) if (Number.isFinite(x)) top = Math.max(top, Math.abs(x));
  const x = first.x?.map((_, i) => fields.reduce((sum, field) => sum + Number(field.x[i]), 0));
  return {
    rows: first.rows,
    cols: first.cols,
    top,
    n: first.n,
    x,
    cells: Float32Array.from(total, (y) => (Number.isFinite(y) && top ? y / top : y)),
  };
}

const canvas = document.createElement("canvas");
const pen = canvas.getContext("2d", { willReadFrequently: true });

/** A picture of the map, a pixel a cell. */
export function pictureOf(field, theme) {
  field.pictures ??= {};
  if (!field.pictures[theme]) {
    canvas.width = field.cols;
    canvas.height = field.rows;
    const image = pen.createImageData(field.cols, field.rows);
    cellsOf(field).forEach((share, i) => {
      const [r, g, b] = colourOf(share, theme);
      image.data.set([r, g, b, 255], 4 * i);
    });
    pen.putImageData(image, 0, 0);
    field.pictures[theme] = canvas.toDataURL();
  }
  return field.pictures[theme];
}

const widths = new Map();

/** Width of a text in pixels. */
export function widthOf(text, font) {
  const key = `${font}|${text}`;
  if (!widths.has(key)) {
    pen.font = font;
    widths.set(key, pen.measureText(text).width);
  }
  return widths.get(key);
}

/** A text that fits, its end replaced by an ellipsis where it must be. */
export function fitted(text, room, font) {
  if (widthOf(text, font) <= room) return text;
  const letters = [...text];
  let low = 0;
  let high = letters.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (widthOf(`${letters.slice(0, middle).join("")}…`, font) <= room) low = middle;
    else high = middle - 1;
  }
  return `${letters.slice(0, low).join("").trimEnd()}…`;
}
