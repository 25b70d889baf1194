"use strict";
// The top of the page: neurons that tell a class, each with the clips that excite it most.

starts.overview = ({ neurons }) => {
  $("selective-neurons")?.replaceChildren(
    ...neurons.map(({ layer, neuron, class: number, share, clips }) =>
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
};
