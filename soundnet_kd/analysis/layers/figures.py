"""The figures of each layer's activations for one sound, drawn from the contents of `peel.h5`."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.features.activation_file import Peeled, PeeledHead, PeeledLayer
from soundnet_kd.figures.panels import new_panels
from soundnet_kd.figures.style import AMOUNTS, COLORS, GREY, SIGNED, display_name, headline, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

_LIMIT_PERCENTILE = 99.5
"""Percentile of the values that has the darkest colour; with the maximum, a few outliers would make the rest pale."""

_FEW_CHANNELS = 16
"""Channels up to which each is numbered; of more there is no room."""

_MAX_COLUMNS = 1500
"""Columns of a picture at most, more than a figure has dots; of more steps, several share a column."""

_PAPER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5}

_POOLED_IN_A_ROW = 4
_STRONGEST = 3

_PICTURES_OF_A_LAYER = 6

_MAX_NAMED = 50
"""Classes up to which the rows of a head's weights are named."""
_TOP_CLASSES = 4
_TOP_CHANNELS = 8


def draw_layers(peeled: Peeled, sound: str, network: str, path: str | Path) -> None:
    """Draw the waveform, and under it each layer's activations, each step below the middle of its receptive field.

    Parameters
    ----------
    peeled : Peeled
    sound, network : str
        Their names, for the title.
    path : str or Path
        PNG to write.
    """
    seconds = len(peeled.waveform) / peeled.sample_rate
    with new_figure(path, 11, 2.2 + 0.9 * len(peeled.layers)) as figure:
        headline(figure, f"What each layer of {network} makes of {sound} {_describe_span(peeled)}")
        panels = figure.subplots(len(peeled.layers) + 1, 1, sharex=True)
        axes = panels[0]
        axes.plot(*_envelope(peeled), color=COLORS[0], linewidth=0.6, rasterized=True)
        axes.set_ylabel("waveform", rotation=0, ha="right", va="center")
        axes.set_title(
            "channels of each layer by mean activation, the strongest on top; each step at the middle of what it hears"
            + (
                " (means over frequency)"
                if any(layer.activations.ndim == 3 for layer in peeled.layers.values())
                else ""
            ),
            fontsize=9,
            weight="normal",
        )
        ends = np.arange(peeled.sound_samples, len(peeled.waveform), peeled.sound_samples) / peeled.sample_rate
        for start in ends if peeled.repeats else ends[:1]:
            axes.axvline(start, color=GREY, linestyle="--", linewidth=0.8)
        for axes, (name, layer) in zip(panels[1:], peeled.layers.items(), strict=True):
            _draw_activations(axes, layer, peeled.sample_rate)
            axes.set_ylabel(_layer_label(peeled, name, "\n"), rotation=0, ha="right", va="center")
        _write_strongest(panels[-1], peeled, tuple(peeled.layers)[-1], 0.5, "center")
        panels[-1].set_xlim(0, seconds)
        panels[-1].set_xlabel("seconds from the start of what is heard")


def draw_pooled(peeled: Peeled, sound: str, network: str, path: str | Path) -> None:
    """Draw the mean activation of each layer's channels in descending order, and name the strongest.

    Parameters
    ----------
    peeled : Peeled
    sound, network : str
    path : str or Path
        PNG to write.
    """
    output = tuple(peeled.layers)[-1]
    with new_panels(path, len(peeled.layers), _POOLED_IN_A_ROW, 3.0, 2.3) as (figure, panels):
        shown = "activations averaged over time, strongest first"
        headline(figure, f"{network} on {sound} {_describe_span(peeled)}: {shown}")
        for (name, layer), axes in zip(peeled.layers.items(), panels, strict=True):
            pooled = layer.pooled
            order = np.argsort(-pooled, kind="stable")
            few = len(pooled) <= _FEW_CHANNELS
            axes.stairs(pooled[order], fill=True, color=COLORS[0])
            axes.set_xlim(0, len(pooled))
            # Of few channels all are tall, and the names stand above the bars.
            axes.set_ylim(top=_headroom(pooled, 0.4 if few else 0.1))
            axes.set_title(_layer_label(peeled, name, ", "), fontsize=10)
            if few and name != output:
                _number_channels(axes, order)
            else:
                axes.locator_params(axis="x", integer=True)
            _write_strongest(axes, peeled, name, 0.97, "top")
            axes.set_xlabel("classes of all heads, sorted" if name == output else "channels, sorted", fontsize=8)


