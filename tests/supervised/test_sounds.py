"""The sounds of a run, cut to their voice: what is heard of a file, and of a part of one."""

import csv
from pathlib import Path

import numpy as np

from soundnet_kd.data import Clip, Manifest
from soundnet_kd.data.splits import WITHOUT_FOLDS, FileSegment, SplitSounds
from soundnet_kd.data.voice_activity import VoiceActivity
from soundnet_kd.media import RawAudioDecoder, write_audio
from soundnet_kd.supervised.config import read_experiment_config
from soundnet_kd.supervised.sounds import decode_data_sets
from tests.data.test_voice_activity import RATE, background, spoken_at


def test_a_sound_and_a_part_of_one_are_cut_to_their_voice(tmp_path: Path) -> None:
    """The vowel begins 1.2 s after the start of its file, so 0.7 s after that of the part."""
    write_audio(tmp_path / "spoken.wav", spoken_at(RATE, 1.2), RATE)
    write_audio(tmp_path / "nobody.wav", background(RATE, 1.0), RATE)
    clips = tuple(
        Clip(name, tmp_path / file, 0)
        for name, file in (("whole", "spoken.wav"), ("part", "spoken.wav"), ("nobody", "nobody.wav"))
    )
    data = SplitSounds(
        Manifest(clips, ("a", "b")), {WITHOUT_FOLDS: ["train"] * 3}, segments={"part": FileSegment(0.5, 1.4)}
    )
    folders = tmp_path / "decoded", tmp_path
    store = RawAudioDecoder(RATE, "first")
    cut = decode_data_sets({0: data}, store, *folders, VoiceActivity(2, margin_seconds=0.05))
    with (tmp_path / "voice.csv").open(encoding="utf-8", newline="") as handle:
        starts = {row["id"]: row["start"] for row in csv.DictReader(handle)}
    assert starts["nobody"] == ""
    assert abs(float(starts["whole"]) - 1.15) <= 0.03
    assert abs(float(starts["part"]) - 0.65) <= 0.03
    uncut = decode_data_sets({0: data}, store, *folders)
    np.testing.assert_array_equal(cut["nobody"].read(), uncut["nobody"].read())
    for name in ("whole", "part"):
        start = round(float(starts[name]) * RATE)
        np.testing.assert_array_equal(cut[name].read(), uncut[name].read()[start : start + len(cut[name])])
        assert 0.45 <= len(cut[name]) / RATE <= 0.75


def test_nothing_is_cut_unless_told() -> None:
    """Runs from before there was such a setting are still the same runs."""
    recipe = read_experiment_config(Path("speech_commands"))
    assert recipe.voice_activity is None
    assert "voice_activity" not in recipe.identity
    told = read_experiment_config(Path("speech_commands"), ["voice_activity.aggressiveness=3"])
    assert told.voice_activity == VoiceActivity(3)
    assert told.identity["voice_activity"] == {"aggressiveness": 3, "margin_seconds": 0.1}
    assert read_experiment_config(Path("speech_commands"), ["voice_activity={}"]).voice_activity == VoiceActivity()
