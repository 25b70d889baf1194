"""Measures of short labelled sounds: lengths, levels, spectra, and the mean spectrogram of each class."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from soundnet_kd.data import Clip, Manifest
from soundnet_kd.data.voice_activity import Span, VoiceActivity
from soundnet_kd.errors import MediaError
from soundnet_kd.media import local_file, read_audio

WINDOW_SECONDS, STEP_SECONDS = 0.02, 0.01
FLOOR = 1e-10
"""Added to the power before its logarithm, as in the front end `LogSpectrogram`."""
FULL_SCALE = 2.0**15
"""Samples are scaled to 16 bits before the power is taken; the floor is then below anything audible."""
BANDS = 400
"""Number of bands of equal width over which the magnitude of the Fourier transform is averaged."""
CLIPPED_LEVEL, CLIPPED_FRACTION = 0.999, 0.001
"""A sound counts as clipped if more than this fraction of its samples is at or above this level."""


@dataclass(frozen=True, eq=False)
class SoundMeasures:
    """Measures of each sound, and the mean spectrogram of each class.

    Attributes
    ----------
    clips : tuple of Clip
        The sounds that could be read.
    class_names : tuple of str
    sample_rate : int
    seconds : (clips,) float64
    peaks, clipped : (clips,) float64
        Highest absolute sample; fraction of the samples at full scale.
    spectra : (clips, bands) float32
        Mean magnitude of the Fourier transform in each band.
    hertz : (bands,) float64
        Centre frequency of each band.
    spectrograms : (classes, frequencies, steps) float64
        Mean log power spectrogram of each class.
    spans : mapping from id to Span or None, optional
        Where the voice of each sound is; the other measures are of this span alone. None for a sound without a voice,
        which is measured whole.
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
    spans: Mapping[str, Span | None] | None = field(default=None, repr=False)

    @property
    def labels(self) -> NDArray[np.int64]:
        """(clips,) class of each sound."""
        return np.array([clip.label for clip in self.clips], dtype=np.int64)


def measure_sounds(
    manifest: Manifest, sample_rate: int, seconds: float, voice: VoiceActivity | None = None
) -> tuple[SoundMeasures, dict[str, str]]:
    """Measure all labelled sounds, or only the voice in them if `voice` is given.

    Returns
    -------
    measures : SoundMeasures
    failures : dict from id to str
        Why the other sounds could not be read.
    """
    failures: dict[str, str] = {}
    clips: list[Clip] = []
    figures: list[tuple[float, float, float]] = []
    spectra: list[NDArray[np.float32]] = []
    sums: dict[int, NDArray[np.float64]] = {}
    samples = round(seconds * sample_rate)
    spans: dict[str, Span | None] = {}
    for clip, sound in _waveforms(manifest, sample_rate, failures):
        clips.append(clip)
        span = spans[clip.id] = None if voice is None else voice.span(sound, sample_rate)
        waveform = sound if span is None else sound[slice(*span)]
        level = np.abs(waveform)
        figures.append((len(waveform) / sample_rate, float(level.max()), float((level >= CLIPPED_LEVEL).mean())))
        padded = np.pad(waveform[:samples], (0, max(0, samples - len(waveform))))
        spectra.append(_average_bands(np.abs(np.fft.rfft(padded))))
        picture = log_spectrogram(padded, sample_rate)
        sums[clip.label] = sums.get(clip.label, np.zeros_like(picture)) + picture
    counts = np.bincount([clip.label for clip in clips], minlength=len(manifest.class_names))
    empty = np.zeros_like(next(iter(sums.values()))) if sums else np.zeros((0, 0))
    pictures = [sums.get(label, empty) / max(count, 1) for label, count in enumerate(counts.tolist())]
    table = np.array(figures).reshape(-1, 3)
    edges = np.linspace(0, sample_rate / 2, min(BANDS, samples // 2) + 1)
    hertz = (edges[:-1] + edges[1:]) / 2
    measures = SoundMeasures(
        clips=tuple(clips),
        class_names=manifest.class_names,
        sample_rate=sample_rate,
        seconds=table[:, 0],
        peaks=table[:, 1],
        clipped=table[:, 2],
        spectra=np.array(spectra, np.float32),
        hertz=hertz,
        spectrograms=np.array(pictures),
        spans=None if voice is None else spans,
    )
    return measures, failures


def log_spectrogram(waveform: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    """Natural logarithm of the power, (frequencies, steps), in Hann windows of 20 ms, one every 10 ms."""
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
            with local_file(clip.path) as file:
                waveform, _ = read_audio(file, sample_rate)
        except MediaError as error:
            failures[clip.id] = str(error)
            progress.set_postfix(skipped=len(failures))
        else:
            yield clip, waveform


def _average_bands(magnitude: NDArray[np.floating]) -> NDArray[np.float32]:
    """Average the bins, without the one at 0 Hz, over bands of equal width."""
    bins = magnitude[1:]
    bands = np.array_split(bins, min(BANDS, len(bins)))
    return np.array([band.mean() for band in bands], dtype=np.float32)
