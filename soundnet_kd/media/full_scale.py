"""Full scale of samples that a caller hands over. Files define it themselves; the type of an array may or may not."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundnet_kd.errors import EmptyAudioError, MediaError, SettingsError

MAX_OVERSHOOT = 2.0
"""Largest amplitude of floats that are taken as they are: lossy codecs and resampling overshoot, AMR by half."""
IMPOSSIBLE_PEAK = 2.0**7
"""Beyond this floats are no sound in ±1 but levels, of 8 bit or more."""

_WHOLE = {"uint8": (2.0**7, 2.0**7), "int8": (0.0, 2.0**7), "int16": (0.0, 2.0**15)}


def find_full_scale(kind: str) -> tuple[float, float]:
    """Return what silence is in samples of a type, and how far full scale is from it.

    Floats are in ±1, and 8 and 16 bits are what WAV files hold. Other whole numbers may hold values of 16, 24 or 32
    bit.

    Parameters
    ----------
    kind : str
        A type of NumPy or PyTorch, such as int16 or bfloat16.

    Raises
    ------
    SettingsError
        If the type does not tell.
    """
    if kind in _WHOLE:
        return _WHOLE[kind]
    if kind.startswith(("float", "bfloat")):
        return 0.0, 1.0
    cure = f"the waveform is {kind}; give float in ±1, or int16"
    if kind.startswith(("int", "uint")):
        cure += (
            f", in place of {kind}, whose full scale is unknown (as int16, if its values are of 16 bit; else divided)"
        )
    raise SettingsError(cure)


def check_level(peak: float) -> None:
    """Check the largest absolute value of samples that are floats.

    Warns of one that is louder than sound can be, and names how much.

    Raises
    ------
    MediaError
        If it is NaN or infinite.
    SettingsError
        If it is so large that the samples cannot be in ±1.
    """
    if not np.isfinite(peak):
        raise MediaError("a waveform holds values that are NaN or infinite; mend it, or leave it out")
    if peak > IMPOSSIBLE_PEAK:
        raise SettingsError(
            f"a waveform reaches {peak:.6g} where full scale is 1; divide it by its full scale (2**15, if its values "
            "are of 16 bit), or give int16"
        )
    if peak > MAX_OVERSHOOT:
        warnings.warn(
            f"a waveform reaches {peak:.3g} where full scale is 1, so it is {peak:.3g} times as loud as any sound; "
            "divide it by its full scale, if that is not meant",
            stacklevel=3,
        )


def as_float(waveform: ArrayLike, level_matters: bool = True) -> NDArray[np.float32]:
    """Return a waveform of any type whose full scale is known as float32 in ±1.

    Parameters
    ----------
    waveform : (samples,)
        An array, a list, or a tensor on any device: float in ±1, int16, int8, or uint8 (silence is 128).
    level_matters : bool
        Whether to look at how loud it is.

    Returns
    -------
    (samples,) float32
        In memory of its own, or that of `waveform`.

    Raises
    ------
    SettingsError
        If it is of another type or shape, or far outside ±1.
    EmptyAudioError
        If it has no samples.
    MediaError
        If a value is NaN or infinite.
    """
    array = to_array(waveform)
    if isinstance(waveform, list | tuple) and array.dtype == np.int64:
        raise SettingsError(
            "the waveform is a list of whole numbers, whose full scale is unknown; give float in ±1, or an array of "
            "int16, if its values are of 16 bit"
        )
    silence, full_scale = find_full_scale(array.dtype.name)
    if array.ndim != 1:
        raise SettingsError(
            f"the waveform has shape {array.shape}; give one channel, (samples,), such as the first or their mean"
        )
    if not len(array):
        raise EmptyAudioError("the sound has no samples")
    with np.errstate(over="ignore"):
        samples = np.require(array, np.float32, ["C", "W"])
    if full_scale != 1.0:
        return np.asarray((samples - np.float32(silence)) / np.float32(full_scale), dtype=np.float32)
    peak = float(np.abs(samples).max())
    if level_matters or not np.isfinite(peak):
        check_level(peak)
    return samples


def to_array(samples: Any) -> NDArray[Any]:
    """Return an array of what is one already, or is a list, or a tensor of PyTorch's on any device.

    Raises
    ------
    SettingsError
        If its rows are of several lengths.
    """
    if hasattr(samples, "detach"):
        samples = samples.detach().cpu()
        # NumPy has no bfloat16.
        return np.asarray((samples.float() if samples.is_floating_point() else samples).numpy())
    try:
        array = np.asarray(samples)
        # What a table holds as objects may be numbers all the same.
        return np.asarray(array.tolist()) if array.dtype == object else array
    except ValueError as error:
        raise SettingsError("a waveform has rows of several lengths; give one channel, (samples,)") from error
