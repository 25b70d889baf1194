"""The spectra and the power of noise (FACTS.md, section 5: power ∝ 1, 1/f, f, 1/f², f²)."""

import numpy as np
import pytest
from scipy import signal

from soundnet_kd.data.noise import COLOURS, add_noise, colored_noise
from soundnet_kd.errors import SettingsError

RATE = 16_000


@pytest.mark.parametrize(
    ("colour", "slope"), [("white", 0.0), ("pink", -1.0), ("blue", 1.0), ("brown", -2.0), ("violet", 2.0)]
)
def test_power_falls_as_the_colour_says(colour: str, slope: float) -> None:
    noise = colored_noise(colour, 60 * RATE, np.random.default_rng(0))
    # Blackman's window keeps the loud end of a steep spectrum out of its soft end.
    frequencies, power = signal.welch(noise.astype(float), RATE, "blackmanharris", nperseg=8192)
    middle = (frequencies > 20) & (frequencies < 7000)
    fitted, _ = np.polyfit(np.log(frequencies[middle]), np.log(power[middle]), 1)
    assert fitted == pytest.approx(slope, abs=0.05)


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("samples", [2, 999, 16_000])
def test_noise_has_unit_power(colour: str, samples: int) -> None:
    noise = colored_noise(colour, samples, np.random.default_rng(3))
    assert noise.shape == (samples,)
    assert noise.dtype == np.float32
    assert np.mean(noise.astype(float) ** 2) == pytest.approx(1, rel=1e-5)


def test_below_the_lowest_frequency_the_spectrum_is_flat() -> None:
    noise = colored_noise("brown", 60 * RATE, np.random.default_rng(0), lowest_share=200 / RATE)
    frequencies, power = signal.welch(noise.astype(float), RATE, "blackmanharris", nperseg=8192)
    for (low, high), slope in {(20, 150): 0.0, (300, 6000): -2.0}.items():
        part = (frequencies > low) & (frequencies < high)
        fitted, _ = np.polyfit(np.log(frequencies[part]), np.log(power[part]), 1)
        assert fitted == pytest.approx(slope, abs=0.1)


@pytest.mark.parametrize("ratio_db", [-6.0, 0.0, 20.0])
def test_noise_is_scaled_to_the_signals_power(ratio_db: float) -> None:
    rng = np.random.default_rng(0)
    tone = (0.3 * np.sin(np.arange(RATE) / 5)).astype(np.float32)
    noise = colored_noise("pink", RATE, rng) * np.float32(7)
    added = add_noise(tone, noise, ratio_db).astype(float) - tone
    assert 10 * np.log10(np.mean(tone.astype(float) ** 2) / np.mean(added**2)) == pytest.approx(ratio_db, abs=1e-3)
    np.testing.assert_array_equal(add_noise(np.zeros(RATE, np.float32), noise, ratio_db), np.zeros(RATE))


def test_one_seed_is_one_noise() -> None:
    first, again, other = (colored_noise("blue", 100, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_other_colours_and_no_samples_are_refused() -> None:
    with pytest.raises(SettingsError, match="no noise of colour 'wite'; did you mean 'white'"):
        colored_noise("wite", 100, np.random.default_rng(0))
    with pytest.raises(SettingsError, match="1 samples have no spectrum"):
        colored_noise("white", 1, np.random.default_rng(0))
