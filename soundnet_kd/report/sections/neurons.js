"use strict";
// What excites each neuron.

const FIRST_NEURONS = 60;

starts.neurons = ({ layers, first: firstLayer, percentile, min_p: minP, shares, chance }) => {
  choices($("neuron-layer"), layers);
  choices(
    $("neuron-class"),
    ["any class", ...page.clips.classes.map(readable)],
    ["", ...page.clips.classes.map((_, place) => place)],
  );
  let current = { layer: firstLayer, number: null };
  const data = () => load(`neurons-${layers.indexOf(current.layer)}`);

  const listTurn = turns();
  const list = async () => {
    const isLast = listTurn();
    const { layer } = current;
    const found = await data();
    if (!isLast()) return null;
    const wanted = $("neuron-class").value;
    const numbers = found.best
      .map((_, number) => number)
      .filter((number) => wanted === "" || found.best[number] === Number(wanted));
    numbers.sort((one, other) => found.share[other] - found.share[one]);
    const chips = (shown) =>
      shown.map((number) =>
        element("a", {
          href: `#neuron=${layer},${number}`,
          textContent: `${number}: ${percent(found.share[number])}`,
          title: className(found.best[number]),
        }),
      );
    $("neuron-list").replaceChildren(...chips(numbers.slice(0, FIRST_NEURONS)));
    if (numbers.length > FIRST_NEURONS) {
      const more = element("button", {
        type: "button",
        textContent: `all ${numbers.length}`,
        onclick: () => $("neuron-list").replaceChildren(...chips(numbers)),
      });
      $("neuron-list").append(more);
    }
    if (!numbers.length)
      $("neuron-list").textContent =
        `No neuron of ${layer} has ${$("neuron-class").selectedOptions[0].textContent} as its best class.`;
    return numbers;
  };

  const show = async () => {
    const { layer } = current;
    const found = await data();
    if (current.layer !== layer) return;
    const number = Math.min(Math.max(0, Math.trunc(Number(current.number)) || 0), found.best.length - 1);
    current.number = number;
    $("neuron-layer").value = layer;
    $("neuron-number").value = number;
    $("neuron-number").max = found.best.length - 1;
    for (const chip of $("neuron-list").querySelectorAll("a")) {
      if (chip.getAttribute("href") === `#neuron=${layer},${number}`) chip.setAttribute("aria-current", "true");
      else chip.removeAttribute("aria-current");
    }
    const best = found.best[number];
    $("neuron-title").textContent =
      best < 0
        ? `${layer}, neuron ${number}: silent`
        : `${layer}, neuron ${number}: ${className(best)} ${percent(found.share[number])}`;
    $("neuron-note").textContent =
      `${found.activated[number]} clips lie above its line at ${found.threshold[number]}. Its best share is ${found.above[number] ? "" : "not "}above chance: ` +
      `with shuffled labels one as large has p ${found.p[number] <= minP ? "≤" : "="} ${found.p[number]}, corrected for the layer's neurons q = ${found.q[number]}.`;
    const [low, high] = [found.min[number], found.max[number]];
    const heights = Array.from(decode(found.curve).row(number), (height) => low + (height / 65535) * (high - low));
    plot($("neuron-curve"), (style) => ({
      traces: [
        {
          x: found.ranks.map((rank) => rank + 1),
          y: heights,
          mode: "lines",
          line: { color: style("--bar") },
          hovertemplate: "place %{x}: %{y:.4g}<extra></extra>",
        },
      ],
      layout: {
        xaxis: { title: { text: "clips, the strongest first" } },
        showlegend: false,
        shapes: [
          {
            type: "line",
            xref: "paper",
            x0: 0,
            x1: 1,
            y0: found.threshold[number],
            y1: found.threshold[number],
            line: { color: style("--warm"), dash: "dash", width: 1.5 },
          },
        ],
        annotations: [
          {
            xref: "paper",
            x: 1,
            y: found.threshold[number],
            text: `${percentile} % line`,
            showarrow: false,
            xanchor: "right",
            yanchor: "bottom",
            font: { color: style("--warm") },
          },
        ],
      },
    }));
    const counts = decode(found.counts).row(number);
    const classes = [...counts.keys()]
      .filter((each) => counts[each])
      .sort((one, other) => counts[other] - counts[one])
      .slice(0, 12)
      .reverse();
    plot($("neuron-classes"), (style) => ({
      traces: [
        {
          type: "bar",
          orientation: "h",
          x: classes.map((each) => counts[each] / found.expected),
          y: classes.map((_, place) => place),
          text: classes.map((each) => `${plain(className(each))}: ${counts[each]} clips`),
          textposition: "none",
          hoverinfo: "text",
          marker: { color: style("--bar") },
        },
      ],
      layout: {
        showlegend: false,
        xaxis: { tickformat: ".0%", rangemode: "tozero" },
        yaxis: {
          tickvals: classes.map((_, place) => place),
          ticktext: classes.map((each) => plain(className(each))),
          showgrid: false,
        },
        shapes: [
          {
            type: "line",
            yref: "paper",
            y0: 0,
            y1: 1,
            x0: found.chance,
            x1: found.chance,
            line: { color: style("--soft"), dash: "dash", width: 1 },
          },
        ],
        annotations: [
          {
            yref: "paper",
            y: 0,
            x: found.chance,
            text: "95 % of shuffled labels",
            showarrow: false,
            xanchor: "left",
            yanchor: "bottom",
            font: { color: style("--soft") },
          },
        ],
      },
    }));
    const strongest = decode(found.top).row(number).subarray(0, found.excited_by[number]);
    $("neuron-clips").replaceChildren(...Array.from(strongest, (clip) => clipRow(clip)));
  };

  const showNeuron = async (layer, number) => {
    if (!layers.includes(layer)) return;
    const moved = layer !== current.layer || !$("neuron-list").childNodes.length;
    current = { layer, number };
    $("neuron").hidden = false;
    if (moved && (await list()) === null) return;
    await show();
  };
  addresses.neuron = async (value) => {
    const [layer, number] = value.split(",");
    await showNeuron(layer, Number(number));
    $("neuron-title").scrollIntoView();
    $("neuron-title").focus({ preventScroll: true });
  };
  const first = async () => {
    const numbers = await list();
    if (numbers === null) return;
    $("neuron").hidden = !numbers.length;
    if (numbers.length) await showNeuron(current.layer, numbers[0]);
  };
  $("neuron-layer").value = current.layer;
  $("neuron-layer").onchange = () => {
    current = { layer: $("neuron-layer").value, number: null };
    first();
  };
  $("neuron-class").onchange = first;
  $("neuron-number").onchange = () => showNeuron(current.layer, Number($("neuron-number").value));
  whenSeen($("neurons"), () => {
    if (current.number === null) first();
  });
  whenSeen($("depth"), () =>
    plot($("depth"), (style) => ({
      traces: layers.map((layer, place) => ({
        x: shares[layer].map((_, rank) => (rank + 0.5) / shares[layer].length),
        y: shares[layer],
        mode: "lines",
        name: plain(layer),
        line: {
          color: `hsl(${260 - (200 * place) / Math.max(1, layers.length - 1)} 65% ${45 + (place % 2) * 12}%)`,
          width: 2,
        },
        hovertemplate: `${plain(layer)}: %{y:.1%}<extra></extra>`,
      })),
      layout: {
        xaxis: { tickformat: ".0%", title: { text: "neurons of the layer, the most selective first" } },
        yaxis: { tickformat: ".0%", rangemode: "tozero" },
        shapes: [
          {
            type: "line",
            xref: "paper",
            x0: 0,
            x1: 1,
            y0: chance,
            y1: chance,
            line: { color: style("--soft"), dash: "dash", width: 1 },
          },
        ],
        annotations: [
          {
            xref: "paper",
            x: 1,
            y: chance,
            text: "95 % of shuffled labels",
            showarrow: false,
            xanchor: "right",
            yanchor: "bottom",
            font: { color: style("--soft") },
          },
        ],
      },
    })),
  );
};
