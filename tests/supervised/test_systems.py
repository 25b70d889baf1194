"""Each system's recipe on a small data set of its layout: notes, spoken words, tracks whose tags can be heard."""

import csv
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from soundnet_kd.cli import main
from soundnet_kd.media import read_audio, write_audio
from soundnet_kd.models.checkpoint import read_network
from soundnet_kd.supervised.tags import measures
from tests.data.datasets.test_datasets import SPEAKERS
from tests.media_files import sine


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def results_of(out: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return content


def train(recipe: str, data: Path, out: Path, *changes: str, weights: Path | None = None) -> int:
    given = [] if weights is None else ["--weights", str(weights)]
    return main(["train", recipe, "--data", str(data), "--out", str(out), "--device", "cpu", *given, "--set", *changes])


HERTZ = {"bass": 110.0, "flute": 1600.0, "reed": 500.0}


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Notes of four seconds; one is named but not there, one is empty, one is of the family that is left out."""
    folder = tmp_path_factory.mktemp("notes")
    for part, count in (("nsynth-valid", 6), ("nsynth-test", 2)):
        about = {}
        for family, hertz in HERTZ.items():
            for number in range(count):
                name = f"{family}_acoustic_{number:03d}-060-100"
                about[name] = {"instrument_family_str": family, "instrument_str": name[:-8], "pitch": 60}
                note = sine(hertz * (1 + number / 100), 4.0, 16_000, 0.6) * np.linspace(1, 0, 64_000, dtype=np.float32)
                write_audio(folder / part / "audio" / f"{name}.wav", note, 16_000)
        about["synth_lead_synthetic_000-060-100"] = {"instrument_family_str": "synth_lead", "instrument_str": "x"}
        (folder / part / "examples.json").write_text(json.dumps(about), encoding="utf-8")
    (folder / "nsynth-valid" / "audio" / "bass_acoustic_005-060-100.wav").unlink()
    (folder / "nsynth-test" / "audio" / "reed_acoustic_001-060-100.wav").write_bytes(b"")
    return folder


def test_notes_of_instruments(notes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["network=NSynthSimple", "training.epochs=6", "training.batch_size=4", "training.learning_rate=0.01"]
    assert train("nsynth", notes, tmp_path / "out", *small) == 0
    # The two lead synthesizers that have no file either are named too.
    assert "4 sounds skipped" in capsys.readouterr().out
    failures = {row["file"]: row["reason"] for row in rows_of(tmp_path / "out" / "failures.csv")}
    assert "no such file in audio" in failures["nsynth-valid/bass_acoustic_005-060-100"]
    assert "nsynth-test/reed_acoustic_001-060-100" in failures
    results = results_of(tmp_path / "out")
    assert results["classes"] == list(HERTZ)
    # 192 + 8 256 + a dense layer of 64 inputs and three classes.
    assert results["source"]["parameters"] == 192 + 8256 + 65 * 3  # type: ignore[index]
    assert len(rows_of(tmp_path / "out" / "predictions.csv")) == 5
    assert (tmp_path / "out" / "confusion_NSynthSimple.png").is_file()
    assert type(read_network(tmp_path / "out")).__name__ == "NSynthSimple"
    for family in HERTZ:
        assert (tmp_path / "out" / "gallery" / f"{family}.png").is_file()
    gallery = rows_of(tmp_path / "out" / "gallery" / "gallery.csv")
    for row in gallery:
        probability = float(row["probability"])
        assert {"sure": probability > 0.9, "another": probability < 0.1}.get(row["shown as"], True)


speaks = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng to speak")


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two words and another one, spoken by six voices at several speeds; ten seconds of noise."""
    folder = tmp_path_factory.mktemp("spoken")
    for word in ("yes", "stop", "bird"):
        (folder / word).mkdir()
        for voice, speaker in enumerate(speaker for speakers in SPEAKERS.values() for speaker in speakers):
            for take in range(3):
                file = folder / word / f"{speaker}_nohash_{take}.wav"
                options = ["-s", str(130 + 30 * take), "-p", str(20 + 12 * voice)]
                subprocess.run(["espeak-ng", *options, "-w", str(file), word], check=True)
    rng = np.random.default_rng(0)
    noise = (0.1 * rng.standard_normal(16_000 * 12)).astype(np.float32)
    write_audio(folder / "_background_noise_" / "white.wav", noise, 16_000)
    return folder


@speaks
def test_spoken_words(spoken: Path, tmp_path: Path) -> None:
    """espeak-ng speaks at 22 050 Hz, which is not the rate of the data set; its words are shorter than a second."""
    small = ["data.speech_commands.words=[yes,stop]", "training.epochs=12", "training.batch_size=6",
             "data.speech_commands.unknown_share=0.5", "data.speech_commands.silence_share=0.5",
             "training.augmentation.noise=0.5"]  # fmt: skip
    assert train("speech_commands", spoken, tmp_path / "out", *small) == 0
    results = results_of(tmp_path / "out")
    assert results["classes"] == ["yes", "stop", "unknown", "silence"]
    predictions = rows_of(tmp_path / "out" / "predictions.csv")
    assert len(predictions) == 12 + 6 + 6
    assert {row["id"].split("/")[1].split("_")[0] for row in predictions if "nohash" in row["id"]} == {
        *SPEAKERS["test"]
    }
    right = np.mean([row["label"] == row["LightCNN"] for row in predictions])
    assert right > 0.5


@speaks
def test_spoken_words_without_the_silence_around_them(
    spoken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Words and seconds of noise alike are cut, or stay whole and are counted; a run that is done tells the same."""
    data = tmp_path / "data"
    shutil.copytree(spoken, data)
    for speaker in (speaker for speakers in SPEAKERS.values() for speaker in speakers):
        write_audio(data / "stop" / f"{speaker}_nohash_9.wav", np.zeros(16_000, np.float32), 16_000)
    small = ["data.speech_commands.words=[yes,stop]", "training.epochs=1", "training.batch_size=6",
             "voice_activity={aggressiveness: 2}"]  # fmt: skip
    out = tmp_path / "out"
    assert train("speech_commands", data, out, *small) == 0
    told = capsys.readouterr().out.strip().splitlines()[-1]
    kept = {row["id"]: row for row in rows_of(out / "voice.csv")}
    nobody = [name for name, row in kept.items() if not row["start"]]
    silent = [name for name in kept if name.endswith("_nohash_9.wav")]
    assert len(silent) == sum(map(len, SPEAKERS.values()))
    assert nobody == silent
    assert f", {len(silent)} sounds without a voice stay whole" in told
    assert results_of(out)["source"]["without_voice"] == len(silent)  # type: ignore[index]
    words = [name for name in kept if name.startswith("yes")]
    assert len(words) == 18
    for name in words:
        # A spoken word begins at once, and ends with silence.
        sound, rate = read_audio(data / name)
        loud = np.flatnonzero(np.abs(sound) > 0.1 * np.abs(sound).max())
        assert float(kept[name]["start"]) == 0.0
        assert loud[-1] / rate < float(kept[name]["end"]) < len(sound) / rate - 0.03
    assert train("speech_commands", data, out, *small) == 0
    assert capsys.readouterr().out.strip().splitlines()[-1] == told
    assert train("speech_commands", data, tmp_path / "no", "voice_activity.agressiveness=2") == 1
    assert "voice_activity has no key 'agressiveness'; did you mean 'aggressiveness'" in capsys.readouterr().err


@speaks
def test_spoken_words_from_the_raw_wave(spoken: Path, tmp_path: Path) -> None:
    """One step of the large network; whether it learns is for a machine that is faster than this."""
    small = ["data.speech_commands.words=[yes,stop]", "training.epochs=1", "training.batch_size=12",
             "sampling.pieces.hop_seconds=1", "data.speech_commands.unknown_share=0",
             "data.speech_commands.silence_share=0",
             "network.WavCeption.preprocessing={least_samples: 512}"]  # fmt: skip
    assert train("wavception", spoken, tmp_path / "out", *small) == 0
    assert results_of(tmp_path / "out")["classes"] == ["yes", "stop"]


@speaks
def test_a_word_with_one_clip(spoken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("yes", "stop"):
        shutil.copytree(spoken / name, tmp_path / "data" / name)
    for file in sorted((tmp_path / "data" / "stop").iterdir()):
        if file.name != f"{SPEAKERS['test'][0]}_nohash_0.wav":
            file.unlink()
    small = ["data.speech_commands.words=[yes,stop]", "data.speech_commands.silence_share=0"]
    assert train("speech_commands", tmp_path / "data", tmp_path / "out", *small) == 1
    assert "of 1 clips of 'stop' none is left to learn from" in capsys.readouterr().err


TAGS = ("bright", "pulsing", "steady")


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tracks that are bright or dark, and pulse or stay steady; one is too short for a tile, one cannot be read."""
    folder = tmp_path_factory.mktemp("tracks")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(32):
        bright, pulsing = bool(number & 1), bool(number & 2)
        seconds = 6.0 if number == 5 else 10.5
        hertz = (3000.0 if bright else 200.0) * (1 + number / 100)
        sound = sine(hertz, seconds, 22_050, 0.4) + rng.normal(0, 0.01, round(seconds * 22_050)).astype(np.float32)
        if pulsing:
            sound = sound * (np.sin(2 * np.pi * 2 * np.arange(len(sound)) / 22_050) > 0).astype(np.float32)
        write_audio(folder / f"{number}.wav", sound, 22_050)
        tags = [tag for tag, has in zip(TAGS, (bright, pulsing, not pulsing), strict=True) if has]
        split = ("train", "train", "validation", "test")[number // 8]
        rows.append(f"{number}.wav,{';'.join(tags)},{split}")
    rows += ["none.wav,,train", "gone.wav,bright,train"]
    (folder / "tracks.csv").write_text("\n".join(["path,tags,split", *rows]), encoding="utf-8")
    return folder


SHORT = ["training.epochs=25", "training.batch_size=8", "training.patience=10", "evaluation.top=2"]


def test_one_network_for_each_tag(tracks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert train("film_genres", tracks, out, *SHORT) == 0
    told = capsys.readouterr().out
    assert "of the true tags in the first 2 (without listening" in told
    assert "2 sounds skipped" in told
    results = results_of(out)
    assert results["tags"] == list(TAGS)
    (found,) = results["results"]  # type: ignore[misc]
    assert found["ranking_loss"] < found["without_listening"]["ranking_loss"]  # type: ignore[has-type]
    assert {path.name for path in (out / "classifiers").iterdir()} == {f"{tag}.safetensors" for tag in TAGS}
    assert read_network(out / "classifiers" / "pulsing.safetensors").class_names == {"classes": ("pulsing",)}
    overlap = [[int(row[tag]) for tag in TAGS] for row in rows_of(out / "tag_overlap.csv")]
    # Of 33 tracks with a tag: bright and pulsing in every fourth of 32, and one bright that cannot be read.
    assert overlap == [[17, 8, 8], [8, 16, 0], [8, 0, 16]]
    trainings = rows_of(out / "trainings.csv")
    assert [row["network"] for row in trainings] == list(TAGS)
    for name in ("tag_overlap.png", "tracks.png", "history.png", "tags.csv"):
        assert (out / name).is_file()
    scores = rows_of(out / "predictions.csv")
    assert [row["id"] for row in scores] == [f"{number}.wav" for number in range(24, 32)]


def test_one_network_for_all_tags_and_one_that_hears_whole_tracks(tracks: Path, tmp_path: Path) -> None:
    together = ["training.one_network_per_tag=false", "training.loss=binary_cross_entropy", "training.epochs=2"]
    assert train("film_genres", tracks, tmp_path / "together", *SHORT, *together) == 0
    classifier = read_network(tmp_path / "together")
    assert classifier.class_names == {"classes": TAGS}
    assert train("film_genres", tracks, tmp_path / "given", *SHORT, *together, weights=tmp_path / "together") == 0
    given, trained = ((tmp_path / name / "predictions.csv").read_bytes() for name in ("given", "together"))
    assert given == trained
    (measured,) = results_of(tmp_path / "given")["results"]  # type: ignore[misc]
    assert measured["validation_loss"] is None  # type: ignore[has-type]
    recurrent = ["network=FilmGenresRecurrent", "sampling.pieces.seconds=19.8"]
    assert train("film_genres", tracks, tmp_path / "recurrent", *SHORT, *together, *recurrent) == 0
    assert type(read_network(tmp_path / "recurrent")).__name__ == "FilmGenresRecurrent"


def test_tags_that_cannot_be_learned(tracks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("film_genres", tracks, tmp_path / "a", "data.tagged_tracks.tags=[brigth,pulsing]") == 1
    assert "has the tag 'brigth'; did you mean 'bright'?" in capsys.readouterr().err
    assert train("film_genres", tracks, tmp_path / "b", "training.loss=cross_entropy") == 1
    assert "several tags each; set training.loss" in capsys.readouterr().err


def test_measures_of_an_order_by_hand() -> None:
    """First track: both tags first. Second: its one tag comes third of three."""
    scores = np.array([[0.9, 0.8, 0.1], [0.9, 0.8, 0.1]])
    truth = np.array([[True, True, False], [False, False, True]])
    found = measures(scores, truth, top=2)
    assert found["in_top"] == 0.5
    assert found["all_in_top"] == 0.5
    assert found["ranking_loss"] == 0.5
    assert found["coverage"] == 2.5
    # Equal scores of both tracks: precision 1/2 for each tag.
    assert found["mean_average_precision"] == 0.5
