"""The figure of which classes are taken for which."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.analysis.classes.scores import CLASSES_EACH
from soundnet_kd.data.datasets.esc50 import ESC50_CATEGORIES, is_esc50
from soundnet_kd.figures.style import GREY, heat_map, new_figure, readable

_FEW = 12
"""Classes up to which cells are so large that names fit in lines and numbers in the usual type."""


def draw_confusion(confusion: NDArray[np.int64], classes: Sequence[str], title: str, path: str | Path) -> None:
    """Draw how often the clips of each true class were given each class.

    Colours are shares of the true class's clips, numbers are clips. ESC-50's classes are parted by category.

    Parameters
    ----------
    confusion : (classes, classes) int
    classes : sequence of str
    title : str
    path : str or Path
        PNG to write.
    """
    shares = row_shares(confusion)
    few = len(classes) <= _FEW
    names = [_in_lines(name) for name in classes] if few else classes
    side = float(np.clip(2.6 + 0.19 * len(classes), 6.0, 24.0))
    with new_figure(path, side + 1.0, side) as figure:
        axes = figure.subplots()
        heat_map(axes, shares, names, names, "share of the true class's clips (numbers: clips)", most=1.0)
        for row, column in np.argwhere(confusion > 0):
            axes.text(
                column,
                row,
                confusion[row, column],
                ha="center",
                va="center_baseline",
                fontsize=9 if few else 5,
                color="white" if shares[row, column] > 0.4 else "black",
            )
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.set_title(title, pad=26 if is_esc50(classes) else None)
        if is_esc50(classes):
            for category, name in enumerate(ESC50_CATEGORIES):
                edge = category * CLASSES_EACH - 0.5
                if category > 0:
                    axes.axhline(edge, color=GREY, linewidth=0.8)
                    axes.axvline(edge, color=GREY, linewidth=0.8)
                axes.annotate(
                    name,
                    (edge + CLASSES_EACH / 2, 1),
                    xycoords=("data", "axes fraction"),
                    xytext=(0, 5),
                    textcoords="offset points",
                    ha="center",
                    color=GREY,
                )


def row_shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Divide each row by its sum; a row without clips stays 0.

    Parameters
    ----------
    counts : (rows, columns) int

    Returns
    -------
    (rows, columns) float64
    """
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def _in_lines(name: str) -> str:
    return fill(readable(name).replace("/", "/ "), 10, break_long_words=False, break_on_hyphens=False)
