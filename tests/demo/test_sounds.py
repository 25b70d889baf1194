"""The kinds of sound, told apart by measures made by hand, from the way that the real things sound."""

import numpy as np
import pytest
from scipy.signal import find_peaks, stft

from soundnet_kd.demo.ambience import SCENE_NAMES, loudness, recorded, rumble, scene_sound
from soundnet_kd.demo.sounds import EVENT_SOUNDS, event_sound

RATE = 22050
SEEDS = range(6)


def made(kind: str, seed: int, seconds: float = 5.0) -> np.ndarray:
    return event_sound(kind, seconds, RATE, np.random.default_rng(seed))


def envelope(sound: np.ndarray, seconds: float = 0.005) -> np.ndarray:
    piece = round(seconds * RATE)
    return np.asarray(np.abs(sound[: sound.size // piece * piece].reshape(-1, piece)).max(axis=1))


def onset_seconds(sound: np.ndarray, height: float = 0.03) -> np.ndarray:
    level = np.concatenate([[0.0], envelope(sound)])
    rises, _ = find_peaks(np.maximum(np.diff(level), 0), height=height, distance=4)
    return np.asarray(rises) * 0.005


def pitch_track(sound: np.ndarray) -> np.ndarray:
    """Frequency of the strongest bin every 12 ms, where there is sound."""
    frequency, _, spectrum = stft(sound, RATE, nperseg=1024, noverlap=768, boundary=None)
    power = np.abs(spectrum)
    return np.asarray(frequency[power.argmax(axis=0)][power.max(axis=0) > 0.3 * power.max()])


def centroid_hz(sound: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(sound)) ** 2
    return float((np.fft.rfftfreq(sound.size, 1 / RATE) * power).sum() / power.sum())


def flatness(sound: np.ndarray) -> float:
    """Geometric over arithmetic mean of the power at 500 to 5000 Hz, over time: near 0 for tones, higher for noise."""
    frequency, _, spectrum = stft(sound, RATE, nperseg=2048)
    power = (np.abs(spectrum[(frequency > 500) & (frequency < 5000)]) ** 2).mean(axis=1) + 1e-12
    return float(np.exp(np.log(power).mean()) / power.mean())


@pytest.mark.parametrize("kind", EVENT_SOUNDS)
def test_a_sound_has_its_length_range_and_level_and_belongs_to_its_seed(kind: str) -> None:
    for seconds in (2.0, 7.3):
        sound = made(kind, 0, seconds)
        assert sound.shape == (round(seconds * RATE),)
        assert sound.dtype == np.float32
        assert np.abs(sound).max() == pytest.approx(1.0, abs=1e-6)
    assert np.array_equal(made(kind, 3), made(kind, 3))
    assert not np.array_equal(made(kind, 3), made(kind, 4))
    assert min(loudness(made(kind, seed), RATE) for seed in SEEDS) > 0.05


def test_an_unknown_kind_has_no_sound() -> None:
    with pytest.raises(KeyError, match="cat"):
        event_sound("cat", 5.0, RATE, np.random.default_rng(0))
    with pytest.raises(KeyError, match="moon"):
        scene_sound("moon", 5.0, RATE, np.random.default_rng(0))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_bell_rings_on_after_the_strike_and_fades(seed: int) -> None:
    sound = made("bell", seed, 6.0)
    level = envelope(sound, 0.05)
    strike = int(level[:40].argmax())
    assert 0.2 < level[strike + 5] / level[strike] < 0.95
    assert level[strike + 16] < 0.7 * level[strike]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_clock_ticks_in_strict_time(seed: int) -> None:
    gaps = np.diff(onset_seconds(made("clock", seed), 0.2))
    assert 0.2 <= np.median(gaps) <= 0.5
    assert np.abs(gaps - np.median(gaps)).max() <= 0.0051


@pytest.mark.parametrize("seed", SEEDS)
def test_a_ball_knocks_faster_and_softer(seed: int) -> None:
    sound = made("ball", seed)
    onsets = onset_seconds(sound, 0.1)
    gaps = np.diff(onsets)
    start = int(gaps.argmax()) if gaps.argmax() < gaps.size - 4 else int(gaps[:-4].argmax())
    series = gaps[start + 1 : start + 4] / gaps[start : start + 3]
    assert (series > 0.6).all()
    assert (series < 0.97).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_siren_sweeps_without_a_pause_and_a_whistle_holds_its_tone(seed: int) -> None:
    siren, whistle = pitch_track(made("siren", seed)), pitch_track(made("whistle", seed))
    assert np.percentile(siren, 95) / np.percentile(siren, 5) > 1.5
    assert np.percentile(whistle, 95) / np.percentile(whistle, 5) < 1.15
    assert envelope(made("siren", seed), 0.05).min() > 0.3
    assert envelope(made("whistle", seed), 0.05).min() < 0.1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_bird_glides_within_each_short_chirp(seed: int) -> None:
    sound = made("bird", seed)
    assert len(onset_seconds(sound, 0.02)) > 15
    track = pitch_track(sound)
    assert np.percentile(track, 90) / np.percentile(track, 10) > 1.1
    assert 1200 < np.median(track) < 5000


@pytest.mark.parametrize("seed", SEEDS)
def test_a_motorbike_explodes_twenty_to_ninety_times_a_second(seed: int) -> None:
    level = np.abs(made("motorbike", seed))
    level = level - level.mean()
    power = np.abs(np.fft.rfft(level)) ** 2
    rate = np.fft.rfftfreq(level.size, 1 / RATE)
    fast = (rate > 8) & (rate < 300)
    strongest = rate[fast][np.convolve(power[fast], np.ones(15), "same").argmax()]
    assert 20 < strongest < 95


@pytest.mark.parametrize("seed", SEEDS)
def test_a_saw_is_noise_in_strokes_and_a_drum_is_low_and_struck(seed: int) -> None:
    assert flatness(made("saw", seed)) > 5 * flatness(made("siren", seed))
    strokes = envelope(made("saw", seed), 0.02)
    assert np.percentile(strokes, 10) < 0.35 * np.percentile(strokes, 90)
    drum = made("drum", seed)
    assert centroid_hz(drum) < 700
    assert 4 < len(onset_seconds(drum, 0.2)) < 40


@pytest.mark.parametrize("seed", SEEDS)
def test_a_dog_barks_in_short_bursts_with_silence_between(seed: int) -> None:
    level = envelope(made("dog", seed), 0.02)
    assert 0.15 < (level > 0.15).mean() < 0.75
    assert (level < 0.02).mean() > 0.1


def test_scenes_differ_in_the_colour_of_their_ambience() -> None:
    for seed in SEEDS:
        hz = {scene: centroid_hz(scene_sound(scene, 10.0, RATE, np.random.default_rng(seed))) for scene in SCENE_NAMES}
        assert max(hz["street"], hz["kitchen"]) < hz["seaside"] < hz["forest"]


def test_the_kitchen_hums_at_twice_the_mains() -> None:
    sound = scene_sound("kitchen", 10.0, RATE, np.random.default_rng(1))
    power = np.abs(np.fft.rfft(sound)) ** 2
    assert np.fft.rfftfreq(sound.size, 1 / RATE)[power.argmax()] in (100.0, 120.0, 200.0, 240.0)


def test_loudness_ignores_the_silence_between_repetitions() -> None:
    steady = np.full(RATE, 0.5, dtype=np.float32)
    assert loudness(steady, RATE) == pytest.approx(0.5)
    silence = np.zeros(4 * RATE, dtype=np.float32)
    assert loudness(np.concatenate([steady, silence]), RATE) == pytest.approx(0.5, rel=0.02)


def test_a_recording_keeps_the_level_and_tilts_the_spectrum_within_bounds() -> None:
    noise = np.random.default_rng(0).standard_normal(4 * RATE).astype(np.float32)
    frequency = np.fft.rfftfreq(noise.size, 1 / RATE)
    low, high = ((frequency > band) & (frequency < 2 * band) for band in (500, 4000))
    tilts = []
    for seed in range(12):
        heard = recorded(noise, RATE, np.random.default_rng(seed), tilt_db=4.0)
        assert heard.std() == pytest.approx(noise.std(), rel=1e-3)
        power = np.abs(np.fft.rfft(heard)) ** 2
        tilts.append(10 * np.log10(power[high].mean() / power[low].mean()) / 3)
    assert min(tilts) < -1.5
    assert max(tilts) > 1.5
    assert np.abs(tilts).max() < 4.5


def test_rumble_lies_below_the_events() -> None:
    for seed in SEEDS:
        sound = rumble(5.0, RATE, np.random.default_rng(seed))
        power = np.abs(np.fft.rfft(sound)) ** 2
        frequency = np.fft.rfftfreq(sound.size, 1 / RATE)
        assert sound.shape == (5 * RATE,)
        assert sound.std() == pytest.approx(1.0, rel=1e-3)
        assert power[frequency < 90].sum() > 0.99 * power.sum()
