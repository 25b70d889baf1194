"""The figures of which classes activate the neurons: of all layers, of one layer, and of a single neuron."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.analysis.neurons.chance import QUANTILE, Chance
from soundnet_kd.analysis.neurons.statistics import COMMON, SELECTIVE, NeuronStatistics
from soundnet_kd.figures.heat_map import heat_map
from soundnet_kd.figures.panels import new_panels
from soundnet_kd.figures.style import (
    COLORS,
    GREY,
    depth_colors,
    display_name,
    headline,
    new_figure,
    percent_formatter,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_NUMBERED = 64
"""Neurons up to which a figure numbers each."""

_MAX_CHARTS = 24
_CHARTS_IN_A_ROW = 3
_CLASSES_OF_A_CHART = 5
_CLASSES_OF_A_NEURON = 12

_SHARE = "share of the activating clips, of the nominal number\n(dashed: 95% of best shares with shuffled labels)"


def draw_best_share_by_layer(
    layers: Mapping[str, NeuronStatistics], chances: Mapping[str, Chance], percentile: float, path: str | Path
) -> None:
    """Draw the best share of every neuron in descending order, all layers in one figure.

    Parameters
    ----------
    layers : mapping from layer to NeuronStatistics
        From the input on.
    chances : mapping from layer to Chance
    percentile : float
    path : str or Path
        PNG to write.
    """
    with new_figure(path, 8.0, 4.6) as figure:
        axes = figure.subplots()
        for (layer, statistics), colour in zip(layers.items(), depth_colors(len(layers)), strict=True):
            shares = np.sort(statistics.best_share)[::-1]
            places = (np.arange(len(shares)) + 0.5) / len(shares)
            axes.plot(places, shares, color=colour, linewidth=1.8, label=f"{layer} ({len(shares)})")
        # All layers have the same labels, and so the same chance.
        _draw_chance(axes, next(iter(chances.values())))
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(percent_formatter())
        _format_shares(axes, percentile)
        axes.set_xlabel("neurons of the layer, the most selective first")
        axes.set_title("How selective the neurons of each layer are")
        axes.legend(loc="upper right", title="layer (neurons)")


def draw_neuron_classes(statistics: NeuronStatistics, layer: str, path: str | Path) -> None:
    """Draw the share of every class among the clips that activate each neuron.

    The neurons are sorted by their best class, so that those with the same one stand together.

    Parameters
    ----------
    statistics : NeuronStatistics
    layer : str
    path : str or Path
        PNG to write.
    """
    order = np.lexsort((-statistics.best_share, statistics.best_class))
    count, classes = statistics.share.shape
    numbers = [str(neuron) for neuron in order] if count <= _MAX_NUMBERED else None
    width = float(np.clip(3.5 + (0.035 if numbers is None else 0.12) * count, 7.0, 14.0))
    with new_figure(path, width, float(np.clip(1.6 + 0.15 * classes, 3.0, 20.0))) as figure:
        axes = figure.subplots()
        heat_map(
            axes,
            statistics.share[order].T,
            statistics.classes,
            numbers,
            "share of the activating clips, of the nominal number",
        )
        axes.set_xlabel("neurons, sorted by their best class")
        axes.set_title(f"{layer}: the classes that activate each of its {count} neurons")


def draw_best_share(
    statistics: NeuronStatistics, chance: Chance, layer: str, percentile: float, path: str | Path
) -> None:
    """Draw the best share of every neuron in descending order, and that of shuffled labels.

    The line of chance holds for a neuron that as many clips activate as expected; one activated by fewer is compared
    with its own chance, and so may be above chance although its point is below the line.

    Parameters
    ----------
    statistics : NeuronStatistics
    chance : Chance
    layer : str
    percentile : float
    path : str or Path
        PNG to write.
    """
    order = np.argsort(-statistics.best_share, kind="stable")
    shares, is_above = statistics.best_share[order], chance.is_above[order]
    places = np.arange(1, len(order) + 1)
    with new_figure(path, 8.0, 4.4) as figure:
        axes = figure.subplots()
        for mask, colour, name in (
            (is_above, COLORS[0], f"above chance ({is_above.sum()})"),
            (~is_above, GREY, f"not above chance ({(~is_above).sum()})"),
        ):
            if mask.any():
                axes.scatter(places[mask], shares[mask], s=12, color=colour, linewidths=0, clip_on=False, label=name)
        for share in (0.20, SELECTIVE):
            count = int((shares > share).sum())
            if count:
                axes.plot([0, count + 0.5, count + 0.5], [share, share, 0], color=GREY, linewidth=0.8)
                axes.annotate(
                    f"{count} above {share:.0%}", (count, share), (8, 7), textcoords="offset points", color=GREY
                )
        _draw_chance(axes, chance)
        axes.set_xlim(0, len(order) + 1)
        _format_shares(axes, percentile)
        axes.set_xlabel("neurons, the most selective first")
        axes.set_title(f"{layer}: share of the best class of each of its {len(order)} neurons")
        axes.legend(loc="upper right", title="each against its own chance", alignment="left")


def draw_best_classes(statistics: NeuronStatistics, layer: str, path: str | Path) -> None:
    """Draw the classes that are the best class of more than five neurons; write nothing if there are none.

    Parameters
    ----------
    statistics : NeuronStatistics
    layer : str
    path : str or Path
        PNG to write.
    """
    per_class = statistics.neurons_per_class
    common = [best for best in np.argsort(-per_class, kind="stable") if per_class[best] > COMMON]
    if not common:
        return
    with new_figure(path, 8.0, max(2.2, 1.3 + 0.24 * len(common))) as figure:
        axes = figure.subplots()
        axes.bar_label(axes.barh(range(len(common)), per_class[common], color=COLORS[0]), padding=3)
        axes.set_yticks(range(len(common)), [display_name(statistics.classes[best]) for best in common])
        axes.set_ylim(max(len(common), 3) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"neurons, of {len(statistics.counts)}, whose best class it is")
        some = f"{len(common)} of {len(per_class)}"
        axes.set_title(f"{layer}: classes that are the best of more than {COMMON} neurons ({some})")


def draw_selective(statistics: NeuronStatistics, chance: Chance, layer: str, path: str | Path) -> None:
    """Draw the classes of every neuron with a best share above 0.30; write nothing if there is none.

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
    size: dict[str, Any] = {"width": 3.6, "height": 1.35, "extra_height": 1.1, "min_width": 6.0}
    with new_panels(path, len(shown), columns, **size, sharex=True) as (figure, charts):
        for axes, neuron in zip(charts, shown, strict=True):
            _draw_classes(axes, statistics, chance, neuron, _CLASSES_OF_A_CHART)
            axes.set_title(f"neuron {neuron}: {statistics.best_share[neuron]:.0%}", fontsize=9, pad=4)
        some = f"{len(selective)} of {len(order)}" + (
            f"; the first {len(shown)}" if len(shown) < len(selective) else ""
        )
        headline(figure, f"{layer}: neurons with a best share above {SELECTIVE:.0%} ({some})")
        figure.supxlabel(_SHARE.replace("\n", " "), fontsize=9)


