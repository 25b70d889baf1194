"""The figures of a network peeled on one sound; all are drawn from what `peel.h5` holds."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.features.peel_file import Peeled, PeeledHead, PeeledLayer
from soundnet_kd.figures import AMOUNTS, COLOURS, GREY, drawn, readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

_MOST_COLUMNS = 1500
"""More than a figure has dots; several steps share a column then."""

_LIMIT_PERCENTILE = 99.5
"""A few outliers would leave the rest of a layer pale."""

_PAPER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5}
_MOST_NAMED = 50
"""Classes up to which their rows of the weights are named."""

_PANELS_IN_A_ROW = 4
_TOP_CLASSES = 4
_TOP_CHANNELS = 8
_STRONGEST = 3


def draw_layers(peeled: Peeled, sound: str, network: str, path: Path) -> None:
    """Draw the waveform, and under it each layer's activations where its steps hear it.

    Parameters
    ----------
    peeled : Peeled
    sound, network : str
        Their names, for the title.
    path : Path
        PNG to write.
    """
    seconds = len(peeled.waveform) / peeled.sample_rate
    with drawn(path, 11, 2.2 + 0.9 * len(peeled.layers)) as figure:
        _headline(figure, f"What each layer of {network} makes of {sound} {_part(peeled)}")
        panels = figure.subplots(len(peeled.layers) + 1, 1, sharex=True)
        axes = panels[0]
        axes.plot(*_envelope(peeled), color=COLOURS[0], linewidth=0.6, rasterized=True)
        axes.set_ylabel("waveform", rotation=0, ha="right", va="center")
        axes.set_title(
            "channels of each layer by mean activation, the strongest on top; each step at the middle of what it hears",
            fontsize=9,
            weight="normal",
        )
        for start in np.arange(peeled.sound_samples, len(peeled.waveform), peeled.sound_samples) / peeled.sample_rate:
            axes.axvline(start, color=GREY, linestyle="--", linewidth=0.8)
        for axes, (name, layer) in zip(panels[1:], peeled.layers.items(), strict=True):
            _draw_activations(axes, layer, peeled.sample_rate)
            axes.set_ylabel(_named(peeled, name, "\n"), rotation=0, ha="right", va="center")
        panels[-1].set_xlim(0, seconds)
        panels[-1].set_xlabel("seconds from the start of what is heard")


def draw_pooled(peeled: Peeled, sound: str, network: str, path: Path) -> None:
    """Draw each layer's channels, averaged over time, in falling order, and name the strongest.

    Parameters
    ----------
    peeled : Peeled
    sound, network : str
    path : Path
        PNG to write.
    """
    rows = -(-len(peeled.layers) // _PANELS_IN_A_ROW)
    output = tuple(peeled.layers)[-1]
    with drawn(path, 12, 0.6 + 2.3 * rows) as figure:
        _headline(figure, f"{network} on {sound} {_part(peeled)}: activations averaged over time, strongest first")
        panels = iter(figure.subplots(rows, _PANELS_IN_A_ROW, squeeze=False).flat)
        for (name, layer), axes in zip(peeled.layers.items(), panels, strict=False):
            pooled = layer.pooled
            order = np.argsort(-pooled, kind="stable")
            axes.stairs(pooled[order], fill=True, color=COLOURS[0])
            axes.set_xlim(0, len(pooled))
            axes.set_ylim(top=_headroom(pooled))
            axes.set_title(_named(peeled, name, ", "), fontsize=10)
            axes.xaxis.get_major_locator().set_params(integer=True)
            names = _output_names(peeled) if name == output else [f"channel {index}" for index in range(len(pooled))]
            strongest = "\n".join(f"{names[index]}  {pooled[index]:.3g}" for index in order[:_STRONGEST])
            axes.text(0.98, 0.97, strongest, transform=axes.transAxes, ha="right", va="top", fontsize=8, bbox=_PAPER)
            axes.set_xlabel("classes of all heads, sorted" if name == output else "channels, sorted", fontsize=8)
        for axes in panels:
            axes.set_visible(False)


def draw_head(head: PeeledHead, name: str, hidden: str, path: Path) -> None:
    """Draw which channels make a head's likeliest classes likely, and all of its weights.

    What a channel adds to all classes alike does not change what a softmax answers, so its mean over the classes is
    taken off; a head of a single class is drawn as it is.

    Parameters
    ----------
    head : PeeledHead
    name, hidden : str
        Of the head, and of the layer that it sits on.
    path : Path
        PNG to write.
    """
    drives = head.contributions
    logits = drives.sum(axis=1) + head.bias
    several = len(logits) > 1
    if several:
        drives, logits = drives - drives.mean(axis=0), logits - logits.mean()
    shown = np.argsort(-logits, kind="stable")[:_TOP_CLASSES]
    above = ", above the mean of all classes" if several else ""
    # Each name needs its line.
    heights = (3.4, max(4.2, 1.0 + 0.15 * len(logits)) if len(logits) <= _MOST_NAMED else 4.2)
    with drawn(path, 12, sum(heights)) as figure:
        upper, lower = np.array(figure.subfigures(2, 1, height_ratios=heights))
        _headline(upper, f"{name}: what {hidden}'s channels add to the highest logits (weight x activation{above})")
        panels = upper.subplots(1, len(shown), sharex=True, squeeze=False)[0]
        for axes, class_index in zip(panels, shown, strict=True):
            strongest = np.argsort(-np.abs(drives[class_index]), kind="stable")[:_TOP_CHANNELS]
            values = drives[class_index, strongest]
            axes.barh(range(len(values)), values, color=[COLOURS[0] if value >= 0 else COLOURS[3] for value in values])
            axes.axvline(0, color=GREY, linewidth=0.8)
            axes.set_yticks(range(len(values)), [str(index) for index in strongest], fontsize=8)
            axes.invert_yaxis()
            axes.set_xlabel("added to the logit")
            title = textwrap.shorten(readable(head.class_names[class_index]), 60, placeholder="…")
            axes.set_title(
                f"{textwrap.fill(title, 32, break_on_hyphens=False)}\nlogit {logits[class_index]:+.3g}",
                fontsize=9,
                linespacing=1.3,
            )
        panels[0].set_ylabel("channel")
        _draw_weights(lower.subplots(), head, name, hidden, np.argsort(-logits, kind="stable"))


def _draw_weights(axes: "Axes", head: PeeledHead, name: str, hidden: str, classes: NDArray[np.intp]) -> None:
    """Draw a head's weights, summed over the kernel: the likeliest classes on top, the strongest channels left."""
    weights = head.weight.sum(axis=2, dtype=np.float64)
    channels = np.argsort(-head.heard.mean(axis=1), kind="stable")
    most = float(np.percentile(np.abs(weights), _LIMIT_PERCENTILE)) or 1.0
    picture = axes.imshow(
        weights[np.ix_(classes, channels)],
        aspect="auto",
        cmap="PuOr_r",
        vmin=-most,
        vmax=most,
        extent=(0, len(channels), len(classes), 0),
    )
    axes.grid(visible=False)
    kernel = head.weight.shape[2]
    summed = f", summed over the kernel's {kernel} steps" if kernel > 1 else ""
    axes.set_title(f"All weights of {name}{summed}")
    axes.set_xlabel(f"{len(channels)} channels of {hidden}, the most active first")
    axes.set_ylabel(f"{len(classes)} classes, the highest logit on top")
    if len(classes) <= _MOST_NAMED:
        names = [textwrap.shorten(readable(head.class_names[index]), 28, placeholder="…") for index in classes]
        axes.set_yticks(np.arange(len(classes)) + 0.5, names, fontsize=8)
        axes.set_ylabel("classes, the highest logit on top")
    figure = axes.get_figure()
    assert figure is not None
    figure.colorbar(picture, ax=axes, label="weight", fraction=0.03, pad=0.015, extend="both")


