"""A layer's features as points in the plane."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.system.cache_folders import provide_caches
from soundnet_kd.transfer.validation import Column, features_of, labels_of, require_finite

MIN_CLIPS = 5


def has_direction(features: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Tell which clips have a cosine with others: (clips,) bool.

    One of zeros alone, to which no neuron answers, such as silence, has none, and neither has one that is not finite.
    """
    energy = _energy(features)
    return np.asarray((energy > 0) & np.isfinite(energy))


def without_direction(features: NDArray[np.floating]) -> str:
    """Say how many clips have no direction, and why; nothing if all have one."""
    energy = _energy(features)
    silent, broken = int((energy == 0).sum()), int((~np.isfinite(energy)).sum())
    reasons = [(silent, "to which no neuron answers"), (broken, "whose features are NaN or infinite")]
    told = [f"{count} {'clip' if count == 1 else 'clips'} {why}" for count, why in reasons if count > 0]
    return f"left out: {', '.join(told)}" if told else ""


def _energy(features: NDArray[np.floating]) -> NDArray[np.floating]:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.einsum("ij,ij->i", features, features))


def umap_map(
    features: ArrayLike,
    labels: Column | None = None,
    *,
    seed: int = 0,
    neighbors: int = 15,
    supervised: bool = False,
) -> NDArray[np.float32]:
    """Lay clips out in the plane by UMAP with the cosine metric.

    Clips of zeros alone, which have no cosine with others, take no part; they lie together, apart from the map.

    Parameters
    ----------
    features : (clips, channels) float
    labels : (clips,) int or str, optional
        Used only if `supervised`; -1 or None where unlabeled.
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
        If there are fewer than five clips that are not all zeros, or no labels for a supervised map.
    """
    given = features_of(features)
    if given.ndim != 2 or len(given) < MIN_CLIPS:
        raise SettingsError(f"features have shape {given.shape}; a map needs at least {MIN_CLIPS} clips")
    require_finite(given)
    if neighbors < 2:
        raise SettingsError(f"neighbors is {neighbors}; expected at least 2")
    numbers = None if labels is None else labels_of(labels)[0]
    if numbers is not None and numbers.shape != (len(given),):
        raise FormatError(f"there are {len(given)} clips but labels of shape {numbers.shape}; expected one per clip")
    mapped = has_direction(given)
    if mapped.sum() < MIN_CLIPS:
        raise SettingsError(
            f"only {mapped.sum()} of {len(given)} clips are not all zeros; a map needs at least {MIN_CLIPS}, so take "
            "another layer, or look at the sounds"
        )
    if supervised and (numbers is None or not (numbers[mapped] >= 0).any()):
        raise SettingsError("a supervised map needs labels and no clip has one; leave supervised off")
    with _contained():
        mapper = _mapper(int(mapped.sum()), neighbors, seed)
        truth = numbers[mapped] if supervised and numbers is not None else None
        found = np.asarray(mapper.fit_transform(given[mapped], y=truth), dtype=np.float32)
    points = np.empty((len(given), 2), dtype=np.float32)
    points[mapped] = found
    points[~mapped] = found.min(axis=0) - np.maximum(1, np.ptp(found, axis=0).max() / 4)
    return points


def place_unseen(
    features: NDArray[np.floating],
    labels: NDArray[np.integer],
    unseen: NDArray[np.floating],
    *,
    seed: int = 0,
    neighbors: int = 15,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw a supervised map of some clips, and place others in it whose labels it never saw.

    Parameters
    ----------
    features : (clips, channels) float
        Finite, of at least five clips.
    labels : (clips,) int
        -1 where unlabeled.
    unseen : (others, channels) float
    seed, neighbors : int
        As in `umap_map`.

    Returns
    -------
    (clips, 2) float32 and (others, 2) float32
    """
    with _contained():
        mapper = _mapper(len(features), neighbors, seed)
        points = mapper.fit_transform(features, y=labels)
        return np.asarray(points, dtype=np.float32), np.asarray(mapper.transform(unseen), dtype=np.float32)


def _mapper(clips: int, neighbors: int, seed: int) -> Any:
    with provide_caches("umap"):
        from umap import UMAP

    return UMAP(
        n_neighbors=min(neighbors, clips - 1),
        metric="cosine",
        # The spectral start needs more clips than these; with them any start ends alike.
        init="spectral" if clips > 2 * MIN_CLIPS else "random",
        random_state=seed,
        n_jobs=1,
    )


@contextmanager
def _contained() -> Iterator[None]:
    """Keep to itself what umap and numba do to the process.

    Warnings of their insides are none that a user can act on. And numba, when it first runs, sets the number of threads
    of OpenMP, which PyTorch computes with too: a training after a map would round its sums in another order than the
    same training before it.
    """
    from threadpoolctl import threadpool_limits

    # Without limits of its own it only restores what there was.
    with threadpool_limits(limits=None), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
