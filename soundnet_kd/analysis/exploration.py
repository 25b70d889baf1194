"""The command `explore`: what a data set of short labelled sounds holds, before any network has heard it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from soundnet_kd.analysis.anomalies import Anomalies, anomalies
from soundnet_kd.analysis.exploration_figures import (
    draw_counts,
    draw_lengths,
    draw_mean_spectra,
    draw_mean_spectrograms,
    draw_violins,
)
from soundnet_kd.analysis.interactive_map import write_interactive_space, write_plotly
from soundnet_kd.data import Clip, Manifest, read_manifest
from soundnet_kd.errors import MediaError, SettingsError
from soundnet_kd.media import read_audio
from soundnet_kd.storage import FAILURES_FILE, claim, make_folder, versions, write_csv, write_failures

WINDOW_SECONDS, STEP_SECONDS = 0.02, 0.01
FLOOR = 1e-10
"""Added to the power before its logarithm (FACTS.md, section 5)."""
FULL_SCALE = 2.0**15
"""Power is that of 16-bit samples, in which the floor is below all that can be heard."""
BANDS = 400
"""Bands of equal width that the magnitude of the Fourier transform is averaged in."""
CLIPPED_LEVEL, CLIPPED_SHARE = 0.999, 0.001
"""A sound is clipped if so many of its samples are at full scale."""


@dataclass(frozen=True, eq=False)
class Explored:
    """What was measured of each sound.

    Attributes
    ----------
    clips : tuple of Clip
        Those that could be read.
    class_names : tuple of str
    sample_rate : int
    seconds : (clips,) float64
    peaks, clipped : (clips,) float64
        Highest absolute sample; share of the samples at full scale.
    spectra : (clips, bands) float32
        Mean magnitude of the Fourier transform in each band.
    hertz : (bands,) float64
        Their middles.
    spectrograms : (classes, frequencies, steps) float64
        Mean log power spectrogram of each class.
    """

    clips: tuple[Clip, ...]
    class_names: tuple[str, ...]
    sample_rate: int
    seconds: NDArray[np.float64] = field(repr=False)
    peaks: NDArray[np.float64] = field(repr=False)
    clipped: NDArray[np.float64] = field(repr=False)
    spectra: NDArray[np.float32] = field(repr=False)
    hertz: NDArray[np.float64] = field(repr=False)
    spectrograms: NDArray[np.float64] = field(repr=False)

    @property
    def labels(self) -> NDArray[np.int64]:
        """(clips,) the class of each."""
        return np.array([clip.label for clip in self.clips], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class ExploreResult:
    """What was found, and where it is written."""

    out: Path
    explored: Explored = field(repr=False)
    found: Anomalies = field(repr=False)
    skipped: int

    def __str__(self) -> str:
        explored, strangest = self.explored, np.argsort(-self.found.distance)[:3]
        named = ", ".join(explored.clips[place].id for place in strangest)
        odd = int((explored.clipped > CLIPPED_SHARE).sum()), int((explored.peaks == 0).sum())
        skipped = f", {self.skipped} sounds skipped (see {self.out / FAILURES_FILE})" if self.skipped else ""
        return (
            f"wrote {self.out}: {len(explored.clips)} sounds of {len(explored.class_names)} classes, "
            f"{explored.seconds.min():.2f} to {explored.seconds.max():.2f} s, {odd[0]} clipped, {odd[1]} silent; "
            f"the strangest: {named}{skipped}"
        )


def explore(
    sounds: Path,
    out: Path,
    sample_rate: int = 16_000,
    seconds: float = 1.0,
    frequency: float = 1000.0,
    components: int = 3,
    seed: int = 0,
) -> ExploreResult:
    """Look at a data set of short labelled sounds: counts, lengths, mean spectra and spectrograms, and what is strange.

    What is strange is seen in the first principal components of the standardised magnitude of the Fourier transform:
    far from the middle, or unlikely under a Gaussian mixture of its own class. A page shows them in three dimensions.

    Parameters
    ----------
    sounds : Path
        A folder with a sub-folder for each class (Speech Commands), one in ESC-50's layout, or a CSV file with columns
        path and label.
    out : Path
        Folder for tables, figures and the page.
    sample_rate : int
        That the sounds are resampled to, in Hz.
    seconds : float
        Of each sound, for its spectra: longer ones are cut, shorter ones followed by silence.
    frequency : float
        Whose magnitude is drawn over the classes, in Hz.
    components : int
        Principal components that strangeness is measured in; the page shows the first three.
    seed : int
        Of the mixtures.

    Raises
    ------
    SettingsError
        If there are no labels, or a setting is out of its range.
    MediaError
        If not a single sound could be read.
    """
    if not 0 < frequency < sample_rate / 2 or seconds < 2 * WINDOW_SECONDS or components < 3:
        raise SettingsError(
            f"frequency is {frequency:g} Hz, seconds {seconds:g} and components {components}; give a frequency below "
            f"{sample_rate / 2:g} Hz, at least {2 * WINDOW_SECONDS} s, and at least three components"
        )
    manifest = read_manifest(sounds)
    if not manifest.class_names:
        raise SettingsError(f"none of the sounds of {sounds} has a label; give a folder with a sub-folder per class")
    settings = {"sample_rate": sample_rate, "seconds": seconds, "frequency": frequency, "components": components}
    make_folder(out)
    claim(
        out / "explore.json",
        {"sounds": manifest.identity, "settings": {**settings, "seed": seed}, "versions": versions()},
    )
    explored, failures = measured(manifest, sample_rate, seconds)
    write_failures(out / FAILURES_FILE, failures)
    if len(explored.clips) <= components:
        raise MediaError(
            f"{len(explored.clips)} of {len(manifest)} labelled sounds could be read, too few for {components} "
            f"components; see {out / FAILURES_FILE}"
        )
    found = anomalies(explored.spectra, explored.labels, components, seed)
    _write_tables(explored, found, out)
    names, labels = explored.class_names, explored.labels
    draw_counts(labels, names, out / "counts.png")
    draw_lengths(explored.seconds, labels, names, out / "lengths.png")
    draw_mean_spectra(explored.spectra, explored.hertz, labels, names, out / "mean_fft.png")
    draw_mean_spectrograms(explored.spectrograms, seconds, sample_rate, names, out / "mean_spectrograms.png")
    band = int(np.argmin(np.abs(explored.hertz - frequency)))
    draw_violins(explored.spectra[:, band], labels, names, frequency, out / "violins.png")
    write_plotly(out)
    write_interactive_space(
        found.points[:, :3],
        labels,
        [clip.id for clip in explored.clips],
        names,
        [f"component {number}" for number in (1, 2, 3)],
        "Sounds by the principal components of their standardised spectra",
        f"{found.explained:.0%} of the variance in {components} components; far from all others is what is strange",
        out / "anomalies.html",
    )
    return ExploreResult(out, explored, found, len(failures))


def measured(manifest: Manifest, sample_rate: int, seconds: float) -> tuple[Explored, dict[str, str]]:
    """Measure all labelled sounds, one after the other.

    Returns
    -------
    explored : Explored
    failures : dict from id to str
        Why the others could not be read.
    """
    failures: dict[str, str] = {}
    clips: list[Clip] = []
    figures: list[tuple[float, float, float]] = []
    spectra: list[NDArray[np.float32]] = []
    sums: dict[int, NDArray[np.float64]] = {}
    samples = round(seconds * sample_rate)
    for clip, waveform in _waveforms(manifest, sample_rate, failures):
        clips.append(clip)
        level = np.abs(waveform)
        figures.append((len(waveform) / sample_rate, float(level.max()), float((level >= CLIPPED_LEVEL).mean())))
        heard = np.pad(waveform[:samples], (0, max(0, samples - len(waveform))))
        spectra.append(_banded(np.abs(np.fft.rfft(heard))))
        picture = log_spectrogram(heard, sample_rate)
        sums[clip.label] = sums.get(clip.label, np.zeros_like(picture)) + picture
    counts = np.bincount([clip.label for clip in clips], minlength=len(manifest.class_names))
    empty = np.zeros_like(next(iter(sums.values()))) if sums else np.zeros((0, 0))
    pictures = [sums.get(label, empty) / max(count, 1) for label, count in enumerate(counts)]
    table = np.array(figures).reshape(-1, 3)
    edges = np.linspace(0, sample_rate / 2, min(BANDS, samples // 2) + 1)
    hertz = (edges[:-1] + edges[1:]) / 2
    explored = Explored(
        tuple(clips), manifest.class_names, sample_rate, table[:, 0], table[:, 1], table[:, 2],
        np.array(spectra, np.float32), hertz, np.array(pictures),
    )  # fmt: skip
    return explored, failures


def log_spectrogram(waveform: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    """Give the natural logarithm of the power (frequencies, steps): Hann windows of 20 ms, one every 10 ms."""
    from scipy.signal import spectrogram

    window, step = round(WINDOW_SECONDS * sample_rate), round(STEP_SECONDS * sample_rate)
    _, _, power = spectrogram(
        waveform * FULL_SCALE, sample_rate, window="hann", nperseg=window, noverlap=window - step, detrend=False
    )
    return np.asarray(np.log(power + FLOOR), dtype=np.float64)


def _waveforms(
    manifest: Manifest, sample_rate: int, failures: dict[str, str]
) -> Iterator[tuple[Clip, NDArray[np.float32]]]:
    progress = tqdm([clip for clip in manifest.clips if clip.label >= 0], desc="explore", unit="sound")
    for clip in progress:
        try:
            waveform, _ = read_audio(clip.path, sample_rate)
        except MediaError as error:
            failures[clip.id] = str(error)
            progress.set_postfix(skipped=len(failures))
        else:
            yield clip, waveform


def _banded(magnitude: NDArray[np.floating]) -> NDArray[np.float32]:
    """Average bins (without the one at 0 Hz) in bands of equal width."""
    bins = magnitude[1:]
    pieces = np.array_split(bins, min(BANDS, len(bins)))
    return np.array([piece.mean() for piece in pieces], dtype=np.float32)


def _write_tables(explored: Explored, found: Anomalies, out: Path) -> None:
    labels, names = explored.labels, explored.class_names
    write_csv(
        out / "classes.csv",
        ("class", "sounds", "shortest", "mean seconds", "longest", "clipped", "silent"),
        (_class_row(name, labels == label, explored) for label, name in enumerate(names)),
    )
    order: Sequence[int] = np.argsort(-found.distance).tolist()
    write_csv(
        out / "anomalies.csv",
        ("id", "class", "distance", "log likelihood", "likeliest class", "seconds", "peak", "clipped share", *"xyz"),
        (
            (
                explored.clips[place].id,
                names[labels[place]],
                f"{found.distance[place]:.4f}",
                f"{found.log_likelihood[place]:.4f}",
                names[found.likeliest[place]],
                f"{explored.seconds[place]:.4f}",
                f"{explored.peaks[place]:.4f}",
                f"{explored.clipped[place]:.6f}",
                *(f"{value:.4f}" for value in found.points[place, :3]),
            )
            for place in order
        ),
    )  # fmt: skip


def _class_row(name: str, mine: NDArray[np.bool_], explored: Explored) -> list[object]:
    seconds = explored.seconds[mine]
    lengths = [f"{value:.4f}" for value in (seconds.min(), seconds.mean(), seconds.max())] if len(seconds) else [""] * 3
    odd = (explored.clipped[mine] > CLIPPED_SHARE).sum(), (explored.peaks[mine] == 0).sum()
    return [name, int(mine.sum()), *lengths, *map(int, odd)]
