"""What all figures share: size in inches, type, colours, and how they reach the disk.

Figures are made with matplotlib's objects, never through pyplot, whose state is global.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.figures.fonts import make_readable
from soundnet_kd.storage import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

DOTS_PER_INCH = 150

COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8C6D1F", "#000000")
"""Distinct to colour-blind eyes (Okabe and Ito, 2008; the yellow, pale on white, is replaced)."""

GREY = "#767676"
MARKERS = ("o", "^", "s", "P", "X", "v", "*")
"""One for each round of the colours, where there are more groups than colours."""

LONGEST_NAME = 30

AMOUNTS = "magma_r"
"""Colour map of amounts from little (light) to much (dark); even in grey."""

_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlepad": 10,
    # None but what `new_figure` asks for.
    "figure.autolayout": False,
    "figure.constrained_layout.use": False,
    "font.size": 9,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    # Text stays text in an SVG: small, searchable, and readable to a screen reader.
    "svg.fonttype": "none",
    "svg.hashsalt": "soundnet_kd",
    # A class may be called "$1 coin $2": names are never formulas.
    "text.parse_math": False,
}


@contextmanager
def new_figure(path: str | Path, width: float, height: float) -> Iterator["Figure"]:
    """Return a figure to draw on; it is written as PNG, and as SVG beside it, when the block ends well.

    Artists of thousands of marks should be `rasterized`, so that the SVG stays small.

    Parameters
    ----------
    path : str or Path
        Of the PNG; the SVG has the same name but for its ending.
    width, height : float
        Inches; the PNG has 150 dots per inch.
    """
    path = Path(path)
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        make_readable(figure)
        # Without the date the same figure is the same file.
        for file, metadata in ((path, {}), (path.with_suffix(".svg"), {"Date": None})):
            with atomic_write(file) as partial:
                figure.savefig(partial, dpi=DOTS_PER_INCH, format=file.suffix[1:], metadata=metadata)
            # The SVG is laid out as the PNG was: finding the layout takes as long as drawing.
            figure.set_layout_engine(None)


def color_and_marker(group: int) -> tuple[str, str]:
    """Return the look of a group by its number, from 0."""
    return COLORS[group % len(COLORS)], MARKERS[group // len(COLORS) % len(MARKERS)]


def readable(class_name: str) -> str:
    """Return a class name as people write it, cut to what fits beside a figure."""
    name = class_name.replace("_", " ")
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1].rstrip()}…"


def percents() -> "FuncFormatter":
    """Write the shares of an axis as percents, with the decimals that they have: 2.5%, 5%."""
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda share, _: f"{100 * share:.6g}%")


def depth_colors(count: int) -> list[tuple[float, float, float, float]]:
    """Colours from light to dark for layers from the input on."""
    import matplotlib

    shades = matplotlib.colormaps["viridis_r"](np.linspace(0.12, 1.0, count))
    return [(float(red), float(green), float(blue), float(alpha)) for red, green, blue, alpha in shades]


def heat_map(
    axes: "Axes",
    amounts: NDArray[np.floating],
    rows: Sequence[str] | None,
    columns: Sequence[str] | None,
    legend: str,
    most: float | None = None,
) -> None:
    """Draw a matrix of shares with its names and a colour bar.

    Parameters
    ----------
    axes : Axes
    amounts : (rows, columns) float
        From 0 to 1.
    rows, columns : sequence of str, optional
        None leaves them out.
    legend : str
        Of the colour bar.
    most : float, optional
        The amount of the darkest colour; the largest one if not given.
    """
    import matplotlib

    axes.grid(visible=False)
    shades = matplotlib.colormaps[AMOUNTS].with_extremes(under="white")
    # Nothing at all is white; the smallest amount is a colour.
    picture = axes.imshow(amounts, cmap=shades, vmin=1e-9, vmax=most, aspect="auto", interpolation="nearest")
    for names, axis in ((rows, axes.yaxis), (columns, axes.xaxis)):
        if names is None:
            axis.set_ticks([])
        else:
            size = 9 if len(names) <= 20 else 7
            axis.set_ticks(range(len(names)), [readable(name) for name in names], fontsize=size)
    if columns is not None:
        axes.tick_params(axis="x", labelrotation=90 if len(columns) > 6 else 0)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color("#BBBBBB")
    figure = axes.get_figure()
    if figure is not None:
        bar = figure.colorbar(picture, ax=axes, label=legend, format=percents(), fraction=0.03, pad=0.015)
        bar.outline.set_visible(False)
