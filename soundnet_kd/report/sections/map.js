"use strict";
// The maps of the clips.

starts.map = ({ maps, first }) => {
  choices(
    $("map-choice"),
    maps.map((each) => each.name),
    maps.map((_, place) => place),
  );
  $("map-choice").value = first;
  const { classes, categories } = page.clips;
  if (categories) choices($("map-colour"), ["category", "class"]);
  else $("map-colour-label").hidden = true;
  const turn = turns();
  const show = async () => {
    const isLast = turn();
    const map = maps[$("map-choice").value];
    const data = await load(`map-${$("map-choice").value}`);
    if (!isLast()) return;
    const [x, y] = [decode(data.x).values, decode(data.y).values];
    const missing = new Set(data.missing);
    $("map-note").textContent = map.note + (data.shortened ? "\nwide strips without a clip are shortened" : "");
    const byCategory = $("map-colour").value === "category";
    const groupOf = (label) => (label < 0 ? -1 : byCategory ? categories.of[label] : label);
    const groups = new Map();
    page.labels.forEach((label, clip) => {
      const group = groupOf(label - 1);
      if (!groups.has(group)) groups.set(group, []);
      if (!missing.has(clip)) groups.get(group).push(clip);
    });
    plot(
      $("map-plot"),
      (style) => ({
        traces: [...groups]
          .sort(([one], [other]) => one - other)
          .map(([group, clips]) => ({
            type: page.labels.length > 10000 ? "scattergl" : "scatter",
            mode: "markers",
            x: clips.map((clip) => x[clip] / 65535),
            y: clips.map((clip) => y[clip] / 65535),
            name: plain(group < 0 ? "no class" : byCategory ? categories.names[group] : readable(classes[group])),
            customdata: clips,
            text: clips.map((clip) => `${plain(page.clips.ids[clip])}<br>${plain(className(trueClass(clip)))}`),
            hoverinfo: "text",
            marker: {
              size: 7,
              opacity: 0.8,
              color: group < 0 ? style("--soft") : groupColor(group, style),
              symbol: groupSymbol(Math.max(0, group)),
            },
          })),
        layout: {
          margin: { l: 5, r: 5, t: 5, b: 5 },
          xaxis: { visible: false, automargin: false },
          yaxis: { visible: false, automargin: false, scaleanchor: "x" },
          legend: { orientation: "h", y: -0.02, yanchor: "top", itemsizing: "constant" },
        },
      }),
      (point) => {
        play(point.customdata);
      },
    );
  };
  $("map-choice").onchange = show;
  $("map-colour").onchange = show;
  whenSeen($("map"), show);
};
