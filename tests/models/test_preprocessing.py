"""What a sound goes through before a network hears it (FACTS.md: tiling floor(441000 / n) + 1 times, x 256)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from soundnet_kd.errors import EmptyAudioError, MediaError, SettingsError
from soundnet_kd.media import write_audio
from soundnet_kd.models import Preprocessing
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
