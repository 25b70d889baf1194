"""Augmentation: the pairing of sound and labels stays true, and noise has the colour and level that it should."""

import numpy as np
import pytest
from numpy.typing import NDArray

from soundnet_kd.errors import SettingsError
from soundnet_kd.training import augmentation as module
from soundnet_kd.training.augmentation import Augmentation, Example, mixed, shifted

RATE = 22_050


def steps_example() -> Example:
    """Give four steps of 3 samples, the sound and the label of step k both k / 10."""
    numbers = np.array([0.0, 0.1, 0.2, 0.3], dtype=np.float32)
    return np.repeat(numbers, 3), {"a": numbers[:, None].repeat(2, axis=1)}


def no_other() -> Example:
    raise AssertionError("nothing is to be mixed")


def noise_only(ratio_db: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give a tone and what augmentation added to it, over some draws."""
    moments = np.arange(RATE * 4) / RATE
    tone = (0.1 * np.sin(2 * np.pi * 1000 * moments)).astype(np.float32)
    rows = {"a": np.full((4, 2), 0.5, np.float32)}
    added = []
    for seed in range(12):
        louder, _ = Augmentation(noise=1.0)((tone, rows), no_other, RATE, np.random.default_rng(seed))
        added.append(louder - tone)
    return tone, np.stack(added)


@pytest.mark.parametrize(("steps", "order"), [(0, [0, 1, 2, 3]), (1, [1, 2, 3, 0]), (3, [3, 0, 1, 2])])
def test_shifting_turns_sound_and_labels_together(steps: int, order: list[int]) -> None:
    waveform, rows = shifted(steps_example(), steps)
    np.testing.assert_allclose(waveform, np.repeat(order, 3) / 10, atol=1e-7)
    np.testing.assert_allclose(rows["a"][:, 0], np.array(order) / 10, atol=1e-7)


def test_mixing_by_hand() -> None:
    """Levels 0.4 and 0.1: p = 1 / (1 + 4 x 0.25 / 0.75) = 3/7; divided by the root of 9/49 + 16/49, which is 5/7."""
    first = (np.full(8, 0.4, np.float32), {"a": np.array([[1.0, 0.0]], np.float32)})
    second = (np.full(8, -0.1, np.float32), {"a": np.array([[0.0, 1.0]], np.float32)})
    waveform, rows = mixed(first, second, share=0.75)
    np.testing.assert_allclose(waveform, (0.4 * 3 - 0.1 * 4) / 5, rtol=1e-5)
    np.testing.assert_allclose(rows["a"], [[0.75, 0.25]])


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (1.0, 0.0)])
def test_a_mix_of_nothing_and_all_is_one_of_the_two(share: float, expected: float) -> None:
    silent = (np.zeros(4, np.float32), {"a": np.zeros((1, 1), np.float32)})
    sound = (np.full(4, 0.5, np.float32), {"a": np.ones((1, 1), np.float32)})
    waveform, rows = mixed(silent, sound, share)
    np.testing.assert_allclose(rows["a"], expected, atol=1e-5)
    assert np.isfinite(waveform).all()


def test_gain_stays_within_its_limits() -> None:
    waveform, rows = np.full(4, 0.1, np.float32), {"a": np.ones((4, 1), np.float32)}
    levels = [
        Augmentation(gain_db=6)((waveform, rows), no_other, RATE, np.random.default_rng(seed))[0][0] / 0.1
        for seed in range(200)
    ]
    decibels = 20 * np.log10(levels)
    assert -6 <= decibels.min() < -5
    assert 5 < decibels.max() <= 6


def test_noise_is_as_loud_as_it_may_be() -> None:
    tone, added = noise_only(0)
    ratios = 20 * np.log10(np.sqrt(np.mean(tone**2)) / np.sqrt((added**2).mean(axis=1)))
    assert (ratios > 4).all()
    assert (ratios < 41).all()
    assert np.ptp(ratios) > 10


@pytest.mark.parametrize(
    ("colour", "exponent"), [("violet", -2), ("blue", -1), ("white", 0), ("pink", 1), ("brown", 2)]
)
def test_the_colours_of_noise(colour: str, exponent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slope of log power over log frequency is minus the exponent."""
    monkeypatch.setattr(module, "COLOURS", (colour,))
    _, added = noise_only(0)
    spectrum = np.mean([np.abs(np.fft.rfft(noise)) ** 2 / np.mean(noise**2) for noise in added], axis=0)
    hertz = np.fft.rfftfreq(added.shape[1], 1 / RATE)
    heard = (hertz > 50) & (hertz < 10_000)
    slope = np.polyfit(np.log(hertz[heard]), np.log(spectrum[heard]), 1)[0]
    assert slope == pytest.approx(-exponent, abs=0.1)


def test_nothing_leaves_full_scale() -> None:
    waveform, rows = np.full(40, 0.9, np.float32), {"a": np.ones((4, 1), np.float32)}
    everything = Augmentation(shift=True, mix=1.0, gain_db=12, noise=1.0)
    for seed in range(20):
        varied, _ = everything((waveform, rows), lambda: (waveform, rows), RATE, np.random.default_rng(seed))
        assert varied.dtype == np.float32
        assert varied.shape == waveform.shape
        assert np.abs(varied).max() <= 1


def test_by_default_nothing_happens() -> None:
    assert not Augmentation()
    assert Augmentation(shift=True)


@pytest.mark.parametrize("wrong", [{"mix": 1.5}, {"noise": -0.1}, {"gain_db": -3.0}])
def test_wrong_settings_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=rf"augmentation\.{next(iter(wrong))} is"):
        Augmentation(**wrong)  # type: ignore[arg-type]
