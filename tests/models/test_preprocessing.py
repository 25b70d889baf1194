"""What a sound goes through before a network hears it (FACTS.md: tiling floor(441000 / n) + 1 times, x 256)."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from soundnet_kd.errors import EmptyAudioError, MediaError, SettingsError
from soundnet_kd.media import write_audio
from soundnet_kd.models import ClipPreprocessing, Preprocessing
from soundnet_kd.models.preprocessing import tile_to


@pytest.mark.parametrize(
    ("samples", "repeats"),
    [(220_500, 3), (220_544, 2), (110_250, 5), (441_000, 1), (441_001, 1), (440_999, 2), (1, 441_001)],
)
def test_tiling_is_the_notebooks(samples: int, repeats: int) -> None:
    waveform = np.arange(samples, dtype=np.float32)
    tiled = tile_to(waveform, 441_000)
    assert len(tiled) == samples * repeats
    np.testing.assert_array_equal(tiled[-samples:], waveform)


def test_full_scale_becomes_256() -> None:
    prepared = Preprocessing()(np.array([1.0, -0.5], dtype=np.float32))
    assert prepared.shape == (1, 441_002)
    assert prepared[0, :4].tolist() == [256.0, -128.0, 256.0, -128.0]


def test_reading_resamples_to_the_networks_rate(tmp_path: Path) -> None:
    moments = np.arange(44_100) / 44_100
    write_audio(tmp_path / "tone.wav", (0.5 * np.sin(2 * np.pi * 1000 * moments)).astype(np.float32), 44_100)
    waveform = Preprocessing().read(tmp_path / "tone.wav")
    assert len(waveform) == 22_050
    assert np.abs(np.fft.rfft(waveform)).argmax() == 1000
    assert np.abs(waveform[1000:-1000]).max() == pytest.approx(0.5, abs=0.01)


def test_nothing_is_refused() -> None:
    with pytest.raises(EmptyAudioError):
        Preprocessing()(np.zeros(0, dtype=np.float32))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="does not exist"):
        Preprocessing().read(tmp_path / "none.wav")


def test_int16_is_as_loud_as_what_it_stands_for() -> None:
    preprocessing = Preprocessing(least_samples=4)
    levels = np.array([0, 16_384, -32_768, 8_192, 1], np.int16)
    np.testing.assert_allclose(preprocessing(levels)[0].numpy(), levels.astype(np.float64) / 128, rtol=1e-6)
    with pytest.raises(SettingsError, match="the waveform is int32; give float in"):
        preprocessing(levels.astype(np.int32))


@pytest.mark.parametrize(
    "wrong", [{"sample_rate": -5}, {"amplitude": float("nan")}, {"least_samples": 10**12}, {"channel": "left"}]
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=f"{next(iter(wrong))} is"):
        Preprocessing(**wrong)


def test_short_sounds_are_followed_by_silence_and_long_ones_cut() -> None:
    asked = ClipPreprocessing(least_samples=5, amplitude=2)
    assert asked(np.array([1, -1, 0.5], np.float32)).tolist() == [[2, -2, 1, 0, 0]]
    assert asked(np.array([1, 0, 0, 0, 1, 1, 1], np.float32)).tolist() == [[2, 0, 0, 0, 2]]
    assert asked(np.array([2**14, -(2**15)], np.int16)).tolist() == [[1, -2, 0, 0, 0]]
    open_ended = ClipPreprocessing(least_samples=5, exact=False)
    assert open_ended(np.ones(7, np.float32)).shape == (1, 7)
    assert open_ended(np.ones(3, np.float32)).tolist() == [[1, 1, 1, 0, 0]]


def test_a_sound_is_standardised_before_it_is_filled_up() -> None:
    """By hand: 1, 2, 3 have mean 2 and standard deviation sqrt(2 / 3)."""
    asked = ClipPreprocessing(least_samples=5, exact=False, standardise=True)
    expected = [-np.sqrt(1.5), 0, np.sqrt(1.5), 0, 0]
    np.testing.assert_allclose(asked(np.array([0.1, 0.2, 0.3], np.float32))[0], expected, atol=1e-5)
    assert asked(np.full(5, 0.3, np.float32)).tolist() == [[0, 0, 0, 0, 0]]


def test_each_sound_of_a_batch_is_standardised_alone() -> None:
    asked = ClipPreprocessing(least_samples=100, standardise=True)
    batch = torch.randn(3, 1, 100) * torch.tensor([1e-3, 1, 30])[:, None, None] + 0.5
    batch[2] = 0
    scaled = asked.scale(batch)
    np.testing.assert_allclose(scaled.mean(dim=-1), np.zeros((3, 1)), atol=1e-4)
    np.testing.assert_allclose(scaled.std(dim=-1, correction=0), [[1], [1], [0]], rtol=1e-3)


def test_a_cut_sound_is_standardised_as_it_is_heard() -> None:
    asked = ClipPreprocessing(least_samples=3, standardise=True)
    np.testing.assert_array_equal(asked(np.array([1, 2, 3, 100], np.float32)), asked(np.array([1, 2, 3], np.float32)))


def test_impossible_input_is_refused() -> None:
    with pytest.raises(EmptyAudioError):
        ClipPreprocessing()(np.zeros(0, np.float32))
    with pytest.raises(SettingsError, match="the waveform is int64"):
        ClipPreprocessing()(np.zeros(5, np.int64))
    with pytest.raises(SettingsError, match="least_samples is 0"):
        ClipPreprocessing(least_samples=0)


def test_what_students_are_written_with_is_what_it_was() -> None:
    """Files of students and caches hold these; another key would make them unreadable to either version."""
    assert asdict(Preprocessing()) == {
        "sample_rate": 22_050,
        "amplitude": 256.0,
        "channel": "first",
        "least_samples": 441_000,
    }
