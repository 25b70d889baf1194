"use strict";
// Plots by plotly, which is loaded with the first of them; their colours are those of the page and of all figures.

const plots = new Map();

function groupColor(number, style) {
  const color = page.palette.colors[number % page.palette.colors.length];
  // Black would not be seen on a dark page.
  return color === "#000000" ? style("--text") : color;
}

function groupSymbol(number) {
  const { colors, symbols } = page.palette;
  return symbols[Math.floor(number / colors.length) % symbols.length];
}

async function plot(target, make, onClick) {
  plots.set(target, [make, onClick]);
  if (!page.plotly) page.plotly = script("plotly.min.js");
  await page.plotly;
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const { traces, layout } = make(style);
  // A finger on a plot scrolls the page; where there is no pointer that could hover, the buttons would lie on the plot.
  const canHover = matchMedia("(hover: hover)").matches;
  const axis = {
    gridcolor: style("--grid"),
    linecolor: style("--line"),
    zerolinecolor: style("--line"),
    automargin: true,
  };
  const common = {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: style("--text"), size: 12 },
    margin: { l: 50, r: 10, t: 30, b: 44 },
    hovermode: "closest",
    hoverlabel: { align: "left" },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: style("--soft"), activecolor: style("--text"), orientation: "v" },
    ...layout,
    dragmode: canHover ? "zoom" : false,
    xaxis: { ...axis, ...layout.xaxis, fixedrange: !canHover },
    yaxis: { ...axis, ...layout.yaxis, fixedrange: !canHover },
  };
  const options = {
    responsive: true,
    displayModeBar: canHover ? "hover" : false,
    displaylogo: false,
    showSendToCloud: false,
    toImageButtonOptions: { format: "svg", filename: target.id || "plot" },
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  };
  await Plotly.react(target, traces, common, options);
  if (onClick && !target.dataset.listens) {
    target.dataset.listens = "yes";
    target.on("plotly_click", (event) => plots.get(target)[1](event.points[0]));
  }
}

function whenSeen(target, act) {
  new IntersectionObserver(
    (entries, observer) => {
      if (entries.some((entry) => entry.isIntersecting)) {
        observer.disconnect();
        act();
      }
    },
    { rootMargin: "300px" },
  ).observe(target);
}