def _draw_activations(axes: "Axes", layer: PeeledLayer, sample_rate: int) -> None:
    order = np.argsort(-layer.pooled, kind="stable")
    image, steps = _columns(layer.activations[:, order].T)
    # ReLU's zero stays the lightest colour; logits have no such floor.
    least = min(0.0, float(np.percentile(layer.activations, 100 - _LIMIT_PERCENTILE)))
    most = float(np.nanpercentile(image, _LIMIT_PERCENTILE))
    picture = axes.imshow(
        image,
        aspect="auto",
        cmap=AMOUNTS,
        vmin=least,
        vmax=most if most > least else least + 1,
        extent=(
            layer.middle_seconds(-0.5, sample_rate),
            layer.middle_seconds(steps - 0.5, sample_rate),
            len(order),
            0,
        ),
    )
    axes.grid(visible=False)
    axes.set_yticks([])
    figure = axes.get_figure()
    assert figure is not None
    bar = figure.colorbar(picture, ax=axes, fraction=0.02, pad=0.01, aspect=8, extend="both" if least < 0 else "max")
    bar.ax.locator_params(axis="y", nbins=3)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7)


def _columns(rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """Give the greatest values of neighbours where there are too many steps to show, and how many steps that covers."""
    channels, steps = rows.shape
    together = -(-steps // _MOST_COLUMNS)
    columns = -(-steps // together)
    padded = np.full((channels, columns * together), -np.inf, dtype=np.float32)
    padded[:, :steps] = rows
    return padded.reshape(channels, columns, together).max(axis=2), columns * together


def _envelope(peeled: Peeled) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Give a line through the lowest and the highest sample of each column, in ±1."""
    scaled = (peeled.waveform / np.float32(peeled.amplitude))[None]
    highest, samples = _columns(scaled)
    lowest = -_columns(-scaled)[0]
    times = np.linspace(0, samples / peeled.sample_rate, 2 * highest.shape[1])
    return times, np.stack([lowest[0], highest[0]], axis=1).ravel()


def _headline(figure: "FigureBase", text: str) -> None:
    figure.suptitle(text, x=0.01, ha="left", weight="bold", size=11)


def _part(peeled: Peeled) -> str:
    seconds = peeled.sound_samples / peeled.sample_rate
    times = len(peeled.waveform) // peeled.sound_samples
    repeated = f", repeated {times} times" if times > 1 else ""
    return f"({peeled.start_seconds:g} to {peeled.start_seconds + seconds:.4g} s{repeated})"


def _headroom(values: NDArray[np.floating]) -> float | None:
    """Leave room for the names above the bars."""
    least, most = min(0.0, float(values.min())), max(0.0, float(values.max()))
    return most + 0.1 * (most - least) if most > least else None


def _named(peeled: Peeled, layer: str, separator: str) -> str:
    unit = "classes" if layer == tuple(peeled.layers)[-1] else "channels"
    return f"{layer}{separator}{peeled.layers[layer].activations.shape[1]} {unit}"


def _output_names(peeled: Peeled) -> list[str]:
    return [
        textwrap.shorten(readable(name), 28, placeholder="…")
        for head in peeled.heads.values()
        for name in head.class_names
    ]
