"""Spectra: power over frequency and time, its logarithm, mel bands, and the spectrum of a whole sound."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from soundnet_kd.models.front_ends.front_end import FrontEnd, require_length, require_positive
from soundnet_kd.models.receptive_field import ReceptiveField
from soundnet_kd.system.cache_folders import provide_caches

MIN_POWER = 1e-10
"""Below this power is taken for silence (librosa's `amin`, and the constant of the log spectrogram)."""


class WindowedPower(FrontEnd):
    """Power over frequency and time, of which spectrograms are made: a Hann window for each column.

    Parameters
    ----------
    rows : int
    window_samples, step_samples : int
        Length of a window, and from one to the next.
    centred : bool
        Whether columns stand at the middle of their windows, with silence beyond both ends of the sound; else no window
        reaches beyond it.
    settings : dict
    """

    def __init__(
        self, rows: int, window_samples: int, step_samples: int, centred: bool, settings: dict[str, Any]
    ) -> None:
        require_positive(window_samples=window_samples, step_samples=step_samples)
        super().__init__(None, rows, **settings)
        self.window_samples, self.step_samples = window_samples, step_samples
        self.padding = window_samples // 2 if centred else 0
        self.register_buffer("window", torch.from_numpy(_hann(window_samples)), persistent=False)

    def power(self, waveform: Tensor, padded: bool = False) -> Tensor:
        """Return (batch, 1, window // 2 + 1, columns) for waveforms (batch, 1, samples).

        Where they are `padded`, the silence beyond both ends is there already.
        """
        spectrum = torch.stft(
            waveform.squeeze(1),
            self.window_samples,
            self.step_samples,
            window=self.get_buffer("window"),
            center=self.padding > 0 and not padded,
            pad_mode="constant",
            return_complex=True,
        )
        power: Tensor = spectrum.real.square() + spectrum.imag.square()
        return power[:, None]

    def steps(self, samples: int) -> int:
        """Return the number of columns."""
        return (samples + 2 * self.padding - self.window_samples) // self.step_samples + 1

    def field_after(self, field: ReceptiveField) -> ReceptiveField:
        """Return the receptive field of a column."""
        return field.after(self.window_samples, self.step_samples, self.padding)


class LogSpectrogram(WindowedPower):
    """Natural logarithm of the power density over frequency and time, plus 1e-10.

    Each column is a Hann window; none reaches beyond the sound. Numbers are those of
    `scipy.signal.spectrogram(window="hann", detrend=False)`, power per Hz of the waveform's unit.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    window_seconds, step_seconds : float
        Length of a window, and from one to the next.
    """

    def __init__(self, sample_rate: int, window_seconds: float = 0.02, step_seconds: float = 0.01) -> None:
        require_positive(window_seconds=window_seconds, step_seconds=step_seconds)
        window_samples = round(window_seconds * sample_rate)
        settings = {"window_seconds": window_seconds, "step_seconds": step_seconds}
        super().__init__(window_samples // 2 + 1, window_samples, round(step_seconds * sample_rate), False, settings)
        # A density has half its power at the negative frequencies, which are not shown.
        density = 2 / (sample_rate * np.square(_hann(window_samples), dtype=np.float64).sum())
        scale = np.full((self.rows, 1), density, dtype=np.float32)
        scale[0] /= 2
        if window_samples % 2 == 0:
            scale[-1] /= 2
        self.register_buffer("scale", torch.from_numpy(scale), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return log spectrograms.

        Parameters
        ----------
        waveform : (batch, 1, samples) float32

        Returns
        -------
        (batch, 1, window // 2 + 1, (samples - window) // step + 1) float32, from 0 Hz to half the sample rate.
        """
        require_length(waveform, self.window_samples, "a window of the log spectrogram")
        return torch.log(self.power(waveform) * self.get_buffer("scale") + MIN_POWER)


class MelSpectrogram(WindowedPower):
    """Power in mel bands in dB, as librosa computes it: `power_to_db(melspectrogram(...))`.

    Columns stand at the middle of their windows, with silence beyond both ends of the sound. What is more than 80 dB
    below the loudest band and moment of a sound is raised to that.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    bands : int
        On Slaney's mel scale, from 0 Hz to half the sample rate, each of unit area.
    window_samples, step_samples : int
        Length of a Hann window, and from one to the next.
    """

    RANGE_DB = 80.0

    def __init__(self, sample_rate: int, bands: int = 128, window_samples: int = 2048, step_samples: int = 512) -> None:
        require_positive(bands=bands)
        settings = {"bands": bands, "window_samples": window_samples, "step_samples": step_samples}
        super().__init__(bands, window_samples, step_samples, True, settings)
        with provide_caches("librosa"):
            from librosa.filters import mel

        filters = mel(sr=sample_rate, n_fft=window_samples, n_mels=bands)
        self.register_buffer("filters", torch.from_numpy(filters), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return mel spectrograms.

        Parameters
        ----------
        waveform : (batch, 1, samples) float32

        Returns
        -------
        (batch, 1, bands, samples // step + 1) float32, in dB; 0 dB is a power of 1.
        """
        decibels = self.decibels(waveform)
        return torch.maximum(decibels, _peak(decibels) - self.RANGE_DB)

    def decibels(self, waveform: Tensor, padded: bool = False, least: float = MIN_POWER) -> Tensor:
        """Return mel spectrograms in dB, no column of which depends on others.

        Parameters
        ----------
        waveform : (batch, 1, samples) float32
        padded : bool
            The silence beyond both ends is there already.
        least : float
            Below this power is taken for silence.
        """
        require_length(waveform, 1, "a mel spectrogram")
        # A sum of bf16 has too few digits for a logarithm.
        power = (self.get_buffer("filters") @ self.power(waveform, padded)).to(waveform.dtype)
        return 10 * power.clamp(min=least).log10()


class LogMel(MelSpectrogram):
    """Mel spectrogram in dB relative to the loudest band and moment of each sound.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    bands : int
        On Slaney's mel scale, from 0 Hz to half the sample rate.
    window_samples, step_samples : int
        Length of a Hann window, and from one to the next.
    """

    def forward(self, waveform: Tensor) -> Tensor:
        """Return mel spectrograms, in dB from -80 to 0.

        Parameters
        ----------
        waveform : (batch, 1, samples) float32

        Returns
        -------
        (batch, 1, bands, samples // step + 1) float32
        """
        decibels = super().forward(waveform)
        return decibels - _peak(decibels)


class MagnitudeSpectrum(FrontEnd):
    """The magnitudes of the Fourier transform of a whole sound.

    Parameters
    ----------
    sample_rate : int
        In Hz; row k is at k * sample_rate / samples.
    samples : int
        Number of samples of the sounds.
    """

    def __init__(self, sample_rate: int, samples: int) -> None:
        require_positive(samples=samples)
        super().__init__(None, samples // 2 + 1, samples=samples)
        self.samples = samples

    def forward(self, waveform: Tensor) -> Tensor:
        """Return (batch, 1, samples // 2 + 1, 1) for waveforms (batch, 1, samples): a single step."""
        require_length(waveform, self.samples, "the magnitude spectrum")
        spectrum: Tensor = torch.fft.rfft(waveform[..., : self.samples])
        return spectrum.abs()[..., None]

    def steps(self, samples: int) -> int:
        """Return 1, or 0 for another length."""
        return int(samples >= self.samples)

    def field_after(self, field: ReceptiveField) -> None:
        """Return None: its single step depends on everything."""
        return


def _hann(samples: int) -> NDArray[np.float32]:
    from scipy.signal import get_window

    # Such constants come from NumPy, so that they are there also where a network is built without memory, on "meta",
    # before its weights are read.
    return np.asarray(get_window("hann", samples), dtype=np.float32)


def _peak(decibels: Tensor) -> Tensor:
    return decibels.amax(dim=(-2, -1), keepdim=True)
