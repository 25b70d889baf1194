"""The figures of a peeled network that hears spectrograms: pictures over frequency and time, and filters over both."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.features.activation_file import Peeled
from soundnet_kd.figures.style import AMOUNTS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

LIMIT_PERCENTILE = 99.5
"""A few outliers would leave the rest of a layer pale."""

FEW_CHANNELS = 16
"""Up to so many there is room for the number of each."""

_CHANNELS = 6
_FILTER_COLUMNS = 8


def headline(figure: "FigureBase", text: str) -> None:
    """Write what a figure shows above it."""
    figure.suptitle(text, x=0.01, ha="left", weight="bold", size=11)


def number_channels(axes: "Axes", order: NDArray[np.intp]) -> None:
    """Write the numbers of sorted channels beneath them, each of which is one wide."""
    axes.set_xticks(np.arange(len(order)) + 0.5, [str(channel) for channel in order], fontsize=8)


def draw_pictures(peeled: Peeled, sound: str, network: str, path: str | Path) -> bool:
    """Draw the strongest channels of each layer that has rows, over frequency and time; nothing if none has.

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
        panels = figure.subplots(len(pictures), _CHANNELS, sharex=True, squeeze=False)
        for row, (name, layer) in zip(panels, pictures.items(), strict=True):
            steps, channels, rows = layer.activations.shape
            pooled = layer.pooled
            for place, (axes, index) in enumerate(zip(row, np.argsort(-pooled, kind="stable"), strict=False)):
                least, most = np.percentile(
                    layer.activations[:, index], (100 - LIMIT_PERCENTILE, LIMIT_PERCENTILE)
                ).tolist()
                axes.imshow(
                    layer.activations[:, index].T,
                    aspect="auto",
                    origin="lower",
                    cmap=AMOUNTS,
                    vmin=least,
                    vmax=most if most > least else least + 1,
                    extent=(
                        layer.middle_seconds(-0.5, peeled.sample_rate),
                        layer.middle_seconds(steps - 0.5, peeled.sample_rate),
                        0,
                        rows,
                    ),
                )
                axes.grid(visible=False)
                axes.set_yticks([])
                if channels > 1:
                    axes.set_title(f"channel {index}, mean {pooled[index]:.3g}", fontsize=8, pad=2, weight="normal")
                if place == 0:
                    axes.set_ylabel(f"{name}\n{rows} rows", rotation=0, ha="right", va="center")
            for axes in row[channels:]:
                axes.set_visible(False)
        panels[-1, 0].set_xlim(0, seconds)
        panels[-1, 0].set_xlabel("s")
    return True


def draw_filter_pictures(filters: NDArray[np.floating], name: str, path: str | Path) -> None:
    """Draw filters over frequency (upwards) and time, all to one scale.

    Parameters
    ----------
    filters : (filters, rows, steps) float
    name : str
        Of their layer.
    path : str or Path
        PNG to write.
    """
    count, _, steps = filters.shape
    lines = -(-count // _FILTER_COLUMNS)
    most = float(np.abs(filters).max()) or 1.0
    with new_figure(path, 11, 1.2 + 1.3 * lines) as figure:
        headline(figure, f"{name}'s filters: frequency upwards, time to the right ({steps} steps)")
        panels = figure.subplots(lines, _FILTER_COLUMNS, squeeze=False)
        for index, axes in enumerate(panels.flat):
            if index >= count:
                axes.set_visible(False)
                continue
            picture = axes.imshow(filters[index], origin="lower", cmap="PuOr_r", vmin=-most, vmax=most)
            axes.grid(visible=False)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_title(str(index), fontsize=8, pad=2, weight="normal")
        figure.colorbar(picture, ax=panels, label="weight", fraction=0.03, pad=0.015)
