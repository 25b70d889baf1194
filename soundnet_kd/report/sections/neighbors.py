"""Single clips in a layer: their nearest neighbors, and the neurons that each activates most."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.analysis.maps.projection import explain_left_out, has_direction
from soundnet_kd.report.page_data import encode_integers, quantize

NEIGHBORS = 8
NEURONS = 6


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
