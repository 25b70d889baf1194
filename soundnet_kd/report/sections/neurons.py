"""What excites each neuron of a layer, as the page shows it."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.analysis.neurons.chance import FALSE_DISCOVERY_RATE
from soundnet_kd.hdf5 import open_hdf5
from soundnet_kd.report.scripts import levels, packed, rounded
from soundnet_kd.storage import read_json

NEURONS_FILE = "neurons.h5"
TOP_CLIPS = 9
"""As on SoundNet's project page, and as `soundnet-kd neurons` names by default."""
_POINTS = 48
"""Of a drawn curve above the percentile, and of the rest of it."""


class NeuronFile:
    """The `neurons.h5` in a folder, and the percentile that it was made with; see `analysis/neuron_file.py`.

    Parameters
    ----------
    folder : str or Path
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        self._path = folder / NEURONS_FILE
        settings = read_json(folder / "neurons.json")["settings"]
        self.percentile: float = settings["percentile"]
        # The one that was found counts as a shuffle too, so that no p value can be smaller.
        (self.least_p,) = rounded(np.array([1 / (1 + settings["shuffles"])]), 3)
        with open_hdf5(self._path) as file:
            self.layers = tuple(layer for layer in settings["layers"] if layer in file)

    def data(self, layer: str, activations: NDArray[np.floating]) -> dict[str, Any]:
        """Return what the page shows of a layer.

        Parameters
        ----------
        layer : str
        activations : (clips, neurons) float
            The features that the statistics were made from.

        Returns
        -------
        dict
            `ranks` (points,), the places in the falling order at which `curve` (neurons, points; packed, 16 bit from
            each neuron's `least` to its `most`) is known; `counts` (neurons, classes) and `top` (neurons, clips), rows
            of its strongest clips, packed; for each neuron `answered` (to how many of these), `threshold`, `activated`,
            `best` (-1 for none), `share`, `p`, `q` and `above` (1 where its best share is above chance); `expected` and
            `chance` of the layer.
        """
        with open_hdf5(self._path) as file:
            group = {name: file[layer][name][:] for name in file[layer]}
            expected, chance = int(file[layer].attrs["expected"]), float(file[layer].attrs["shuffled_share"])
        order = group["order"]
        ranks = curve_ranks(order.shape[1], expected)
        curve = np.take_along_axis(activations.T, order[:, ranks], axis=1)
        most, least = curve.max(axis=1), curve.min(axis=1)
        span = np.where(most > least, most - least, 1)
        return {
            "expected": expected,
            "chance": round(chance, 4),
            "ranks": ranks.tolist(),
            "curve": packed(levels((curve - least[:, None]) / span[:, None])),
            "most": rounded(most),
            "least": rounded(least),
            "counts": packed(group["counts"]),
            "top": packed(order[:, :TOP_CLIPS]),
            "answered": _answered(order, activations, TOP_CLIPS).tolist(),
            "threshold": rounded(group["threshold"]),
            "activated": group["activated"].tolist(),
            "best": group["best_class"].tolist(),
            "share": rounded(group["best_share"]),
            "p": rounded(group["p_value"], 3),
            "q": rounded(group["q_value"], 3),
            "above": (group["q_value"] <= FALSE_DISCOVERY_RATE).astype(int).tolist(),
        }

    def tellers(self, layer: str, activations: NDArray[np.floating], count: int, clips: int) -> list[dict[str, Any]]:
        """Find the neurons that tell a class best: one for each of some classes, those above chance only.

        Parameters
        ----------
        layer : str
        activations : (clips, neurons) float
            As `data` takes it.
        count : int
            Most classes.
        clips : int
            How many of a neuron's strongest clips are named; fewer where it answers to fewer.

        Returns
        -------
        list of dict
            `layer`, `neuron`, `class` (its number), `share` of its best class among the clips above its line, and
            `clips`, rows of the strongest ones; the largest share first.
        """
        with open_hdf5(self._path) as file:
            group = {name: file[layer][name][:] for name in ("best_class", "best_share", "q_value", "order")}
        answered = _answered(group["order"], activations, clips)
        found: dict[int, dict[str, Any]] = {}
        for neuron in np.argsort(-group["best_share"], kind="stable").tolist():
            best = int(group["best_class"][neuron])
            if best >= 0 and best not in found and group["q_value"][neuron] <= FALSE_DISCOVERY_RATE:
                found[best] = {
                    "layer": layer,
                    "neuron": neuron,
                    "class": best,
                    "share": round(float(group["best_share"][neuron]), 4),
                    "clips": group["order"][neuron, : answered[neuron]].tolist(),
                }
        return list(found.values())[:count]

    def shares(self, layer: str) -> list[float | None]:
        """Return the best share of every neuron of a layer, the largest first."""
        with open_hdf5(self._path) as file:
            return rounded(np.sort(file[layer]["best_share"][:])[::-1])

    def chance(self, layer: str) -> float:
        """Return the 95 % quantile of the best share under shuffled labels."""
        with open_hdf5(self._path) as file:
            return float(file[layer].attrs["shuffled_share"])


def _answered(order: NDArray[np.integer], activations: NDArray[np.floating], most: int) -> NDArray[np.int64]:
    """Count the first clips of each neuron's order that lie above its least; which of the others come first is chance.

    Returns
    -------
    (neurons,) int64, up to `most`
    """
    strongest = np.take_along_axis(activations.T, order[:, :most], axis=1)
    least = np.take_along_axis(activations.T, order[:, -1:], axis=1)
    answered: NDArray[np.int64] = (strongest > least).sum(axis=1)
    return answered


def curve_ranks(clips: int, expected: int) -> NDArray[np.int64]:
    """Choose the places of a falling order at which it is drawn: twice the activating clips closely, the rest widely.

    Returns
    -------
    (points,) int64, ascending, from 0 to clips - 1
    """
    near = min(2 * expected, clips - 1)
    places = np.concatenate([np.linspace(0, near, _POINTS), np.linspace(near, clips - 1, _POINTS)])
    return np.unique(np.rint(places).astype(np.int64))
