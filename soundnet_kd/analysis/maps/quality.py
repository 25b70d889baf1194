"""Measures of how far a map can be trusted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.analysis.maps.projection import MIN_CLIPS, has_direction, place_unseen
from soundnet_kd.data.manifest import NO_FOLD

QUALITY_NEIGHBORS = 5
MAX_CLIPS_FOR_QUALITY = 5000
"""Clips above which trustworthiness and silhouette, which compare every pair of clips, are estimated on a sample."""


@dataclass(frozen=True)
class MapQuality:
    """How well a map keeps the neighborhoods and classes of the features it was made from.

    Attributes
    ----------
    neighbors : int
        Number of nearest neighbors that trustworthiness and accuracies consider.
    clips : int
        Number of clips that they were measured on.
    trustworthiness : float
        1 if all neighbors in the map are neighbors in the features too; about 0.5 for a random map.
    knn_accuracy_features, knn_accuracy_map : float or None
        Fraction of the labelled clips whose class is that of most of their nearest neighbors; None without labels.
    silhouette_features, silhouette_map : float or None
        How much nearer a clip is to its own class than to the nearest other one, on average, from -1 to 1; with the
        cosine distance in the features and the Euclidean one in the map. None where there are not two classes.
    """

    neighbors: int
    clips: int
    trustworthiness: float
    knn_accuracy_features: float | None
    knn_accuracy_map: float | None
    silhouette_features: float | None
    silhouette_map: float | None


@dataclass(frozen=True)
class HeldOut:
    """How well a supervised map places clips that it was made without.

    Attributes
    ----------
    clips : int
        Number of clips held out: those of the first fold, or a fifth of the labelled clips where there are no folds.
    knn_accuracy_features, knn_accuracy_map : float
        Fraction of these whose class is that of most of their nearest neighbors among the other clips.
    """

    clips: int
    knn_accuracy_features: float
    knn_accuracy_map: float


def map_quality(
    features: NDArray[np.floating], points: NDArray[np.floating], labels: NDArray[np.integer], seed: int = 0
) -> MapQuality:
    """Compare neighborhoods and classes in a map with those in the features, for the clips that have a direction.

    Parameters
    ----------
    features : (clips, channels) float
    points : (clips, 2) float
    labels : (clips,) int
        -1 where unlabeled.
    seed : int
        Seed of the sample, where there are too many clips to compare every pair.
    """
    from sklearn.manifold import trustworthiness

    sample = np.flatnonzero(has_direction(features))
    if len(sample) > MAX_CLIPS_FOR_QUALITY:
        sample = np.sort(np.random.default_rng(seed).choice(sample, MAX_CLIPS_FOR_QUALITY, replace=False))
    neighbors = min(QUALITY_NEIGHBORS, (len(sample) - 1) // 2)
    labelled = sample[labels[sample] >= 0]
    truth = labels[labelled]
    accuracy: list[float | None] = [None, None]
    width: list[float | None] = [None, None]
    for place, (data, metric) in enumerate(((features[labelled], "cosine"), (points[labelled], "euclidean"))):
        if len(labelled) > neighbors:
            accuracy[place] = knn_accuracy(data, truth, neighbors, metric)
        width[place] = silhouette(data, truth, metric)
    return MapQuality(
        neighbors=neighbors,
        clips=len(sample),
        trustworthiness=float(
            trustworthiness(features[sample], points[sample], n_neighbors=neighbors, metric="cosine")
        ),
        knn_accuracy_features=accuracy[0],
        knn_accuracy_map=accuracy[1],
        silhouette_features=width[0],
        silhouette_map=width[1],
    )


def knn_accuracy(features: NDArray[np.floating], labels: NDArray[np.integer], neighbors: int, metric: str) -> float:
    """Fraction of clips whose class is that of most of their nearest neighbors.

    Parameters
    ----------
    features : (clips, channels) float
    labels : (clips,) int
        From 0.
    neighbors : int
        Number of neighbors that vote; of classes with equally many votes the first wins.
    metric : str
        Name of a distance in scikit-learn.
    """
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=neighbors, metric=metric).fit(features).kneighbors(return_distance=False)
    votes = np.zeros((len(labels), int(labels.max()) + 1), dtype=np.int64)
    np.add.at(votes, (np.arange(len(labels))[:, None], labels[nearest]), 1)
    return float((votes.argmax(axis=1) == labels).mean())


def silhouette(features: NDArray[np.floating], labels: NDArray[np.integer], metric: str) -> float | None:
    """Mean silhouette of the clips (Rousseeuw, 1987); None unless there are two classes, one of them with two clips.

    Parameters
    ----------
    features : (clips, channels) float
    labels : (clips,) int
    metric : str
        Name of a distance in scikit-learn.
    """
    from sklearn.metrics import silhouette_score

    if not 2 <= len(np.unique(labels)) < len(labels):
        return None
    return float(silhouette_score(features, labels, metric=metric))


def held_out_quality(
    features: NDArray[np.floating],
    labels: NDArray[np.integer],
    folds: NDArray[np.integer],
    seed: int = 0,
    no_fold: int = NO_FOLD,
) -> HeldOut | None:
    """Make a supervised map without some of the clips, place these in it, and see whether they land in their class.

    Parameters
    ----------
    features : (clips, channels) float
    labels : (clips,) int
        -1 where unlabeled.
    folds : (clips,) int
        The first fold is held out, so that clips of one recording stay together; `no_fold` for clips without a fold.
    seed : int
        Seed of the map and, where there are no folds, of the choice of clips.
    no_fold : int
        Number that stands for no fold.

    Returns
    -------
    HeldOut or None
        None where too few clips would be left.
    """
    from sklearn.neighbors import KNeighborsClassifier

    labelled = labels >= 0
    if not labelled.any():
        return None
    first = folds[labelled].min()
    tested = labelled & (folds == first)
    if first == no_fold:
        tested = np.zeros(len(labels), dtype=bool)
        tested[np.random.default_rng(seed).permutation(np.flatnonzero(labelled))[: labelled.sum() // 5]] = True
    taught = labelled & ~tested
    if not tested.any() or taught.sum() < max(MIN_CLIPS, QUALITY_NEIGHBORS):
        return None
    points, placed = place_unseen(features[~tested], labels[~tested], features[tested], seed=seed)

    def accuracy(known: NDArray[np.floating], new: NDArray[np.floating], metric: str) -> float:
        voters = KNeighborsClassifier(QUALITY_NEIGHBORS, metric=metric).fit(known, labels[taught])
        return float(voters.score(new, labels[tested]))

    return HeldOut(
        clips=int(tested.sum()),
        knn_accuracy_features=accuracy(features[taught], features[tested], "cosine"),
        knn_accuracy_map=accuracy(points[labelled[~tested]], placed, "euclidean"),
    )


def trust_caption(quality: MapQuality, held_out: HeldOut | None, left_out: str = "") -> str:
    """Write in up to three lines how far a map can be trusted, and what is left out of it."""
    trust = "; ".join([f"trustworthiness {quality.trustworthiness:.2f}", *filter(None, [left_out])])
    if quality.knn_accuracy_features is None:
        return trust
    in_features, in_map = percent_or_dash(quality.knn_accuracy_features), percent_or_dash(quality.knn_accuracy_map)
    features, on_map = decimal_or_dash(quality.silhouette_features), decimal_or_dash(quality.silhouette_map)
    return "\n".join(
        [
            f"the {quality.neighbors} nearest neighbors name the class right for {in_features} in the features, "
            f"{in_map} in the map",
            *([held_out_line(held_out)] if held_out else []),
            f"silhouette {features} in the features, {on_map} in the map; {trust}",
        ]
    )


def held_out_line(held_out: HeldOut) -> str:
    """Write how many of the clips that the map was made without land in their class."""
    in_features, in_map = percent_or_dash(held_out.knn_accuracy_features), percent_or_dash(held_out.knn_accuracy_map)
    return (
        f"of {held_out.clips} clips that a map is drawn without, {in_features} are right in the features, "
        f"{in_map} when placed in that map"
    )


def percent_or_dash(fraction: float | None) -> str:
    """Write a fraction as a percentage; a dash if it was not measured."""
    return "-" if fraction is None else f"{fraction:.1%}"


def decimal_or_dash(value: float | None) -> str:
    """Write a number with two decimals; a dash if it was not measured."""
    return "-" if value is None else f"{value:.2f}"
