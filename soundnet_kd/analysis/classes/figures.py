"""The figures of a layer's classes: the confusion, each class's scores, common mistakes."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.analysis.classes.scores import ClassScores, ConfusedPair
from soundnet_kd.data.datasets.esc50 import CLASSES_PER_CATEGORY, ESC50_CATEGORIES, is_esc50
from soundnet_kd.figures.heat_map import count_map
from soundnet_kd.figures.style import COLORS, GREY, display_name, new_figure, percent_formatter

_FEW = 12
"""Classes up to which a cell has room for a number in the usual size, and for a name in several lines beside it."""
_INCHES_PER_ROW = 0.2
_SMALL = 8
MAX_PAIRS = 15
"""Pairs in the figure; the table lists all of them."""
_PRECISION: dict[str, Any] = {
    "linestyle": "",
    "marker": "D",
    "markersize": 4,
    "markerfacecolor": "white",
    "markeredgecolor": "black",
}
"""Marker of a class's precision, in the figure and in its legend."""


def draw_confusion(confusion: NDArray[np.int64], classes: Sequence[str], title: str, path: str | Path) -> None:
    """Draw how often the clips of each true class are predicted to be of each class.

    Colours are fractions of the true class's clips, numbers are clips. Lines part ESC-50's categories.

    Parameters
    ----------
    confusion : (classes, classes) int
        Clips of each true class (row) by predicted class (column).
    classes : sequence of str
    title : str
    path : str or Path
        PNG to write.
    """
    few = len(classes) <= _FEW
    names = [_wrap(name) for name in classes] if few else classes
    side = float(np.clip(2.6 + 0.19 * len(classes), 6.0, 24.0))
    with new_figure(path, side + 1.0, side) as figure:
        axes = figure.subplots()
        legend = "share of the true class's clips (numbers: clips)"
        count_map(axes, confusion, confusion.sum(axis=1), names, legend, font_size=9 if few else 5)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.set_title(title, pad=26 if is_esc50(classes) else None)
        if is_esc50(classes):
            for category, name in enumerate(ESC50_CATEGORIES):
                edge = category * CLASSES_PER_CATEGORY - 0.5
                if category > 0:
                    axes.axhline(edge, color=GREY, linewidth=0.8)
                    axes.axvline(edge, color=GREY, linewidth=0.8)
                axes.annotate(
                    name,
                    (edge + CLASSES_PER_CATEGORY / 2, 1),
                    xycoords=("data", "axes fraction"),
                    xytext=(0, 5),
                    textcoords="offset points",
                    ha="center",
                    color=GREY,
                )


def draw_class_scores(scores: ClassScores, pairs: Sequence[ConfusedPair], layer: str, path: str | Path) -> None:
    """Draw the recall and the precision of each class, the easiest on top, and the class it is most often taken for.

    Parameters
    ----------
    scores : ClassScores
    pairs : sequence of ConfusedPair
    layer : str
    path : str or Path
        PNG to write.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    order = scores.easiest_first
    rows = np.arange(len(order))
    categories = order // CLASSES_PER_CATEGORY if is_esc50(scores.classes) else np.zeros_like(order)
    mistakes = _commonest_mistakes(pairs, scores.classes)
    with new_figure(path, 8.4, 1.6 + _INCHES_PER_ROW * len(order)) as figure:
        axes = figure.subplots()
        axes.barh(rows, scores.recall[order], height=0.72, color=[COLORS[each] for each in categories])
        axes.plot(scores.precision[order], rows, clip_on=False, zorder=3, **_PRECISION)
        for row, number in zip(rows, order, strict=True):
            if number in mistakes:
                axes.annotate(
                    mistakes[number],
                    (1, row),
                    xycoords=("axes fraction", "data"),
                    xytext=(10, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=_SMALL,
                    color=GREY,
                )
        axes.annotate(
            "most often taken for",
            (1, 1),
            xycoords="axes fraction",
            xytext=(10, 4),
            textcoords="offset points",
            fontsize=_SMALL,
            color=GREY,
        )
        axes.set_yticks(rows, [display_name(scores.classes[number]) for number in order])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(percent_formatter())
        axes.grid(visible=False, axis="y")
        axes.set_title(f"{layer}: how well each class is recognised", pad=18)
        axes.set_xlabel("bar: recall, the share of its clips that are recognised")
        handles: list[Line2D | Patch] = [
            Line2D([], [], label="precision, the share of its guesses that are right", **_PRECISION)
        ]
        if is_esc50(scores.classes):
            handles += [Patch(color=COLORS[place], label=name) for place, name in enumerate(ESC50_CATEGORIES)]
        figure.legend(handles=handles, loc="outside lower center", ncols=2 if len(handles) > 1 else 1, fontsize=_SMALL)


def draw_confused_pairs(pairs: Sequence[ConfusedPair], classes: Sequence[str], layer: str, path: str | Path) -> None:
    """Draw the pairs of classes with the most mistakes, in either direction.

    Parameters
    ----------
    pairs : sequence of ConfusedPair
        The most mistakes first.
    classes : sequence of str
    layer : str
    path : str or Path
        PNG to write.
    """
    from matplotlib.ticker import MaxNLocator

    shown = pairs[:MAX_PAIRS]
    rows = range(len(shown))
    forward = [pair.first_as_second for pair in shown]
    with new_figure(path, 7.4, 1.7 + 0.26 * len(shown)) as figure:
        axes = figure.subplots()
        axes.barh(rows, forward, color=COLORS[0], height=0.72, label="the first taken for the second")
        axes.barh(
            rows,
            [pair.second_as_first for pair in shown],
            left=forward,
            color=COLORS[1],
            height=0.72,
            label="the second taken for the first",
        )
        for row, pair in zip(rows, shown, strict=True):
            axes.annotate(
                f"{pair.mistakes} ({pair.fraction:.0%})",
                (pair.mistakes, row),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=_SMALL,
            )
        names = [display_name(name) for name in classes]
        axes.set_yticks(rows, [f"{names[pair.first]} / {names[pair.second]}" for pair in shown])
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(x=0.12)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("clips taken for the other class (share of the clips of both)")
        axes.set_title(f"{layer}: the classes most often taken for each other")
        figure.legend(loc="outside lower center", ncols=2)


def _commonest_mistakes(pairs: Sequence[ConfusedPair], classes: Sequence[str]) -> dict[int, str]:
    """For each class, name the one that it is most often taken for and the number of clips, if more than one."""
    worst: dict[int, tuple[int, int]] = {}
    for pair in pairs:
        for true, given, clips in (
            (pair.first, pair.second, pair.first_as_second),
            (pair.second, pair.first, pair.second_as_first),
        ):
            if clips > worst.get(true, (1, 0))[0]:
                worst[true] = (clips, given)
    return {true: f"{display_name(classes[given])} ({clips})" for true, (clips, given) in worst.items()}


def _wrap(name: str) -> str:
    return fill(display_name(name).replace("/", "/ "), 10, break_long_words=False, break_on_hyphens=False)
