"""Which clips are held out from training: whole videos, chosen by their names."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.errors import SettingsError

MEASURED_CLIPS = 2048
"""Held-out clips that the agreement is measured on; of a share of a huge collection, more would only cost time."""


def held_out_clips(videos: NDArray[np.uint64], share: float, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Divide clips into those to learn from and those to measure on.

    A video is held out if a hash of its name and the seed lies below `share`, so that adding videos moves none of the
    others. At least one video is held out of two or more, unless `share` is 0; at least one is left to learn from.

    Parameters
    ----------
    videos : (clips,) uint64
        The video of each clip, as `Targets.videos` gives it.
    share : float
        Of the videos to hold out, from 0 to below 1.
    seed : int

    Returns
    -------
    training : (clips_to_learn_from,) int
    measured : (clips_to_measure_on,) int
        Of the held-out clips at most 2048, evenly spread.

    Raises
    ------
    SettingsError
        If `share` is out of range.
    """
    if not 0 <= share < 1:
        raise SettingsError(f"held_out is {share}; it is a share of the videos, from 0 to below 1")
    names, video_of_clip = np.unique(videos, return_inverse=True)
    places = np.fromiter((_place(int(name), seed) for name in names), np.float64, len(names))
    count = 0
    if share > 0:
        count = min(max(int((places < share).sum()), 1), len(names) - 1)
    held = np.zeros(len(names), dtype=bool)
    held[np.argsort(places)[:count]] = True
    held_clips = held[video_of_clip]
    measured = np.flatnonzero(held_clips)
    if len(measured) > MEASURED_CLIPS:
        measured = measured[np.linspace(0, len(measured) - 1, MEASURED_CLIPS).round().astype(int)]
    return np.flatnonzero(~held_clips), measured


def _place(video: int, seed: int) -> float:
    """Give a number from 0 to 1 that a video's name and the seed decide."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{video}".encode()).digest()[:8]) / 2**64
