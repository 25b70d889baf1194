"""What all figures share: resolution, fonts, every colour and colour map, titles, and how a figure is written.

Figures are made with matplotlib's objects, never through pyplot, whose state is global.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from soundnet_kd.figures.fonts import make_readable
from soundnet_kd.storage import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure, FigureBase
    from matplotlib.ticker import FuncFormatter

DOTS_PER_INCH = 150

COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8C6D1F", "#000000")
"""The colours of groups, which colour-blind readers can tell apart (Okabe and Ito, 2008; without the pale yellow)."""

GREY = "#767676"
"""Guide lines, notes, and whatever should not stand out."""
PALE = "#C4C4C4"
"""Marks in the background, such as clips without a label on a map."""
GRID = "#E4E4E4"
FRAME = "#BBBBBB"
"""The edge of a heat map."""

AMOUNTS = "magma_r"
"""Colour map of amounts, from little (light) to much (dark); it works in greyscale too."""
LEVELS = "magma"
"""Colour map of levels in decibels and of spectrograms: what is quiet is dark."""
SIGNED = "PuOr_r"
"""Colour map of numbers of either sign; white is zero."""
DEPTHS = "viridis_r"
"""Colour map of layers, from the input (light) to the output (dark)."""

MARKERS = ("o", "^", "s", "P", "X", "v", "*")
"""Groups have the first marker; where there are more groups than colours, the colours start again with the next one."""

LONGEST_NAME = 30

_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlepad": 10,
    # `new_figure` chooses the layout.
    "figure.autolayout": False,
    "figure.constrained_layout.use": False,
    "font.size": 9,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    # Text stays text in an SVG: small, searchable, and open to screen readers.
    "svg.fonttype": "none",
    "svg.hashsalt": "soundnet_kd",
    # A class may be called "$1 coin $2", which is not a formula.
    "text.parse_math": False,
}


@contextmanager
def new_figure(path: str | Path, width: float, height: float) -> Iterator["Figure"]:
    """Open a figure to draw on; it is written as PNG, and as SVG beside it, when the block ends without an error.

    Artists with thousands of marks should be `rasterized` to keep the SVG small.

    Parameters
    ----------
    path : str or Path
        PNG to write; the SVG has the same name with another ending.
    width, height : float
        In inches; the PNG has 150 dots per inch.

    Yields
    ------
    Figure
    """
    path = Path(path)
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE), _later_garbage():
        figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")
        yield figure
        make_readable(figure)
        # Computed once, for both files; each `savefig` would compute it by drawing all of the figure.
        if (layout := figure.get_layout_engine()) is not None:
            layout.execute(figure)
            figure.set_layout_engine(None)
        # Without a date, the same figure always gives the same file.
        for file, metadata in ((path, {}), (path.with_suffix(".svg"), {"Date": None})):
            with atomic_write(file) as partial:
                figure.savefig(partial, dpi=DOTS_PER_INCH, format=file.suffix[1:], metadata=metadata)


@contextmanager
def _later_garbage() -> Iterator[None]:
    """Have Python look for no garbage in the block: it would search a figure's many objects over and over, in vain."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def headline(figure: "FigureBase", text: str, x: float = 0.01) -> None:
    """Write above a figure, from its left edge on, what it shows."""
    figure.suptitle(text, x=x, ha="left", weight="bold", size=11)


def color_and_marker(group: int) -> tuple[str, str]:
    """Colour and marker of a group by its number, from 0."""
    return COLORS[group % len(COLORS)], MARKERS[group // len(COLORS) % len(MARKERS)]


def depth_colors(count: int) -> list[tuple[float, float, float, float]]:
    """Colours (red, green, blue, alpha) of layers from the input on, from light to dark."""
    import matplotlib

    shades = matplotlib.colormaps[DEPTHS](np.linspace(0.12, 1.0, count))
    return [(float(red), float(green), float(blue), float(alpha)) for red, green, blue, alpha in shades]


def display_name(class_name: str) -> str:
    """Return a class name with blanks for underscores, cut to the length that fits beside a figure."""
    name = class_name.replace("_", " ")
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1].rstrip()}…"


def percent_formatter() -> "FuncFormatter":
    """Formatter that writes the fractions of an axis as percentages, with as many decimals as needed: 2.5%, 5%."""
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda fraction, _: f"{100 * fraction:.6g}%")
