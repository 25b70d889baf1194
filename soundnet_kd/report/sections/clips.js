"use strict";
// Single clips: found by name, with their neighbors and the neurons that they excite.

starts.clips = ({ layers, channels, first }) => {
  const lower = page.clips.ids.map((id, clip) => `${id} ${className(trueClass(clip))}`.toLowerCase());
  const search = () => {
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = [...lower.keys()].filter((clip) => words.every((word) => lower[clip].includes(word)));
    $("found").replaceChildren(...found.slice(0, 50).map((clip) => clipRow(clip)));
    $("found-note").textContent =
      `${found.length} of ${lower.length} clips${found.length > 50 ? "; the first 50 are shown" : ""}`;
  };
  let opened = null;
  if (layers.length) {
    choices($("neighbor-layer"), layers);
    $("neighbor-layer").value = first;
    $("neighbor-layer").onchange = () => neighbors(opened);
  }
  const turn = turns();
  const neighbors = async (clip) => {
    const isLast = turn();
    const data = await load(`neighbors-${layers.indexOf($("neighbor-layer").value)}`);
    if (!isLast()) return;
    const alone = data.without_neighbors.includes(clip);
    $("neighbors-note").textContent = [alone ? "This clip is like no other here." : "", data.left_out]
      .filter(Boolean)
      .join(" ");
    const halves = decode(data.half_angle_sine).row(clip);
    const degrees = (place) => (2 * Math.asin(halves[place] / 65535) * 180) / Math.PI;
    $("neighbors").replaceChildren(
      ...Array.from(alone ? [] : decode(data.neighbors).row(clip), (other, place) =>
        clipRow(other, `${className(trueClass(other))}, ${degrees(place).toFixed(1)}° apart`),
      ),
    );
  };
  const showClip = async (id) => {
    const clip = page.clips.ids.indexOf(id);
    if (clip < 0) return;
    opened = clip;
    $("clip").hidden = false;
    $("clip-title").textContent = id;
    const large = clipRow(clip);
    large.classList.add("large");
    $("clip-player").replaceChildren(large);
    const facts = [["True class", className(trueClass(clip)), ""]];
    if (page.folds[clip]) facts.push(["Fold", String(page.folds[clip] + page.clips.folds_from - 1), ""]);
    facts.push([
      "Length",
      page.clips.seconds[clip] === null
        ? "cannot be played"
        : `${page.clips.seconds[clip] < page.clips.longest ? "" : "at least "}${page.clips.seconds[clip].toFixed(1)} s`,
      "",
    ]);
    for (const evaluation of page.sections.classes?.evaluations ?? []) {
      const predicted = decode((await load(`classes-${evaluation.number}`))[evaluation.best].predicted).values[clip];
      if (predicted)
        facts.push([
          `${evaluation.name}, ${evaluation.best}`,
          className(predicted - 1),
          predicted === page.labels[clip] ? "" : "wrong",
        ]);
    }
    $("clip-facts").replaceChildren(
      ...facts.map(([name, value, kind]) =>
        element(
          "div",
          {},
          element("dt", { textContent: name }),
          element("dd", { textContent: kind ? `${value} (wrong)` : value, className: kind }),
        ),
      ),
    );
    $("clip-neighbors").hidden = $("clip-layers").hidden = !layers.length;
    if (!layers.length) return;
    await neighbors(clip);
    const rows = [];
    for (const [place, layer] of layers.entries()) {
      const data = await load(`neighbors-${place}`);
      const activated = decode(data.activated).values[clip];
      const ranks = decode(data.ranks).row(clip);
      const links = Array.from(decode(data.neurons).row(clip), (number, rank) => {
        const text = `${number} (${ranks[rank]})`;
        return page.sections.neurons?.layers.includes(layer)
          ? element("a", { href: `#neuron=${layer},${number}`, textContent: text })
          : text;
      });
      const bar = drawing(100, 10, [
        "rect",
        { width: Math.min(100, (100 * activated) / channels[place]), height: 10 },
      ]);
      rows.push(
        element(
          "tr",
          {},
          element("th", { scope: "row", textContent: layer }),
          element("td", { className: "bar" }, bar),
          element("td", { className: "number", textContent: `${activated} of ${channels[place]}` }),
          element("td", {}, ...links.flatMap((link) => [link, " "])),
        ),
      );
    }
    if (opened === clip) $("layers").replaceChildren(element("tbody", {}, ...rows));
  };
  addresses.clip = async (id) => {
    await showClip(id);
    $("clip").scrollIntoView();
    $("clip-title").focus({ preventScroll: true });
  };
  $("search").oninput = search;
  search();
};
