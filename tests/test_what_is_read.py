"""The commands say what a data set is taken for before they begin, and go by what they said."""

import csv
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from soundnet_kd import FeatureCache, cross_validate
from soundnet_kd.cli import main
from soundnet_kd.errors import SettingsError
from soundnet_kd.media import write_audio
from soundnet_kd.models import SoundNet8, write_network
from tests.media_files import sine

RATE = 22_050
CLASSES = {"bell": 2000, "dog": 300, "rain": 900}


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("student") / "student.safetensors"
    write_network(SoundNet8({"objects": ("cat", "dog"), "scenes": ("street",)}), path, {})
    return path


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Four tones of each class."""
    for name, frequency in CLASSES.items():
        for number in range(4):
            tone = sine(frequency * (1 + 0.02 * number), 1.0, RATE, 0.3)
            write_audio(tmp_path / "sounds" / name / f"{number}.wav", tone, RATE)
    return tmp_path / "sounds"


def told(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> str:
    assert main([str(each) for each in arguments]) == status
    captured = capsys.readouterr()
    return captured.out + captured.err


def files(folder: Path) -> Sequence[Path]:
    return sorted(folder.rglob("*"))


LINE = "12 sounds, 3 classes (bell, dog, rain)"


def test_a_dry_run_says_what_it_would_take_and_leaves_nothing(
    sounds: Path, student: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (sounds / "notes.txt").touch()
    table = sounds / "table.csv"
    rows = [f"{name}/{number}.wav, {name}, {number}\n" for name in CLASSES for number in range(4)]
    table.write_text("Path, Label, Fold\n" + "".join(rows))
    before, out = files(tmp_path), tmp_path / "out"
    own = ("--student", student, "--out", out, "--dry_run")
    line = f"{LINE}, no folds; left out: 2 as no sound (notes.txt, table.csv)"
    assert line in told(capsys, "extract", sounds, *own)
    assert line in told(capsys, "finetune", sounds, *own)
    assert line in told(capsys, "explore", sounds, "--out", out, "--dry_run")
    folds = f"{LINE}, folds 0–3"  # noqa: RUF001
    assert folds in told(capsys, "extract", table, *own)
    assert folds in told(capsys, "finetune", table, *own)
    assert folds in told(capsys, "train", "esc50_cats_dogs", "--data", table, "--out", out, "--dry_run")
    assert "12 sounds: " in told(capsys, "predict", sounds, "--student", student, "--dry_run")
    assert files(tmp_path) == before


def test_it_is_said_before_the_first_sound_is_decoded(
    sounds: Path, student: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of sounds none of which can be decoded."""
    for file in sounds.rglob("*.wav"):
        file.write_bytes(b"RIFF, but no more")
    for command in ("extract", "finetune", "explore"):
        options = () if command == "explore" else ("--student", student, "--device", "cpu")
        said = told(capsys, command, sounds, "--out", tmp_path / command, *options, status=1)
        assert said.index(f"{sounds}: {LINE}, no folds") < said.index("could be read")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("dog/0.wav,dog,1\nrain/0.wav,rain,\n", "1 of 2 labelled clips have no fold but others do, such as rain/0.wav"),
        ("gone.wav,dog,1\nlost.wav,rain,2\n", "none of the 2 sounds could be read"),
        ("dog/0.wav,dog,one\n", "fold is 'one' where a whole number is expected"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_written(
    rows: str, message: str, sounds: Path, student: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = sounds / "table.csv"
    table.write_text("path,label,fold\n" + rows)
    before, out = files(tmp_path), tmp_path / "out"
    for command in ("extract", "finetune"):
        assert message in told(capsys, command, table, "--student", student, "--out", out, status=1)
    assert files(tmp_path) == before


def test_one_class_is_none_to_learn(
    sounds: Path, student: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(tmp_path)
    (sounds / "rain").rename(tmp_path / "rain")
    (sounds / "bell").rename(tmp_path / "bell")
    said = told(capsys, "finetune", sounds, "--student", student, "--out", tmp_path / "out", status=1)
    assert "all labelled sounds are 'dog'; at least two classes are needed" in said
    assert len(files(tmp_path)) == len(before)


def test_a_class_that_only_the_test_has_is_told_before_sounds_are_decoded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of files that hold nothing: whoever opened them would complain of that."""
    for number in range(70):
        label, split = ("cat", "train") if number < 60 else ("dog", "test")
        file = tmp_path / "sounds" / split / label / f"{number}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    for options in ((), ("--dry_run",)):
        said = told(
            capsys, "train", "esc50_cats_dogs", "--data", tmp_path / "sounds", "--out", tmp_path / "out", *options,
            "--set", "network=CatsDogs", status=1,
        )  # fmt: skip
        assert "of 10 clips of 'dog' none is left to learn from" in said
    assert not (tmp_path / "out").exists()


def test_folds_from_0_are_the_folds(
    sounds: Path, student: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the table to the comparison; the same folds counted from 1 give the same figures."""
    for first in (0, 1):
        rows = [f"{name}/{number}.wav,{name},{number + first}\n" for name in CLASSES for number in range(4)]
        (sounds / f"{first}.csv").write_text("path,label,fold\n" + "".join(rows))
        cache = tmp_path / f"{first}.h5"
        told(capsys, "extract", sounds / f"{first}.csv", "--student", student, "--out", cache, "--layers", "conv5")
        said = told(capsys, "evaluate", cache, "--out", tmp_path / f"e{first}")
        assert f"fold {first}" in said
        assert "the folds of the data set" in said
        with FeatureCache(cache) as found:
            assert found.folds.tolist() == [first, first + 1, first + 2, first + 3] * 3
            assert found.no_fold == first - 1
    told(capsys, "compare", tmp_path / "e0", "--baseline", tmp_path / "e1", "--out", tmp_path / "c.csv")
    with (tmp_path / "e0" / "predictions.csv").open(newline="") as handle:
        before = [(row["id"], int(row["fold"]) + 1, row["conv5"]) for row in csv.DictReader(handle)]
    with (tmp_path / "e1" / "predictions.csv").open(newline="") as handle:
        assert [(row["id"], int(row["fold"]), row["conv5"]) for row in csv.DictReader(handle)] == before
    own = ("--student", student, "--epochs", 1, "--crop_seconds", 1, "--layer", "conv4", "--device", "cpu")
    told(capsys, "finetune", sounds / "0.csv", "--out", tmp_path / "f0", "--folds_only", *own)
    assert "4, those of the data set" in str(told_facts(tmp_path / "0.h5"))


def told_facts(cache: Path) -> list[tuple[str, str]]:
    from soundnet_kd.report.facts import facts_of_cache

    with FeatureCache(cache) as found:
        return list(facts_of_cache(found))


def test_a_cache_of_an_older_version_means_what_it_meant(
    sounds: Path, student: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It knew 0 as none only, and a column called split as one that is carried along."""
    cache = tmp_path / "old.h5"
    rows = [f"{name}/{number}.wav,{name},{('train', 'test')[number % 2]}\n" for name in CLASSES for number in range(4)]
    (sounds / "table.csv").write_text("path,label,split\n" + "".join(rows))
    told(capsys, "extract", sounds / "table.csv", "--student", student, "--out", cache, "--layers", "conv5")
    with h5py.File(cache, "r+") as file:
        assert file.attrs.pop("split_column") == "split"
    with FeatureCache(cache) as found:
        assert (found.splits, found.no_fold, set(found.columns)) == ((), 0, {"split"})
    assert "4 folds, drawn class by class" in told(capsys, "evaluate", cache, "--out", tmp_path / "e")


@pytest.mark.parametrize("protocol", ["notebook", "best"])
def test_the_split_of_a_data_set_is_tested_as_it_is_given(
    protocol: str, sounds: Path, student: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in CLASSES:
        for number in range(4):
            place = sounds / ("train" if number < 3 else "test") / name / f"{number}.wav"
            place.parent.mkdir(parents=True, exist_ok=True)
            (sounds / name / f"{number}.wav").rename(place)
        (sounds / name).rmdir()
    cache = tmp_path / "f.h5"
    said = told(capsys, "extract", sounds, "--student", student, "--out", cache, "--layers", "conv5")
    assert f"{LINE}, split: 9 train, 3 test" in said
    said = told(capsys, "evaluate", cache, "--out", tmp_path / "e", "--protocol", protocol)
    assert "the split of the data set, 9 clips learned from and 3 tested" in said
    with (tmp_path / "e" / "predictions.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert {row["id"]: bool(row["conv5"]) for row in rows} == {
        f"{'train' if number < 3 else 'test'}/{name}/{number}.wav": number == 3
        for name in CLASSES
        for number in range(4)
    }
    own = ("--student", student, "--epochs", 1, "--crop_seconds", 1, "--layer", "conv4", "--device", "cpu")
    told(capsys, "finetune", sounds, "--out", tmp_path / "tuned", "--folds_only", *own)
    told(
        capsys,
        "compare",
        tmp_path / "tuned",
        "--baseline",
        tmp_path / "e",
        "--out",
        tmp_path / "c.csv",
        "--layers",
        "conv5:conv4",
    )
    assert "folds, drawn" in told(capsys, "evaluate", cache, "--out", tmp_path / "e4", "--folds", "2")


def test_only_some_folds_are_tested() -> None:
    """Against scikit-learn, trained by hand; nested selection chooses by the folds that are not tested."""
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1, 2], 20)
    features = rng.normal(size=(60, 5)) + labels[:, None] * 0.5
    folds = np.repeat(["test", "a", "b"], 20)
    result = cross_validate(features, labels, folds, grid={"C": [0.1]}, tested=["test"])
    learned = folds != "test"
    by_hand = make_pipeline(StandardScaler(), LinearSVC(C=0.1, max_iter=10_000)).fit(features[learned], labels[learned])
    right = by_hand.predict(features[~learned]) == labels[~learned]
    assert result.folds == ("test",)
    assert result.accuracy == pytest.approx(right.mean())
    assert (result.predictions[learned] == -1).all()
    assert result.confusion.sum() == 20
    inner = {}
    for C in (0.001, 1.0):
        inner[C] = np.mean(
            [
                cross_validate(
                    features[learned], labels[learned], folds[learned], grid={"C": [C]}, tested=[fold]
                ).accuracy
                for fold in "ab"
            ]
        )
    nested = cross_validate(features, labels, folds, grid={"C": [0.001, 1.0]}, selection="nested", tested=["test"])
    assert nested.chosen == ({"C": max(inner, key=lambda C: float(inner[C]))},)
    with pytest.raises(SettingsError, match="no labelled clip in a fold 'tset' to test; did you mean 'test'"):
        cross_validate(features, labels, folds, tested=["tset"])
    with pytest.raises(SettingsError, match="no fold is to be tested"):
        cross_validate(features, labels, folds, tested=[])
