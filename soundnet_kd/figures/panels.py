"""Figures of many small panels in rows; the last row need not be full."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from soundnet_kd.figures.style import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase


@contextmanager
def new_panels(
    path: str | Path,
    count: int,
    columns: int,
    width: float,
    height: float,
    *,
    extra_height: float = 0.6,
    min_width: float = 0.0,
    sharex: bool = False,
    sharey: bool = False,
) -> Iterator[tuple["Figure", list["Axes"]]]:
    """Open a figure of panels to draw on; it is written as in `new_figure`.

    Parameters
    ----------
    path : str or Path
        PNG to write.
    count : int
        Number of panels.
    columns : int
        Panels per row.
    width, height : float
        Size of a panel, in inches.
    extra_height : float
        Room above and beneath the panels, in inches.
    min_width : float
        Least width of the whole figure, in inches.
    sharex, sharey : bool
        Whether all panels have the same scale.

    Yields
    ------
    Figure, and a list of `count` Axes
    """
    rows = count_rows(count, columns)
    with new_figure(path, max(min_width, width * columns), extra_height + height * rows) as figure:
        yield figure, add_panels(figure, count, columns, sharex=sharex, sharey=sharey)


def add_panels(
    figure: "FigureBase", count: int, columns: int, *, sharex: bool = False, sharey: bool = False
) -> list["Axes"]:
    """Divide a figure, or a part of one, into panels, row by row.

    Parameters
    ----------
    figure : Figure or SubFigure
    count : int
        Number of panels.
    columns : int
        Panels per row; unused places of the last row stay empty.
    sharex, sharey : bool
        Whether all panels have the same scale. That of the x axis is written beneath the lowest panel of each column.

    Returns
    -------
    list of `count` Axes
    """
    grid = figure.subplots(count_rows(count, columns), columns, squeeze=False, sharex=sharex, sharey=sharey)
    panels: list[Axes] = list(np.asarray(grid).flat)
    for axes in panels[count:]:
        axes.set_visible(False)
    if sharex:
        # Matplotlib writes them beneath the last row only, which need not be full.
        for axes in panels[max(0, count - columns) : count]:
            axes.tick_params(labelbottom=True)
    return panels[:count]


def count_rows(count: int, columns: int) -> int:
    """Return the number of rows that the panels need."""
    return -(-count // columns)
