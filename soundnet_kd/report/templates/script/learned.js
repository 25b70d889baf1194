"use strict";
// The top of the page: neurons that tell a class, each with the clips that excite it most.

function startLearned(run) {
  $("tellers").replaceChildren(
    ...run.tellers.map(({ layer, neuron, class: number, share, clips }) =>
      element(
        "article",
        {},
        element("h4", { textContent: className(number) }),
        element(
          "p",
          { className: "note" },
          element("a", { href: `#neuron=${layer},${neuron}`, textContent: `${layer}, neuron ${neuron}` }),
          `: ${percent(share)} of its top clips`,
        ),
        ...clips.map((clip) => clipRow(clip)),
      ),
    ),
  );
}
