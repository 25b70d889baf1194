"""What still and interactive figures of a map share: its clips, where each is drawn, and the look of its class.

A few clips far away from all others would leave little room for the rest, so wide empty strips of a map are shortened.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data.datasets.esc50 import CLASSES_PER_CATEGORY, ESC50_CATEGORIES, is_esc50
from soundnet_kd.figures.style import MARKERS, PALE, color_and_marker

MAX_STRIP = 0.15
"""Width of the widest strip without a clip, relative to the width of the map's middle."""
MIDDLE = (0.05, 0.95)
"""Quantiles of the coordinates that bound the middle, so that clips far away do not make it wider."""
MIN_CLIPS = 50
"""Maps of fewer clips are not shortened: there is room enough."""


class MapLayout(NamedTuple):
    """A map with its empty strips shortened, as by the break of an axis.

    Attributes
    ----------
    points : (clips, 2) float64
        In the same order along either axis; the shapes between the strips are unchanged.
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

    The distance at which UMAP puts groups without common neighbors means nothing, so nothing is lost.

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


@dataclass(frozen=True, eq=False)
class LabeledMap:
    """A map and the classes of its clips, from which every figure of it is drawn.

    Attributes
    ----------
    points : (clips, 2) float
    labels : (clips,) int
        -1 where unlabeled.
    class_names : sequence of str
    """

    points: NDArray[np.floating]
    labels: NDArray[np.integer]
    class_names: Sequence[str]

    @cached_property
    def layout(self) -> MapLayout:
        """Where its clips are drawn."""
        return shorten_empty_strips(self.points)


class ClassStyle(NamedTuple):
    """The look of a class's clips.

    Attributes
    ----------
    color : str
        In ESC-50 that of its category, else its own; pale for clips without a label.
    marker : str
        One of `MARKERS`; in ESC-50 the classes of one category have different ones.
    category : str or None
        None where the classes are not ESC-50's.
    """

    color: str
    marker: str
    category: str | None = None


def class_style(label: int, class_names: Sequence[str]) -> ClassStyle:
    """Colour and marker of the clips of a class; -1 stands for clips without a label."""
    if label < 0:
        return ClassStyle(PALE, MARKERS[0])
    if is_esc50(class_names):
        category, place = divmod(label, CLASSES_PER_CATEGORY)
        return ClassStyle(color_and_marker(category)[0], MARKERS[place % len(MARKERS)], ESC50_CATEGORIES[category])
    return ClassStyle(*color_and_marker(label))
