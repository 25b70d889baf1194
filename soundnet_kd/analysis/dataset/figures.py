"""The figures of a data set: number of sounds, lengths and spectra, class by class."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.figures.panels import new_panels
from soundnet_kd.figures.style import COLORS, GREY, LEVELS, display_name, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 6
LENGTH_BINS = 40
MAX_PANELS = 60
"""Classes up to which each has a panel; a figure of more classes says how many it leaves out."""


def draw_counts(labels: NDArray[np.int64], names: Sequence[str], path: str | Path) -> None:
    """Draw the number of sounds of each class, the largest on top."""
    counts = np.bincount(labels, minlength=len(names))
    order = np.argsort(-counts, kind="stable")
    with new_figure(path, 6.4, 1.2 + 0.2 * len(names)) as figure:
        axes = figure.subplots()
        axes.barh(range(len(names)), counts[order], color=COLORS[0], height=0.72)
        for row, place in enumerate(order.tolist()):
            axes.annotate(
                str(counts[place]),
                (counts[place], row),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
        axes.set_yticks(range(len(names)), [display_name(names[place]) for place in order.tolist()])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("sounds")
        axes.set_title("Sounds of each class")


def draw_lengths(
    seconds: NDArray[np.float64], labels: NDArray[np.int64], names: Sequence[str], path: str | Path
) -> None:
    """Draw a histogram of the lengths of each class; all share one scale of seconds and one, logarithmic, of counts."""
    edges = np.histogram_bin_edges(seconds, LENGTH_BINS)
    with _class_panels(path, names, "Lengths", "seconds", sharey=True) as panels:
        for label, axes in enumerate(panels):
            axes.hist(seconds[labels == label], bins=list(edges), color=COLORS[0])
            axes.set_yscale("symlog", linthresh=1)
            axes.yaxis.set_major_formatter("{x:g}")


def draw_mean_spectra(
    spectra: NDArray[np.float32],
    hertz: NDArray[np.float64],
    labels: NDArray[np.int64],
    names: Sequence[str],
    path: str | Path,
) -> None:
    """Draw the mean magnitude of the Fourier transform of each class, and of all sounds in grey."""
    everything = spectra.mean(axis=0)
    title = "Mean magnitude of the Fourier transform (grey: of all sounds)"
    with _class_panels(path, names, title, "Hz", sharey=True) as panels:
        for label, axes in enumerate(panels):
            axes.semilogy(hertz, np.maximum(everything, 1e-6), color=GREY, linewidth=0.7)
            if (labels == label).any():
                mean = spectra[labels == label].mean(axis=0)
                axes.semilogy(hertz, np.maximum(mean, 1e-6), color=COLORS[0], linewidth=0.9)
            axes.yaxis.set_major_formatter("{x:g}")


def draw_mean_spectrograms(
    spectrograms: NDArray[np.float64], seconds: float, sample_rate: int, names: Sequence[str], path: str | Path
) -> None:
    """Draw the mean log spectrogram of each class, all on one scale."""
    lowest, highest = (float(edge) for edge in np.percentile(spectrograms, (1, 99.9)))
    with _class_panels(path, names, "Mean log power spectrogram", "seconds") as panels:
        for label, axes in enumerate(panels):
            axes.imshow(
                spectrograms[label],
                origin="lower",
                aspect="auto",
                vmin=lowest,
                vmax=highest,
                cmap=LEVELS,
                extent=(0, seconds, 0, sample_rate / 2000),
                interpolation="nearest",
            )
            axes.grid(visible=False)
            axes.set_ylabel("kHz", fontsize=7)


def draw_violins(
    magnitudes: NDArray[np.float32], labels: NDArray[np.int64], names: Sequence[str], frequency: float, path: str | Path
) -> None:
    """Draw the distribution of the magnitude at one frequency over the sounds of each class."""
    # A violin needs at least two sounds to estimate a density.
    shown = [label for label in range(len(names)) if (labels == label).sum() > 1]
    decibels = [20 * np.log10(np.maximum(magnitudes[labels == label], 1e-6)) for label in shown]
    with new_figure(path, max(6.4, 1.5 + 0.34 * len(names)), 4.2) as figure:
        axes = figure.subplots()
        if shown:
            axes.violinplot(decibels, positions=range(len(shown)), showmedians=True, widths=0.85)
        axes.set_xticks(range(len(shown)), [display_name(names[label]) for label in shown], rotation=90)
        axes.set_ylabel("magnitude in dB")
        axes.set_title(f"Magnitude near {frequency:g} Hz over the sounds of each class")


@contextmanager
def _class_panels(
    path: str | Path, names: Sequence[str], title: str, unit: str, sharey: bool = False
) -> Iterator[list["Axes"]]:
    """Open a figure with a small panel for each class, up to 60."""
    shown = min(len(names), MAX_PANELS)
    columns = min(COLUMNS, shown)
    with new_panels(path, shown, columns, 2.1, 1.5, sharex=True, sharey=sharey) as (figure, panels):
        for name, axes in zip(names, panels, strict=False):
            axes.set_title(display_name(name), fontsize=8, pad=3)
            axes.tick_params(labelsize=6)
        for axes in panels[-columns:]:
            axes.set_xlabel(unit, fontsize=7)
        yield panels
        some = "" if shown == len(names) else f": the first {shown} of {len(names)} classes"
        figure.suptitle(f"{title}{some}", fontsize=10)
