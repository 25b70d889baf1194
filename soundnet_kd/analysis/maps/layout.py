"""What the still and the interactive figures of a map share: where each clip is drawn, and the look of its group.

A few clips far away from all others would leave little room for these: wide strips of a map without a clip are
shortened.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data.datasets.esc50 import CLASSES_PER_CATEGORY, ESC50_CATEGORIES, is_esc50
from soundnet_kd.figures.style import MARKERS, PALE, color_and_marker

MAX_STRIP = 0.15
"""Width of the widest strip without a clip, relative to the width of the map's middle."""
MIDDLE = (0.05, 0.95)
"""Quantiles between which the middle lies: clips far away do not make it wider."""
MIN_CLIPS = 50
"""Clips of a map up to which nothing is shortened: there is room between any two."""


class MapLayout(NamedTuple):
    """A map with its empty strips shortened, as by the break of an axis.

    Attributes
    ----------
    points : (clips, 2) float64
        In the same order along either axis, and with the same shapes between strips.
    breaks : pair of (strips,) float64
        The middle of each strip that was shortened, along x and along y.
    """

    points: NDArray[np.float64]
    breaks: tuple[NDArray[np.float64], NDArray[np.float64]]

    @property
    def note(self) -> str:
        """A line that explains the dashes at the breaks; empty if there are none."""
        return "dashed: a wide strip without clips is shortened there" if any(map(len, self.breaks)) else ""


def shorten_empty_strips(points: NDArray[np.floating]) -> MapLayout:
    """Shorten the strips across a map, from edge to edge, in which no clip lies.

    How far apart UMAP puts groups that have no neighbors in common means nothing, so nothing is lost with the room.

    Parameters
    ----------
    points : (clips, 2) float
    """
    (x, x_breaks), (y, y_breaks) = (_shorten(axis) for axis in points.astype(np.float64).T)
    return MapLayout(np.column_stack([x, y]), (x_breaks, y_breaks))


def _shorten(axis: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low, high = np.quantile(axis, MIDDLE)
    widest = MAX_STRIP * (high - low)
    if len(axis) < MIN_CLIPS or widest == 0:
        return axis, np.empty(0)
    order = np.argsort(axis, kind="stable")
    excess = np.maximum(np.diff(axis[order]) - widest, 0)
    moved = np.empty_like(axis)
    moved[order] = axis[order] - np.concatenate([[0.0], np.cumsum(excess)])
    return moved, moved[order][:-1][excess > 0] + widest / 2


class ClassStyle(NamedTuple):
    """The look of a class's clips.

    Attributes
    ----------
    color : str
        Of its category in ESC-50, else its own; pale where clips have no label.
    marker : str
        In matplotlib's words; the classes of one category have different ones.
    category : str or None
        In ESC-50.
    """

    color: str
    marker: str
    category: str | None = None


def class_style(label: int, class_names: Sequence[str]) -> ClassStyle:
    """Colour and marker of the clips with a label; -1 where there is none."""
    if label < 0:
        return ClassStyle(PALE, MARKERS[0])
    if is_esc50(class_names):
        category, place = divmod(label, CLASSES_PER_CATEGORY)
        return ClassStyle(color_and_marker(category)[0], MARKERS[place % len(MARKERS)], ESC50_CATEGORIES[category])
    return ClassStyle(*color_and_marker(label))
