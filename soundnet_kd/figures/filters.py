"""The filters of a network's first convolution as sound engineers see them: as waves, and as gain over frequency.

Those of a network that hears spectrograms are pictures of these.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.figures.panels import add_panels, count_rows, new_panels
from soundnet_kd.figures.style import COLORS, GREY, LEVELS, SIGNED, headline, new_figure

RESPONSE_BINS = 512
FLOOR_DB = -40.0
"""Lowest gain that figures show, relative to the filter's best frequency."""

_SILENCE_DB = -240.0
_COLUMNS = (4, 5)
"""Filters in a row: of these that which leaves no place empty, or else the first."""
_PICTURES_IN_A_ROW = 8


def frequency_responses(
    filters: NDArray[np.floating], sample_rate: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gain of filters over frequency.

    Parameters
    ----------
    filters : (filters, taps) float
    sample_rate : int
        Of the sound that the filters are convolved with, in Hz.

    Returns
    -------
    frequencies : (bins,) float64
        From 0 to half the sample rate, in Hz; 513 of them, more for filters of more than 1024 taps.
    decibels : (filters, bins) float64
        20 log10 of the magnitude of each filter's Fourier transform; never below -240 dB.
    """
    points = max(2 * RESPONSE_BINS, filters.shape[1])
    magnitudes = np.abs(np.fft.rfft(filters, points, axis=1))
    decibels = 20 * np.log10(np.maximum(magnitudes, 10 ** (_SILENCE_DB / 20)))
    frequencies = np.fft.rfftfreq(points, 1 / sample_rate)
    return np.asarray(frequencies, dtype=np.float64), np.asarray(decibels, dtype=np.float64)


def centre_frequencies(frequencies: NDArray[np.floating], decibels: NDArray[np.floating]) -> NDArray[np.float64]:
    """Frequency at which each filter has its highest gain.

    Parameters
    ----------
    frequencies : (bins,) float
    decibels : (filters, bins) float

    Returns
    -------
    (filters,) float64
        In the unit of `frequencies`.
    """
    return np.asarray(frequencies[decibels.argmax(axis=1)], dtype=np.float64)


def draw_filters(filters: NDArray[np.floating], sample_rate: int, name: str, path: str | Path) -> None:
    """Draw filters as waves, and their frequency responses, both sorted by centre frequency.

    Parameters
    ----------
    filters : (filters, taps) float
    sample_rate : int
        In Hz.
    name : str
        Name of the layer.
    path : str or Path
        PNG to write.
    """
    frequencies, decibels = frequency_responses(filters, sample_rate)
    centres = centre_frequencies(frequencies, decibels)
    order = np.argsort(centres, kind="stable")
    count, taps = filters.shape
    columns = next((each for each in _COLUMNS if count % each == 0), _COLUMNS[0])
    milliseconds = 1000 * np.arange(taps) / sample_rate
    with new_figure(path, 11, 1.4 + 0.95 * count_rows(count, columns)) as figure:
        left, right = np.array(figure.subfigures(1, 2, width_ratios=(1.3, 1)))
        headline(left, f"{name}'s filters, by their centre frequency, each to its own scale", x=0.02)
        panels = add_panels(left, count, columns, sharex=True)
        for axes, index in zip(panels, order, strict=True):
            axes.plot(milliseconds, filters[index], color=COLORS[0], linewidth=1)
            axes.axhline(0, color=GREY, linewidth=0.5)
            axes.set_yticks([])
            axes.grid(visible=False)
            axes.set_title(f"{index}: {centres[index]:.0f} Hz", fontsize=8, pad=2, weight="normal")
        for axes in panels[-columns:]:
            axes.set_xlabel("ms", fontsize=8)
        axes = right.subplots()
        best = np.maximum(decibels.max(axis=1, keepdims=True), _SILENCE_DB - FLOOR_DB)
        picture = axes.imshow(
            (decibels - best)[order],
            aspect="auto",
            interpolation="nearest",
            cmap=LEVELS,
            vmin=FLOOR_DB,
            vmax=0,
            extent=(0, sample_rate / 2000, count - 0.5, -0.5),
        )
        axes.set_yticks(range(count), [str(index) for index in order], fontsize=7)
        axes.grid(visible=False)
        axes.set_title("Frequency responses")
        axes.set_xlabel("kHz")
        axes.set_ylabel("filter")
        right.colorbar(picture, ax=axes, label="dB, relative to each filter's best", fraction=0.05, pad=0.02)


def draw_filter_pictures(filters: NDArray[np.floating], name: str, path: str | Path) -> None:
    """Draw filters over frequency (upwards) and time, all to one scale.

    Parameters
    ----------
    filters : (filters, rows, steps) float
    name : str
        Name of their layer.
    path : str or Path
        PNG to write.
    """
    count, _, steps = filters.shape
    limit = float(np.abs(filters).max()) or 1.0
    with new_panels(path, count, _PICTURES_IN_A_ROW, 11 / _PICTURES_IN_A_ROW, 1.3, extra_height=1.2) as (
        figure,
        panels,
    ):
        headline(figure, f"{name}'s filters: frequency upwards, time to the right ({steps} steps)")
        for index, axes in enumerate(panels):
            picture = axes.imshow(filters[index], origin="lower", cmap=SIGNED, vmin=-limit, vmax=limit)
            axes.grid(visible=False)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_title(str(index), fontsize=8, pad=2, weight="normal")
        figure.colorbar(picture, ax=panels, label="weight", fraction=0.03, pad=0.015)