def draw_pictures(peeled: Peeled, sound: str, network: str, path: str | Path) -> bool:
    """Draw the strongest channels of each layer that has rows, over frequency and time; draw nothing if none has.

    Parameters
    ----------
    peeled : Peeled
    sound, network : str
        Their names, for the title.
    path : str or Path
        PNG to write.

    Returns
    -------
    bool
        Whether there was something to draw.
    """
    pictures = {name: layer for name, layer in peeled.layers.items() if layer.activations.ndim == 3}
    if not pictures:
        return False
    seconds = len(peeled.waveform) / peeled.sample_rate
    with new_figure(path, 12, 0.9 + 1.5 * len(pictures)) as figure:
        headline(figure, f"{network} on {sound}: the strongest channels of each layer, each to its own scale")
        panels = figure.subplots(len(pictures), _PICTURES_OF_A_LAYER, sharex=True, squeeze=False)
        for row, (name, layer) in zip(panels, pictures.items(), strict=True):
            steps, channels, rows = layer.activations.shape
            pooled = layer.pooled
            for place, (axes, index) in enumerate(zip(row, np.argsort(-pooled, kind="stable"), strict=False)):
                image = layer.activations[:, index].T
                limits = np.percentile(image, (100 - _LIMIT_PERCENTILE, _LIMIT_PERCENTILE)).tolist()
                _show_over_time(axes, image, layer, steps, peeled.sample_rate, limits, origin="lower")
                if channels > 1:
                    axes.set_title(f"channel {index}, mean {pooled[index]:.3g}", fontsize=8, pad=2, weight="normal")
                if place == 0:
                    axes.set_ylabel(f"{name}\n{rows} rows", rotation=0, ha="right", va="center")
            for axes in row[channels:]:
                axes.set_visible(False)
        panels[-1, 0].set_xlim(0, seconds)
        panels[-1, 0].set_xlabel("s")
    return True


def draw_head(head: PeeledHead, name: str, hidden: str, path: str | Path) -> None:
    """Draw how much each channel adds to the logits of a head's likeliest classes, and all weights of the head.

    What a channel adds to all logits alike does not change a softmax, so the mean over the classes is subtracted,
    unless there is only one class.

    Parameters
    ----------
    head : PeeledHead
    name, hidden : str
        Name of the head, and of the layer beneath it.
    path : str or Path
        PNG to write.
    """
    drives = head.contributions
    logits = drives.sum(axis=1) + head.bias
    several = len(logits) > 1
    if several:
        drives, logits = drives - drives.mean(axis=0), logits - logits.mean()
    shown = np.argsort(-logits, kind="stable")[:_TOP_CLASSES]
    above = ", above the mean of all classes" if several else ""
    # Each named class needs a line.
    min_height = 4.2 if several else 2.0
    heights = (3.4, max(min_height, 1.0 + 0.15 * len(logits)) if len(logits) <= _MAX_NAMED else 4.2)
    with new_figure(path, 12, sum(heights)) as figure:
        upper, lower = np.array(figure.subfigures(2, 1, height_ratios=heights))
        headline(upper, f"{name}: what {hidden}'s channels add to the highest logits (weight x activation{above})")
        panels = upper.subplots(1, len(shown), sharex=True, squeeze=False)[0]
        for axes, class_index in zip(panels, shown, strict=True):
            strongest = np.argsort(-np.abs(drives[class_index]), kind="stable")[:_TOP_CHANNELS]
            values = drives[class_index, strongest]
            axes.barh(range(len(values)), values, color=[COLORS[0] if value >= 0 else COLORS[3] for value in values])
            axes.axvline(0, color=GREY, linewidth=0.8)
            axes.set_yticks(range(len(values)), [str(index) for index in strongest], fontsize=8)
            axes.invert_yaxis()
            axes.set_xlabel("added to the logit")
            title = textwrap.shorten(display_name(head.class_names[class_index]), 60, placeholder="…")
            axes.set_title(
                f"{textwrap.fill(title, 32, break_on_hyphens=False)}\nlogit {logits[class_index]:+.3g}",
                fontsize=9,
                linespacing=1.3,
            )
        panels[0].set_ylabel("channel")
        _draw_weights(lower.subplots(), head, name, hidden, np.argsort(-logits, kind="stable"))


