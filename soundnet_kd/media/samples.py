"""Decoded samples of any type as one signal within full scale."""

import warnings
from typing import Any, Literal, NoReturn

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from soundnet_kd.errors import MediaError
from soundnet_kd.media.full_scale import IMPOSSIBLE_PEAK, MAX_OVERSHOOT

Channel = Literal["first", "mean"]
"""How several channels become one."""
Block = NDArray[np.float32]

TRUSTED_PLANES = 8
"""PyAV's list of planes is not to be trusted from so many channels on."""
CERTAIN_SAMPLES = 1000
"""Number of samples far outside full scale that are too many to be clicks."""

_FULL_SCALE = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63, "flt": 1.0, "dbl": 1.0}
_TYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}


class Mono:
    """One signal of the decoded blocks of a track, (samples,) float32, whatever their type.

    Parameters
    ----------
    channel : {"first", "mean"}
        Which signal several channels give: the first one (left), or the mean of all.
    name : str
        Name of the file, for messages.
    """

    def __init__(self, channel: Channel, name: str) -> None:
        self._channel = channel
        self._name = name
        self._packers: dict[tuple[str, str, int], AudioResampler] = {}
        self._heard_samples = self._loud_samples = self._far_samples = 0
        self._peak = 0.0

    def mix(self, frame: AudioFrame) -> Block:
        """Return the signal of a decoded block.

        Raises
        ------
        MediaError
            If its floats are on another scale than ±1.
        """
        kind = frame.format.packed.name
        channels = frame.layout.nb_channels
        if frame.format.is_planar and channels < TRUSTED_PLANES:
            planes = frame.planes[:1] if self._channel == "first" else frame.planes
            samples = np.array([np.frombuffer(bytes(plane), _TYPES[kind], frame.samples) for plane in planes]).T
        else:
            packed = self._packed(frame) if frame.format.is_planar else frame
            samples = np.frombuffer(bytes(packed.planes[0]), _TYPES[kind], frame.samples * channels).reshape(
                -1, channels
            )
        scaled = self._heard(samples).astype(np.float32, copy=False)
        if _FULL_SCALE[kind] != 1:
            scaled = scaled / np.float32(_FULL_SCALE[kind])
        if kind == "u8":
            scaled -= 1
        mono = _mean(scaled)
        return self._checked(mono) if kind in ("flt", "dbl") else mono

    def mix_floats(self, samples: Block) -> Block:
        """Return the signal of (samples, channels) float32 in ±1.

        Raises
        ------
        MediaError
            If they are on another scale than that.
        """
        return self._checked(_mean(self._heard(samples)))

    def _heard(self, samples: NDArray[Any]) -> NDArray[Any]:
        return samples[:, :1] if self._channel == "first" else samples

    def _checked(self, block: Block) -> Block:
        # Resampling would spread one broken float over its neighbours.
        if not np.isfinite(peak := _peak(block)):
            block = np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0)
            peak = _peak(block)
        self._peak = max(self._peak, peak)
        self._heard_samples += int(np.count_nonzero(block)) if peak else 0
        if peak > MAX_OVERSHOOT:
            level = np.abs(block)
            self._loud_samples += int(np.count_nonzero(level > MAX_OVERSHOOT))
            self._far_samples += int(np.count_nonzero(level > IMPOSSIBLE_PEAK))
            if self._far_samples >= CERTAIN_SAMPLES:
                self._refuse()
        return block

    def require_scale(self) -> None:
        """Check, after the last block, that no more than half of the samples are outside full scale.

        Warns if much does, which is cut off.

        Raises
        ------
        MediaError
            If more than half does.
        """
        if self._loud_samples > self._heard_samples / 2:
            self._refuse()
        if self._loud_samples >= CERTAIN_SAMPLES:
            warnings.warn(
                f"{self._name} has floats up to {self._peak:.3g}, and 1 is full scale; what is louder is cut off, so "
                "divide it first, if that is not meant",
                stacklevel=3,
            )

    def _refuse(self) -> NoReturn:
        bits = next((bits for bits in (8, 16, 24, 32) if self._peak <= 2.0 ** (bits - 1)), None)
        likely = f"; if they are {bits}-bit values, divide them by {2 ** (bits - 1)}" if bits else ""
        raise MediaError(f"{self._name} has floats up to {self._peak:g}, and 1 is full scale{likely}")

    def _packed(self, frame: AudioFrame) -> AudioFrame:
        """Interleave the channels."""
        key = (frame.format.name, frame.layout.name, frame.sample_rate)
        if key not in self._packers:
            self._packers[key] = AudioResampler(frame.format.packed.name)
        frame.pts = None
        (packed,) = self._packers[key].resample(frame)
        return packed


def _peak(block: Block) -> float:
    """Return the largest absolute value, which is NaN where one is."""
    return max(float(block.max(initial=0.0)), -float(block.min(initial=0.0)))


def _mean(signals: Block) -> Block:
    mono: Block = np.ascontiguousarray(signals[:, 0]) if signals.shape[1] == 1 else signals.mean(axis=1)
    return mono
