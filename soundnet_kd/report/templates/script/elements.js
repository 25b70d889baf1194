"use strict";
// Elements of the page. Names of files and classes are only ever text: they enter it as text nodes, and plotly, which would
// read some markup in them, gets them from `plain`.

const $ = (id) => document.getElementById(id);
const percent = (share, digits = 0) => (share === null ? "–" : `${(100 * share).toFixed(digits)} %`);
const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
const readable = (name) => name.replaceAll("_", " ");
const plain = (name) => name.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function drawing(width, height, ...shapes) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  for (const [tag, attributes] of shapes) {
    const shape = document.createElementNS(space, tag);
    for (const [name, value] of Object.entries(attributes)) shape.setAttribute(name, value);
    svg.append(shape);
  }
  return svg;
}

function choices(select, names, values = names) {
  select.replaceChildren(...names.map((name, place) => element("option", { value: values[place], textContent: name })));
}

function table(target, headers, rows) {
  // Headers: [name, is a number]. Cells: text, a node, or [what is shown, what it is sorted by].
  const body = element("tbody");
  const shown = (cell) => (Array.isArray(cell) ? cell[0] : cell);
  const key = (cell) => (Array.isArray(cell) ? cell[1] : cell);
  const fill = () =>
    body.replaceChildren(
      ...rows.map((row) =>
        element(
          "tr",
          {},
          ...row.map((cell, place) => element("td", { className: headers[place][1] ? "number" : "" }, shown(cell))),
        ),
      ),
    );
  const heads = headers.map(([name, isNumber], place) => {
    const sort = () => {
      const falling = head.getAttribute("aria-sort") === (isNumber ? "none" : "ascending");
      const order = falling ? -1 : 1;
      rows.sort((one, other) => {
        const [a, b] = [key(one[place]), key(other[place])];
        if (a === null || b === null) return (a === null) - (b === null);
        return order * (typeof a === "number" ? a - b : String(a).localeCompare(String(b)));
      });
      for (const each of heads) each.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      fill();
    };
    const head = element(
      "th",
      { scope: "col", className: isNumber ? "number" : "", "aria-sort": "none" },
      element("button", { type: "button", textContent: name, onclick: sort }),
    );
    return head;
  });
  fill();
  target.replaceChildren(element("thead", {}, element("tr", {}, ...heads)), body);
}
