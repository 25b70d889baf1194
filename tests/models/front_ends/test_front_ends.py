"""Front ends against scipy and librosa, each sound of a batch as if it were alone."""

from typing import Any

import librosa
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import signal

from soundnet_kd.errors import SettingsError, TooShortError
from soundnet_kd.models.front_ends import (
    MFCC,
    FourierResampling,
    FrontEndChain,
    LogMel,
    LogSpectrogram,
    MagnitudeSpectrum,
    Standardisation,
)
from soundnet_kd.models.receptive_field import ReceptiveField

RATE = 16_000


@pytest.fixture
def sounds() -> NDArray[np.float32]:
    """A chirp that dies away, noise, a click, and silence: (4, 16 000)."""
    rng = np.random.default_rng(0)
    moments = np.arange(RATE) / RATE
    chirp = signal.chirp(moments, 100, 1, 7000) * np.exp(-4 * moments)
    click = np.zeros(RATE)
    click[5000] = 1
    return np.stack([chirp, 0.1 * rng.standard_normal(RATE), click, np.zeros(RATE)]).astype(np.float32)


def batch(sounds: NDArray[np.float32]) -> torch.Tensor:
    return torch.from_numpy(sounds)[:, None]


@pytest.mark.parametrize("scale", [1.0, 2.0**15])
def test_log_spectrogram_is_scipys(sounds: NDArray[np.float32], scale: float) -> None:
    found = LogSpectrogram(RATE)(batch(sounds) * scale)
    assert found.shape == (4, 1, 161, 99)
    for sound, picture in zip(sounds.astype(float) * scale, found[:, 0].numpy(), strict=True):
        # Hann, 20 ms window, 10 ms step, natural log of power + 1e-10 (FACTS.md, section 5).
        _, _, power = signal.spectrogram(sound, RATE, "hann", nperseg=320, noverlap=160, detrend=False)
        # Float32 leaves some 1e-7 of the loudest bin of a column in its empty ones.
        rounding = 1e-11 * power.max(axis=0)
        assert np.all(np.abs(np.exp(picture.astype(float)) - (power + 1e-10)) <= 1e-3 * (power + 1e-10) + rounding)


def test_the_light_cnns_input_is_99_by_81(sounds: NDArray[np.float32]) -> None:
    """FACTS.md, section 5: 99 x 81 x 1 for a second at 8 kHz."""
    chain = FrontEndChain([{"name": "FourierResampling", "target_rate": 8000}, {"name": "LogSpectrogram"}], RATE)
    found = chain(batch(sounds))
    assert found.shape == (4, 1, 81, 99)
    resampled = signal.resample(sounds[1].astype(float), 8000)
    _, _, power = signal.spectrogram(resampled, 8000, "hann", nperseg=160, noverlap=80, detrend=False)
    np.testing.assert_allclose(found[1, 0], np.log(power + 1e-10), atol=1e-2)
    assert chain.description[1] == {"name": "LogSpectrogram", "window_seconds": 0.02, "step_seconds": 0.01}


def test_log_mel_is_librosas(sounds: NDArray[np.float32]) -> None:
    found = LogMel(RATE)(batch(sounds))
    assert found.shape == (4, 1, 128, 32)
    for sound, picture in zip(sounds, found[:, 0], strict=True):
        mel = librosa.feature.melspectrogram(y=sound, sr=RATE, n_mels=128)
        np.testing.assert_allclose(picture, librosa.power_to_db(mel, ref=np.max), atol=2e-3)
    assert float(found[:3].max()) == 0
    assert float(found.min()) == pytest.approx(-80)


@pytest.mark.parametrize("settings", [{}, {"coefficients": 40, "window_samples": 4096, "step_samples": 2205}])
def test_mfccs_are_librosas(sounds: NDArray[np.float32], settings: dict[str, int]) -> None:
    found = MFCC(RATE, **settings)(batch(sounds))
    for sound, picture in zip(sounds, found[:, 0], strict=True):
        expected = librosa.feature.mfcc(
            y=sound,
            sr=RATE,
            n_mfcc=settings.get("coefficients", 13),
            n_fft=settings.get("window_samples", 2048),
            hop_length=settings.get("step_samples", 512),
        )
        np.testing.assert_allclose(picture, expected, atol=5e-3)


