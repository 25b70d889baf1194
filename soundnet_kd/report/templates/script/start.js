"use strict";
// Addresses within the page, and its start.

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
  $("player-again").onclick = () => {
    $("audio").currentTime = 0;
    $("audio").play();
  };
  window.addEventListener("hashchange", route);
  // Plots take their colours from the page.
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const [target, [make, onClick]] of drawn) plot(target, make, onClick);
  });
  document.documentElement.dataset.ready = "yes";
  await route();
}

document.addEventListener("DOMContentLoaded", start);
