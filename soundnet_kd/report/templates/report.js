"use strict";
// The script of a report. Its data come in script files (data/*.js), each of which calls `provide`; those that are not
// needed at once are loaded when somebody asks for them. Names are only ever text: they enter the page as text nodes,
// and plotly, which would read some markup in them, gets them from `plain`.

const waiting = new Map();
const provided = new Map();

function provide(name, value) {
  provided.set(name, value);
  if (waiting.has(name)) waiting.get(name).resolve(value);
}

function script(file) {
  return new Promise((resolve, reject) => {
    const element = document.createElement("script");
    element.src = file;
    element.onload = resolve;
    element.onerror = () => reject(new Error(`${file} is missing; make the report again`));
    document.head.append(element);
  });
}

function load(name) {
  if (provided.has(name)) return Promise.resolve(provided.get(name));
  if (!waiting.has(name)) {
    const entry = {};
    entry.promise = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
    waiting.set(name, entry);
    script(`data/${name}.js`).catch(entry.reject);
  }
  return waiting.get(name).promise;
}

// ---- numbers and elements

function unpack({ bits, shape, data }) {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const values = new { 8: Uint8Array, 16: Uint16Array, 32: Uint32Array }[bits](bytes.buffer);
  const width = shape.length > 1 ? shape[1] : 1;
  return { values, width, row: (number) => values.subarray(number * width, (number + 1) * width) };
}

const $ = (id) => document.getElementById(id);
const percent = (share, digits = 0) => (share === null ? "–" : `${(100 * share).toFixed(digits)} %`);
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
        element("tr", {}, ...row.map((cell, place) => element("td", { className: headers[place][1] ? "number" : "" }, shown(cell)))),
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
    const head = element("th", { scope: "col", className: isNumber ? "number" : "", "aria-sort": "none" },
      element("button", { type: "button", textContent: name, onclick: sort }));
    return head;
  });
  fill();
  target.replaceChildren(element("thead", {}, element("tr", {}, ...heads)), body);
}

// ---- clips, and their sounds

const page = { clips: null };

function waveform(clip) {
  const { values: peaks, width } = page.peaks;
  const row = peaks.subarray(clip * width, (clip + 1) * width);
  const upper = Array.from(row, (peak, place) => `${place} ${(50 - peak / 5.2).toFixed(1)}`);
  const lower = Array.from(row, (peak, place) => `${place} ${(50 + peak / 5.2).toFixed(1)}`).reverse();
  return drawing(width - 1, 100, ["path", { d: `M${upper.concat(lower).join("L")}Z` }]);
}

const className = (number) => (number < 0 ? "no class" : readable(page.clips.classes[number]));
const trueClass = (clip) => page.labels[clip] - 1;
const clipLink = (clip) => `#clip=${encodeURIComponent(page.clips.ids[clip])}`;

function play(clip) {
  const file = page.clips.files[clip];
  if (!file) return;
  const audio = $("audio");
  audio.src = `sounds/${file}`;
  $("player").hidden = false;
  $("player-name").textContent = `${page.clips.ids[clip]} (${className(trueClass(clip))})`;
  $("player-name").href = clipLink(clip);
  audio.play().catch(() => {}); // A browser that wants the listener to start it shows its own button.
}

function playButton(clip) {
  const id = page.clips.ids[clip];
  return page.clips.files[clip]
    ? element("button", { type: "button", textContent: "▶", "aria-label": `Play ${id}`, onclick: () => play(clip) })
    : element("button", { type: "button", textContent: "–", disabled: true, title: "This sound could not be read", "aria-label": `${id} cannot be played` });
}

function clipRow(clip, note = className(trueClass(clip))) {
  const text = element("div", {}, element("a", { href: clipLink(clip), textContent: page.clips.ids[clip] }), element("small", { textContent: note }));
  return element("div", { className: "clip", "data-clip": page.clips.ids[clip] }, playButton(clip), waveform(clip), text);
}

// ---- plots

const COLOURS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8C6D1F", "#7A7A7A"];
const SYMBOLS = ["circle", "triangle-up", "square", "cross", "x", "triangle-down", "star"];
const drawn = new Map();