def test_deltas_are_librosas(sounds: NDArray[np.float32]) -> None:
    found = MFCC(RATE, deltas=2)(batch(sounds))
    assert found.shape == (4, 1, 39, 32)
    for picture in found[:, 0].numpy():
        np.testing.assert_allclose(picture[13:26], librosa.feature.delta(picture[:13]), atol=1e-3)
        np.testing.assert_allclose(picture[26:], librosa.feature.delta(picture[:13], order=2), atol=1e-3)
    np.testing.assert_array_equal(MFCC(RATE, deltas=1)(batch(sounds)), found[:, :, :26])


def test_deltas_of_a_ramp_are_its_slope() -> None:
    """By hand: a sound that grows by the same number of dB in each step has a slope in the first coefficient only."""
    moments = np.arange(4 * RATE) / RATE
    sound = 1e-3 * 10 ** (moments / 2 * 10 / 20) * np.random.default_rng(1).standard_normal(len(moments))
    slope = MFCC(RATE, coefficients=1, deltas=1)(batch(sound.astype(np.float32)[None]))[0, 0, 1, 8:-8].mean()
    # 5 dB a second in each of 128 bands, 512 samples a step; the orthonormal transform gives sqrt(128) times the mean.
    assert float(slope) == pytest.approx(5 * 512 / RATE * np.sqrt(128), rel=0.05)


def test_the_magnitude_spectrum_is_numpys(sounds: NDArray[np.float32]) -> None:
    found = MagnitudeSpectrum(RATE, RATE)(batch(sounds))
    assert found.shape == (4, 1, 8001, 1)
    np.testing.assert_allclose(found[:, 0, :, 0], np.abs(np.fft.rfft(sounds.astype(float))), atol=1e-3)


@pytest.mark.parametrize(
    ("rate", "target", "samples", "wanted"),
    [
        (16_000, 2_000, 64_000, 8_000),  # NSynth (FACTS.md, section 4)
        (16_000, 8_000, 16_000, 8_000),  # speech commands (section 5)
        (16_000, 8_000, 15_999, 7_999),
        (8_000, 16_000, 1_001, 2_002),
        (8_000, 12_000, 1_000, 1_500),
        (44_100, 22_050, 1_001, 500),
        (8_000, 8_000, 1_000, 1_000),
    ],
)
def test_fourier_resampling_is_scipys(rate: int, target: int, samples: int, wanted: int) -> None:
    sounds = np.random.default_rng(0).standard_normal((3, samples)).astype(np.float32)
    found = FourierResampling(rate, target)(batch(sounds))
    assert found.shape == (3, 1, wanted)
    np.testing.assert_allclose(found[:, 0], signal.resample(sounds.astype(float), wanted, axis=1), atol=1e-5)


def test_a_data_set_is_standardised_row_by_row() -> None:
    rng = np.random.default_rng(0)
    pictures = torch.from_numpy(rng.standard_normal((7, 1, 3, 11)) * [[1], [100], [0]] + [[-5], [300], [2]]).float()
    standardisation = Standardisation(None, 3)
    np.testing.assert_array_equal(standardisation(pictures), pictures)
    standardisation.fit([pictures[:3], pictures[3:]])
    found = standardisation(pictures)
    np.testing.assert_allclose(found.mean(dim=(0, 1, 3)), [0, 0, 0], atol=1e-5)
    np.testing.assert_allclose(found.std(dim=(0, 1, 3), correction=0), [1, 1, 0], atol=1e-5)
    assert set(standardisation.state_dict()) == {"mean", "deviation"}
    with pytest.raises(SettingsError, match="give a training clip"):
        standardisation.fit([])


