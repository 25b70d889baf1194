"""A layer's features as points in the plane."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.transfer.clips import require_finite

LEAST_CLIPS = 5


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
    with _contained():
        mapper = _mapper(len(features), neighbors, seed)
        return np.asarray(mapper.fit_transform(features, y=labels if supervised else None), dtype=np.float32)


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
    from umap import UMAP

    return UMAP(
        n_neighbors=min(neighbors, clips - 1),
        metric="cosine",
        # The spectral start needs more clips than these; with them any start ends alike.
        init="spectral" if clips > 2 * LEAST_CLIPS else "random",
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
