"""A layer's features as points in the plane, and how far the picture can be trusted."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.transfer.clips import require_finite

LEAST_CLIPS = 5
QUALITY_NEIGHBORS = 5
MOST_CLIPS_FOR_QUALITY = 5000
"""Trustworthiness compares every pair of clips; above this it is estimated on a sample."""


@dataclass(frozen=True)
class MapQuality:
    """What a map keeps of the features it was drawn from.

    Attributes
    ----------
    neighbors : int
        That the three numbers look at.
    clips : int
        That they were measured on.
    trustworthiness : float
        1 if every neighbor in the map is a neighbor in the features as well; about 0.5 at random.
    knn_accuracy_features, knn_accuracy_map : float or None
        Share of the labelled clips whose nearest neighbors, by majority, have the clip's class; None without labels.
    """

    neighbors: int
    clips: int
    trustworthiness: float
    knn_accuracy_features: float | None
    knn_accuracy_map: float | None


def umap_map(
    features: NDArray[np.floating],
    labels: NDArray[np.integer] | None = None,
    *,
    seed: int = 0,
    neighbors: int = 15,
    supervised: bool = False,
) -> NDArray[np.float32]:
    """Lay clips out in the plane by UMAP with the cosine metric.

    Parameters
    ----------
    features : (clips, channels) float
    labels : (clips,) int, optional
        Used only if `supervised`; -1 where unlabeled.
    seed : int
        The same seed gives the same map on the same machine.
    neighbors : int
        That UMAP keeps together; fewer where there are not so many clips.
    supervised : bool
        Pull clips of one class together, as in the notebook. Such a map shows the labels, not only the features.

    Returns
    -------
    (clips, 2) float32

    Raises
    ------
    FormatError
        If a feature is not finite or the lengths differ.
    SettingsError
        If there are fewer than five clips, or no labels for a supervised map.
    """
    if features.ndim != 2 or len(features) < LEAST_CLIPS:
        raise SettingsError(f"features have shape {features.shape}; a map needs at least {LEAST_CLIPS} clips")
    require_finite(features)
    if neighbors < 2:
        raise SettingsError(f"neighbors is {neighbors}; expected at least 2")
    if labels is not None and labels.shape != (len(features),):
        raise FormatError(f"there are {len(features)} clips but labels of shape {labels.shape}; expected one per clip")
    if supervised and (labels is None or not (labels >= 0).any()):
        raise SettingsError("a supervised map needs labels and no clip has one; leave supervised off")
    with _quiet():
        from umap import UMAP

        mapper = UMAP(
            n_neighbors=min(neighbors, len(features) - 1),
            metric="cosine",
            # The spectral start needs more clips than these; with them any start ends alike.
            init="spectral" if len(features) > 2 * LEAST_CLIPS else "random",
            random_state=seed,
            n_jobs=1,
        )
        return np.asarray(mapper.fit_transform(features, y=labels if supervised else None), dtype=np.float32)


def map_quality(
    features: NDArray[np.floating], points: NDArray[np.floating], labels: NDArray[np.integer], seed: int = 0
) -> MapQuality:
    """Compare neighborhoods in a map with those in the features.

    Parameters
    ----------
    features : (clips, channels) float
    points : (clips, 2) float
    labels : (clips,) int
        -1 where unlabeled.
    seed : int
        Draws the sample where there are more clips than can be compared pair by pair.
    """
    from sklearn.manifold import trustworthiness

    sample = np.arange(len(features))
    if len(sample) > MOST_CLIPS_FOR_QUALITY:
        sample = np.sort(np.random.default_rng(seed).choice(sample, MOST_CLIPS_FOR_QUALITY, replace=False))
    neighbors = min(QUALITY_NEIGHBORS, (len(sample) - 1) // 2)
    labelled = sample[labels[sample] >= 0]
    measurable = len(labelled) > neighbors
    return MapQuality(
        neighbors=neighbors,
        clips=len(sample),
        trustworthiness=float(
            trustworthiness(features[sample], points[sample], n_neighbors=neighbors, metric="cosine")
        ),
        knn_accuracy_features=knn_accuracy(features[labelled], labels[labelled], neighbors, "cosine")
        if measurable
        else None,
        knn_accuracy_map=knn_accuracy(points[labelled], labels[labelled], neighbors, "euclidean")
        if measurable
        else None,
    )


def knn_accuracy(features: NDArray[np.floating], labels: NDArray[np.integer], neighbors: int, metric: str) -> float:
    """Share of clips whose nearest other clips, by majority, have the clip's class.

    Parameters
    ----------
    features : (clips, channels) float
    labels : (clips,) int
        From 0.
    neighbors : int
        That vote; of classes with equally many votes the lowest wins.
    metric : str
        A distance of scikit-learn.
    """
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=neighbors, metric=metric).fit(features).kneighbors(return_distance=False)
    votes = np.zeros((len(labels), int(labels.max()) + 1), dtype=np.int64)
    np.add.at(votes, (np.arange(len(labels))[:, None], labels[nearest]), 1)
    return float((votes.argmax(axis=1) == labels).mean())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the warnings of umap's and numba's insides, none of which a user can act on, from the user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
