"""Maps as pictures: all clips, the classes inside each category, the hardest and the easiest classes."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.analysis.classes.scores import Extremes
from soundnet_kd.analysis.maps.layout import LabeledMap, MapLayout
from soundnet_kd.data.datasets.esc50 import CLASSES_PER_CATEGORY, ESC50_CATEGORIES, ESC50_CLASSES, is_esc50
from soundnet_kd.figures.panels import new_panels
from soundnet_kd.figures.style import COLORS, MARKERS, PALE, color_and_marker, display_name, headline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_NAMED = 50
"""Groups up to which there is a legend."""

_MAX_AS_SHAPES = 1000
"""Clips up to which an SVG has a shape for each; more are drawn as one picture."""


def draw_map(clips: LabeledMap, title: str, caption: str, path: str | Path) -> None:
    """Draw a map, coloured by category (ESC-50) or by class.

    Parameters
    ----------
    clips : LabeledMap
    title, caption : str
    path : str or Path
        PNG to write.
    """
    groups, names = clips.labels, dict(enumerate(map(display_name, clips.class_names)))
    if is_esc50(clips.class_names):
        groups, names = clips.labels // CLASSES_PER_CATEGORY, dict(enumerate(ESC50_CATEGORIES))
    named = len(names) <= _MAX_NAMED
    few = len(names) <= len(COLORS)
    layout = clips.layout
    notes = [caption, layout.note]
    if not named:
        notes.append(f"the {len(names)} classes are named in {Path(path).with_suffix('.html').name}")
    legend_height = 0 if few or not named else 0.15 * len(names) / 6
    height = _height(layout, 7.8, 5.6)
    with _new_maps(path, layout, 1, 1, 8.0, height, 1.5 + legend_height, title, notes) as (axes,):
        _scatter(axes, layout.points, groups, names if named else dict.fromkeys(names, ""), "unlabeled")
        if named and axes.get_legend_handles_labels()[0]:
            _legend(axes, len(groups), columns=3 if few else 6, size=9 if few else 7)


def draw_categories(clips: LabeledMap, title: str, path: str | Path) -> None:
    """Draw a map of ESC-50 once for each major category, with the classes of that category in colour.

    Parameters
    ----------
    clips : LabeledMap
        Its classes are those of ESC-50.
    title : str
    path : str or Path
        PNG to write.
    """
    panels = {}
    for category, name in enumerate(ESC50_CATEGORIES):
        first = category * CLASSES_PER_CATEGORY
        panels[name] = {each: display_name(ESC50_CLASSES[each]) for each in range(first, first + CLASSES_PER_CATEGORY)}
    _draw_panels(clips, panels, title, path, columns=3)


def draw_extremes(clips: LabeledMap, extremes: Extremes, title: str, path: str | Path) -> None:
    """Draw a map twice: with the classes in colour that a classifier recognises worst, and those it recognises best.

    Parameters
    ----------
    clips : LabeledMap
    extremes : Extremes
    title : str
    path : str or Path
        PNG to write.
    """
    panels = {
        name: {each: f"{display_name(clips.class_names[each])} ({recall:.0%})" for each, recall in classes.items()}
        for name, classes in (("hardest (recall)", extremes.hardest), ("easiest (recall)", extremes.easiest))
    }
    title = f"{title}: classes that a classifier of {extremes.layer} recognises worst and best"
    _draw_panels(clips, panels, title, path, columns=2)


def _draw_panels(
    clips: LabeledMap, panels: Mapping[str, Mapping[int, str]], title: str, path: str | Path, columns: int
) -> None:
    """Draw a map once for each panel, with the classes of that panel in colour and all other clips pale."""
    layout, labels = clips.layout, clips.labels
    height = 1.3 + _height(layout, 4.3, 3.6)
    with _new_maps(path, layout, len(panels), columns, 4.4, height, 0.6, title, [layout.note]) as charts:
        for axes, (name, classes) in zip(charts, panels.items(), strict=True):
            # The classes of a panel take the first colours, whatever their numbers.
            groups = np.full(len(labels), -1)
            for place, each in enumerate(classes):
                groups[labels == each] = place
            _scatter(axes, layout.points, groups, dict(enumerate(classes.values())), None, shapes=True)
            axes.set_title(name, fontsize=10)
            _legend(axes, len(labels), columns, size=8)


@contextmanager
def _new_maps(
    path: str | Path,
    layout: MapLayout,
    count: int,
    columns: int,
    width: float,
    height: float,
    extra_height: float,
    title: str,
    notes: Sequence[str],
) -> Iterator[list["Axes"]]:
    """Open a figure with empty panels for a map, a title, and notes beneath; sizes are in inches.

    The axes have no numbers, since coordinates mean nothing; dashes show where empty strips are shortened.
    """
    with new_panels(path, count, columns, width, height, extra_height=extra_height) as (figure, panels):
        headline(figure, title)
        if any(notes):
            figure.supxlabel("\n".join(filter(None, notes)), x=0.01, ha="left", size=9)
        for axes in panels:
            axes.grid(visible=False)
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_visible(False)
            # The axes keep their lower edge, beneath which the layout has reserved room for the legend.
            axes.set_aspect("equal", adjustable="box", anchor="S")
            for draw, places in zip((axes.axvline, axes.axhline), layout.breaks, strict=True):
                for place in places:
                    draw(place, color=PALE, linewidth=0.8, linestyle=(0, (5, 5)))
        yield panels


def _legend(axes: "Axes", clips: int, columns: int, size: int) -> None:
    """Write a legend beneath the axes, with marks large enough to see."""
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        ncols=columns,
        fontsize=size,
        markerscale=max(1.0, (30 / _size(clips)) ** 0.5),
        handletextpad=0.2,
        columnspacing=1.0,
    )


def _scatter(
    axes: "Axes",
    points: NDArray[np.floating],
    groups: NDArray[np.integer],
    names: Mapping[int, str],
    rest: str | None,
    shapes: bool = False,
) -> None:
    """Draw the clips of each group in its colour; those without a group (-1) pale, beneath the others.

    Parameters
    ----------
    axes : Axes
    points : (clips, 2) float
    groups : (clips,) int
    names : mapping from group to its name in the legend
    rest : str or None
        Name of the clips without a group in the legend; None leaves it out.
    shapes : bool
        Whether every group also has its own shape.
    """
    look: dict[str, Any] = {"s": _size(len(points)), "linewidths": 0, "rasterized": len(points) > _MAX_AS_SHAPES}
    without = groups < 0
    if without.any():
        axes.scatter(*points[without].T, color=PALE, label=rest, **look)
    if shapes:
        look["s"] *= 2.2
    for group in np.unique(groups[~without]):
        colour, marker = color_and_marker(group)
        axes.scatter(
            *points[groups == group].T,
            color=colour,
            marker=MARKERS[group % len(MARKERS)] if shapes else marker,
            alpha=0.75,
            label=names.get(int(group)),
            **look,
        )


def _height(layout: MapLayout, width: float, max_height: float) -> float:
    """Return the height of a map of the given width, in inches."""
    across, up = np.ptp(layout.points, axis=0)
    return float(np.clip(width * up / across, 0.4 * width, max_height)) if across > 0 else max_height


def _size(clips: int) -> float:
    """Return the area of a clip's mark, in square points."""
    return float(np.clip(6000 / clips, 8, 60))
