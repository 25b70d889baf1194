"""Resampling by cutting the Fourier transform of a whole sound, as a front end of networks that were published with it.

How files are resampled as they are read is in `soundnet_kd.media.resampling`; this one gives other samples, on the
device of its network, and is a part of what such a network has learned.
"""

import torch
from torch import Tensor

from soundnet_kd.models.front_ends.front_end import FrontEnd, require_length, require_positive
from soundnet_kd.models.receptive_field import ReceptiveField


class FourierResampling(FrontEnd):
    """Resampling as `scipy.signal.resample` does it: exact for what repeats with the length of the sound.

    Parameters
    ----------
    sample_rate : int
        Sample rate of the input, in Hz.
    target_rate : int
        Sample rate of the output, in Hz; it has `samples * target_rate // sample_rate` samples.
    """

    def __init__(self, sample_rate: int, target_rate: int) -> None:
        require_positive(sample_rate=sample_rate, target_rate=target_rate)
        super().__init__(target_rate, 0, target_rate=target_rate)
        self.rates = (sample_rate, target_rate)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return (batch, 1, samples * target_rate // sample_rate) for waveforms (batch, 1, samples)."""
        rate, target = self.rates
        require_length(waveform, -(-rate // target), "a sample at the new rate")
        samples = waveform.shape[-1]
        wanted = self.steps(samples)
        shorter = min(samples, wanted)
        spectrum = torch.fft.rfft(waveform)
        if wanted < samples:
            spectrum = spectrum[..., : wanted // 2 + 1]
        if shorter % 2 == 0 and samples != wanted:
            # The frequency at half the lower rate stands for itself and for its negative twin.
            weights = torch.ones(shorter // 2 + 1, device=waveform.device)
            weights[-1] = 2.0 if wanted < samples else 0.5
            spectrum = spectrum * weights
        resampled: Tensor = torch.fft.irfft(spectrum, n=wanted)
        return resampled * (wanted / samples)

    def steps(self, samples: int) -> int:
        """Return the number of samples at the new rate."""
        rate, target = self.rates
        return samples * target // rate

    def field_after(self, field: ReceptiveField) -> ReceptiveField | None:
        """Return the samples that a new one stands for, if that is a whole number; farther ones count a little."""
        rate, target = self.rates
        return field.after(rate // target, rate // target) if rate % target == 0 else None