async function plot(target, make, onClick) {
  drawn.set(target, [make, onClick]);
  if (!page.plotly) page.plotly = script("plotly.min.js");
  await page.plotly;
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const { traces, layout } = make(style);
  const axis = { gridcolor: style("--grid"), linecolor: style("--line"), zerolinecolor: style("--line"), automargin: true };
  const common = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: style("--text"), size: 12 },
    margin: { l: 50, r: 10, t: 36, b: 44 }, hovermode: "closest", hoverlabel: { align: "left" },
    legend: { orientation: "h", y: -0.2, yanchor: "top" },
    ...layout, xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis },
  };
  const options = {
    responsive: true, displaylogo: false, showSendToCloud: false,
    toImageButtonOptions: { format: "svg", filename: target.id || "plot" },
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  };
  await Plotly.react(target, traces, common, options);
  if (onClick && !target.dataset.listens) {
    target.dataset.listens = "yes";
    target.on("plotly_click", (event) => drawn.get(target)[1](event.points[0]));
  }
}

const title = (text) => ({ text: plain(text), x: 0, xanchor: "left", font: { size: 13 } });

function whenSeen(target, act) {
  new IntersectionObserver((entries, observer) => {
    if (entries.some((entry) => entry.isIntersecting)) {
      observer.disconnect();
      act();
    }
  }, { rootMargin: "300px" }).observe(target);
}

// ---- sections

function showTraining(training, target) {
  // Curves that measure the same thing share a plot: loss_objects and loss_scenes, in training and held out.
  const groups = new Map();
  for (const curve of training) {
    const [, stage, figure] = curve.figure.match(/^(?:(train|validation)\/)?(.*)$/);
    const kind = figure.match(/^(loss|accuracy|agreement|learning_rate|error)/)?.[0] ?? figure;
    if (!groups.has(kind)) groups.set(kind, []);
    groups.get(kind).push({ ...curve, label: [readable(figure), stage === "validation" ? "held out" : "", curve.fold ? `fold ${curve.fold}` : ""].filter(Boolean).join(", "), dash: stage === "validation" ? "dash" : "solid" });
  }
  const wanted = [...groups].filter(([kind]) => /loss|accuracy|agreement|error|learning_rate/.test(kind));
  for (const [kind, curves] of wanted) {
    const box = element("div", { className: "plot", role: "img", "aria-label": `${readable(kind)} over the steps` });
    target.append(box);
    const shares = kind === "accuracy" || kind === "agreement";
    plot(box, () => ({
      traces: curves.map((curve, place) => ({
        x: curve.steps, y: curve.values, name: plain(curve.label), mode: curve.steps.length < 30 ? "lines+markers" : "lines",
        line: { color: COLOURS[place % COLOURS.length], dash: curve.dash },
      })),
      layout: { title: title(readable(kind)), xaxis: { title: { text: "step" } }, yaxis: shares ? { tickformat: ".0%", range: [0, 1] } : {} },
    }));
  }
}

