"use strict";
// The clips, each with its waveform, and the one sound that plays.

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
    : element("button", {
        type: "button",
        textContent: "–",
        disabled: true,
        title: page.clips.reasons[clip],
        "aria-label": `${id} cannot be played: ${page.clips.reasons[clip]}`,
      });
}

function clipRow(clip, note = className(trueClass(clip))) {
  const text = element(
    "div",
    {},
    element("a", { href: clipLink(clip), textContent: page.clips.ids[clip] }),
    element("small", { textContent: note }),
  );
  return element(
    "div",
    { className: "clip", "data-clip": page.clips.ids[clip] },
    playButton(clip),
    waveform(clip),
    text,
  );
}
