"""A recipe from the shell: it learns what can be heard, and says so in the files of all evaluations."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from soundnet_kd.cli import main
from soundnet_kd.commands.compare import compare
from soundnet_kd.commands.train import train as train_networks
from soundnet_kd.errors import MediaError, SettingsError
from soundnet_kd.media import write_audio
from soundnet_kd.models.checkpoint import read_network
from soundnet_kd.models.classifiers import SoundClassifier
from soundnet_kd.supervised.config import read_experiment_config
from tests.media_files import sine
from tests.supervised.runs import ANIMAL_RATE, rows_of, write_animals

SMALL = [
    "sampling.segments.seconds=0.125",
    "sampling.segments.steps_per_epoch=40",
    "sampling.segments.validation_steps=5",
    "training.batch_size=10",
    "training.epochs=4",
    "training.optimizer=adam",
    "training.learning_rate=0.02",
    "data.cats_dogs.test=[cat_90,dog_90,dog_91]",
]


def train(recipe: str, data: Path, out: Path, *changes: str) -> list[str]:
    return ["train", recipe, "--data", str(data), "--out", str(out), "--device", "cpu", "--set", *changes]


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_animals(tmp_path_factory.mktemp("animals"))


@pytest.fixture(scope="module")
def run(animals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("folds") / "run"
    assert main(train("cats_dogs", animals, out, "seeds=[0,1]", *SMALL)) == 0
    return out


def test_it_learns_and_says_so(run: Path) -> None:
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    assert results["classes"] == ["cat", "dog"]
    assert results["source"]["parameters"] == 50 + 9 * 410 + 10 * 20 + 11
    assert results["source"]["trainings"] == 2
    assert results["source"]["training_seconds"] > 0
    assert [result["layer"] for result in results["results"]] == ["CatsDogs seed 0", "CatsDogs seed 1"]
    assert [result["accuracy"] for result in results["results"]] == [1.0, 1.0]
    assert [row["id"] for row in rows_of(run / "predictions.csv")] == ["cat_90.wav", "dog_90.wav", "dog_91.wav"]
    trainings = rows_of(run / "trainings.csv")
    # 1.7, 1.7 and 1.71 s hold thirteen whole eighths of a second each.
    assert [row["pieces"] for row in trainings] == ["39", "39"]
    assert all(float(row["validation_accuracy"]) > 0.9 for row in trainings)
    assert all(float(row["piece_accuracy"]) > 0.9 for row in trainings)
    history = rows_of(run / "history.csv")
    measured = [int(row["step"]) for row in history if row["seed"] == "1" and row["validation/loss"]]
    assert measured == [40, 80, 120, 160]
    for name in ("history.png", "confusion_CatsDogs seed 0.png", "classifier.safetensors", "confused_pairs.csv"):
        assert (run / name).is_file()
    assert list((run / "logs" / "seed-1").glob("events.*"))
    assert not (run / ".sounds").exists()
    assert {path.name for path in (run / "rounds").iterdir()} == {"seed-0.json", "seed-1.json"}


def test_the_best_weights_are_kept(run: Path) -> None:
    for row in rows_of(run / "trainings.csv"):
        measured = [
            (float(each["validation/accuracy"]), int(each["step"]))
            for each in rows_of(run / "history.csv")
            if each["seed"] == row["seed"] and each["validation/accuracy"]
        ]
        best = max(accuracy for accuracy, _ in measured)
        assert float(row["validation_accuracy"]) == best
        assert float(row["epochs"]) * 40 == next(step for accuracy, step in measured if accuracy == best)


def test_the_classifier_answers_as_the_table_says(run: Path, animals: Path) -> None:
    """A clip standardised as a whole, cut into whole segments, the mean of the sigmoids."""
    network = read_network(run)
    assert isinstance(network, SoundClassifier)
    assert network.class_names == {"classes": ("dog",)}
    asked = network.preprocessing
    for row in rows_of(run / "probabilities.csv")[:3]:
        waveform = asked.read(animals / row["id"]).astype(np.float64)
        scaled = (waveform - waveform.mean()) / waveform.std()
        segments = scaled[: len(scaled) // 2000 * 2000].reshape(-1, 1, 2000)
        with torch.no_grad():
            dog = network.logits(torch.from_numpy(segments).float()).sigmoid()[:, 0]
        assert float(row["dog"]) == pytest.approx(float(dog.mean()), abs=1e-3)
        assert float(row["cat"]) == pytest.approx(1 - float(dog.mean()), abs=1e-3)
        assert (int(row["votes dog"]), int(row["pieces"])) == (int((dog > 0.5).sum()), len(segments))


def test_a_trained_network_is_peeled(
    run: Path, animals: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["peel", str(animals / "dog_90.wav"), "--student", str(run), "--out", str(tmp_path / "peel")]) == 0
    answer = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("answer"))
    assert "dog (" in answer
    assert (tmp_path / "peel" / "layers.png").is_file()


def test_bad_sounds_are_counted_and_patience_ends(
    animals: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty file, one that is no sound, and one that is clipped, which is a sound like others."""
    data = tmp_path / "animals"
    shutil.copytree(animals, data)
    (data / "cat_20.wav").write_bytes(b"")
    (data / "dog_20.wav").write_bytes(b"RIFF, but no more")
    write_audio(data / "dog_21.wav", np.clip(20 * sine(160, 1.0, ANIMAL_RATE), -1, 1), ANIMAL_RATE)
    patient = ["training.epochs=40", "training.patience=1"]
    assert main(train("cats_dogs", data, tmp_path / "out", "seeds=[0]", *SMALL, *patient)) == 0
    assert "2 sounds skipped" in capsys.readouterr().out
    assert {row["file"] for row in rows_of(tmp_path / "out" / "failures.csv")} == {"cat_20.wav", "dog_20.wav"}
    measured = [float(row["validation/accuracy"]) for row in rows_of(tmp_path / "out" / "history.csv")
                if row["validation/accuracy"]]  # fmt: skip
    assert len(measured) < 40
    assert measured[-1] <= max(measured[:-1])