function startClasses(run) {
  const show = async () => {
    const evaluation = run.evaluations[$("evaluation").value];
    const layer = $("answers-layer").value;
    const data = (await load(`answers-${evaluation.number}`))[layer];
    const confusion = unpack(data.confusion);
    const count = page.clips.classes.length;
    const names = page.clips.classes.map(readable);
    page.answers = { predicted: unpack(data.predicted).values, confusion, evaluation, layer };
    $("answers-note").textContent = evaluation.notes[layer];
    const shares = [];
    const words = [];
    for (let row = 0; row < count; row += 1) {
      const clips = confusion.row(row);
      const all = clips.reduce((sum, each) => sum + each, 0);
      shares.push(Array.from(clips, (each) => (each ? each / all : null)));
      words.push(Array.from(clips, (each, column) => `${plain(names[row])} taken for ${plain(names[column])}<br>${each} of ${all} clips${all ? ` (${percent(each / all)})` : ""}`));
    }
    const ticks = (size) => ({ tickvals: names.map((_, place) => place), ticktext: names.map((name) => plain(name.length > 22 ? `${name.slice(0, 21)}…` : name)), tickfont: { size }, showgrid: false, zeroline: false });
    plot($("confusion"), (style) => {
      const size = $("confusion").clientWidth < 600 ? (count > 20 ? 0 : 9) : count > 20 ? 10 : 12;
      const few = size === 0 ? { showticklabels: false } : {};
      return {
        traces: [{ z: shares, text: words, hoverinfo: "text", type: "heatmap", zmin: 0, zmax: 1, xgap: 0.5, ygap: 0.5, colorscale: darkScale(style), colorbar: { tickformat: ".0%", thickness: 10, len: 0.6, title: { text: "" } } }],
        layout: {
          margin: { l: 40, r: 10, t: 10, b: 40 },
          xaxis: { ...ticks(size), ...few, tickangle: count > 6 ? -90 : 0, title: { text: "taken for" } },
          yaxis: { ...ticks(size), ...few, autorange: "reversed", title: { text: "true class" } },
        },
      };
    }, (point) => showCell(point.y, point.x));
    table($("pairs"), [["Classes", false], ["Clips", true], ["Share", true]], data.pairs.map(([first, second, forth, back, share]) => {
      const go = element("a", { href: "#cell-title", textContent: `${names[first]} / ${names[second]}`, onclick: (event) => { event.preventDefault(); showCell(first, second, true); } });
      return [[go, names[first]], [`${forth} + ${back}`, forth + back], [percent(share), share]];
    }));
    table($("scores"), [["Class", false], ["Clips", true], ["Recall", true], ["± folds", true], ["Precision", true], ["F1", true]], names.map((name, place) => {
      const go = element("a", { href: "#cell-title", textContent: name, onclick: (event) => { event.preventDefault(); showCell(place, place, true); } });
      return [[go, name], [String(data.clips[place]), data.clips[place]], ...[data.recall, data.recall_std, data.precision, data.f1].map((scores) => [percent(scores[place]), scores[place]])];
    }));
    $("scores").querySelectorAll("th button")[2].click();
    const [first, second] = data.pairs[0] ?? [0, 0];
    showCell(first, second);
  };
  const showCell = (row, column, focus = false) => {
    const { predicted, confusion, layer } = page.answers;
    $("cell-true").value = row;
    $("cell-given").value = column;
    const found = [...page.labels.keys()].filter((clip) => page.labels[clip] === row + 1 && predicted[clip] === column + 1);
    const count = confusion.row(row)[column];
    $("cell-title").textContent = row === column ? `${className(row)}, recognised from ${layer}: ${count} clips` : `${className(row)} taken for ${className(column)} from ${layer}: ${count} clips`;
    $("cell-clips").replaceChildren(...found.slice(0, 6).map((clip) => clipRow(clip)));
    if (found.length > 6) {
      const more = element("button", { type: "button", textContent: `Show all ${found.length}`, onclick: () => $("cell-clips").replaceChildren(...found.map((clip) => clipRow(clip))) });
      $("cell-clips").append(more);
    }
    if (focus) {
      $("cell-title").focus({ preventScroll: true });
      $("cell-title").scrollIntoView({ block: "nearest" });
    }
    return found;
  };
  const layers = () => {
    const { layers: names, best } = run.evaluations[$("evaluation").value];
    choices($("answers-layer"), names);
    $("answers-layer").value = best;
  };
  choices($("evaluation"), run.evaluations.map((each) => each.name), run.evaluations.map((_, place) => place));
  for (const id of ["cell-true", "cell-given"]) {
    choices($(id), page.clips.classes.map(readable), page.clips.classes.map((_, place) => place));
    $(id).onchange = () => showCell(Number($("cell-true").value), Number($("cell-given").value));
  }
  $("evaluation").onchange = () => { layers(); show(); };
  $("answers-layer").onchange = show;
  layers();
  whenSeen($("classes"), show);
}

function darkScale(style) {
  const back = style("--panel");
  return [[0, back], [0.000001, back], [0.25, "#7fb2d9"], [0.6, "#2f74b5"], [1, "#0a2a55"]];
}

