"""Noise of five colours, to add to sounds and to stand for silence."""

import colorednoise
import numpy as np
from numpy.typing import NDArray

from soundnet_kd.errors import SettingsError, nearest

EXPONENTS = {"violet": -2, "blue": -1, "white": 0, "pink": 1, "brown": 2}
"""Power falls with 1 / frequency^exponent."""
COLOURS = tuple(EXPONENTS)


def colored_noise(
    colour: str, samples: int, rng: np.random.Generator, lowest_share: float = 0.0
) -> NDArray[np.float32]:
    """Make Gaussian noise whose power per Hz is a power of the frequency (Timmer and Koenig, 1995).

    Parameters
    ----------
    colour : str
        One of `COLOURS`.
    samples : int
        At least 2.
    rng : Generator
        Decides everything that is random.
    lowest_share : float
        Below this frequency, as a share of the sample rate, the spectrum is flat: otherwise long brown noise would only
        drift.

    Returns
    -------
    (samples,) float32, of a power (mean square) of 1.

    Raises
    ------
    SettingsError
        If there is no such colour, or fewer than 2 samples are asked for.
    """
    if colour not in EXPONENTS:
        raise SettingsError(f"there is no noise of colour {colour!r}{nearest(colour, COLOURS)}")
    if samples < 2:
        raise SettingsError(f"{samples} samples have no spectrum; ask for at least 2")
    noise = colorednoise.powerlaw_psd_gaussian(EXPONENTS[colour], samples, lowest_share, rng)
    return np.asarray(noise / root_mean_square(noise), dtype=np.float32)


def add_noise(waveform: NDArray[np.float32], noise: NDArray[np.float32], ratio_db: float) -> NDArray[np.float32]:
    """Add noise at a ratio of powers.

    Parameters
    ----------
    waveform : (samples,) float32
        Silence stays silence, whatever the ratio.
    noise : (samples,) float32
        Noise of any power above 0.
    ratio_db : float
        By how much the power of the waveform is above that of the noise.

    Returns
    -------
    (samples,) float32; may exceed ±1.
    """
    gain = root_mean_square(waveform) / root_mean_square(noise) * 10 ** (-ratio_db / 20)
    return np.asarray(waveform + noise * np.float32(gain), dtype=np.float32)


def root_mean_square(waveform: NDArray[np.floating]) -> float:
    """Return the square root of a waveform's power."""
    return float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))
