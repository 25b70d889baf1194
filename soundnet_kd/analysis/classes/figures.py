"""The figures of single classes: how well each is recognised, and which pairs are taken for each other."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from soundnet_kd.analysis.classes.scores import CLASSES_EACH, ClassScores, ConfusedPair
from soundnet_kd.data.datasets.esc50 import ESC50_CATEGORIES, is_esc50
from soundnet_kd.figures.style import COLORS, GREY, new_figure, percents, readable

_INCHES_PER_ROW = 0.2
_SMALL = 8
MAX_PAIRS = 15
"""Pairs in the figure; the table has all."""


def draw_class_scores(scores: ClassScores, pairs: Sequence[ConfusedPair], layer: str, path: str | Path) -> None:
    """Draw the recall and the precision of each class, the easiest on top, and what each is mostly taken for.

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
    categories = order // CLASSES_EACH if is_esc50(scores.classes) else np.zeros_like(order)
    mistaken = _mostly_taken_for(pairs, scores.classes)
    with new_figure(path, 8.4, 1.6 + _INCHES_PER_ROW * len(order)) as figure:
        axes = figure.subplots()
        axes.barh(rows, scores.recall[order], height=0.72, color=[COLORS[each] for each in categories])
        axes.plot(
            scores.precision[order], rows, "D", markersize=4, markerfacecolor="white", markeredgecolor="black",
            clip_on=False, zorder=3,
        )  # fmt: skip
        for row, number in zip(rows, order, strict=True):
            if number in mistaken:
                axes.annotate(
                    mistaken[number],
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
        axes.set_yticks(rows, [readable(scores.classes[number]) for number in order])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(percents())
        axes.grid(visible=False, axis="y")
        axes.set_title(f"{layer}: how well each class is recognised", pad=18)
        axes.set_xlabel("bar: recall, the share of its clips that are recognised")
        handles: list[Line2D | Patch] = [
            Line2D([], [], linestyle="", marker="D", markersize=4, markerfacecolor="white", markeredgecolor="black",
                   label="precision, the share of its guesses that are right"),
        ]  # fmt: skip
        if is_esc50(scores.classes):
            handles += [Patch(color=COLORS[place], label=name) for place, name in enumerate(ESC50_CATEGORIES)]
        figure.legend(handles=handles, loc="outside lower center", ncols=2 if len(handles) > 1 else 1, fontsize=_SMALL)


def draw_confused_pairs(pairs: Sequence[ConfusedPair], classes: Sequence[str], layer: str, path: str | Path) -> None:
    """Draw the pairs of classes with the most mistakes, both directions apart.

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
                f"{pair.mistakes} ({pair.share:.0%})",
                (pair.mistakes, row),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=_SMALL,
            )
        axes.set_yticks(rows, [f"{readable(classes[pair.first])} / {readable(classes[pair.second])}" for pair in shown])
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(x=0.12)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("clips taken for the other class (share of the clips of both)")
        axes.set_title(f"{layer}: the classes most often taken for each other")
        figure.legend(loc="outside lower center", ncols=2)


def _mostly_taken_for(pairs: Sequence[ConfusedPair], classes: Sequence[str]) -> dict[int, str]:
    """For each class that is taken for another one more than once, that other one and the number of clips."""
    most: dict[int, tuple[int, int]] = {}
    for pair in pairs:
        for true, given, clips in (
            (pair.first, pair.second, pair.first_as_second),
            (pair.second, pair.first, pair.second_as_first),
        ):
            if clips > most.get(true, (1, 0))[0]:
                most[true] = (clips, given)
    return {true: f"{readable(classes[given])} ({clips})" for true, (clips, given) in most.items()}