def test_several_classes_under_folds(animals: Path, tmp_path: Path) -> None:
    """The same network with an output for each of three classes; its results can be set beside others."""
    write_audio(tmp_path / "silent.wav", np.zeros(ANIMAL_RATE, np.float32), ANIMAL_RATE)
    rows = [f"{animals / name}_{number}.wav,{name},{1 + number % 2}" for name in ("cat", "dog") for number in range(8)]
    rows += [f"silent.wav,none,{fold}" for fold in (1,)]
    write_audio(tmp_path / "other.wav", np.zeros(ANIMAL_RATE // 3, np.float32), ANIMAL_RATE)
    table = tmp_path / "sounds.csv"
    table.write_text("\n".join(["path,label,fold", *rows, "other.wav,none,2"]), encoding="utf-8")
    small = ["sampling.pieces.seconds=0.125", "training.batch_size=8", "training.epochs=15"]
    small += ["training.optimizer=adam", "training.learning_rate=0.02"]
    assert main(train("esc50_cats_dogs", table, tmp_path / "out", *small)) == 0
    (result,) = json.loads((tmp_path / "out" / "results.json").read_text())["results"]
    assert result["folds"] == [1, 2]
    assert result["accuracy"] > 0.8
    assert sum(map(sum, result["confusion"])) == 18
    assert json.loads((tmp_path / "out" / "results.json").read_text())["source"]["parameters"] == 3940 + 10 * 3 + 3
    assert [row["fold"] for row in rows_of(tmp_path / "out" / "trainings.csv")] == ["1", "2"]
    assert "CatsDogs" in str(compare(tmp_path / "out", tmp_path / "out", tmp_path / "compared.csv"))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (["training.epoch=3"], SettingsError, "training has no key 'epoch'; did you mean 'epochs'"),
        (["training.epochs=many"], SettingsError, r"training\.epochs: expected int, not many"),
        (["network=CatDogs"], SettingsError, "there is no network 'CatDogs'; did you mean 'CatsDogs'"),
        (
            ["network.CatsDogs.dropout=0.5"],
            SettingsError,
            "network.CatsDogs has no key 'dropout'; there are preprocessing",
        ),
        (["data=cats"], SettingsError, "there is no data 'cats'; did you mean 'cats_dogs'"),
        (["sample.segments=3"], SettingsError, "a recipe has no key 'sample'; did you mean 'sampling'"),
        (["sampling.segments.second=3"], SettingsError, "sampling.segments has no key 'second'"),
        (["front_end=[{name: LogMel}]"], SettingsError, "CatsDogs hears the waveform itself and takes no front_end"),
        (["network=LightCNN", "front_end=LogMel"], SettingsError, "front_end is LogMel; give a list of steps"),
        (["seeds=-3"], SettingsError, r"seeds is \[-3\]; give whole numbers from 0 on"),
        (["seeds=[]"], SettingsError, r"seeds is \[\]; give whole numbers"),
        (["seeds=[0,half]"], SettingsError, "seeds: expected int, not half"),
        (["seeds=[1,1]"], SettingsError, "each once"),
        (["final_training=often"], SettingsError, "final_training"),
        (["epochs"], SettingsError, "--set takes name=value"),
        (["training.one_network_per_tag=true"], SettingsError, "is for sounds with several tags each"),
        (["data.cats_dogs.validation_share=0"], SettingsError, "no validation sounds to choose the best weights by"),
        (["data.cats_dogs.test=[]"], SettingsError, "no clip is left to be tested on"),
    ],
)
def test_wrong_recipes_are_told(
    changes: list[str], error: type[Exception], message: str, animals: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        train_networks("cats_dogs", animals, tmp_path / "out", [*SMALL, *changes])


def test_a_class_that_cannot_be_learned_and_sounds_that_cannot_be_read(tmp_path: Path) -> None:
    for name in ("cat_1.wav", "cat_90.wav", "dog_90.wav", "dog_91.wav"):
        write_audio(tmp_path / name, sine(300, 0.5, ANIMAL_RATE), ANIMAL_RATE)
    with pytest.raises(SettingsError, match="of 2 clips of 'dog' none is left to learn from"):
        train_networks("cats_dogs", tmp_path, tmp_path.parent / f"{tmp_path.name}-out", SMALL)
    (tmp_path / "dog_1.wav").touch()
    for file in tmp_path.iterdir():
        file.write_bytes(b"nothing")
    with pytest.raises(MediaError, match="none of the 5 sounds could be read"):
        train_networks("cats_dogs", tmp_path, tmp_path.parent / f"{tmp_path.name}-other", SMALL)


def test_each_kind_of_recipe_names_the_command_that_takes_it(
    animals: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "cats_dogs"]) == 1
    assert "use `soundnet-kd train cats_dogs`" in capsys.readouterr().err
    assert main(train("esc50", animals, tmp_path / "out")[:-1]) == 1
    assert "use `soundnet-kd run esc50`" in capsys.readouterr().err


def test_the_help_explains_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for key in ("data.cats_dogs:", "data.nsynth:", "sampling.segments:", "least_peak", "final_momentum", "patience",
                "one_network_per_tag", "least_samples", "front_end", "galleries",
                "front_end, name: LogSpectrogram:", "window_samples, step_samples (int)", "network.NSynthBetter:",
                "validation_share (float) Of the other clips, class by class. [default: 0.25]"):  # fmt: skip
        assert key in text
    assert "FACTS.md" not in text


def test_a_single_seed_is_a_list_of_one() -> None:
    assert read_experiment_config("cats_dogs", ["seeds=3"]).seeds == (3,)