function startNeurons(run) {
  const { layers, shares, chance } = run.neurons;
  choices($("neuron-layer"), layers);
  choices($("neuron-class"), ["any class", ...page.clips.classes.map(readable)], ["", ...page.clips.classes.map((_, place) => place)]);
  let current = { layer: run.neurons.first, number: null };
  const data = () => load(`neurons-${layers.indexOf(current.layer)}`);

  const list = async () => {
    const found = await data();
    const wanted = $("neuron-class").value;
    const numbers = found.best.map((_, number) => number).filter((number) => wanted === "" || found.best[number] === Number(wanted));
    numbers.sort((one, other) => found.share[other] - found.share[one]);
    $("neuron-list").replaceChildren(...numbers.map((number) => element("a", { href: `#neuron=${current.layer},${number}`, textContent: `${number}: ${percent(found.share[number])}`, title: className(found.best[number]) })));
    if (!numbers.length) $("neuron-list").textContent = `No neuron of ${current.layer} has ${$("neuron-class").selectedOptions[0].textContent} as its best class.`;
    return numbers;
  };

  const show = async () => {
    const found = await data();
    const { layer } = current;
    const number = Math.min(Math.max(0, current.number ?? 0), found.best.length - 1);
    current.number = number;
    $("neuron-layer").value = layer;
    $("neuron-number").value = number;
    $("neuron-number").max = found.best.length - 1;
    for (const chip of $("neuron-list").querySelectorAll("a")) {
      if (chip.hash === `#neuron=${layer},${number}`) chip.setAttribute("aria-current", "true");
      else chip.removeAttribute("aria-current");
    }
    const best = found.best[number];
    $("neuron-title").textContent = best < 0 ? `${layer}, neuron ${number}: silent` : `${layer}, neuron ${number}: ${className(best)} ${percent(found.share[number])}`;
    $("neuron-note").textContent =
      `${found.activated[number]} clips lie above its line at ${found.threshold[number]}. Its best share is ${found.above[number] ? "" : "not "}above chance: ` +
      `with shuffled labels one as large has p = ${found.p[number]}, corrected for the layer's neurons q = ${found.q[number]}.`;
    const [least, most] = [found.least[number], found.most[number]];
    const heights = Array.from(unpack(found.curve).row(number), (height) => least + (height / 65535) * (most - least));
    plot($("neuron-curve"), (style) => ({
      traces: [{ x: found.ranks.map((rank) => rank + 1), y: heights, mode: "lines", line: { color: style("--bar") }, hovertemplate: "place %{x}: %{y:.4g}<extra></extra>" }],
      layout: {
        title: title("Activation by all clips, the strongest first"), xaxis: { title: { text: "clips" } }, showlegend: false,
        shapes: [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: found.threshold[number], y1: found.threshold[number], line: { color: style("--warm"), dash: "dash", width: 1.5 } }],
        annotations: [{ xref: "paper", x: 1, y: found.threshold[number], text: `${run.neurons.percentile} % line`, showarrow: false, xanchor: "right", yanchor: "bottom", font: { color: style("--warm") } }],
      },
    }));
    const counts = unpack(found.counts).row(number);
    const classes = [...counts.keys()].filter((each) => counts[each]).sort((one, other) => counts[other] - counts[one]).slice(0, 12).reverse();
    plot($("neuron-classes"), (style) => ({
      traces: [{ type: "bar", orientation: "h", x: classes.map((each) => counts[each] / found.expected), y: classes.map((_, place) => place), text: classes.map((each) => `${plain(className(each))}: ${counts[each]} clips`), textposition: "none", hoverinfo: "text", marker: { color: style("--bar") } }],
      layout: {
        title: title("Classes of the clips above the line"), showlegend: false, xaxis: { tickformat: ".0%", rangemode: "tozero" },
        yaxis: { tickvals: classes.map((_, place) => place), ticktext: classes.map((each) => plain(className(each))), showgrid: false },
        shapes: [{ type: "line", yref: "paper", y0: 0, y1: 1, x0: found.chance, x1: found.chance, line: { color: style("--soft"), dash: "dash", width: 1 } }],
        annotations: [{ yref: "paper", y: 0, x: found.chance, text: "chance", showarrow: false, xanchor: "left", yanchor: "bottom", font: { color: style("--soft") } }],
      },
    }));
    $("neuron-clips").replaceChildren(...Array.from(unpack(found.top).row(number), (clip) => clipRow(clip)));
  };

  page.showNeuron = async (layer, number) => {
    if (!layers.includes(layer)) return;
    const moved = layer !== current.layer || !$("neuron-list").childNodes.length;
    current = { layer, number };
    if (moved) await list();
    await show();
  };
  const first = async () => {
    const numbers = await list();
    if (numbers.length) await page.showNeuron(current.layer, numbers[0]);
  };
  $("neuron-layer").value = current.layer;
  $("neuron-layer").onchange = () => { current = { layer: $("neuron-layer").value, number: null }; first(); };
  $("neuron-class").onchange = first;
  $("neuron-number").onchange = () => page.showNeuron(current.layer, Number($("neuron-number").value));
  whenSeen($("neurons"), () => { if (current.number === null) first(); });
  whenSeen($("depth"), () => plot($("depth"), (style) => ({
    traces: layers.map((layer, place) => ({
      x: shares[layer].map((_, rank) => (rank + 0.5) / shares[layer].length), y: shares[layer], mode: "lines", name: plain(layer),
      line: { color: `hsl(${260 - (200 * place) / Math.max(1, layers.length - 1)} 65% ${45 + (place % 2) * 12}%)`, width: 2 }, hovertemplate: `${plain(layer)}: %{y:.1%}<extra></extra>`,
    })),
    layout: {
      title: title("Share of the best class of every neuron"), xaxis: { tickformat: ".0%", title: { text: "neurons of the layer, the most selective first" } }, yaxis: { tickformat: ".0%", rangemode: "tozero" },
      shapes: [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: chance, y1: chance, line: { color: style("--soft"), dash: "dash", width: 1 } }],
      annotations: [{ xref: "paper", x: 1, y: chance, text: "95 % of shuffled labels", showarrow: false, xanchor: "right", yanchor: "bottom", font: { color: style("--soft") } }],
    },
  })));
}

