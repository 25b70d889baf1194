"""The figures of an evaluation: accuracy by depth, and which classes are taken for which."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.figures import COLOURS, GREY, drawn, heat_map
from soundnet_kd.transfer.cross_validation import CrossValidation
from soundnet_kd.transfer.layers import Evaluation

_MOST_WRITTEN_OUT = 12
"""Classes up to which every cell of the confusion is written out."""


def draw_accuracy(evaluation: Evaluation, path: Path) -> None:
    """Draw each layer's accuracy with its folds, and what guessing would give.

    Parameters
    ----------
    evaluation : Evaluation
    path : Path
        PNG to write.
    """
    from matplotlib.patheffects import withStroke
    from matplotlib.ticker import PercentFormatter

    layers = list(evaluation.results)
    places = range(len(layers))
    means = [result.accuracy for result in evaluation.results.values()]
    spreads = [float(np.std(result.fold_accuracy)) for result in evaluation.results.values()]
    with drawn(path, max(5.0, 1.6 + 0.75 * len(layers)), 4.2) as figure:
        axes = figure.subplots()
        axes.axhline(evaluation.chance, color=GREY, linestyle="--", linewidth=1)
        axes.annotate(
            f"always the commonest class: {evaluation.chance:.1%}",
            (0, evaluation.chance),
            xycoords=("axes fraction", "data"),
            xytext=(4, 3),
            textcoords="offset points",
            color=GREY,
        )
        for place, result in zip(places, evaluation.results.values(), strict=True):
            folds = result.fold_accuracy
            axes.scatter([place] * len(folds), folds, s=14, color=COLOURS[5], alpha=0.8, linewidths=0, zorder=2)
        axes.errorbar(places, means, spreads, color=COLOURS[0], marker="o", markersize=5, capsize=4, zorder=3)
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
        axes.set_ylim(0, 1.15 * max(max(result.fold_accuracy) for result in evaluation.results.values()))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.grid(visible=False, axis="x")
        axes.set_xlabel("layer, from the input on")
        axes.set_ylabel("accuracy")
        protocol = next(iter(evaluation.results.values())).protocol
        axes.set_title(f"Accuracy of a linear classifier by layer (protocol: {protocol})")
        figure.supxlabel("points: folds; bars: their standard deviation", fontsize=8, color=GREY)


def draw_confusion(result: CrossValidation, layer: str, path: Path) -> None:
    """Draw how often the clips of each true class were given each class.

    Parameters
    ----------
    result : CrossValidation
    layer : str
    path : Path
        PNG to write.
    """
    shares = row_shares(result.confusion)
    classes = len(result.classes)
    side = float(np.clip(2.6 + 0.19 * classes, 5.0, 24.0))
    with drawn(path, side + 1.0, side) as figure:
        axes = figure.subplots()
        heat_map(axes, shares, result.classes, result.classes, "share of the true class's clips", most=1.0)
        if classes <= _MOST_WRITTEN_OUT:
            for row, column in np.argwhere(result.confusion > 0):
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, result.confusion[row, column], ha="center", va="center", color=colour)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.set_title(f"What {layer} takes for what: {result.accuracy:.1%} right over {len(result.folds)} folds")


def row_shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Divide each row by its sum; a row without clips stays 0.

    Parameters
    ----------
    counts : (rows, columns) int

    Returns
    -------
    (rows, columns) float64
    """
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
