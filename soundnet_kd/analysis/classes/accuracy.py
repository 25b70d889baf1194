"""The figure of an evaluation: accuracy by depth."""

from pathlib import Path

import numpy as np

from soundnet_kd.figures.style import COLORS, GREY, new_figure, percents
from soundnet_kd.transfer.results import Evaluation


def draw_accuracy(evaluation: Evaluation, path: str | Path) -> None:
    """Draw each layer's accuracy with its folds, and what guessing would give.

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
        most = max(max(result.fold_accuracy) for result in evaluation.results.values())
        axes.set_ylim(0, 1.15 * most or 1)
        axes.yaxis.set_major_formatter(percents())
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
