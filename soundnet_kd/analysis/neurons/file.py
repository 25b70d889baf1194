"""The file of the statistics of neurons, `neurons.h5`.

Layout of `neurons.h5`
----------------------
`id`                  (clips,) str, of every clip of the features
`label`               (clips,) int64, index into `class_names`; -1 where unlabeled
`class_names`         (classes,) str

and for each layer, with c labelled clips:

`LAYER/threshold`     (neurons,) float64, the neuron's percentile
`LAYER/activated`     (neurons,) int64, clips above it
`LAYER/counts`        (neurons, classes) int64, of which class they are
`LAYER/share`         (neurons, classes) float64, `counts` / the clips expected above the percentile
`LAYER/best_class`    (neurons,) int64, -1 for a neuron that no clip activates
`LAYER/best_share`    (neurons,) float64
`LAYER/order`         (neurons, c) int32, gzip: rows of the clips, strongest first; its first columns are the top clips,
                      and with the layer's features X, `X[order[n], n]` is the sorted activation curve of neuron n
`LAYER/p_value`       (neurons,) float64, of `best_share` under shuffled labels
`LAYER/q_value`       (neurons,) float64, corrected for the neurons of the layer (Benjamini and Hochberg)

Attributes: `format_version`, `kind` (neurons; version 0.1.0 wrote none) and `source` (JSON: the features, the settings
and the versions that made the file); of each layer `expected` (clips above a percentile) and `shuffled_share` (95 %
quantile of the best share under shuffled labels).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.analysis.neurons.chance import Chance
from soundnet_kd.analysis.neurons.statistics import NeuronStatistics
from soundnet_kd.errors import FormatError
from soundnet_kd.hdf5 import open_hdf5
from soundnet_kd.storage import atomic_write

FORMAT_VERSION = 1
KIND = "neurons"
NEURONS_FILE, SETTINGS_FILE = "neurons.h5", "neurons.json"


def write_neurons(
    path: str | Path,
    layers: Mapping[str, NeuronStatistics],
    chances: Mapping[str, Chance],
    ids: Sequence[str],
    labels: NDArray[np.integer],
    source: Mapping[str, Any],
) -> None:
    """Write the statistics of all layers.

    Parameters
    ----------
    path : str or Path
    layers : mapping from layer to NeuronStatistics
    chances : mapping from layer to Chance
    ids : sequence of str
        Identifiers of all clips.
    labels : (clips,) int
    source : mapping
        Inputs, settings and versions; anything that JSON can hold.
    """
    path = Path(path)
    with atomic_write(path) as partial, open_hdf5(partial, "w") as file:
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["kind"] = KIND
        file.attrs["source"] = json.dumps(source)
        file["id"] = list(ids)
        file["label"] = labels
        file["class_names"] = list(next(iter(layers.values())).classes)
        for layer, found in layers.items():
            group = file.create_group(layer)
            group.attrs["expected"] = found.expected
            group.attrs["shuffled_share"] = chances[layer].share
            group["threshold"] = found.thresholds
            group["activated"] = found.activated
            group["counts"] = found.counts
            group["share"] = found.share
            group["best_class"] = found.best_class
            group["best_share"] = found.best_share
            group.create_dataset("order", data=found.order, compression="gzip", shuffle=True)
            group["p_value"] = chances[layer].p_values
            group["q_value"] = chances[layer].q_values


class NeuronsFile:
    """The statistics that `soundnet-kd neurons` wrote.

    Parameters
    ----------
    path : str or Path
        The neurons.h5.

    Attributes
    ----------
    layers : tuple of str
    percentile : float
        Percentile of a neuron's values above which a clip activates it.
    shuffles : int
        Number of times that the labels were shuffled to estimate chance.

    Raises
    ------
    FormatError
        If it is not what that command writes.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        try:
            with open_hdf5(self._path) as file:
                if file.attrs.get("kind", KIND) != KIND:
                    raise ValueError(f"it is of {file.attrs['kind']}")
                settings = json.loads(file.attrs["source"])["settings"]
                self.layers = tuple(layer for layer in settings["layers"] if layer in file)
            self.percentile = float(settings["percentile"])
            self.shuffles = int(settings["shuffles"])
        except (KeyError, OSError, TypeError, ValueError) as error:
            raise self._refused(error) from error

    def read(self, layer: str) -> tuple[NeuronStatistics, Chance]:
        """Read the statistics of a layer, and how they compare with chance.

        Raises
        ------
        FormatError
            If they are missing or damaged.
        """
        try:
            with open_hdf5(self._path) as file:
                group = file[layer]
                statistics = NeuronStatistics(
                    thresholds=group["threshold"][:],
                    activated=group["activated"][:],
                    expected=int(group.attrs["expected"]),
                    counts=group["counts"][:],
                    share=group["share"][:],
                    best_class=group["best_class"][:],
                    best_share=group["best_share"][:],
                    order=group["order"][:],
                    classes=tuple(file["class_names"].asstr()),
                )
                chance = Chance(float(group.attrs["shuffled_share"]), group["p_value"][:], group["q_value"][:])
        except (KeyError, OSError, TypeError, ValueError) as error:
            raise self._refused(error) from error
        return statistics, chance

    def _refused(self, error: Exception) -> FormatError:
        return FormatError(f"{self._path} is not what `soundnet-kd neurons` writes ({error}); make it again")
