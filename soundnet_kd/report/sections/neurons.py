"""Neurons: the clips and the classes that activate each neuron of a layer."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from soundnet_kd.analysis.neurons.chance import Chance
from soundnet_kd.analysis.neurons.statistics import NeuronStatistics
from soundnet_kd.report.inputs import ReportInputs, preferred_layer
from soundnet_kd.report.page_data import encode_integers, quantize, rounded
from soundnet_kd.report.section import Content, Section

TOP_CLIPS = 9
"""Strongest clips of a neuron, as many as on SoundNet's project page and by default in `soundnet-kd neurons`."""
_POINTS = 48
"""Points of a drawn curve above the percentile, and as many for the rest of it."""


def show(inputs: ReportInputs) -> Content | None:
    """Write the data of the neurons of each layer, and return how selective they are."""
    shown, cache = inputs.neurons, inputs.pooled
    if shown is None or cache is None:
        return None
    layers: list[str] = []
    shares: dict[str, list[float | None]] = {}
    expected, chance = 0, 0.0
    for layer in tqdm(shown.layers, desc="neurons", unit="layer"):
        found = inputs.skipped.read(f"{shown.name}, {layer}", shown.file.read, layer)
        if found is None:
            continue
        statistics, worth = found
        inputs.data.write(f"neurons-{len(layers)}", neurons_data(statistics, worth, cache[layer]))
        if not layers:
            chance = worth.share
        expected = statistics.expected
        layers.append(layer)
        shares[layer] = rounded(np.sort(statistics.best_share)[::-1])
    if not layers:
        return None
    # The observed labels count as one of the shuffles, so that no p-value can be smaller.
    (min_p,) = rounded(np.array([1 / (1 + shown.file.shuffles)]), 3)
    percentile = shown.file.percentile
    return Content(
        {
            "percentile": f"{percentile:g}",
            "expected": expected,
            "figures": inputs.figures.copy(shown.folder, shown.name),
        },
        {
            "layers": layers,
            "first": preferred_layer(layers),
            "percentile": percentile,
            "min_p": min_p,
            "shares": shares,
            "chance": chance,
        },
    )


def neurons_data(statistics: NeuronStatistics, chance: Chance, activations: NDArray[np.floating]) -> dict[str, Any]:
    """Collect the data of the neurons of a layer for the page.

    Parameters
    ----------
    statistics : NeuronStatistics
    chance : Chance
    activations : (clips, neurons) float
        The features that the statistics were made from.

    Returns
    -------
    dict
        `ranks` (points,), the ranks at which `curve` (neurons, points; encoded in 16 bit from each neuron's `min` to
        its `max`) gives the activation; `counts` (neurons, classes) and `top` (neurons, clips), rows of the strongest
        clips, encoded; for each neuron `excited_by` (how many of these are above its least activation), `threshold`,
        `activated`, `best` (-1 for none), `share`, `p`, `q` and `above` (1 if its best share is above chance);
        `expected` and `chance` of the layer.
    """
    order = statistics.order
    ranks = curve_ranks(order.shape[1], statistics.expected)
    curve = np.take_along_axis(activations.T, order[:, ranks], axis=1)
    highest, lowest = curve.max(axis=1), curve.min(axis=1)
    span = np.where(highest > lowest, highest - lowest, 1)
    return {
        "expected": statistics.expected,
        "chance": round(chance.share, 4),
        "ranks": ranks.tolist(),
        "curve": encode_integers(quantize((curve - lowest[:, None]) / span[:, None])),
        "max": rounded(highest),
        "min": rounded(lowest),
        "counts": encode_integers(statistics.counts),
        "top": encode_integers(order[:, :TOP_CLIPS]),
        "excited_by": _exciting(order, activations, TOP_CLIPS).tolist(),
        "threshold": rounded(statistics.thresholds),
        "activated": statistics.activated.tolist(),
        "best": statistics.best_class.tolist(),
        "share": rounded(statistics.best_share),
        "p": rounded(chance.p_values, 3),
        "q": rounded(chance.q_values, 3),
        "above": chance.is_above.astype(int).tolist(),
    }


def selective_neurons(
    statistics: NeuronStatistics, chance: Chance, activations: NDArray[np.floating], classes: int, clips: int
) -> list[dict[str, Any]]:
    """Find the most selective neurons above chance, at most one for each class.

    Parameters
    ----------
    statistics, chance, activations
        As in `neurons_data`.
    classes : int
        Number of classes, at most.
    clips : int
        Number of strongest clips of each neuron; fewer if fewer are above its least activation.

    Returns
    -------
    list of dict
        `neuron`, `class` (its number), `share` of this class among the activating clips, and `clips`, rows of the
        strongest ones; the largest share first.
    """
    excited_by = _exciting(statistics.order, activations, clips)
    found: dict[int, dict[str, Any]] = {}
    for neuron in np.argsort(-statistics.best_share, kind="stable").tolist():
        best = int(statistics.best_class[neuron])
        if best >= 0 and best not in found and chance.is_above[neuron]:
            found[best] = {
                "neuron": neuron,
                "class": best,
                "share": round(float(statistics.best_share[neuron]), 4),
                "clips": statistics.order[neuron, : excited_by[neuron]].tolist(),
            }
    return list(found.values())[:classes]


def _exciting(order: NDArray[np.integer], activations: NDArray[np.floating], most: int) -> NDArray[np.int64]:
    """Count the first clips in each neuron's order that are above its least activation; the order of others is chance.

    Returns
    -------
    (neurons,) int64, up to `most`
    """
    strongest = np.take_along_axis(activations.T, order[:, :most], axis=1)
    least = np.take_along_axis(activations.T, order[:, -1:], axis=1)
    exciting: NDArray[np.int64] = (strongest > least).sum(axis=1)
    return exciting


def curve_ranks(clips: int, expected: int) -> NDArray[np.int64]:
    """Choose the ranks at which an activation curve is drawn: dense up to twice the activating clips, then sparse.

    Returns
    -------
    (points,) int64, ascending, from 0 to clips - 1
    """
    near = min(2 * expected, clips - 1)
    places = np.concatenate([np.linspace(0, near, _POINTS), np.linspace(near, clips - 1, _POINTS)])
    return np.unique(np.rint(places).astype(np.int64))


NEURONS = Section("neurons", "Neurons", show, "soundnet-kd neurons FEATURES", "neurons")
