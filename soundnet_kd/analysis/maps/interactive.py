"""A map as a page: hovering over a clip names it, a click on a class in the legend hides it. It needs no network."""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.analysis.classes.scores import CLASSES_EACH
from soundnet_kd.analysis.maps.empty_strips import without_empty_strips
from soundnet_kd.data.datasets.esc50 import ESC50_CATEGORIES, is_esc50
from soundnet_kd.figures.style import COLORS, MARKERS, color_and_marker
from soundnet_kd.storage import atomic_write

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

PLOTLY_FILE = "plotly.min.js"
"""The program that all pages of a folder share, and look for beside them."""

PALE = "#B0B0B0"

_SYMBOLS = dict(zip(MARKERS, ("circle", "triangle-up", "square", "cross", "x", "triangle-down", "star"), strict=True))
"""The static figures' markers in plotly's words."""

_MAX_AS_SHAPES = 10_000
"""Clips up to which each is a shape of the page; more are drawn by the graphics card, where there is one."""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<script src="{program}"></script>
<style>html, body {{ height: 100%; margin: 0; }} body > div {{ height: 100%; }}</style>
</head>
<body>
{figure}
</body>
</html>
"""


def write_interactive_map(
    points: NDArray[np.floating],
    labels: NDArray[np.integer],
    ids: Sequence[str],
    class_names: Sequence[str],
    title: str,
    caption: str,
    path: str | Path,
) -> None:
    """Write a map as an HTML page, which needs `write_plotly` in the same folder.

    ESC-50 is coloured by category, and the classes of a category have marks of their own; other data sets are coloured
    by class. Names of clips and classes are text, whatever they hold.

    Parameters
    ----------
    points : (clips, 2) float
    labels : (clips,) int
        -1 where unlabeled.
    ids : sequence of str
    class_names : sequence of str
    title, caption : str
    path : str or Path
        HTML to write.
    """
    path = Path(path)
    from plotly.graph_objects import Figure, Scatter, Scattergl

    marks = Scatter if len(points) <= _MAX_AS_SHAPES else Scattergl
    shown = without_empty_strips(points)
    figure = Figure()
    for clips, symbol, look in _classes(labels, ids, class_names):
        marker = {"color": look.pop("colour"), "symbol": symbol, "size": 7, "opacity": 0.75}
        figure.add_trace(marks(x=shown.points[clips, 0], y=shown.points[clips, 1], marker=marker, **look))
    for draw, places in zip((figure.add_vline, figure.add_hline), shown.breaks, strict=True):
        for place in places:
            draw(place, line={"color": PALE, "width": 1, "dash": "dash"})
    hidden = {"visible": False}
    figure.update_layout(xaxis=hidden, yaxis=hidden | {"scaleanchor": "x"})
    _write_page(figure, title, "\n".join(filter(None, (caption, shown.note))), path)


def write_interactive_space(
    points: NDArray[np.floating],
    labels: NDArray[np.integer],
    ids: Sequence[str],
    class_names: Sequence[str],
    axes: Sequence[str],
    title: str,
    caption: str,
    path: str | Path,
) -> None:
    """Write points in three dimensions, which can be turned, as an HTML page; it needs `write_plotly` too.

    Parameters
    ----------
    points : (clips, 3) float
    labels : (clips,) int
        -1 where unlabeled.
    ids : sequence of str
    class_names : sequence of str
    axes : sequence of str
        Names of the three.
    title, caption : str
    path : str or Path
        HTML to write.
    """
    path = Path(path)
    from plotly.graph_objects import Figure, Scatter3d

    figure = Figure()
    for clips, _, look in _classes(labels, ids, class_names):
        marker = {"color": look.pop("colour"), "size": 4, "opacity": 0.75}
        figure.add_trace(Scatter3d(x=points[clips, 0], y=points[clips, 1], z=points[clips, 2], marker=marker, **look))
    figure.update_layout(scene={f"{axis}axis": {"title": _text(name)} for axis, name in zip("xyz", axes, strict=True)})
    _write_page(figure, title, caption, path)


def _classes(
    labels: NDArray[np.integer], ids: Sequence[str], class_names: Sequence[str]
) -> Iterator[tuple[list[int], str, dict[str, Any]]]:
    """Return the clips of each class, its mark, and how it is drawn in plotly's words."""
    by_category = is_esc50(class_names)
    for label in np.unique(labels):
        colour, marker, group = _look(int(label), by_category)
        name = _text(class_names[label].replace("_", " ")) if label >= 0 else "unlabeled"
        clips: list[int] = np.flatnonzero(labels == label).tolist()
        yield (
            clips,
            _SYMBOLS[marker],
            {
                "colour": colour,
                "mode": "markers",
                "name": name,
                "customdata": [(_text(ids[clip]), name) for clip in clips],
                # The names go in as data: in the template itself their signs could mean something.
                "hovertemplate": "%{customdata[0]}<br>%{customdata[1]}<extra></extra>",
                "legendgroup": group,
                "legendgrouptitle": {"text": group},
            },
        )


def _write_page(figure: "Figure", title: str, caption: str, path: Path) -> None:
    figure.update_layout(
        title={"text": _text(title), "subtitle": {"text": _text(caption).replace("\n", "<br>")}},
        template="plotly_white",
        legend={"groupclick": "toggleitem", "itemsizing": "constant"},
        hoverlabel={"align": "left"},
        margin={"l": 20, "r": 20, "t": 110, "b": 20},
    )
    # The page has no business with anybody's server, and its button for sharing would send the figure to one.
    config = {"displaylogo": False, "scrollZoom": True, "showSendToCloud": False}
    body = figure.to_html(full_html=False, include_plotlyjs=False, div_id="map", config=config)
    with atomic_write(path) as partial:
        partial.write_text(_PAGE.format(title=escape(title), program=PLOTLY_FILE, figure=body), encoding="utf-8")


def write_plotly(folder: str | Path) -> None:
    """Write the program that the pages of a folder need."""
    folder = Path(folder)
    from plotly.offline import get_plotlyjs

    with atomic_write(folder / PLOTLY_FILE) as partial:
        partial.write_text(get_plotlyjs(), encoding="utf-8")


def _look(label: int, by_category: bool) -> tuple[str, str, str | None]:
    """Return the colour, the marker and, in ESC-50, the category of a class."""
    if label < 0:
        return PALE, MARKERS[0], None
    if by_category:
        category, place = divmod(label, CLASSES_EACH)
        return COLORS[category], MARKERS[place % len(MARKERS)], ESC50_CATEGORIES[category]
    return *color_and_marker(label), None


def _text(name: str) -> str:
    """Make a name safe where plotly would read it as markup; it knows no other entities than these."""
    return escape(name, quote=False)
