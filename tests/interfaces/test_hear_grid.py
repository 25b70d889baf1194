"""HEAR's evaluation of a task on this disk, in the layout of its own."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import ParameterGrid

from soundnet_kd.data import Clip
from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.interfaces import hear_grid
from soundnet_kd.interfaces.hear_grid import SCORES, evaluate_task, read_task
from soundnet_kd.interfaces.listening import Listener
from soundnet_kd.media import write_audio
from soundnet_kd.pretrained.students import import_student
from tests.benchmarks.suites import esc50_clips, write_hear_task
from tests.interfaces.suite import RATE, hum, write_student

LABELS = ("low", "middle", "high")
LAYER = "pool1"
"""Of an untrained student a shallow layer tells sounds apart, and is heard quickly."""


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Listener:
    return Listener(write_student(tmp_path_factory.mktemp("student") / "student.safetensors", 0), LAYER, "sqrt")


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a task of three folds as the benchmark's script writes ESC-50's."""
    folder, clips = tmp_path_factory.mktemp("hear"), []
    for number in range(72):
        path = folder / f"{number}.wav"
        write_audio(path, hum(number % 3, number, 0.6, RATE), RATE)
        clips.append(Clip(path.name, path, label=number % 3, fold=1 + number // 24))
    return write_hear_task(clips, LABELS, folder / "tasks" / "hum-local-full")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hear_grid, "HIDDEN_UNITS", 128)
    monkeypatch.setattr(hear_grid, "MAX_EPOCHS", 100)


def test_folds_take_turns(folds: Path) -> None:
    task = read_task(folds)
    assert (task.name, task.labels, task.exclusive, task.scores) == ("esc50-local", LABELS, True, ("top1_acc",))
    assert task.parts() == [
        (("fold02",), "fold01", "fold00"),
        (("fold00",), "fold02", "fold01"),
        (("fold01",), "fold00", "fold02"),
    ]


@pytest.mark.usefixtures("quick")
def test_a_row_of_folds(folds: Path, listener: Listener) -> None:
    found = evaluate_task(folds, listener, grid_points=3)
    assert (found.task, found.model) == ("esc50-local", f"SoundNet8-{LAYER}-sqrt")
    assert len(found.scores["top1_acc"]) == 3
    assert found.mean("top1_acc") == pytest.approx(np.mean(found.scores["top1_acc"]))
    assert found.mean("top1_acc") > 0.6
    assert found.settings in list(ParameterGrid(hear_grid.GRID))
    assert evaluate_task(folds, listener, grid_points=3) == found


@pytest.mark.usefixtures("quick")
def test_tags_in_train_valid_and_test(tmp_path: Path, listener: Listener) -> None:
    """A sound may have several labels, or none; what is tested is not what was learned from."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 40), ("valid", 16), ("test", 16)):
        folder, labels = tmp_path / "44100" / split, {}
        folder.mkdir(parents=True)
        for number in range(count):
            tags = [kind for kind in range(2) if rng.random() < 0.5]
            sound = sum((hum(2 * kind, 100 * count + number, 0.5, 44_100) / 2 for kind in tags), np.zeros(22_050))
            write_audio(folder / f"{number}.wav", np.asarray(sound, np.float32), 44_100)
            labels[f"{number}.wav"] = [LABELS[kind] for kind in tags]
        (tmp_path / f"{split}.json").write_text(json.dumps(labels))
    describe(tmp_path, prediction_type="multilabel", split_mode="trainvaltest", evaluation=["mAP", "aucroc", "d_prime"])
    found = evaluate_task(tmp_path, listener, grid_points=2)
    assert {score: len(each) for score, each in found.scores.items()} == {"mAP": 1, "aucroc": 1, "d_prime": 1}
    assert found.mean("mAP") > 0.7
    assert found.mean("aucroc") > 0.7
    assert found.mean("d_prime") > 0


def describe(folder: Path, **changed: Any) -> None:
    """Write a whole description of a task; each case changes some of it."""
    about = {"task_name": "hum", "embedding_type": "scene", "prediction_type": "multiclass"}
    about |= {"split_mode": "trainvaltest", "evaluation": ["top1_acc"], "splits": ["train", "valid", "test"]} | changed
    (folder / "task_metadata.json").write_text(
        json.dumps({key: each for key, each in about.items() if each is not None})
    )
    (folder / "labelvocabulary.csv").write_text("idx,label\n0,low\n1,middle\n")


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"embedding_type": "event"}, SettingsError, "a task of events; only tasks of scenes"),
        ({"evaluation": ["top1acc"]}, SettingsError, "score 'top1acc'; did you mean 'top1_acc'"),
        ({"evaluation": None}, FormatError, "no whole task in HEAR's layout: KeyError"),
        ({"split_mode": "presplit_kfold", "splits": ["fold00"]}, FormatError, "three splits or more"),
    ],
)
def test_what_is_no_task_of_scenes(
    tmp_path: Path, changed: dict[str, Any], error: type[Exception], message: str
) -> None:
    describe(tmp_path, **changed)
    with pytest.raises(error, match=message):
        read_task(tmp_path)


def test_labels_and_sounds_that_are_missing(tmp_path: Path, listener: Listener) -> None:
    with pytest.raises(SettingsError, match=r"it has no task_metadata\.json"):
        evaluate_task(tmp_path, listener)
    describe(tmp_path)
    with pytest.raises(FormatError, match=r"no readable train\.json"):
        evaluate_task(tmp_path, listener)
    (tmp_path / "train.json").write_text('{"a.wav": ["loud"]}')
    with pytest.raises(FormatError, match=r"'loud', which labelvocabulary\.csv does not list"):
        evaluate_task(tmp_path, listener)
    (tmp_path / "train.json").write_text('{"a.wav": ["low", "middle"]}')
    with pytest.raises(FormatError, match="none or several labels, in a multiclass task"):
        evaluate_task(tmp_path, listener)
    (tmp_path / "train.json").write_text('{"a.wav": ["low"]}')
    with pytest.raises(FormatError, match="no folder of sounds"):
        evaluate_task(tmp_path, listener)
    with pytest.raises(SettingsError, match="grid_points is 17; the grid has 16"):
        evaluate_task(tmp_path, listener, grid_points=17)


def test_scores_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    targets = (rng.random((50, 3)) < 0.4).astype(np.float32)
    answers = (rng.random((50, 3)) + targets / 2).astype(np.float32)
    assert SCORES["mAP"](answers, targets) == pytest.approx(
        np.mean([average_precision_score(targets[:, label], answers[:, label]) for label in range(3)])
    )
    assert SCORES["aucroc"](answers, targets) == pytest.approx(
        np.mean([roc_auc_score(targets[:, label], answers[:, label]) for label in range(3)])
    )
    assert SCORES["top1_acc"](np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[1.0, 0.0], [1.0, 0.0]])) == 0.5
    # Two normal distributions of deviation 1 whose means are 1 apart have d' 1.
    apart = np.concatenate([rng.normal(0, 1, 100_000), rng.normal(1, 1, 100_000)])[:, None]
    known = np.repeat([[0.0], [1.0]], 100_000, axis=0)
    assert SCORES["d_prime"](apart.astype(np.float32), known.astype(np.float32)) == pytest.approx(1, abs=0.02)


@pytest.mark.real
def test_the_released_network_on_real_sounds(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three classes and folds of ESC-50, with the grid's own sizes."""
    monkeypatch.setenv("SOUNDNET_KD_CACHE", str(tmp_path / "cache"))
    import_student(real_data / "soundnet_reference" / "sound8.npy", "soundnet8")
    clips = [clip for clip in esc50_clips(real_data / "esc50", 3) if clip.fold < 4]
    task = write_hear_task(clips, ("dog", "rooster", "pig"), tmp_path / "task")
    found = evaluate_task(task, Listener("soundnet8", features="sqrt"), grid_points=2)
    assert found.model == "soundnet8-pool5-sqrt"
    assert found.mean("top1_acc") > 0.7
