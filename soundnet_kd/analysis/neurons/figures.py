"""The figures of single neurons: activations, and the classes that they answer to."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.analysis.neurons.chance import Chance
from soundnet_kd.analysis.neurons.statistics import SELECTIVE, NeuronStatistics
from soundnet_kd.figures.style import COLORS, GREY, new_figure, percents, readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_CHARTS = 24
_CHARTS_IN_A_ROW = 3
_CLASSES_OF_A_CHART = 5
_CLASSES_OF_A_NEURON = 12

_SHARE = "share of the activating clips, of the nominal number\n(dashed: 95% of best shares with shuffled labels)"


def draw_neuron(
    activations: NDArray[np.floating],
    statistics: NeuronStatistics,
    chance: Chance,
    layer: str,
    neuron: int,
    percentile: float,
    path: str | Path,
) -> None:
    """Draw one neuron's activations in falling order, its threshold, and the classes of the clips above it.

    Parameters
    ----------
    activations : (clips,) float
        Of this neuron, for every clip of the features.
    statistics : NeuronStatistics
    chance : Chance
    layer : str
    neuron : int
    percentile : float
    path : str or Path
        PNG to write.
    """
    curve = activations[statistics.order[neuron]]
    above, threshold = int(statistics.activated[neuron]), float(statistics.thresholds[neuron])
    with new_figure(path, 10.0, 4.4) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1.3, 1))
        left.plot(np.arange(1, len(curve) + 1), curve, color=COLORS[0], linewidth=1.5)
        left.fill_between(np.arange(1, above + 1), curve[:above], color=COLORS[0], alpha=0.25, linewidth=0)
        left.axhline(threshold, color=COLORS[3], linestyle="--", linewidth=1)
        left.annotate(
            f"percentile {percentile:g}: {threshold:.3g}, {above} clips above it",
            (1, threshold),
            xycoords=("axes fraction", "data"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="right",
            color=COLORS[3],
        )
        left.set_xlim(1, len(curve))
        left.set_xlabel("clips, the strongest first")
        left.set_ylabel("activation")
        left.set_title(f"{layer}, neuron {neuron}: activation by all {len(curve)} clips")
        _draw_classes(right, statistics, chance, neuron, _CLASSES_OF_A_NEURON)
        right.set_xlabel(_SHARE)
        right.set_title("Classes of the clips above the line")


def draw_selective(statistics: NeuronStatistics, chance: Chance, layer: str, path: str | Path) -> None:
    """Draw the classes of every neuron with a best share above 0.30; nothing is written if there is none.

    Parameters
    ----------
    statistics : NeuronStatistics
    chance : Chance
    layer : str
    path : str or Path
        PNG to write.
    """
    order = np.argsort(-statistics.best_share, kind="stable")
    selective = [neuron for neuron in order if statistics.best_share[neuron] > SELECTIVE]
    if not selective:
        return
    shown = selective[:_MAX_CHARTS]
    columns = min(_CHARTS_IN_A_ROW, len(shown))
    rows = -(-len(shown) // columns)
    with new_figure(path, max(6.0, 3.6 * columns), 1.1 + 1.35 * rows) as figure:
        charts = np.array(figure.subplots(rows, columns, sharex=True, squeeze=False)).ravel()
        for axes, neuron in zip(charts, shown, strict=False):
            _draw_classes(axes, statistics, chance, neuron, _CLASSES_OF_A_CHART)
            axes.set_title(f"neuron {neuron}: {statistics.best_share[neuron]:.0%}", fontsize=9, pad=4)
        for axes in charts[len(shown) :]:
            axes.set_visible(False)
        for axes in charts[max(0, len(shown) - columns) : len(shown)]:
            axes.tick_params(labelbottom=True)
        some = f"{len(selective)} of {len(order)}" + (
            f"; the first {len(shown)}" if len(shown) < len(selective) else ""
        )
        title = f"{layer}: neurons with a best share above {SELECTIVE:.0%} ({some})"
        figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11)
        figure.supxlabel(_SHARE.replace("\n", " "), fontsize=9)


def _draw_classes(axes: "Axes", statistics: NeuronStatistics, chance: Chance, neuron: int, most: int) -> None:
    """Draw the commonest classes of a neuron's activating clips as bars, the best one on top."""
    from matplotlib.ticker import MaxNLocator

    shares = statistics.share[neuron]
    best = [each for each in np.argsort(-shares, kind="stable")[:most] if shares[each] > 0]
    colours = [COLORS[0] if shares[each] > chance.share else COLORS[5] for each in best]
    axes.barh(range(len(best)), shares[best], color=colours)
    axes.set_yticks(range(len(best)), [readable(statistics.classes[each]) for each in best])
    axes.set_ylim(max(len(best), 3) - 0.4, -0.6)
    axes.set_xlim(0, None)
    axes.axvline(chance.share, color=GREY, linestyle="--", linewidth=1)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
    axes.xaxis.set_major_formatter(percents())
    axes.grid(visible=False, axis="y")
