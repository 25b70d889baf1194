"""A map as a web page that works offline: hovering over a clip names it, a click in the legend hides a class."""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.analysis.maps.layout import LabeledMap, class_style
from soundnet_kd.figures.style import MARKERS, PALE
from soundnet_kd.storage import atomic_write

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

PLOTLY_FILE = "plotly.min.js"
"""The script that all pages of a folder load; it lies beside them."""

PLOTLY_SYMBOLS = dict(
    zip(MARKERS, ("circle", "triangle-up", "square", "cross", "x", "triangle-down", "star"), strict=True)
)
"""Plotly's names of the markers of still figures."""

_MAX_AS_SHAPES = 10_000
"""Clips up to which each is an SVG shape; more are drawn with WebGL."""

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


def write_interactive_map(clips: LabeledMap, ids: Sequence[str], title: str, caption: str, path: str | Path) -> None:
    """Write a map as an HTML page; call `write_plotly` for its folder too.

    ESC-50 is coloured by category, and the classes of a category have different symbols; other data sets are coloured
    by class. Names of clips and classes are escaped, so that none is read as markup.

    Parameters
    ----------
    clips : LabeledMap
    ids : sequence of str
    title, caption : str
    path : str or Path
        HTML to write.
    """
    path = Path(path)
    from plotly.graph_objects import Figure, Scatter, Scattergl

    marks = Scatter if len(clips.points) <= _MAX_AS_SHAPES else Scattergl
    layout = clips.layout
    figure = Figure()
    for rows, symbol, look in _classes(clips.labels, ids, clips.class_names):
        marker = {"color": look.pop("color"), "symbol": symbol, "size": 7, "opacity": 0.75}
        figure.add_trace(marks(x=layout.points[rows, 0], y=layout.points[rows, 1], marker=marker, **look))
    for draw, places in zip((figure.add_vline, figure.add_hline), layout.breaks, strict=True):
        for place in places:
            draw(place, line={"color": PALE, "width": 1, "dash": "dash"})
    hidden = {"visible": False}
    figure.update_layout(xaxis=hidden, yaxis=hidden | {"scaleanchor": "x"})
    _write_page(figure, title, "\n".join(filter(None, (caption, layout.note))), path)


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
    """Write a rotatable plot of points in three dimensions as an HTML page; call `write_plotly` for its folder too.

    Parameters
    ----------
    points : (clips, 3) float
    labels : (clips,) int
        -1 where unlabeled.
    ids : sequence of str
    class_names : sequence of str
    axes : sequence of str
        Names of the three axes.
    title, caption : str
    path : str or Path
        HTML to write.
    """
    path = Path(path)
    from plotly.graph_objects import Figure, Scatter3d

    figure = Figure()
    for clips, _, look in _classes(labels, ids, class_names):
        marker = {"color": look.pop("color"), "size": 4, "opacity": 0.75}
        figure.add_trace(Scatter3d(x=points[clips, 0], y=points[clips, 1], z=points[clips, 2], marker=marker, **look))
    titles = {f"{axis}axis": {"title": _escape(name)} for axis, name in zip("xyz", axes, strict=True)}
    figure.update_layout(scene=titles)
    _write_page(figure, title, caption, path)


def _classes(
    labels: NDArray[np.integer], ids: Sequence[str], class_names: Sequence[str]
) -> Iterator[tuple[list[int], str, dict[str, Any]]]:
    """Yield the clips of each class, its symbol, and its colour and texts as arguments of a plotly trace."""
    for label in np.unique(labels):
        color, marker, category = class_style(int(label), class_names)
        name = _escape(class_names[label].replace("_", " ")) if label >= 0 else "unlabeled"
        clips: list[int] = np.flatnonzero(labels == label).tolist()
        yield (
            clips,
            PLOTLY_SYMBOLS[marker],
            {
                "color": color,
                "mode": "markers",
                "name": name,
                "customdata": [(_escape(ids[clip]), name) for clip in clips],
                # Names are passed as data: in the template itself some characters have a meaning.
                "hovertemplate": "%{customdata[0]}<br>%{customdata[1]}<extra></extra>",
                "legendgroup": category,
                "legendgrouptitle": {"text": category},
            },
        )


def _write_page(figure: "Figure", title: str, caption: str, path: Path) -> None:
    figure.update_layout(
        title={"text": _escape(title), "subtitle": {"text": _escape(caption).replace("\n", "<br>")}},
        template="plotly_white",
        legend={"groupclick": "toggleitem", "itemsizing": "constant"},
        hoverlabel={"align": "left"},
        margin={"l": 20, "r": 20, "t": 110, "b": 20},
    )
    # The button for sharing would send the figure to a server.
    config = {"displaylogo": False, "scrollZoom": True, "showSendToCloud": False}
    body = figure.to_html(full_html=False, include_plotlyjs=False, div_id="map", config=config)
    with atomic_write(path) as partial:
        partial.write_text(_PAGE.format(title=escape(title), program=PLOTLY_FILE, figure=body), encoding="utf-8")


def write_plotly(folder: str | Path) -> None:
    """Write the script that the pages of a folder need."""
    folder = Path(folder)
    from plotly.offline import get_plotlyjs

    with atomic_write(folder / PLOTLY_FILE) as partial:
        partial.write_text(get_plotlyjs(), encoding="utf-8")


def _escape(name: str) -> str:
    """Escape what plotly would read as markup in a name; quotation marks need no escape there."""
    return escape(name, quote=False)
