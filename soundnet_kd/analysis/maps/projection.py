"""A layer's features as points in the plane."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.system.cache_folders import provide_caches
from soundnet_kd.transfer.input_checks import Column, features_of, labels_of, require_finite

MIN_CLIPS = 5

_MAX_CLIPS_COMPARED = 4096
"""Clips from which on UMAP looks for approximate neighbors; among fewer it compares every pair."""
_SPARE = 5
"""Neighbors that are looked for beyond those needed: rounding may put the last ones in another order."""
_COMPILED_FUNCTIONS = {
    "umap.umap_": ("smooth_knn_dist", "compute_membership_strengths"),
    "umap.layouts": ("clip", "_nb_optimize_layout_euclidean_single_epoch"),
}
"""Functions by module that UMAP has Numba compile in every process anew."""


def has_direction(features: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Tell for which clips a cosine with others is defined, (clips,) bool.

    It is not for clips whose features are all zero, such as silence, and for those whose features are not finite.
    """
    energy = _energy(features)
    return np.asarray((energy > 0) & np.isfinite(energy))


def explain_left_out(features: NDArray[np.floating]) -> str:
    """Say how many clips have no direction and are left out of a map, and why; return nothing if all have one."""
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
    """Place clips in the plane by UMAP with the cosine metric.

    Clips whose features are all zero have no cosine with others and take no part; they are put together beside the map.

    Parameters
    ----------
    features : (clips, channels) float
    labels : (clips,) int or str, optional
        Used only if `supervised` is set; -1 or None where unlabeled.
    seed : int
        The same seed gives the same map on the same machine.
    neighbors : int
        Number of nearest neighbors that UMAP considers; at most the number of other clips.
    supervised : bool
        Pull clips of one class together, as in the ESC-50 notebook. Such a map shows labels as well as features.

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
    with _contain_side_effects():
        mapper = _mapper(int(mapped.sum()), neighbors, seed)
        if mapped.sum() < _MAX_CLIPS_COMPARED:
            nearest = _nearest(given[mapped], mapper.n_neighbors)
            mapper.set_params(precomputed_knn=nearest, force_approximation_algorithm=True)
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
    """Make a supervised map of some clips, and place in it other clips whose labels it does not know.

    Parameters
    ----------
    features : (clips, channels) float
        Finite, for at least five clips.
    labels : (clips,) int
        -1 where unlabeled.
    unseen : (others, channels) float
    seed, neighbors : int
        As in `umap_map`.

    Returns
    -------
    (clips, 2) float32 and (others, 2) float32
    """
    with _contain_side_effects():
        mapper = _mapper(len(features), neighbors, seed)
        points = mapper.fit_transform(features, y=labels)
        return np.asarray(points, dtype=np.float32), np.asarray(mapper.transform(unseen), dtype=np.float32)


def _nearest(features: NDArray[np.floating], neighbors: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find the nearest clips of each clip, itself among them, and their distances, as UMAP would, but fast.

    UMAP calls its distance for every pair, one by one. Here a matrix product finds the neighbors, and UMAP's distance
    is called for these alone, so that the map is the same to the last bit.

    Returns
    -------
    (clips, neighbors) int64 and (clips, neighbors) float32
    """
    from sklearn.neighbors import NearestNeighbors
    from umap.distances import cosine

    data = np.asarray(features, dtype=np.float32)
    search = NearestNeighbors(n_neighbors=min(neighbors + _SPARE, len(data)), metric="cosine").fit(data)
    found = search.kneighbors(data, return_distance=False)
    exact = [[cosine(clip, data[other]) for other in near] for clip, near in zip(data, found, strict=True)]
    distances = np.array(exact, dtype=np.float32)
    # Of clips at the same distance the first comes first, however the matrix product was rounded.
    order = np.lexsort((found, distances), axis=1)[:, :neighbors]
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(distances, order, axis=1)


def _mapper(clips: int, neighbors: int, seed: int) -> Any:
    with provide_caches("umap"):
        from umap import UMAP

    _keep_compiled()
    return UMAP(
        n_neighbors=min(neighbors, clips - 1),
        metric="cosine",
        # The spectral initialization needs more clips than these; with so few it makes no difference.
        init="spectral" if clips > 2 * MIN_CLIPS else "random",
        random_state=seed,
        n_jobs=1,
    )


def _keep_compiled() -> None:
    """Have Numba keep what it compiles for UMAP in its cache, beside other functions of UMAP, for later processes."""
    for module, names in _COMPILED_FUNCTIONS.items():
        for name in names:
            # Another version of UMAP may lack a function, and a cache may have no place; then it is compiled each time.
            with suppress(AttributeError, RuntimeError):
                getattr(import_module(module), name).enable_caching()


@contextmanager
def _contain_side_effects() -> Iterator[None]:
    """Undo what umap and numba change in the process, and hide their warnings, on which no user can act.

    When numba first runs, it sets the number of OpenMP threads, which PyTorch uses too: training after a map was made
    would then add numbers in another order, and give slightly different results, than training before it.
    """
    from threadpoolctl import threadpool_limits

    # Without limits, it only restores the former number of threads.
    with threadpool_limits(limits=None), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