def _draw_weights(axes: "Axes", head: PeeledHead, name: str, hidden: str, classes: NDArray[np.intp]) -> None:
    """Draw a head's weights, summed over the kernel: likeliest classes on top, most active channels on the left."""
    weights = head.weight.sum(axis=2, dtype=np.float64)
    channels = np.argsort(-head.heard.mean(axis=1), kind="stable")
    limit = float(np.percentile(np.abs(weights), _LIMIT_PERCENTILE)) or 1.0
    picture = axes.imshow(
        weights[np.ix_(classes, channels)],
        aspect="auto",
        cmap=SIGNED,
        vmin=-limit,
        vmax=limit,
        extent=(0, len(channels), len(classes), 0),
    )
    axes.grid(visible=False)
    kernel = head.weight.shape[2]
    summed = f", summed over the kernel's {kernel} steps" if kernel > 1 else ""
    axes.set_title(f"All weights of {name}{summed}")
    axes.set_xlabel(f"{len(channels)} channels of {hidden}, the most active first")
    if len(channels) <= _FEW_CHANNELS:
        _number_channels(axes, channels)
    axes.set_ylabel(f"{len(classes)} classes, the highest logit on top")
    if len(classes) <= _MAX_NAMED:
        names = [textwrap.shorten(display_name(head.class_names[index]), 28, placeholder="…") for index in classes]
        axes.set_yticks(np.arange(len(classes)) + 0.5, names, fontsize=8)
        axes.set_ylabel("classes, the highest logit on top" if len(classes) > 1 else "class")
    figure = axes.get_figure()
    assert figure is not None
    figure.colorbar(picture, ax=axes, label="weight", fraction=0.03, pad=0.015, extend="both")


def _number_channels(axes: "Axes", order: NDArray[np.intp]) -> None:
    """Write beneath sorted channels, each one unit wide, their numbers."""
    axes.set_xticks(np.arange(len(order)) + 0.5, [str(channel) for channel in order], fontsize=8)


def _draw_activations(axes: "Axes", layer: PeeledLayer, sample_rate: int) -> None:
    values = _lines(layer)
    image, steps = _columns(values)
    # After a ReLU the lightest colour is zero; logits can be negative.
    low = min(0.0, float(np.percentile(values, 100 - _LIMIT_PERCENTILE)))
    high = float(np.nanpercentile(image, _LIMIT_PERCENTILE))
    if values.size == 1:
        # A single value has no others that its colour would tell it from.
        high = 2 * high
    picture = _show_over_time(axes, image, layer, steps, sample_rate, (low, high), origin="upper")
    figure = axes.get_figure()
    assert figure is not None
    bar = figure.colorbar(picture, ax=axes, fraction=0.02, pad=0.01, aspect=8, extend="both" if low < 0 else "max")
    bar.ax.locator_params(axis="y", nbins=3)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7)


