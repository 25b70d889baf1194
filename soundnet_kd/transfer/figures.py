"""The figures of evaluations: accuracy by layer, and of several evaluations accuracy by the size of the network."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from soundnet_kd.figures.style import COLORS, GREY, color_and_marker, new_figure, percent_formatter
from soundnet_kd.transfer.ranking import Ranked
from soundnet_kd.transfer.results import Evaluation


def draw_accuracy(evaluation: Evaluation, path: str | Path) -> None:
    """Draw each layer's accuracy, that of its folds, and that of always guessing the commonest class.

    Parameters
    ----------
    evaluation : Evaluation
    path : str or Path
        PNG to write.
    """
    from matplotlib.patheffects import withStroke

    layers = list(evaluation.results)
    places = range(len(layers))
    means = [result.accuracy for result in evaluation.results.values()]
    spreads = [float(np.std(result.fold_accuracy)) for result in evaluation.results.values()]
    with new_figure(path, max(5.0, 1.6 + 0.75 * len(layers)), 4.2) as figure:
        axes = figure.subplots()
        axes.axhline(evaluation.chance, color=GREY, linestyle="--", linewidth=1)
        for place, result in zip(places, evaluation.results.values(), strict=True):
            folds = result.fold_accuracy
            axes.scatter([place] * len(folds), folds, s=14, color=COLORS[5], alpha=0.8, linewidths=0, zorder=2)
        axes.errorbar(places, means, spreads, color=COLORS[0], marker="o", markersize=5, capsize=4, zorder=3)
        for place, result in zip(places, evaluation.results.values(), strict=True):
            axes.annotate(
                f"{100 * result.accuracy:.1f}",
                (place, max(*result.fold_accuracy, means[place] + spreads[place])),
                xytext=(0, 5),
                textcoords="offset points",
                ha="center",
                path_effects=[withStroke(linewidth=3, foreground="white")],
            )
        axes.set_xticks(places, layers)
        axes.set_xlim(-0.5, len(layers) - 0.5)
        best = max(max(result.fold_accuracy) for result in evaluation.results.values())
        axes.set_ylim(0, 1.15 * best or 1)
        axes.yaxis.set_major_formatter(percent_formatter())
        axes.grid(visible=False, axis="x")
        axes.set_xlabel("layer, from the input on" if len(layers) > 1 else "")
        axes.set_ylabel("accuracy")
        first = next(iter(evaluation.results.values()))
        axes.set_title(f"Accuracy by layer (protocol: {first.protocol})")
        notes = (
            "points: folds; bars: their standard deviation",
            f"dashed: always the commonest class, {evaluation.chance:.1%}",
            f"classifier: {first.head}, settings chosen: {first.selection}",
        )
        figure.supxlabel("\n".join(notes), fontsize=8, color=GREY)


def draw_ranking(rows: Sequence[Ranked], path: str | Path) -> None:
    """Draw accuracy over parameters, a colour for each evaluation.

    Parameters
    ----------
    rows : sequence of Ranked
        Of known size.
    path : str or Path
        PNG to write.
    """
    from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

    with new_figure(path, 7.5, 4.6) as figure:
        axes = figure.subplots()
        names = list(dict.fromkeys(row.name for row in rows))
        for number, name in enumerate(names):
            colour, marker = color_and_marker(number)
            mine = sorted((row for row in rows if row.name == name), key=lambda row: row.parameters or 0)
            axes.errorbar(
                [row.parameters or 0 for row in mine],
                [row.accuracy for row in mine],
                [row.std or 0.0 for row in mine],
                color=colour,
                marker=marker,
                linestyle="none",
                capsize=4,
                label=name,
            )
            if len(mine) > 1:
                # A pooling layer has the same number of parameters as the convolution before it.
                for size, same in groupby(mine, key=lambda row: row.parameters or 0):
                    rows_of_size = sorted(same, key=lambda row: -row.accuracy)
                    axes.annotate(
                        ", ".join(row.layer for row in rows_of_size),
                        (size, rows_of_size[0].accuracy),
                        xytext=(6, 3),
                        textcoords="offset points",
                        fontsize=7,
                        color=GREY,
                    )
        axes.set_xscale("log")
        sizes = [row.parameters or 0 for row in rows]
        is_wide = max(sizes) > 200 * min(sizes)
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if is_wide else (1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(EngFormatter())
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(percent_formatter())
        axes.set_xlabel("parameters, up to the layer or of the whole classifier")
        axes.set_ylabel("accuracy")
        axes.set_title("Accuracy by the size of the network (bars: standard deviation over folds)")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
