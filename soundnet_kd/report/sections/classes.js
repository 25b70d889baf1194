"use strict";
// What an evaluation says of the classes: the confusion, its pairs, the scores, and the clips of a cell.

starts.classes = ({ evaluations }) => {
  const turn = turns();
  let shown = null;
  const show = async () => {
    const isLast = turn();
    const evaluation = evaluations[$("evaluation").value];
    const layer = $("classes-layer").value;
    const data = (await load(`classes-${evaluation.number}`))[layer];
    if (!isLast()) return;
    const confusion = decode(data.confusion);
    const count = page.clips.classes.length;
    const names = page.clips.classes.map(readable);
    shown = { predicted: decode(data.predicted).values, confusion, layer };
    $("classes-note").textContent = evaluation.notes[layer];
    const shares = [];
    const words = [];
    for (let row = 0; row < count; row += 1) {
      const clips = confusion.row(row);
      const all = clips.reduce((sum, each) => sum + each, 0);
      shares.push(Array.from(clips, (each) => (each ? each / all : null)));
      words.push(
        Array.from(
          clips,
          (each, column) =>
            `${plain(names[row])} taken for ${plain(names[column])}<br>${each} of ${all} clips${all ? ` (${percent(each / all)})` : ""}`,
        ),
      );
    }
    const ticks = (size) => ({
      tickvals: names.map((_, place) => place),
      ticktext: names.map((name) => plain(name.length > 22 ? `${name.slice(0, 21)}…` : name)),
      tickfont: { size },
      showgrid: false,
      zeroline: false,
    });
    plot(
      $("confusion"),
      (style) => {
        const size = $("confusion").clientWidth < 600 ? (count > 20 ? 0 : 9) : count > 20 ? 10 : 12;
        const few = size === 0 ? { showticklabels: false } : {};
        return {
          traces: [
            {
              z: shares,
              text: words,
              hoverinfo: "text",
              type: "heatmap",
              zmin: 0,
              zmax: 1,
              xgap: 0.5,
              ygap: 0.5,
              colorscale: colorScale(style),
              colorbar: { tickformat: ".0%", thickness: 10, len: 0.6, title: { text: "" } },
            },
          ],
          layout: {
            margin: { l: 40, r: 10, t: 10, b: 40 },
            xaxis: { ...ticks(size), ...few, tickangle: count > 6 ? -90 : 0, title: { text: "taken for", standoff: 10 } },
            yaxis: { ...ticks(size), ...few, autorange: "reversed", title: { text: "true class", standoff: 10 } },
            shapes: categoryLines(style),
          },
        };
      },
      (point) => {
        const [first] = showCell(point.y, point.x);
        if (first !== undefined) play(first);
      },
    );
    table(
      $("pairs"),
      [
        ["Classes", false],
        ["Clips", true],
        ["Share", true],
      ],
      data.pairs.map(([first, second, forth, back, share]) => {
        const go = element("a", {
          href: "#cell-title",
          textContent: `${names[first]} / ${names[second]}`,
          onclick: (event) => {
            event.preventDefault();
            showCell(first, second, true);
          },
        });
        return [
          [go, names[first]],
          [`${forth} + ${back}`, forth + back],
          [percent(share), share],
        ];
      }),
    );
    table(
      $("scores"),
      [
        ["Class", false],
        ["Clips", true],
        ["Recall", true],
        ["± folds", true],
        ["Precision", true],
        ["F1", true],
      ],
      names.map((name, place) => {
        const go = element("a", {
          href: "#cell-title",
          textContent: name,
          onclick: (event) => {
            event.preventDefault();
            showCell(place, place, true);
          },
        });
        return [
          [go, name],
          [String(data.clips[place]), data.clips[place]],
          ...[data.recall, data.recall_std, data.precision, data.f1].map((scores) => [
            percent(scores[place]),
            scores[place],
          ]),
        ];
      }),
    );
    $("scores").querySelectorAll("th button")[2].click();
    const [first, second] = data.pairs[0] ?? [0, 0];
    showCell(first, second);
  };
  const showCell = (row, column, focus = false) => {
    const { predicted, confusion, layer } = shown;
    $("cell-true").value = row;
    $("cell-given").value = column;
    const found = [...page.labels.keys()].filter(
      (clip) => page.labels[clip] === row + 1 && predicted[clip] === column + 1,
    );
    const count = confusion.row(row)[column];
    $("cell-title").textContent =
      row === column
        ? `${className(row)}, recognised from ${layer}: ${counted(count, "clip")}`
        : `${className(row)} taken for ${className(column)} from ${layer}: ${counted(count, "clip")}`;
    $("cell-clips").replaceChildren(...found.slice(0, 6).map((clip) => clipRow(clip)));
    if (found.length > 6) {
      const more = element("button", {
        type: "button",
        textContent: `Show all ${found.length}`,
        onclick: () => $("cell-clips").replaceChildren(...found.map((clip) => clipRow(clip))),
      });
      $("cell-clips").append(more);
    }
    if (focus) {
      $("cell-title").focus({ preventScroll: true });
      $("cell-title").scrollIntoView({ block: "nearest" });
    }
    return found;
  };
  const layers = () => {
    const { layers: names, best } = evaluations[$("evaluation").value];
    choices($("classes-layer"), names);
    $("classes-layer").value = best;
  };
  choices(
    $("evaluation"),
    evaluations.map((each) => each.name),
    evaluations.map((_, place) => place),
  );
  for (const id of ["cell-true", "cell-given"]) {
    choices(
      $(id),
      page.clips.classes.map(readable),
      page.clips.classes.map((_, place) => place),
    );
    $(id).onchange = () => showCell(Number($("cell-true").value), Number($("cell-given").value));
  }
  $("evaluation").onchange = () => {
    layers();
    show();
  };
  $("classes-layer").onchange = show;
  layers();
  whenSeen($("classes"), show);
};

function categoryLines(style) {
  const of = page.clips.categories?.of ?? [];
  const edges = of
    .map((category, place) => (place && category !== of[place - 1] ? place - 0.5 : null))
    .filter((edge) => edge !== null);
  const line = { color: style("--soft"), width: 0.7 };
  return edges.flatMap((edge) => [
    { type: "line", xref: "paper", x0: 0, x1: 1, y0: edge, y1: edge, line },
    { type: "line", yref: "paper", y0: 0, y1: 1, x0: edge, x1: edge, line },
  ]);
}

function colorScale(style) {
  // From the background away, to dark by day and to light by night.
  return [
    [0, style("--panel")],
    ...["--less", "--more", "--most"].map((name, place) => [[0.25, 0.6, 1][place], style(name)]),
  ];
}
