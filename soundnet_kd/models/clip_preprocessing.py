"""What must happen to a sound before a network for clips of some length may hear it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from soundnet_kd.models.preprocessing import Preprocessing


@dataclass(frozen=True)
class ClipPreprocessing(Preprocessing):
    """From a sound file to a clip; nothing is repeated, as `Preprocessing` does for SoundNet, silence follows instead.

    Attributes
    ----------
    sample_rate : int
        In Hz.
    amplitude : float
        What full scale becomes, or, of a standardised sound, its standard deviation.
    channel : {"first", "mean"}
        How several channels become one.
    least_samples : int
        Shorter sounds are followed by silence up to this length.
    exact : bool
        Longer sounds are cut to this length: the network has weights for every moment of its input.
    standardise : bool
        Bring each sound, before silence follows it, to a mean of 0 and a standard deviation of 1.
    """

    sample_rate: int = 16_000
    amplitude: float = 1.0
    least_samples: int = 16_000
    exact: bool = True
    standardise: bool = False

    repeats: ClassVar[bool] = False

    @property
    def keeps_level(self) -> bool:
        """Whether a sound that is louder comes out louder."""
        return not self.standardise

    def prepare(self, waveform: NDArray[np.float32]) -> torch.Tensor:
        """Scale a sound and bring it to length.

        Returns
        -------
        (1, samples) float32; samples is `least_samples` where `exact`, else at least that.
        """
        scaled = self.amplify(torch.from_numpy(waveform[: self.least_samples if self.exact else None]))
        return torch.nn.functional.pad(scaled, (0, max(0, self.least_samples - len(scaled))))[None]

    def amplify(self, sound: torch.Tensor) -> torch.Tensor:
        """Do as `scale`, without a look at the values.

        Returns
        -------
        (..., samples) float32. Silence, which has no deviation, stays silence when it is standardised.
        """
        scaled = super().amplify(sound)
        if not self.standardise:
            return scaled
        centred = scaled - scaled.mean(dim=-1, keepdim=True)
        deviation = centred.square().mean(dim=-1, keepdim=True).sqrt()
        # A constant leaves rounding behind, far below one step of 16 bit.
        return torch.where(deviation > 1e-7 * self.amplitude, centred / deviation, 0.0) * self.amplitude
