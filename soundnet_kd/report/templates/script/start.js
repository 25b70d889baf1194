"use strict";
// Addresses within the page, and its start.

async function route() {
  const [, kind, written] = location.hash.match(/^#(clip|neuron)=(.*)$/) ?? [];
  let value;
  try {
    value = decodeURIComponent(written);
  } catch {
    return; // No address that this page has written.
  }
  if (kind === "clip" && page.showClip) {
    await page.showClip(value);
    $("clip").scrollIntoView();
    $("clip-title").focus({ preventScroll: true });
  } else if (kind === "neuron" && page.showNeuron) {
    const [layer, number] = value.split(",");
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
    if ($("tellers")) startLearned(run);
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
  // A link to where the address already is leads there again.
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a");
    if (link && link.hash && link.hash === location.hash) route();
  });
  // Plots take their colours from the page.
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const [target, [make, onClick]] of drawn) plot(target, make, onClick);
  });
  document.documentElement.dataset.ready = "yes";
  await route();
}

document.addEventListener("DOMContentLoaded", start);