def _write_strongest(axes: "Axes", peeled: Peeled, name: str, height: float, anchor: str) -> None:
    """Name the strongest channels of a layer on its panel, or its highest logits, with their means over time."""
    pooled = peeled.layers[name].pooled
    is_output = name == tuple(peeled.layers)[-1]
    names = _output_names(peeled) if is_output else [f"channel {index}" for index in range(len(pooled))]
    unit = "logit " if is_output else ""
    order = np.argsort(-pooled, kind="stable")[:_STRONGEST]
    strongest = "\n".join(f"{names[index]}  {unit}{pooled[index]:.3g}" for index in order)
    axes.text(0.98, height, strongest, transform=axes.transAxes, ha="right", va=anchor, fontsize=8, bbox=_PAPER)


def _show_over_time(
    axes: "Axes",
    image: NDArray[np.floating],
    layer: PeeledLayer,
    steps: int,
    sample_rate: int,
    limits: Sequence[float],
    origin: Literal["lower", "upper"],
) -> "AxesImage":
    """Show an image, (rows, columns), of a layer over time: its columns are `steps` steps, each at its middle."""
    low, high = limits
    picture = axes.imshow(
        image,
        aspect="auto",
        origin=origin,
        cmap=AMOUNTS,
        vmin=low,
        vmax=high if high > low else low + 1,
        extent=(
            layer.middle_seconds(-0.5, sample_rate),
            layer.middle_seconds(steps - 0.5, sample_rate),
            *((0, len(image)) if origin == "lower" else (len(image), 0)),
        ),
    )
    axes.grid(visible=False)
    axes.set_yticks([])
    return picture


def _lines(layer: PeeledLayer) -> NDArray[np.float32]:
    """Activations to draw, (lines, steps): channels, strongest on top; of a single channel its rows, highest on top."""
    if layer.activations.ndim == 3 and layer.activations.shape[1] == 1:
        return layer.activations[:, 0, ::-1].T
    return layer.over_time[:, np.argsort(-layer.pooled, kind="stable")].T


def _columns(rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """Join neighbouring steps where there are too many, by their maximum, and return the number of steps covered."""
    channels, steps = rows.shape
    together = -(-steps // _MAX_COLUMNS)
    columns = -(-steps // together)
    padded = np.full((channels, columns * together), -np.inf, dtype=np.float32)
    padded[:, :steps] = rows
    return padded.reshape(channels, columns, together).max(axis=2), columns * together


def _envelope(peeled: Peeled) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return times (s) and values (from -1 to 1) of a line through the lowest and highest sample of each column."""
    scaled = (peeled.waveform / np.float32(peeled.amplitude))[None]
    highest, samples = _columns(scaled)
    lowest = -_columns(-scaled)[0]
    times = np.linspace(0, samples / peeled.sample_rate, 2 * highest.shape[1])
    return times, np.stack([lowest[0], highest[0]], axis=1).ravel()


def _describe_span(peeled: Peeled) -> str:
    seconds = peeled.sound_samples / peeled.sample_rate
    times = len(peeled.waveform) // peeled.sound_samples
    repeated = f", repeated {times} times" if times > 1 else ""
    if not peeled.repeats:
        repeated = ", then silence" if len(peeled.waveform) > peeled.sound_samples else ""
    return f"({peeled.start_seconds:g} to {peeled.start_seconds + seconds:.4g} s{repeated})"


def _headroom(values: NDArray[np.floating], fraction: float) -> float | None:
    """Return the upper end of an axis that leaves room above the bars, as a fraction of their height."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    return high + fraction * (high - low) if high > low else None


def _layer_label(peeled: Peeled, layer: str, separator: str) -> str:
    _, channels, *rows = peeled.layers[layer].activations.shape
    unit = "channel" if channels == 1 else "channels"
    if layer == tuple(peeled.layers)[-1]:
        unit = "class" if channels == 1 else "classes"
    return f"{layer}{separator}{channels} {unit}" + "".join(f" x {count} rows" for count in rows)


def _output_names(peeled: Peeled) -> list[str]:
    return [
        textwrap.shorten(display_name(name), 28, placeholder="…")
        for head in peeled.heads.values()
        for name in head.class_names
    ]
