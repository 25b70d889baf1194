"use strict";
// Addresses within the page, and its start.

async function route() {
  const [, kind, written] = location.hash.match(/^#(\w+)=(.*)$/) ?? [];
  let value;
  try {
    value = decodeURIComponent(written);
  } catch {
    return; // No address that this page has written.
  }
  if (Object.hasOwn(addresses, kind)) await addresses[kind](value);
}

async function start() {
  page.palette = await load("palette");
  page.sections = await load("sections");
  if ($("clips")) {
    page.clips = await load("clips");
    page.labels = decode(page.clips.labels).values;
    page.folds = decode(page.clips.folds).values;
    page.peaks = decode(page.clips.peaks);
  }
  for (const [name, data] of Object.entries(page.sections)) starts[name]?.(data);
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
    for (const [target, [make, onClick]] of plots) plot(target, make, onClick);
  });
  document.documentElement.dataset.ready = "yes";
  await route();
}

document.addEventListener("DOMContentLoaded", start);