def test_a_chain_standardises_what_comes_before(sounds: NDArray[np.float32]) -> None:
    chain = FrontEndChain([{"name": "LogMel", "bands": 20}, {"name": "Standardisation"}], RATE)
    chain.fit([batch(sounds[:2]), batch(sounds[2:3])])
    mel = LogMel(RATE, bands=20)(batch(sounds[:3])).double()
    expected = (mel - mel.mean(dim=(0, 3), keepdim=True)) / mel.std(dim=(0, 3), correction=0, keepdim=True)
    np.testing.assert_allclose(chain(batch(sounds[:3])), expected, atol=1e-4)
    wave = FrontEndChain([{"name": "Standardisation"}], RATE)
    wave.fit([batch(sounds[:1]) + 3])
    np.testing.assert_allclose(wave(batch(sounds[:1]) + 3).std(correction=0), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([{"name": "LogMell"}], "no front end 'LogMell'; did you mean 'LogMel'"),
        ([{"name": "LogMel", "band": 3}], "LogMel has no setting 'band'; did you mean 'bands'"),
        ([{"name": "LogMel"}, {"name": "MFCC"}], "MFCC hears a waveform, but a picture comes before it"),
        ([{"name": "FourierResampling"}], "FourierResampling: .*target_rate"),
        ([{"name": "MFCC", "deltas": 3}], "deltas is 3"),
        ([{"name": "MFCC", "coefficients": 50, "bands": 40}], "no more than 40 coefficients"),
        ([{"name": "LogSpectrogram", "step_seconds": 0}], "step_seconds is 0"),
        ([{}], "no front end None"),
    ],
)
def test_impossible_chains_are_refused(steps: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        FrontEndChain(steps, RATE)


@pytest.mark.parametrize("front_end", [LogSpectrogram(RATE), MFCC(RATE, deltas=1), MagnitudeSpectrum(RATE, RATE)])
def test_too_little_sound_is_refused_with_the_cure(front_end: torch.nn.Module) -> None:
    with pytest.raises(TooShortError, match=r"\d+ (samples|columns) are too few for .*;"):
        front_end(torch.zeros(1, 1, 100))


@pytest.mark.parametrize("front_end", [LogSpectrogram(RATE), MFCC(RATE), MFCC(RATE, deltas=1)])
def test_a_click_is_heard_by_the_columns_whose_field_it_is_in(front_end: MFCC | LogSpectrogram) -> None:
    field = front_end.field_after(ReceptiveField(1, 1, 0))
    place = 8_000
    rng = np.random.default_rng(0)
    # Loud enough that what is 80 dB below the loudest moment is the same in both.
    quiet = torch.from_numpy(0.5 * rng.standard_normal((1, 1, RATE)).astype(np.float32))
    clicked = quiet.clone()
    clicked[..., place] += 0.5
    changed = np.flatnonzero((front_end(clicked) - front_end(quiet)).abs().amax(dim=(0, 1, 2)) > 1e-3)
    starts = field.start + np.arange(front_end(quiet).shape[-1]) * field.stride
    heard = np.flatnonzero((starts <= place) & (place < starts + field.samples))
    # A window of Hann's form is nothing at its ends.
    assert set(changed) <= set(heard)
    assert len(changed) >= len(heard) - 2


@pytest.mark.parametrize(
    "steps",
    [
        [{"name": "LogSpectrogram"}],
        [{"name": "LogMel"}],
        [{"name": "LogMel", "bands": 20, "window_samples": 401, "step_samples": 160}],
        [{"name": "MFCC", "deltas": 1}, {"name": "Standardisation"}],
        [{"name": "MagnitudeSpectrum", "samples": 9_000}],
        [{"name": "FourierResampling", "target_rate": 11_025}],
        [],
    ],
)
@pytest.mark.parametrize("samples", [9_000, 9_001, 12_345, 16_000])
def test_the_number_of_steps_is_known_before(steps: list[dict[str, Any]], samples: int) -> None:
    chain = FrontEndChain(steps, RATE)
    found = chain(torch.randn(1, 1, samples))
    assert found.shape == (1, 1, *((chain.rows,) if chain.rows else ()), chain.steps(samples))
