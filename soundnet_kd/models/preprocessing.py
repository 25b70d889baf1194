"""What must happen to a sound before a network may hear it; part of the network's weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from soundnet_kd.errors import EmptyAudioError, SettingsError
from soundnet_kd.media import read_audio

MOST = 10**9
"""Beyond this a rate, an amplitude or a length is a mistake, or an attack."""


def tile_to(waveform: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    """Repeat a sound from its start until it is long enough.

    A sound shorter than `samples` is repeated `floor(samples / samples_in) + 1` times, as the ESC-50 notebook did: one
    that divides `samples` exactly is therefore repeated once more than it need be.

    Parameters
    ----------
    waveform : (samples_in,) float32
    samples : int
        Least length of the result.

    Returns
    -------
    (samples_out,) float32, samples_out >= samples, a whole number of repeats.

    Raises
    ------
    EmptyAudioError
        If `waveform` has no samples.
    """
    if len(waveform) == 0:
        raise EmptyAudioError("the sound has no samples")
    if len(waveform) >= samples:
        return waveform
    return np.tile(waveform, samples // len(waveform) + 1)


def as_float(waveform: NDArray[np.float32] | NDArray[np.int16]) -> NDArray[np.float32]:
    """Give a waveform, float in ±1 or int16, as float32 in ±1.

    Raises
    ------
    SettingsError
        If it is of another type, whose full scale is not known.
    """
    if waveform.dtype == np.int16:
        return np.asarray(waveform / np.float32(2**15), dtype=np.float32)
    if not np.issubdtype(waveform.dtype, np.floating):
        raise SettingsError(f"the waveform is {waveform.dtype}; give float in ±1, or int16")
    return np.asarray(waveform, dtype=np.float32)


@dataclass(frozen=True)
class Preprocessing:
    """From a sound file to what a network's first convolution expects.

    Attributes
    ----------
    sample_rate : int
        In Hz.
    amplitude : float
        What full scale becomes: SoundNet was trained on, and its features come from, ±256. (The authors' ESC-50 script
        used ±512.)
    channel : {"first", "mean"}
        How several channels become one.
    least_samples : int
        Shorter sounds are tiled (see `tile_to`). 441 000 samples are 20 s at 22 050 Hz, the length trained on; the
        deepest layer needs about 9.5 s.
    """

    sample_rate: int = 22_050
    amplitude: float = 256.0
    channel: Literal["first", "mean"] = "first"
    least_samples: int = 441_000

    repeats: ClassVar[bool] = True
    """Whether short sounds are repeated; silence follows them else."""

    def __post_init__(self) -> None:
        for name in ("sample_rate", "amplitude", "least_samples"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MOST:
                raise SettingsError(f"{name} is {value!r}; it has to be a number above 0, at most {MOST}")
        if self.channel not in ("first", "mean"):
            raise SettingsError(f"channel is {self.channel!r}; it must be first or mean")

    def read(self, path: Path) -> NDArray[np.float32]:
        """Read a sound as this network wants to be given it.

        Returns
        -------
        (samples,) float32 in ±1, at `sample_rate`.

        Raises
        ------
        MediaError
            If the file holds no readable sound.
        """
        waveform, _ = read_audio(path, self.sample_rate, self.channel)
        return waveform

    def __call__(self, waveform: NDArray[np.float32] | NDArray[np.int16]) -> torch.Tensor:
        """Tile and scale a sound.

        Parameters
        ----------
        waveform : (samples_in,) float32 in ±1, or int16, at `sample_rate`.

        Returns
        -------
        (1, samples) float32 in ±`amplitude`, samples >= `least_samples`.

        Raises
        ------
        EmptyAudioError
            If `waveform` has no samples.
        """
        return self.scale(torch.from_numpy(tile_to(as_float(waveform), self.least_samples)))[None]

    def scale(self, sound: torch.Tensor) -> torch.Tensor:
        """Bring sound that is long enough to the network's range, on the device where it is.

        Parameters
        ----------
        sound : (..., samples) float32 in ±1, or int16, whose full scale is 2^15.

        Returns
        -------
        (..., samples) float32 in ±`amplitude`.
        """
        full_scale = 2.0**15 if sound.dtype == torch.int16 else 1.0
        return sound.to(torch.float32) * (self.amplitude / full_scale)