function startMap(run) {
  choices($("map-choice"), run.maps.map((each) => each.name), run.maps.map((_, place) => place));
  const { classes, categories } = page.clips;
  if (categories) choices($("map-colour"), ["category", "class"]);
  else $("map-colour-label").hidden = true;
  const show = async () => {
    const map = run.maps[$("map-choice").value];
    const data = await load(`map-${$("map-choice").value}`);
    const [x, y] = [unpack(data.x).values, unpack(data.y).values];
    const missing = new Set(data.missing);
    $("map-note").textContent = map.note;
    const byCategory = $("map-colour").value === "category";
    const groupOf = (label) => (label < 0 ? -1 : byCategory ? categories.of[label] : label);
    const groups = new Map();
    page.labels.forEach((label, clip) => {
      const group = groupOf(label - 1);
      if (!groups.has(group)) groups.set(group, []);
      if (!missing.has(clip)) groups.get(group).push(clip);
    });
    plot($("map-plot"), (style) => ({
      traces: [...groups].sort(([one], [other]) => one - other).map(([group, clips]) => ({
        type: page.labels.length > 10000 ? "scattergl" : "scatter", mode: "markers",
        x: clips.map((clip) => x[clip] / 65535), y: clips.map((clip) => y[clip] / 65535),
        name: plain(group < 0 ? "no class" : byCategory ? categories.names[group] : readable(classes[group])),
        customdata: clips, text: clips.map((clip) => `${plain(page.clips.ids[clip])}<br>${plain(className(trueClass(clip)))}`), hoverinfo: "text",
        marker: { size: 7, opacity: 0.8, color: group < 0 ? style("--soft") : COLOURS[group % COLOURS.length], symbol: SYMBOLS[Math.floor(Math.max(0, group) / COLOURS.length) % SYMBOLS.length] },
      })),
      layout: {
        margin: { l: 5, r: 5, t: 5, b: 5 }, xaxis: { visible: false, automargin: false }, yaxis: { visible: false, automargin: false, scaleanchor: "x" },
        legend: { orientation: "h", y: -0.02, yanchor: "top", itemsizing: "constant" },
      },
    }), (point) => { play(point.customdata); });
  };
  $("map-choice").onchange = show;
  $("map-colour").onchange = show;
  whenSeen($("map"), show);
}

