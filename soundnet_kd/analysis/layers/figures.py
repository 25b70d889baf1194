"""The figures of a network peeled on one sound; all are drawn from what `peel.h5` holds."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.analysis.layers.pictures import FEW_CHANNELS, LIMIT_PERCENTILE, headline, number_channels
from soundnet_kd.features.activation_file import Peeled, PeeledLayer
from soundnet_kd.figures.style import AMOUNTS, COLORS, GREY, new_figure, readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_COLUMNS = 1500
"""More than a figure has dots; several steps share a column then."""

_PAPER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5}

_PANELS_IN_A_ROW = 4
_STRONGEST = 3


def draw_layers(peeled: Peeled, sound: str, network: str, path: str | Path) -> None:
    """Draw the waveform, and under it each layer's activations where its steps hear it.

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
        headline(figure, f"What each layer of {network} makes of {sound} {_part(peeled)}")
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
            axes.set_ylabel(_named(peeled, name, "\n"), rotation=0, ha="right", va="center")
        panels[-1].set_xlim(0, seconds)
        panels[-1].set_xlabel("seconds from the start of what is heard")


def draw_pooled(peeled: Peeled, sound: str, network: str, path: str | Path) -> None:
    """Draw each layer's channels, averaged over time, in falling order, and name the strongest.

    Parameters
    ----------
    peeled : Peeled
    sound, network : str
    path : str or Path
        PNG to write.
    """
    rows = -(-len(peeled.layers) // _PANELS_IN_A_ROW)
    output = tuple(peeled.layers)[-1]
    with new_figure(path, 12, 0.6 + 2.3 * rows) as figure:
        headline(figure, f"{network} on {sound} {_part(peeled)}: activations averaged over time, strongest first")
        panels = iter(figure.subplots(rows, _PANELS_IN_A_ROW, squeeze=False).flat)
        for (name, layer), axes in zip(peeled.layers.items(), panels, strict=False):
            pooled = layer.pooled
            order = np.argsort(-pooled, kind="stable")
            few = len(pooled) <= FEW_CHANNELS
            axes.stairs(pooled[order], fill=True, color=COLORS[0])
            axes.set_xlim(0, len(pooled))
            # Of few channels all are tall, and the names stand above the bars.
            axes.set_ylim(top=_headroom(pooled, 0.4 if few else 0.1))
            axes.set_title(_named(peeled, name, ", "), fontsize=10)
            if few and name != output:
                number_channels(axes, order)
            else:
                axes.xaxis.get_major_locator().set_params(integer=True)
            names = _output_names(peeled) if name == output else [f"channel {index}" for index in range(len(pooled))]
            strongest = "\n".join(f"{names[index]}  {pooled[index]:.3g}" for index in order[:_STRONGEST])
            axes.text(0.98, 0.97, strongest, transform=axes.transAxes, ha="right", va="top", fontsize=8, bbox=_PAPER)
            axes.set_xlabel("classes of all heads, sorted" if name == output else "channels, sorted", fontsize=8)
        for axes in panels:
            axes.set_visible(False)


def _draw_activations(axes: "Axes", layer: PeeledLayer, sample_rate: int) -> None:
    values = _lines(layer)
    image, steps = _columns(values)
    # ReLU's zero stays the lightest colour; logits have no such floor.
    least = min(0.0, float(np.percentile(values, 100 - LIMIT_PERCENTILE)))
    most = float(np.nanpercentile(image, LIMIT_PERCENTILE))
    picture = axes.imshow(
        image,
        aspect="auto",
        cmap=AMOUNTS,
        vmin=least,
        vmax=most if most > least else least + 1,
        extent=(
            layer.middle_seconds(-0.5, sample_rate),
            layer.middle_seconds(steps - 0.5, sample_rate),
            len(values),
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


def _lines(layer: PeeledLayer) -> NDArray[np.float32]:
    """Give (lines, steps): the channels, the strongest on top; of a single picture its rows, the high ones on top."""
    if layer.activations.ndim == 3 and layer.activations.shape[1] == 1:
        return layer.activations[:, 0, ::-1].T
    return layer.over_time[:, np.argsort(-layer.pooled, kind="stable")].T


def _columns(rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """Greatest values of neighbours where there are too many steps to show, and how many steps that covers."""
    channels, steps = rows.shape
    together = -(-steps // _MAX_COLUMNS)
    columns = -(-steps // together)
    padded = np.full((channels, columns * together), -np.inf, dtype=np.float32)
    padded[:, :steps] = rows
    return padded.reshape(channels, columns, together).max(axis=2), columns * together


def _envelope(peeled: Peeled) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return a line through the lowest and the highest sample of each column, in ±1."""
    scaled = (peeled.waveform / np.float32(peeled.amplitude))[None]
    highest, samples = _columns(scaled)
    lowest = -_columns(-scaled)[0]
    times = np.linspace(0, samples / peeled.sample_rate, 2 * highest.shape[1])
    return times, np.stack([lowest[0], highest[0]], axis=1).ravel()


def _part(peeled: Peeled) -> str:
    seconds = peeled.sound_samples / peeled.sample_rate
    times = len(peeled.waveform) // peeled.sound_samples
    repeated = f", repeated {times} times" if times > 1 else ""
    if not peeled.repeats:
        repeated = ", then silence" if len(peeled.waveform) > peeled.sound_samples else ""
    return f"({peeled.start_seconds:g} to {peeled.start_seconds + seconds:.4g} s{repeated})"


def _headroom(values: NDArray[np.floating], share: float) -> float | None:
    """Leave room for the names above the bars, as a share of their height."""
    least, most = min(0.0, float(values.min())), max(0.0, float(values.max()))
    return most + share * (most - least) if most > least else None


def _named(peeled: Peeled, layer: str, separator: str) -> str:
    _, channels, *rows = peeled.layers[layer].activations.shape
    unit = "channel" if channels == 1 else "channels"
    if layer == tuple(peeled.layers)[-1]:
        unit = "class" if channels == 1 else "classes"
    return f"{layer}{separator}{channels} {unit}" + "".join(f" x {count} rows" for count in rows)


def _output_names(peeled: Peeled) -> list[str]:
    return [
        textwrap.shorten(readable(name), 28, placeholder="…")
        for head in peeled.heads.values()
        for name in head.class_names
    ]
