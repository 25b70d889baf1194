"""Spectra: power over frequency and time, its logarithm, mel bands, and the spectrum of a whole sound."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import get_window
from torch import Tensor

from soundnet_kd.models.blocks import ReceptiveField
from soundnet_kd.models.front_ends.front_end import FrontEnd, require_length, require_positive

LEAST_POWER = 1e-10
"""Below this power is taken for silence (librosa's `amin`, and the constant of the log spectrogram)."""


class LogSpectrogram(FrontEnd):
    """Natural logarithm of the power density over frequency and time, plus 1e-10.

    Each window, of Hann's form, is a column; none reaches beyond the sound. Numbers are those of
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
        super().__init__(None, window_samples // 2 + 1, window_seconds=window_seconds, step_seconds=step_seconds)
        self.window_samples, self.step_samples = window_samples, round(step_seconds * sample_rate)
        require_positive(window_samples=self.window_samples, step_samples=self.step_samples)
        window = _hann(self.window_samples)
        self.register_buffer("window", torch.from_numpy(window), persistent=False)
        # A density has half its power at the negative frequencies, which are not shown.
        scale = np.full((self.rows, 1), 2 / (sample_rate * np.square(window, dtype=np.float64).sum()), dtype=np.float32)
        scale[0] /= 2
        if self.window_samples % 2 == 0:
            scale[-1] /= 2
        self.register_buffer("scale", torch.from_numpy(scale), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Give log spectrograms.

        Parameters
        ----------
        waveform : (batch, 1, samples) float32

        Returns
        -------
        (batch, 1, window // 2 + 1, (samples - window) // step + 1) float32, from 0 Hz to half the sample rate.
        """
        require_length(waveform, self.window_samples, "a window of the log spectrogram")
        power = _power(waveform, self.get_buffer("window"), self.step_samples, centred=False)
        return torch.log(power * self.get_buffer("scale") + LEAST_POWER)

    def steps(self, samples: int) -> int:
        """Give the number of columns."""
        return (samples - self.window_samples) // self.step_samples + 1

    def field_after(self, field: ReceptiveField) -> ReceptiveField:
        """Give what a column hears."""
        return field.after(self.window_samples, self.step_samples)


class MelSpectrogram(FrontEnd):
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
        Length of a window of Hann's form, and from one to the next.
    """

    RANGE_DB = 80.0

    def __init__(self, sample_rate: int, bands: int = 128, window_samples: int = 2048, step_samples: int = 512) -> None:
        require_positive(bands=bands, window_samples=window_samples, step_samples=step_samples)
        super().__init__(None, bands, bands=bands, window_samples=window_samples, step_samples=step_samples)
        from librosa.filters import mel

        self.window_samples, self.step_samples = window_samples, step_samples
        self.register_buffer("window", torch.from_numpy(_hann(window_samples)), persistent=False)
        filters = mel(sr=sample_rate, n_fft=window_samples, n_mels=bands)
        self.register_buffer("filters", torch.from_numpy(filters), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Give mel spectrograms.

        Parameters
        ----------
        waveform : (batch, 1, samples) float32

        Returns
        -------
        (batch, 1, bands, samples // step + 1) float32, in dB; 0 dB is a power of 1.
        """
        require_length(waveform, 1, "a mel spectrogram")
        power = _power(waveform, self.get_buffer("window"), self.step_samples, centred=True)
        decibels = 10 * (self.get_buffer("filters") @ power).clamp(min=LEAST_POWER).log10()
        return torch.maximum(decibels, _peak(decibels) - self.RANGE_DB)

    def steps(self, samples: int) -> int:
        """Give the number of columns."""
        return samples // self.step_samples + 1

    def field_after(self, field: ReceptiveField) -> ReceptiveField:
        """Give what a column hears, but for the loudest moment of the sound."""
        return field.after(self.window_samples, self.step_samples, self.window_samples // 2)


class LogMel(MelSpectrogram):
    """Mel spectrogram in dB relative to the loudest band and moment of each sound.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    bands : int
        On Slaney's mel scale, from 0 Hz to half the sample rate.
    window_samples, step_samples : int
        Length of a window of Hann's form, and from one to the next.
    """

    def forward(self, waveform: Tensor) -> Tensor:
        """Give mel spectrograms, in dB from -80 to 0.

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
        Of the sounds.
    """

    def __init__(self, sample_rate: int, samples: int) -> None:
        require_positive(samples=samples)
        super().__init__(None, samples // 2 + 1, samples=samples)
        self.samples = samples

    def forward(self, waveform: Tensor) -> Tensor:
        """Give (batch, 1, samples // 2 + 1, 1) for waveforms (batch, 1, samples): rows of frequency, a single step."""
        require_length(waveform, self.samples, "the magnitude spectrum")
        spectrum: Tensor = torch.fft.rfft(waveform[..., : self.samples])
        return spectrum.abs()[..., None]

    def steps(self, samples: int) -> int:
        """Give 1, or 0 for another length."""
        return int(samples >= self.samples)

    def field_after(self, field: ReceptiveField) -> None:
        """Its single step hears everything."""
        return


def _hann(samples: int) -> NDArray[np.float32]:
    # Such constants come from NumPy, so that they are there also where a network is built without memory, on "meta",
    # before its weights are read.
    return np.asarray(get_window("hann", samples), dtype=np.float32)


def _power(waveform: Tensor, window: Tensor, step: int, centred: bool) -> Tensor:
    spectrum = torch.stft(
        waveform.squeeze(1), len(window), step, window=window, center=centred, pad_mode="constant", return_complex=True
    )
    power: Tensor = spectrum.real.square() + spectrum.imag.square()
    return power[:, None]


def _peak(decibels: Tensor) -> Tensor:
    return decibels.amax(dim=(-2, -1), keepdim=True)