function startClips(run) {
  const lower = page.clips.ids.map((id, clip) => `${id} ${className(trueClass(clip))}`.toLowerCase());
  const search = () => {
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = [...lower.keys()].filter((clip) => words.every((word) => lower[clip].includes(word)));
    $("found").replaceChildren(...found.slice(0, 50).map((clip) => clipRow(clip)));
    $("found-note").textContent = `${found.length} of ${lower.length} clips${found.length > 50 ? "; the first 50 are shown" : ""}`;
  };
  let opened = null;
  const layers = run.relatives;
  if (layers.length) {
    choices($("neighbor-layer"), layers);
    $("neighbor-layer").value = run.relatives_first;
    $("neighbor-layer").onchange = () => neighbors(opened);
  }
  const neighbors = async (clip) => {
    const data = await load(`relatives-${layers.indexOf($("neighbor-layer").value)}`);
    const similarity = unpack(data.similarity).row(clip);
    $("neighbors").replaceChildren(...Array.from(unpack(data.neighbors).row(clip), (other, place) => clipRow(other, `${className(trueClass(other))}, cosine ${((2 * similarity[place]) / 255 - 1).toFixed(2)}`)));
  };
  page.showClip = async (id) => {
    const clip = page.clips.ids.indexOf(id);
    if (clip < 0) return;
    opened = clip;
    $("clip").hidden = false;
    $("clip-title").textContent = id;
    const large = clipRow(clip);
    large.classList.add("large");
    $("clip-player").replaceChildren(large);
    const facts = [["True class", className(trueClass(clip)), ""]];
    if (page.folds[clip]) facts.push(["Fold", String(page.folds[clip]), ""]);
    facts.push(["Length", page.clips.seconds[clip] === null ? "cannot be played" : `${page.clips.seconds[clip].toFixed(1)} s${page.clips.cut ? " at most" : ""}`, ""]);
    for (const evaluation of run.evaluations ?? []) {
      const predicted = unpack((await load(`answers-${evaluation.number}`))[evaluation.best].predicted).values[clip];
      if (predicted) facts.push([`${evaluation.name}, ${evaluation.best}`, className(predicted - 1), predicted === page.labels[clip] ? "" : "wrong"]);
    }
    $("clip-facts").replaceChildren(...facts.map(([name, value, kind]) => element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: kind ? `${value} (wrong)` : value, className: kind }))));
    $("clip-neighbors").hidden = $("clip-layers").hidden = !layers.length;
    if (!layers.length) return;
    await neighbors(clip);
    const rows = [];
    for (const [place, layer] of layers.entries()) {
      const data = await load(`relatives-${place}`);
      const activated = unpack(data.activated).values[clip];
      const ranks = unpack(data.ranks).row(clip);
      const links = Array.from(unpack(data.neurons).row(clip), (number, rank) => {
        const text = `${number} (${ranks[rank]})`;
        return run.neurons?.layers.includes(layer) ? element("a", { href: `#neuron=${layer},${number}`, textContent: text }) : text;
      });
      const bar = drawing(100, 10, ["rect", { width: Math.min(100, (100 * activated) / run.relatives_neurons[place]), height: 10 }]);
      rows.push(element("tr", {}, element("th", { scope: "row", textContent: layer }), element("td", { className: "bar" }, bar), element("td", { className: "number", textContent: `${activated} of ${run.relatives_neurons[place]}` }), element("td", {}, ...links.flatMap((link) => [link, " "]))));
    }
    if (opened === clip) $("layers").replaceChildren(element("tbody", {}, ...rows));
  };
  $("search").oninput = search;
  search();
}

async function route() {
  const [, kind, value] = location.hash.match(/^#(clip|neuron)=(.*)$/) ?? [];
  if (kind === "clip" && page.showClip) {
    await page.showClip(decodeURIComponent(value));
    $("clip").scrollIntoView();
    $("clip-title").focus({ preventScroll: true });
  } else if (kind === "neuron" && page.showNeuron) {
    const [layer, number] = decodeURIComponent(value).split(",");
    await page.showNeuron(layer, Number(number));
    $("neuron-title").scrollIntoView();
    $("neuron-title").focus({ preventScroll: true });
  }
}

async function start() {
  const run = await load("run");
  if ($("clips")) {
    page.clips = await load("clips");
    page.labels = unpack(page.clips.labels).values;
    page.folds = unpack(page.clips.folds).values;
    page.peaks = unpack(page.clips.peaks);
    startClips(run);
  }
  for (const target of document.querySelectorAll("[data-training]")) {
    whenSeen(target, () => showTraining(run.trainings[Number(target.dataset.training)], target));
  }
  if ($("classes")) startClasses(run);
  if ($("neurons")) startNeurons(run);
  if ($("map")) startMap(run);
  $("player-again").onclick = () => { $("audio").currentTime = 0; $("audio").play(); };
  window.addEventListener("hashchange", route);
  // Plots take their colours from the page.
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const [target, [make, onClick]] of drawn) plot(target, make, onClick);
  });
  document.documentElement.dataset.ready = "yes";
  await route();
}

document.addEventListener("DOMContentLoaded", start);
