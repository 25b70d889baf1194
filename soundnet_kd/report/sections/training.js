"use strict";
// How a training went.

const KINDS = {
  loss: "Loss",
  agreement: "Agreement with the teachers",
  retrieval: "Sounds whose own picture is the nearest",
  accuracy: "Accuracy",
  error: "Error",
  learning_rate: "Learning rate",
};

const STAGES = {
  train: { said: "", dash: "solid" },
  validation: { said: "held out", dash: "dash" },
  averaged: { said: "held out, average", dash: "dot" },
};

function showTraining({ objectives, curves: training }, target) {
  // The losses of several objectives are of different sizes.
  const kinds = {
    ...Object.fromEntries(objectives.map((name) => [`loss_${name}_`, `Loss of ${name}`])),
    ...KINDS,
  };
  // Curves that measure the same thing share a plot: loss_objects and loss_scenes, in training and held out.
  const groups = new Map();
  for (const curve of training) {
    const [, stage, measured] = curve.figure.match(/^(?:(train|validation|averaged)\/)?(.*)$/);
    // What a guess would have stands beside what it is the chance of.
    const isChance = measured.startsWith("chance_");
    // Of the average it is the same.
    if (isChance && stage === "averaged") continue;
    const figure = isChance ? measured.replace("chance", "retrieval") : measured;
    const { said, dash } = STAGES[stage ?? "train"];
    const kind = Object.keys(kinds).find((each) => figure.startsWith(each));
    if (!kind) continue;
    const of = readable(figure.slice(kind.length)).replace("top5", "in first five,").trim();
    const words = [
      of || (curve.training ? "" : kind === "loss" ? "all" : readable(kind)),
      isChance ? "chance" : "",
      said,
      curve.training ?? "",
    ];
    const label = words.filter(Boolean).join(", ").replace(",,", ",");
    if (!groups.has(kind)) groups.set(kind, []);
    groups.get(kind).push({ ...curve, label, colorGroup: `${of} ${curve.training}`, dash, isChance });
  }
  for (const kind of Object.keys(kinds).filter((each) => groups.has(each))) {
    const curves = groups.get(kind).sort((one, other) => one.isChance - other.isChance);
    const box = element("div", { className: "plot", role: "img", "aria-label": `${readable(kind)} over the steps` });
    target.append(element("div", {}, element("h4", { textContent: kinds[kind] }), box));
    const shares = ["accuracy", "agreement", "retrieval"].includes(kind);
    const longest = Math.max(...curves.flatMap((curve) => curve.steps));
    const colorGroups = [...new Set(curves.map((curve) => curve.colorGroup))];
    plot(box, (style) => ({
      traces: curves.map((curve) => ({
        x: curve.steps,
        y: curve.values,
        name: plain(curve.label),
        mode: curve.steps.length < 30 ? "lines+markers" : "lines",
        line: {
          color: curve.isChance ? style("--soft") : groupColor(colorGroups.indexOf(curve.colorGroup), style),
          dash: curve.dash,
        },
      })),
      layout: {
        xaxis: { title: { text: "step" }, ...(longest < 10 ? { dtick: 1 } : {}) },
        yaxis: shares ? { tickformat: ".0%", range: [-0.02, 1.02] } : { rangemode: "tozero" },
      },
    }));
  }
}

starts.training = (trainings) => {
  for (const target of document.querySelectorAll("[data-training]")) {
    whenSeen(target, () => showTraining(trainings[Number(target.dataset.training)], target));
  }
};
