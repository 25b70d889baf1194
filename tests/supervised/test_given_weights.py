"""`train --weights`: a network that there is, tested as one that was trained, or refused before anything is decoded."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from soundnet_kd import load_network
from soundnet_kd.cli import main
from soundnet_kd.models import read_network, write_network
from soundnet_kd.models.classifiers import CatsDogs
from soundnet_kd.pretrained.students import import_student
from tests.pretrained.keras_files import cats_dogs, write_keras
from tests.supervised.runs import rows_of, write_animals, write_student, write_tones

TESTED = ["cat_90", "dog_90", "dog_91"]
SMALL = ["sampling.segments.seconds=0.125", "sampling.segments.steps_per_epoch=4", "training.batch_size=10",
         "sampling.segments.validation_steps=2", "training.epochs=1",
         f"data.cats_dogs.test=[{','.join(TESTED)}]"]  # fmt: skip
"""Several pieces of each clip."""


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_animals(tmp_path_factory.mktemp("animals"))


@pytest.fixture(scope="module")
def trained(animals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one training."""
    out = tmp_path_factory.mktemp("runs") / "trained"
    assert train("cats_dogs", animals, out, "seeds=[3]") == 0
    return out


def train(recipe: str, data: Path, out: Path, *changes: str, weights: str | Path | None = None) -> int:
    given = [] if weights is None else ["--weights", str(weights)]
    small = SMALL if recipe == "cats_dogs" else []
    command = ["train", recipe, "--data", str(data), "--out", str(out), "--device", "cpu", *given]
    return main([*command, "--set", *small, "seeds=[0]", *changes])


def results(out: Path) -> Any:
    return json.loads((out / "results.json").read_text(encoding="utf-8"))


