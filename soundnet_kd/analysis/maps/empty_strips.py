"""Empty room on a map, which a few clips far away from all others would take from these."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WIDEST = 0.15
"""Of a strip without a clip, in widths of the map's middle."""
MIDDLE = (0.05, 0.95)
"""Quantiles between which the middle lies: clips far away do not make it wider."""
MIN_CLIPS = 50
"""In a map of fewer clips there is room between any two."""


class Shortened(NamedTuple):
    """A map with its empty strips shortened, as by the break of an axis.

    Attributes
    ----------
    points : (clips, 2) float64
        In the same order along either axis, and with the same shapes between strips.
    breaks : pair of (strips,) float64
        Where the strips that were shortened now are, along x and along y.
    """

    points: NDArray[np.float64]
    breaks: tuple[NDArray[np.float64], NDArray[np.float64]]

    @property
    def note(self) -> str:
        """What has to be said of them, if there are any."""
        return "dashed: a wide strip without clips is shortened there" if any(map(len, self.breaks)) else ""


def without_empty_strips(points: NDArray[np.floating]) -> Shortened:
    """Shorten the strips across a map, from edge to edge, in which no clip lies.

    How far apart UMAP puts groups that have no neighbors in common means nothing, so nothing is lost with the room.

    Parameters
    ----------
    points : (clips, 2) float
    """
    (x, x_breaks), (y, y_breaks) = (_shortened(axis) for axis in points.astype(np.float64).T)
    return Shortened(np.column_stack([x, y]), (x_breaks, y_breaks))


def _shortened(axis: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low, high = np.quantile(axis, MIDDLE)
    widest = WIDEST * (high - low)
    if len(axis) < MIN_CLIPS or widest == 0:
        return axis, np.empty(0)
    order = np.argsort(axis, kind="stable")
    excess = np.maximum(np.diff(axis[order]) - widest, 0)
    moved = np.empty_like(axis)
    moved[order] = axis[order] - np.concatenate([[0.0], np.cumsum(excess)])
    return moved, moved[order][:-1][excess > 0] + widest / 2