def draw_neuron(
    activations: NDArray[np.floating],
    statistics: NeuronStatistics,
    chance: Chance,
    layer: str,
    neuron: int,
    percentile: float,
    path: str | Path,
) -> None:
    """Draw one neuron's activations in descending order, its threshold, and the classes of the clips above it.

    Parameters
    ----------
    activations : (clips,) float
        Activations of this neuron, for every clip of the features.
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


def _draw_classes(axes: "Axes", statistics: NeuronStatistics, chance: Chance, neuron: int, max_classes: int) -> None:
    """Draw the commonest classes of the clips that activate a neuron as bars, the best class on top."""
    from matplotlib.ticker import MaxNLocator

    shares = statistics.share[neuron]
    best = [each for each in np.argsort(-shares, kind="stable")[:max_classes] if shares[each] > 0]
    colours = [COLORS[0] if shares[each] > chance.share else COLORS[5] for each in best]
    axes.barh(range(len(best)), shares[best], color=colours)
    axes.set_yticks(range(len(best)), [display_name(statistics.classes[each]) for each in best])
    axes.set_ylim(max(len(best), 3) - 0.4, -0.6)
    axes.set_xlim(0, None)
    axes.axvline(chance.share, color=GREY, linestyle="--", linewidth=1)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
    axes.xaxis.set_major_formatter(percent_formatter())
    axes.grid(visible=False, axis="y")


def _draw_chance(axes: "Axes", chance: Chance) -> None:
    from matplotlib.patheffects import withStroke

    axes.axhline(chance.share, color=COLORS[3], linestyle="--", linewidth=1)
    axes.annotate(
        f"labels shuffled: {QUANTILE:.0%} of neurons have at most {chance.share:.1%}",
        (0, chance.share),
        xycoords=("axes fraction", "data"),
        xytext=(4, -11),
        textcoords="offset points",
        color=COLORS[3],
        path_effects=[withStroke(linewidth=3, foreground="white")],
    )


def _format_shares(axes: "Axes", percentile: float) -> None:
    axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
    axes.yaxis.set_major_formatter(percent_formatter())
    axes.set_ylabel(f"share of the best class above percentile {percentile:g}")