def test_the_weights_of_a_training_answer_as_they_did_in_its_test(
    animals: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert train("cats_dogs", animals, out, "seeds=[3,4]", weights=trained) == 0
    told = capsys.readouterr().out
    assert f"(3951 parameters, the weights of {trained}; nothing was trained)" in told
    for name in ("predictions.csv", "probabilities.csv", "classes.csv"):
        assert (out / name).read_bytes() == (trained / name).read_bytes(), name
    assert (out / "confusion_CatsDogs.png").is_file()
    # Nothing tells of a training.
    assert not list(out.glob("history*"))
    (row,), (before,) = rows_of(out / "trainings.csv"), rows_of(trained / "trainings.csv")
    assert {name for name in row if row[name] != before[name]} == {"epochs", "training_seconds", "validation_loss",
                                                                   "validation_accuracy"}  # fmt: skip
    assert (row["epochs"], row["training_seconds"]) == ("", "")
    found = results(out)
    assert found["results"][0]["protocol"] == "given weights"
    assert found["source"]["weights"] == str(trained)
    assert not {"epochs", "training_seconds", "trainings"} & found["source"].keys()
    assert found["source"]["identity"]["training"] == {"batch_size": 10, "loss": "binary_cross_entropy"}
    kept, given = read_network(out), read_network(trained)
    assert kept.fingerprint() == given.fingerprint()
    # And the page shows it.
    assert main(["report", str(out)]) == 0
    assert "given weights" in (out / "report" / "index.html").read_text(encoding="utf-8")


def test_started_again_and_with_other_weights(
    animals: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, copied = tmp_path / "out", tmp_path / "copied.safetensors"
    assert train("cats_dogs", animals, out, "seeds=[3]", weights=trained) == 0
    made = {file: file.read_bytes() for file in out.rglob("*.csv")}
    shutil.copy(trained / "classifier.safetensors", copied)
    # The same network, wherever it lies.
    assert train("cats_dogs", animals, out, "seeds=[3]", weights=copied) == 0
    assert {file: file.read_bytes() for file in out.rglob("*.csv")} == made
    torch.manual_seed(5)
    write_network(CatsDogs(("dog",)), tmp_path / "other.safetensors", {})
    capsys.readouterr()
    assert train("cats_dogs", animals, out, "seeds=[3]", weights=tmp_path / "other.safetensors") == 1
    assert "already holds a different run (given.sha256 was" in capsys.readouterr().err
    assert train("cats_dogs", animals, trained, "seeds=[3]", weights=copied) == 1
    assert "already holds a different run (given.architecture was null" in capsys.readouterr().err


def test_only_what_is_tested_is_needed_and_decoded(animals: Path, trained: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in TESTED:
        shutil.copy(animals / f"{name}.wav", data)
    assert train("cats_dogs", data, tmp_path / "few", "seeds=[3]", weights=trained) == 0
    (data / "cat_1.wav").write_bytes(b"no sound, which nobody reads")
    assert train("cats_dogs", data, tmp_path / "more", "seeds=[3]", weights=trained) == 0
    for out in (tmp_path / "few", tmp_path / "more"):
        assert (out / "probabilities.csv").read_bytes() == (trained / "probabilities.csv").read_bytes()
        assert not (out / "failures.csv").exists()


def test_every_fold_is_tested(tmp_path: Path) -> None:
    tones = write_tones(tmp_path / "tones")
    network = CatsDogs(("deep", "high", "middle"))
    write_network(network, tmp_path / "any.safetensors", {})
    out = tmp_path / "out"
    assert train("esc50_cats_dogs", tones, out, weights=tmp_path / "any.safetensors") == 0
    assert [row["fold"] for row in rows_of(out / "trainings.csv")] == ["1", "2"]
    found = rows_of(out / "predictions.csv")
    assert len({row["id"] for row in found}) == 24
    assert all(row["CatsDogs"] in ("deep", "high", "middle") for row in found)
    assert main(["rank", str(out), "--out", str(tmp_path / "ranked")]) == 0
    (row,) = csv.DictReader((tmp_path / "ranked" / "ranking.csv").open(encoding="utf-8"))
    assert (row["protocol"], row["training_seconds"], row["note"]) == ("given weights", "", "its weights were given")


def test_a_network_of_keras_by_its_name(animals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against what the model computes in numpy for the whole pieces of each clip, which is scaled on its own."""
    monkeypatch.setenv("SOUNDNET_KD_CACHE", str(tmp_path / "cache"))
    model = cats_dogs()
    import_student(write_keras(tmp_path / "model.h5", model), "mine")
    assert train("cats_dogs", animals, tmp_path / "out", weights="mine") == 0
    network = load_network("mine")
    for row in rows_of(tmp_path / "out" / "probabilities.csv"):
        sound = network.preprocessing.read(animals / row["id"])
        pieces = ((sound - sound.mean()) / sound.std())[: len(sound) // 2000 * 2000].reshape(-1, 2000, 1)
        assert int(row["pieces"]) == len(pieces) > 4
        assert float(row["dog"]) == pytest.approx(model(pieces).mean(), abs=2e-6)


@pytest.mark.parametrize(
    ("weights", "changes", "reason"),
    [
        ("mine", ["network=NSynthSimple"], "NSynthSimple; take another recipe, or --set network=CatsDogs"),
        ("mine", ["network.CatsDogs.preprocessing={standardise: false}"], "standardise is true, the recipe has false"),
        ("mine", ["network.CatsDogs.preprocessing={sample_rate: 8000}"], "sample_rate is 16000, the recipe has 8000"),
        ("mine", ["training.loss=cross_entropy"], "class_names is [dog], the recipe has [cat, dog]"),
        ("three", [], "class_names is [a, b, c], the recipe has [dog]"),
        ("mine", ["training.one_network_per_tag=true"], "makes a network for each tag, and one is given"),
        ("student", [], "is no network from scratch"),
        ("soundnet8", [], "soundnet8 is no network from scratch"),
        ("best", [], "there is no network best, which --weights is to test; which weights a training keeps is set by "
                     "--set training.weights=best"),
        ("minee", [], "there is no network minee"),
    ],
)  # fmt: skip
def test_refused(
    weights: str, changes: list[str], reason: str, animals: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("SOUNDNET_KD_CACHE", str(tmp_path / "cache"))
    students = tmp_path / "cache" / "students"
    students.mkdir(parents=True)
    write_network(CatsDogs(("dog",)), students / "mine.safetensors", {})
    write_network(CatsDogs(("a", "b", "c")), students / "three.safetensors", {})
    write_student(students / "student.safetensors")
    assert train("cats_dogs", animals, tmp_path / "out", *changes, weights=weights) == 1
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("soundnet-kd: "))
    assert reason in line
    assert not (tmp_path / "out").exists()


def test_what_differs_from_a_recipe_with_a_front_end(tmp_path: Path) -> None:
    from soundnet_kd.errors import SettingsError
    from soundnet_kd.models.classifiers import LightCNN
    from soundnet_kd.supervised.config import require_same_network

    steps = [{"name": "FourierResampling", "target_rate": 8_000}, {"name": "LogSpectrogram", "step_seconds": 0.012}]
    names = ("on", "off")
    require_same_network(LightCNN(names), LightCNN(names))
    with pytest.raises(SettingsError, match=r"front_end is \[.* 0\.012.*\], the recipe has \[.* 0\.01"):
        require_same_network(LightCNN(names, front_end=steps), LightCNN(names))
    tags = LightCNN(names)
    tags.exclusive = False
    with pytest.raises(SettingsError, match="exclusive is false, the recipe has true"):
        require_same_network(tags, LightCNN(names))


@pytest.mark.real
def test_the_published_network_on_its_test_clips(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The notebook's votes, 7 of 10, and 74 of 105 segments on this Vorbis copy (77 on the original WAVs)."""
    monkeypatch.setenv("SOUNDNET_KD_CACHE", str(tmp_path / "cache"))
    data, out = real_data / "cats_dogs", tmp_path / "out"
    assert main(["weights", "import", str(data / "model8.h5"), "--as", "published"]) == 0
    capsys.readouterr()
    assert main(["weights", "show", "published"]) == 0
    shown = capsys.readouterr().out
    assert "CatsDogs, 3951 parameters, a classifier" in shown
    assert "classes  dog" in shown
    assert main(["train", "cats_dogs", "--data", str(data), "--weights", "published", "--out", str(out)]) == 0
    votes = {row["id"]: row for row in rows_of(out / "probabilities.csv")}
    said = {name: "dog" if int(row["votes dog"]) > int(row["votes cat"]) else "cat" for name, row in votes.items()}
    assert said == {f"cat_{number}.ogg": "cat" if number in (163, 164) else "dog" for number in range(163, 168)} | {
        f"dog_barking_{number}.ogg": "dog" for number in range(5)
    }
    right = {name: int(row[f"votes {row['truth']}"]) for name, row in votes.items()}
    assert (sum(right.values()), sum(int(row["pieces"]) for row in votes.values())) == (74, 105)
    (row,) = rows_of(out / "trainings.csv")
    assert (float(row["clip_accuracy"]), float(row["vote_accuracy"])) == (0.7, 0.7)
