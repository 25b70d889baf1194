"""Where somebody speaks: signals made by hand, of known places, and words that espeak-ng speaks."""

import csv
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from soundnet_kd.data.voice_activity import VoiceActivity, count_voiceless, write_spans
from soundnet_kd.errors import SettingsError
from soundnet_kd.media import read_audio

RATE = 16_000


def vowel(rate: int, seconds: float) -> NDArray[np.float32]:
    """The harmonics of 120 Hz under formants at 600, 1200 and 2500 Hz, as a voice has them."""
    time = np.arange(round(rate * seconds)) / rate
    hertz = 120.0 * np.arange(1, 30)
    weights = np.exp(-(((hertz[:, None] - [600.0, 1200.0, 2500.0]) / 120) ** 2)).sum(axis=1)
    sound = (weights[:, None] * np.sin(2 * np.pi * hertz[:, None] * time)).sum(axis=0)
    return np.asarray(0.3 * sound / np.abs(sound).max(), dtype=np.float32)


def background(rate: int, seconds: float) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0, 1e-3, round(rate * seconds)).astype(np.float32)


def spoken_at(rate: int, *starts: float) -> NDArray[np.float32]:
    """Two seconds of faint noise, and a vowel of 0.4 s at each of the places."""
    sound, voice = background(rate, 2.0), vowel(rate, 0.4)
    for start in starts:
        sound[round(start * rate) :][: len(voice)] += voice
    return sound


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("aggressiveness", [0, 1, 2, 3])
def test_a_voice_is_found_where_it_is(rate: int, aggressiveness: int) -> None:
    """To a frame of 30 ms at its start; the detector lets a voice fade out for up to 0.2 s."""
    span = VoiceActivity(aggressiveness, margin_seconds=0.0).span(spoken_at(rate, 0.8), rate)
    assert span is not None
    assert 0.8 - 0.03 <= span[0] / rate <= 0.8 + 0.03
    assert 1.2 - 0.03 <= span[1] / rate <= 1.2 + 0.2


def test_margins_end_where_the_sound_does() -> None:
    sound = spoken_at(RATE, 0.8)
    bare, wide, widest = (VoiceActivity(2, margin).span(sound, RATE) for margin in (0.0, 0.25, 9.0))
    assert bare is not None
    assert wide == (bare[0] - RATE // 4, bare[1] + RATE // 4)
    assert widest == (0, len(sound))


def test_a_pause_between_two_voices_stays() -> None:
    span = VoiceActivity(2, margin_seconds=0.0).span(spoken_at(RATE, 0.2, 1.2), RATE)
    assert span is not None
    assert span[0] / RATE == pytest.approx(0.2, abs=0.03)
    assert 1.57 <= span[1] / RATE <= 1.8


@pytest.mark.parametrize(
    "sound",
    [np.zeros(RATE, np.float32), background(RATE, 1.0), np.zeros(10, np.float32), np.zeros(0, np.float32)],
    ids=["silence", "faint noise", "shorter than a frame", "empty"],
)
def test_where_nobody_speaks(sound: NDArray[np.float32]) -> None:
    assert VoiceActivity().span(sound, RATE) is None


def test_one_sound_knows_nothing_of_the_one_before() -> None:
    voice = VoiceActivity()
    first = voice.span(spoken_at(RATE, 0.8), RATE)
    voice.span(0.3 * np.random.default_rng(1).standard_normal(RATE).astype(np.float32), RATE)
    assert voice.span(spoken_at(RATE, 0.8), RATE) == first


@pytest.mark.parametrize("word", ["yes", "stop", "bird", "six", "off"])
@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng to speak")
def test_spoken_words_lose_the_silence_around_them(word: str, tmp_path: Path) -> None:
    """Half a second of faint noise on both sides goes; of what is louder than a tenth of the peak nothing does."""
    file = tmp_path / "word.wav"
    subprocess.run(["espeak-ng", "-w", str(file), word], check=True)
    spoken, _ = read_audio(file, RATE)
    sound = np.pad(spoken, RATE // 2) + background(RATE, len(spoken) / RATE + 1)[: len(spoken) + RATE // 2 * 2]
    loud = np.flatnonzero(np.abs(sound) > 0.1 * np.abs(sound).max())
    span = VoiceActivity().span(sound, RATE)
    assert span is not None
    assert span[0] <= loud[0]
    assert span[1] > loud[-1]
    assert span[0] / RATE > 0.3
    assert (len(sound) - span[1]) / RATE > 0.3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"aggressiveness": 4}, "aggressiveness is 4; give 0, 1, 2 or 3"),
        ({"margin_seconds": -0.1}, "it has to be at least 0"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, float], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        VoiceActivity(**settings)  # type: ignore[arg-type]


def test_the_table_of_what_is_kept(tmp_path: Path) -> None:
    write_spans(tmp_path / "voice.csv", {"a": (800, 16_000), "b": None, "c": (0, 8)}, RATE)
    with (tmp_path / "voice.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert rows[:2] == [{"id": "a", "start": "0.0500", "end": "1.0000"}, {"id": "b", "start": "", "end": ""}]
    assert count_voiceless(tmp_path / "voice.csv") == 1
