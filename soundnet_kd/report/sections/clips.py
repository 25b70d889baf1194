"""Clips: a search by name, their sounds, their nearest neighbors, and the neurons that each activates most."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from soundnet_kd.analysis.maps.projection import explain_left_out, has_direction
from soundnet_kd.data.datasets.esc50 import CLASSES_PER_CATEGORY, ESC50_CATEGORIES, is_esc50
from soundnet_kd.errors import MediaError
from soundnet_kd.report.clips import Clips
from soundnet_kd.report.inputs import ReportInputs, preferred_layer
from soundnet_kd.report.page_data import encode_integers, quantize
from soundnet_kd.report.section import Content, Section
from soundnet_kd.report.sounds import PlayableSound

NEIGHBORS = 8
NEURONS = 6


def show(inputs: ReportInputs) -> Content | None:
    """Write the clips, with their neighbors and neurons in each layer, and return these layers."""
    if inputs.clips is None:
        return None
    inputs.data.write("clips", clips_data(inputs.clips, inputs.sounds, inputs.clip_seconds))
    layers: list[str] = []
    channels: list[int] = []
    if inputs.pooled is not None and len(inputs.clips.ids) > 1:
        for layer in tqdm(inputs.pooled.layers, desc="neighbors", unit="layer"):
            features = inputs.pooled[layer]
            found = inputs.skipped.read(f"neighbors in {layer}", neighbors_data, features, inputs.percentile)
            if found is not None:
                inputs.data.write(f"neighbors-{len(layers)}", found)
                layers.append(layer)
                channels.append(features.shape[1])
    first = preferred_layer(layers) if layers else None
    return Content(data={"layers": layers, "channels": channels, "first": first})


def clips_data(clips: Clips, sounds: Sequence[PlayableSound | MediaError], longest_seconds: float) -> dict[str, Any]:
    """Collect the data of the clips, which all sections share.

    Returns
    -------
    dict
        `ids`, `classes` (names) and `categories` (None except for ESC-50); encoded `labels` and `folds` of each clip, 0
        where there is none, folds minus (`folds_from` - 1); `files` and `seconds` of the sounds, null where there is
        none, with the `reasons` by the row of the clip; `longest`, the seconds that sounds are cut to; `peaks`
        (clips, bars), encoded in 8 bit.
    """
    playable = [sound if isinstance(sound, PlayableSound) else None for sound in sounds]
    flat = np.zeros_like(next((sound.peaks for sound in playable if sound), np.zeros(1)))
    return {
        "ids": clips.ids,
        "classes": clips.class_names,
        "categories": _categories(clips.class_names),
        "labels": encode_integers(clips.labels + 1),
        "folds": encode_integers(clips.folds - clips.no_fold),
        "folds_from": clips.no_fold + 1,
        "files": [sound and sound.file for sound in playable],
        "seconds": [sound and round(sound.seconds, 2) for sound in playable],
        "reasons": {str(row): str(error) for row, error in enumerate(sounds) if isinstance(error, MediaError)},
        "longest": longest_seconds,
        "peaks": encode_integers(quantize(np.stack([sound.peaks if sound else flat for sound in playable]), bits=8)),
    }


def neighbors_data(features: NDArray[np.floating], percentile: float) -> dict[str, Any]:
    """Nearest neighbors and strongest neurons of every clip in a layer.

    A clip that activates no neuron has no angle to others, and no neighbors.

    Parameters
    ----------
    features : (clips, neurons) float
    percentile : float
        Percentile of a neuron's values above which a clip activates it.

    Returns
    -------
    dict, encoded but for the last two
        `neighbors` (clips, k), rows of the nearest other clips by the cosine, as in the maps; `half_angle_sine`
        (clips, k), the sine of half the angle to each, in 16 bit (more precise than the cosine for small angles);
        `neurons` (clips, n), those in whose order the clip ranks highest, and its `ranks` there (1 for the strongest
        clip); `activated` (clips,), the number of neurons it activates; `without_neighbors`, rows of the clips without
        neighbors; `left_out`, the same in words.
    """
    from sklearn.neighbors import NearestNeighbors

    clips, count = features.shape
    compared = has_direction(features)
    rows = np.flatnonzero(compared)
    near = max(0, min(NEIGHBORS, len(rows) - 1))
    neighbors = np.zeros((clips, near), dtype=np.int64)
    distances = np.zeros((clips, near))
    if near:
        searched = NearestNeighbors(n_neighbors=near, metric="cosine").fit(features[rows])
        distances[rows], places = searched.kneighbors()
        neighbors[rows] = rows[places]
    left_out = explain_left_out(features)
    finite = np.isfinite(features).all(axis=1)
    # A clip with features that are NaN ranks last for every neuron.
    features = np.where(finite[:, None], features, -np.inf)
    ranks = neuron_ranks(features)
    shown = min(NEURONS, count)
    strongest = np.argsort(ranks, axis=1, kind="stable")[:, :shown]
    thresholds = np.percentile(features[finite], percentile, axis=0) if finite.any() else np.full(count, np.inf)
    return {
        "neighbors": encode_integers(neighbors),
        "half_angle_sine": encode_integers(quantize(np.sqrt(np.clip(distances / 2, 0, 1)))),
        "neurons": encode_integers(strongest),
        "ranks": encode_integers(np.take_along_axis(ranks, strongest, axis=1)),
        "activated": encode_integers((features > thresholds).sum(axis=1)),
        "without_neighbors": (np.flatnonzero(~compared) if near else np.arange(clips)).tolist(),
        "left_out": left_out,
    }


def neuron_ranks(features: NDArray[np.floating]) -> NDArray[np.int64]:
    """Rank the clips of each neuron, 1 for the strongest; clips with equal values share the lowest of their ranks.

    For a neuron that is 0 for most clips, all of these are thus last, instead of some of them among the first.

    Returns
    -------
    (clips, neurons) int64
    """
    from scipy.stats import rankdata

    return np.asarray(rankdata(-features, method="max", axis=0), dtype=np.int64)


def _categories(class_names: Sequence[str]) -> dict[str, Any] | None:
    if not is_esc50(class_names):
        return None
    return {"names": ESC50_CATEGORIES, "of": [number // CLASSES_PER_CATEGORY for number in range(len(class_names))]}


CLIPS = Section("clips", "Clips", show)
