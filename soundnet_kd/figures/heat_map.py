"""Matrices as heat maps, with names at their sides and a colour bar: of fractions, or of counts with their numbers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.figures.style import AMOUNTS, FRAME, display_name, percent_formatter

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DARK = 0.4
"""Fraction above which a cell is dark, and its number white."""


def heat_map(
    axes: "Axes",
    fractions: NDArray[np.floating],
    rows: Sequence[str] | None,
    columns: Sequence[str] | None,
    legend: str,
    max_fraction: float | None = None,
) -> None:
    """Draw a matrix of fractions with its names and a colour bar.

    Parameters
    ----------
    axes : Axes
    fractions : (rows, columns) float
        From 0 (white) to 1; any fraction above 0 has a colour.
    rows, columns : sequence of str, optional
        Names of the rows and the columns; None leaves them out.
    legend : str
        Label of the colour bar.
    max_fraction : float, optional
        Fraction that has the darkest colour. [default: the largest one]
    """
    import matplotlib

    axes.grid(visible=False)
    shades = matplotlib.colormaps[AMOUNTS].with_extremes(under="white")
    picture = axes.imshow(fractions, cmap=shades, vmin=1e-9, vmax=max_fraction, aspect="auto", interpolation="nearest")
    for names, axis in ((rows, axes.yaxis), (columns, axes.xaxis)):
        if names is None:
            axis.set_ticks([])
        else:
            size = 9 if len(names) <= 20 else 7
            axis.set_ticks(range(len(names)), [display_name(name) for name in names], fontsize=size)
    if columns is not None:
        axes.tick_params(axis="x", labelrotation=90 if len(columns) > 6 else 0)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(FRAME)
    figure = axes.get_figure()
    if figure is not None:
        bar = figure.colorbar(picture, ax=axes, label=legend, format=percent_formatter(), fraction=0.03, pad=0.015)
        bar.outline.set_visible(False)


def count_map(
    axes: "Axes",
    counts: NDArray[np.integer],
    totals: NDArray[np.integer],
    names: Sequence[str],
    legend: str,
    font_size: float,
) -> None:
    """Draw a square matrix of counts: each is written as a number, on a colour for its fraction of the row's total.

    Parameters
    ----------
    axes : Axes
    counts : (classes, classes) int
    totals : (classes,) int
        What each row is divided by; a row with total 0 stays white.
    names : sequence of str
        Names of the rows, which are those of the columns too.
    legend : str
        Label of the colour bar.
    font_size : float
        Size of the numbers, in points.
    """
    fractions = counts / np.maximum(totals, 1)[:, None]
    heat_map(axes, fractions, names, names, legend, max_fraction=1.0)
    for row, column in np.argwhere(counts > 0):
        number = axes.text(
            column,
            row,
            counts[row, column],
            ha="center",
            va="center_baseline",
            fontsize=font_size,
            color="white" if fractions[row, column] > _DARK else "black",
        )
        # It lies within the axes, so there is nothing to measure.
        number.set_in_layout(False)
