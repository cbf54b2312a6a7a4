// The picture as an SVG file that stands alone: its rules of style travel with it.

const SPACE = "http://www.w3.org/2000/svg";

/** Return the text of the file: what is drawn, as it is drawn, at its natural size. */
export function savedSvg(ground, layout, css, theme, title) {
  const margin = 24;
  const width = Math.ceil(layout.width + 2 * margin);
  const height = Math.ceil(layout.height + 2 * margin);
  const picture = document.createElementNS(SPACE, "svg");
  picture.setAttribute("xmlns", SPACE);
  picture.setAttribute("viewBox", `${-margin} ${-margin} ${width} ${height}`);
  picture.setAttribute("width", width);
  picture.setAttribute("height", height);
  picture.setAttribute("class", "canvas");
  picture.setAttribute("data-theme", theme);
  const style = document.createElementNS(SPACE, "style");
  style.textContent = css;
  const paper = document.createElementNS(SPACE, "rect");
  for (const [name, value] of Object.entries({ x: -margin, y: -margin, width, height, class: "ground" })) {
    paper.setAttribute(name, value);
  }
  const copy = ground.cloneNode(true);
  copy.removeAttribute("transform");
  for (const element of copy.querySelectorAll("[tabindex]")) element.removeAttribute("tabindex");
  if (title) {
    const words = document.createElementNS(SPACE, "title");
    words.textContent = title;
    picture.append(words);
  }
  picture.append(style, paper, copy);
  return new XMLSerializer().serializeToString(picture);
}
