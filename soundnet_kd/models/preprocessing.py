"""What must happen to a sound before a network may take it; part of the network's weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from soundnet_kd.errors import EmptyAudioError, SettingsError
from soundnet_kd.media import read_audio
from soundnet_kd.media.full_scale import as_float, find_full_scale, to_array

MAX_VALUE = 10**9
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
    repeats = repeats_to(len(waveform), samples)
    return waveform if repeats == 1 else np.tile(waveform, repeats)


def repeats_to(samples: int, least: int) -> int:
    """Return how often `tile_to` repeats a sound, by its number of samples.

    Raises
    ------
    EmptyAudioError
        If there are none.
    """
    if samples == 0:
        raise EmptyAudioError("the sound has no samples")
    return 1 if samples >= least else least // samples + 1


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
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_VALUE:
                raise SettingsError(f"{name} is {value!r}; it has to be a number above 0, at most {MAX_VALUE}")
        if self.channel not in ("first", "mean"):
            raise SettingsError(f"channel is {self.channel!r}; it must be first or mean")

    def read(self, path: str | Path) -> NDArray[np.float32]:
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

    @property
    def keeps_level(self) -> bool:
        """Whether a sound that is louder comes out louder."""
        return True

    def segment_samples(self, max_samples: int) -> int:
        """Return how long the segments are that a longer sound is cut into, where `max_samples` is the limit."""
        return max_samples

    def __call__(self, waveform: ArrayLike) -> torch.Tensor:
        """Tile and scale a sound.

        Parameters
        ----------
        waveform : (samples_in,)
            At `sample_rate`, as `as_float` takes it: float in ±1, or int16.

        Returns
        -------
        (1, samples) float32 in ±`amplitude`, samples >= `least_samples`.

        Raises
        ------
        EmptyAudioError
            If `waveform` has no samples.
        SettingsError
            If its full scale is not known, or it has several channels.
        """
        return self.prepare(as_float(waveform, self.keeps_level))

    def prepare(self, waveform: NDArray[np.float32]) -> torch.Tensor:
        """Do as a call, without a look at the values.

        Parameters
        ----------
        waveform : (samples_in,) float32
            At `sample_rate`, known to be in full scale, as `as_float` and `read` give it.

        Returns
        -------
        (1, samples) float32, as a call gives it.
        """
        return self.amplify(torch.from_numpy(tile_to(waveform, self.least_samples)))[None]

    def repeats_of(self, samples: int) -> int:
        """Return how often a sound is heard, by its number of samples."""
        return repeats_to(samples, self.least_samples) if self.repeats else 1

    def scale(self, sound: torch.Tensor | ArrayLike) -> torch.Tensor:
        """Bring sound that is long enough to the network's range, on the device where it is.

        Parameters
        ----------
        sound : (..., samples)
            Float in ±1, or int16, whose full scale is 2^15; int8 and uint8 likewise.

        Returns
        -------
        (..., samples) float32 in ±`amplitude`.

        Raises
        ------
        SettingsError
            If its full scale is not known.
        EmptyAudioError
            If it has no samples.
        MediaError
            If a value is NaN or infinite.
        """
        given = to_array(sound)
        samples = as_float(given.reshape(-1), self.keeps_level).reshape(given.shape)
        # A tensor stays where it is, and learns.
        return self.amplify(sound if isinstance(sound, torch.Tensor) else torch.from_numpy(samples))

    def amplify(self, sound: torch.Tensor) -> torch.Tensor:
        """Do as `scale`, without a look at the values, for which a GPU would have to be waited for.

        Parameters
        ----------
        sound : (..., samples)
            Known to be in full scale.

        Returns
        -------
        (..., samples) float32 in ±`amplitude`.
        """
        silence, full_scale = find_full_scale(str(sound.dtype).removeprefix("torch."))
        samples = sound.to(torch.float32)
        return (samples - silence if silence else samples) * (self.amplitude / full_scale)


def as_input(waveform: torch.Tensor, network: torch.nn.Module) -> torch.Tensor:
    """Return what a network's forward was given in the type of its weights.

    Raises
    ------
    SettingsError
        If it is not (batch, 1, samples) of floats: then no preprocessing has seen it.
    """
    if waveform.ndim != 3 or waveform.shape[1] != 1 or not waveform.is_floating_point():
        raise SettingsError(
            f"{type(network).__name__} was given {tuple(waveform.shape)} of {waveform.dtype}; it hears (batch, 1, "
            "samples) of floats: give each sound to its preprocessing first"
        )
    return waveform.to(next(network.parameters()).dtype)


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

    def segment_samples(self, max_samples: int) -> int:
        """Return how long the segments are that a longer sound is cut into: the exact length, where there is one."""
        return self.least_samples if self.exact else max_samples

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
        (..., samples) float32. Silence, whose standard deviation is 0, stays silence when it is standardised.
        """
        scaled = super().amplify(sound)
        if not self.standardise:
            return scaled
        centred = scaled - scaled.mean(dim=-1, keepdim=True)
        deviation = centred.square().mean(dim=-1, keepdim=True).sqrt()
        # A constant leaves rounding behind, far below one step of 16 bit.
        return torch.where(deviation > 1e-7 * self.amplitude, centred / deviation, 0.0) * self.amplitude
