"""What a network takes a sound for: the right names at the right times, whatever the length of the sound."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from soundnet_kd import SoundNet8
from soundnet_kd.commands.predict import Predictions, predict
from soundnet_kd.errors import MediaError, SettingsError
from soundnet_kd.features.predictor import Guess, Span, prepare_to_predict, stream_probabilities
from soundnet_kd.media import write_audio
from soundnet_kd.models import write_network

RATE = 22_050
HEADS = {"objects": ("cat", "dog", "car", "bird", "bell", "saw"), "scenes": ("street", "field", "hall")}


@pytest.fixture(scope="module")
def student() -> SoundNet8:
    torch.manual_seed(0)
    network = SoundNet8(HEADS).eval()
    # So that the answers differ from step to step.
    with torch.no_grad():
        for head in HEADS:
            network.get_parameter(f"conv8.{head}.weight").mul_(30)
    return network


def noise(path: Path, seconds: float, seed: int = 0) -> Path:
    loudness = np.repeat(np.random.default_rng(seed + 1).uniform(0.01, 0.3, 100), RATE)[: round(seconds * RATE)]
    write_audio(
        path, (np.random.default_rng(seed).normal(size=round(seconds * RATE)) * loudness).astype(np.float32), RATE
    )
    return path


@pytest.mark.parametrize(
    ("seconds", "spans"),
    [
        (20.0, [(0, 5), (5, 10), (10, 15), (15, 20)]),
        (3.0, [(0, 3)]),
        (8.0, [(0, 5), (5, 8)]),
        (27.0, [(0, 5), (5, 10), (10, 15), (15, 20), (20, 25), (25, 27)]),
        (20.9, [(0, 5), (5, 10), (10, 15), (15, 20)]),
    ],
)
def test_every_five_seconds_have_a_guess(
    student: SoundNet8, seconds: float, spans: list[tuple[float, float]], tmp_path: Path
) -> None:
    answers = list(stream_probabilities(prepare_to_predict(student), noise(tmp_path / "a.wav", seconds)))
    assert [(start, end) for start, end, _ in answers] == spans
    for _, _, rows in answers:
        assert {head: len(row) for head, row in rows.items()} == {"objects": 6, "scenes": 3}
        assert all(float(row.sum()) == pytest.approx(1, abs=1e-5) for row in rows.values())


def test_twenty_seconds_are_what_the_network_says(student: SoundNet8, tmp_path: Path) -> None:
    path = noise(tmp_path / "a.wav", 20)
    with torch.inference_mode():
        wave = student.preprocessing(student.preprocessing.read(path))
        expected = student(wave[None])["objects"][0].softmax(dim=0).numpy()
    assert expected.shape == (6, 4)
    for step, (_, _, rows) in enumerate(stream_probabilities(prepare_to_predict(student), path)):
        np.testing.assert_allclose(rows["objects"], expected[:, step], rtol=1e-4, atol=1e-6)


def test_text_json_and_tables_say_the_same(student: SoundNet8, tmp_path: Path) -> None:
    write_network(student, tmp_path / "student.safetensors", {})
    sound, name = noise(tmp_path / "a.wav", 12), str(tmp_path / "student.safetensors")
    (tmp_path / "broken.wav").write_text("no sound")
    steps = predict([sound], student, per_step=True, top=2)
    whole = predict([sound, tmp_path / "broken.wav"], name, tmp_path / "out.csv", top=6)
    spans = whole.sounds[str(sound)]
    assert [(span.start_seconds, span.end_seconds) for span in spans] == [(0, 12)]
    probabilities = {guess.name: guess.probability for guess in spans[0].guesses["objects"]}
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert list(probabilities.values()) == sorted(probabilities.values(), reverse=True)
    assert len(steps.sounds[str(sound)]) == 3
    # The average over the steps, by hand.
    rows = [row["objects"] for _, _, row in stream_probabilities(prepare_to_predict(student), sound)]
    for index, class_name in enumerate(HEADS["objects"]):
        assert probabilities[class_name] == pytest.approx(float(np.mean([row[index] for row in rows])), rel=1e-4)
    with (tmp_path / "out.csv").open(newline="") as handle:
        table = list(csv.DictReader(handle))
    assert len(table) == 6 + 3
    assert table[0]["class"] == spans[0].guesses["objects"][0].name
    told = json.loads(str(predict([sound], name, tmp_path / "out.json", json=True)))
    assert told == json.loads((tmp_path / "out.json").read_text())
    assert told["failures"] == {}
    assert told["sounds"][0]["spans"][0]["scenes"][0]["class"] == spans[0].guesses["scenes"][0].name


def test_what_could_not_be_read_is_said_and_recorded(student: SoundNet8, tmp_path: Path) -> None:
    sound, broken = noise(tmp_path / "a.wav", 12), tmp_path / "broken.wav"
    broken.write_text("no sound")
    failures = tmp_path / "out.csv.failures.csv"
    text = str(predict([sound, broken], student, tmp_path / "out.csv", top=2))
    assert "not read: broken.wav is not a media file" in text
    assert text.endswith(f"wrote {tmp_path / 'out.csv'}, 1 not read (see {failures})")
    with failures.open(newline="") as handle:
        (row,) = csv.DictReader(handle)
    assert row["file"] == str(broken)
    assert row["reason"].startswith("broken.wav is not a media file")
    assert str(predict(sound, student, tmp_path / "out.csv")).endswith(f"wrote {tmp_path / 'out.csv'}")
    assert not failures.exists()
    with pytest.raises(MediaError, match="none of the 1 sounds"):
        predict(broken, student, tmp_path / "out.json")
    assert (tmp_path / "out.json.failures.csv").exists()
    assert not (tmp_path / "out.json").exists()


def test_text_has_a_line_for_each_guess_and_plain_times() -> None:
    """The names of ImageNet's classes hold commas; a recording of hours has seconds in five digits."""
    guesses = {"objects": [Guess("tench, Tinca tinca", 0.25), Guess("bell", 0.0312)], "scenes": [Guess("hall", 1.0)]}
    assert str(Predictions({"a.wav": [Span(12345.0, 12348.114, guesses)]})).splitlines() == [
        "a.wav  12345-12348.1 s",
        "  objects   25.0%  tench, Tinca tinca",
        "             3.1%  bell",
        "  scenes   100.0%  hall",
    ]


def test_nothing_readable_and_wrong_options(student: SoundNet8, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_text("no sound")
    with pytest.raises(MediaError, match=r"none of the 1 sounds could be read, such as: broken\.wav"):
        predict([tmp_path / "broken.wav"], student)
    with pytest.raises(MediaError, match=r"broken\.wav.* \(see .*out\.csv\.failures\.csv\)$"):
        predict([tmp_path / "broken.wav"], student, tmp_path / "out.csv")
    with pytest.raises(SettingsError, match=r"has to end in \.csv or \.json"):
        predict([tmp_path / "broken.wav"], student, tmp_path / "out.txt")
    with pytest.raises(SettingsError, match="top is 0"):
        predict([tmp_path / "broken.wav"], student, top=0)


@pytest.mark.real
def test_real_sounds_have_guesses(real_data: Path, student: SoundNet8) -> None:
    files = sorted((real_data / "esc50" / "audio").iterdir())[:3]
    result = predict(files, student)
    assert len(result.sounds) == 3
    assert not result.failures
