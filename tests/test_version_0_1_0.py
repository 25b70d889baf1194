"""What version 0.1.0 wrote is read, means what it meant, and is gone on with.

`version_0_1_0/make.py` says how the files came about; the answers beside them are those of version 0.1.0. Numbers that
a network computes may differ in their last digits on another machine.
"""

import csv
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from soundnet_kd import FeatureCache, load_student
from soundnet_kd.cli import main
from tests.version_0_1_0.make import (
    ARCHIVE,
    CHANNELS,
    DISTILL,
    EXTRACT,
    FINETUNE,
    FRESH,
    NETWORKS,
    ONE,
    STUDENTS,
    TAGGED,
    TRAIN,
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("version_0_1_0")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(autouse=True)
def there(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run commands where version 0.1.0 ran them: paths in settings are relative to that."""
    monkeypatch.chdir(kept)
    monkeypatch.setenv("SOUNDNET_KD_CACHE", "cache")


def run(command: str, *more: str | Path) -> None:
    assert main([*command.split(), *map(str, more)]) == 0


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def told(path: Path) -> list[dict[str, str]]:
    """Read a table without the places of sounds, which are other ones here."""
    return [{name: value for name, value in row.items() if name != "path"} for row in rows_of(path)]


def json_of(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def assert_close(found: NDArray[Any], wanted: NDArray[Any]) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5 * float(np.abs(wanted).max()))


def assert_same_layers(cache: Path, answers: Path) -> None:
    with FeatureCache(cache) as found, np.load(answers) as wanted:
        assert set(found.layers) == set(wanted.files)
        for layer in wanted.files:
            assert_close(found[layer][:, :CHANNELS], wanted[layer])


@pytest.mark.parametrize("name", [*STUDENTS, "imported"])
def test_what_a_student_guesses(name: str, tmp_path: Path) -> None:
    run(f"predict {ONE} --student {STUDENTS.get(name, name)} --device cpu --out", tmp_path / "found.json")
    (found,), (wanted,) = (json_of(file)["sounds"] for file in (tmp_path / "found.json", Path(f"answers/{name}.json")))
    (found_span,), (wanted_span,) = found["spans"], wanted["spans"]
    for head in ("objects", "scenes"):
        assert [guess["class"] for guess in found_span[head]] == [guess["class"] for guess in wanted_span[head]]
        for now, before in zip(found_span[head], wanted_span[head], strict=True):
            assert now["probability"] == pytest.approx(before["probability"], abs=2e-4)


@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_is_the_one_that_it_was(name: str) -> None:
    """Features are bound to the hash of the network that they are of."""
    with FeatureCache(Path("features") / f"{name}.h5") as cache:
        assert load_student(STUDENTS[name]).fingerprint() == cache.identity["student"]["sha256"]


def test_imported_students_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    run("weights list")
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("imported"))
    assert "SoundNet5" in line


@pytest.mark.parametrize("name", [*STUDENTS, "trained", "tag", *NETWORKS])
def test_what_the_layers_of_a_network_make_of_a_sound(name: str, tmp_path: Path) -> None:
    if name == "tag":
        place: str | Path = tmp_path / "classifier.safetensors"
        shutil.copy(Path("tagged/classifiers/loud.safetensors"), place)
    else:
        place = STUDENTS.get(name) or (f"networks/{name}" if name in NETWORKS else name)
    run(f"extract {ONE} --workers 0 --device cpu --student", place, "--out", tmp_path / "features.h5")
    assert_same_layers(tmp_path / "features.h5", Path(f"answers/features/{name}.npz"))


@pytest.mark.parametrize("name", ["finetuned", "deep"])
def test_what_a_student_with_a_new_head_says(name: str, tmp_path: Path) -> None:
    run(f"peel {ONE} --student {name} --out", tmp_path)
    with h5py.File(tmp_path / "peel.h5") as file, np.load(Path(f"answers/peeled/{name}.npz")) as wanted:
        (head,) = file["heads"].values()
        assert set(head["class_names"].asstr()[()]) == {"high", "low"}
        logits = (head["weight"][()] * head["heard"][()]).sum(axis=(1, 2)) + head["bias"][()]
        assert_close(logits, wanted["logits"])


def test_features_are_read() -> None:
    table = rows_of(Path("sounds.csv"))
    with FeatureCache(Path("features/five.h5")) as cache:
        assert cache.layers == ("conv1", "pool2")
        assert cache.ids == tuple(row["path"] for row in table)
        assert cache.class_names == ("high", "low")
        assert [cache.class_names[label] for label in cache.labels] == [row["label"] for row in table]
        assert cache.folds.tolist() == [int(row["fold"]) for row in table]
        assert cache["pool2"].shape == (8, 64)
    with FeatureCache(Path("features/steps.h5")) as cache, np.load(Path("answers/features/five.npz")) as wanted:
        assert_close(cache.sequence(0, "pool3").mean(axis=0)[:CHANNELS], wanted["pool3"][0])


@pytest.mark.parametrize("name", STUDENTS)
def test_an_evaluation_is_that_of_the_same_features(name: str, tmp_path: Path) -> None:
    """In a copy of its folder, so that its settings have to be the same too."""
    out, before = tmp_path / "out", json_of(Path("results") / name / "results.json")
    shutil.copytree(Path("results") / name, out)
    (out / "results.json").unlink()
    run(f"evaluate features/{name}.h5 --out", out)
    found = json_of(out / "results.json")
    for key in ("classes", "chance", "results"):
        assert found[key] == before[key]
    assert told(out / "predictions.csv") == told(Path("results") / name / "predictions.csv")


def test_results_are_compared_and_ranked(tmp_path: Path) -> None:
    """Those of features, of a student with a new head, of networks from scratch."""
    run("compare results/eight --baseline results/five --out", tmp_path / "comparison.csv")
    assert rows_of(tmp_path / "comparison.csv") == rows_of(Path("results/comparison.csv"))
    run("rank results/eight results/five finetuned fresh trained --out", tmp_path)
    assert rows_of(tmp_path / "ranking.csv") == rows_of(Path("ranking/ranking.csv"))


def test_neurons_are_those_of_the_same_features(tmp_path: Path) -> None:
    shutil.copytree(Path("neurons"), tmp_path / "out")
    (tmp_path / "out" / "neurons.csv").unlink()
    run("neurons features/eight.h5 --shuffles 50 --layers conv1 --out", tmp_path / "out")
    assert rows_of(tmp_path / "out" / "neurons.csv") == rows_of(Path("neurons/neurons.csv"))


def test_a_page_of_all_that_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    trainings = ("finetuned", "fresh", "tagged", "trained")
    for name in ("features", "maps", "neurons", "peel", "ranking", "results", *trainings):
        shutil.copytree(name, folder / name)
    run(f"report {folder} --features {folder}/features/eight.h5 --sounds sounds.csv")
    text = (folder / "report" / "index.html").read_text(encoding="utf-8")
    for section in ("Overview", "Training", "Classes", "Neurons", "Map", "Clips", "Peeled"):
        assert f"<h2>{section}</h2>" in text
    for name in trainings:
        assert f"<h3>{name}</h3>" in text
    assert len(list((folder / "report" / "sounds").iterdir())) == len(rows_of(Path("sounds.csv")))


@pytest.mark.parametrize(("name", "command"), [("finetuned", FINETUNE), ("fresh", FRESH)])
def test_a_training_on_labels_that_is_done_stays_as_it_is(name: str, command: str, tmp_path: Path) -> None:
    shutil.copytree(name, tmp_path / "out")
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    run(command, tmp_path / "out")
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir() if file.name in before} == before


@pytest.mark.parametrize(
    ("name", "command", "tables"),
    [("trained", TRAIN, ("predictions", "probabilities", "trainings", "history", "accuracy", "classes")),
     ("tagged", TAGGED, ("predictions", "trainings", "history", "tags", "tag_overlap"))],
)  # fmt: skip
def test_tables_are_made_again_of_what_trainings_left(
    name: str, command: str, tables: tuple[str, ...], tmp_path: Path
) -> None:
    shutil.copytree(name, tmp_path / "out")
    for file in ("results.json", *(f"{table}.csv" for table in tables)):
        (tmp_path / "out" / file).unlink()
    run(command, tmp_path / "out")
    found, before = (json_of(folder / "results.json") for folder in (tmp_path / "out", Path(name)))
    assert found["results"] == before["results"]
    for table in tables:
        assert told(tmp_path / "out" / f"{table}.csv") == told(Path(name) / f"{table}.csv")


def assert_history(found: Path, wanted: Path) -> None:
    """Check the steps that were done, which are those since the checkpoint, and the losses."""
    before, now = rows_of(wanted), rows_of(found)
    keys = [key for key in before[0] if key in ("fold", "seed", "step", "network")]
    assert [[row[key] for key in keys] for row in now] == [[row[key] for key in keys] for row in before]
    for row, old in zip(now, before, strict=True):
        for key in old:
            if "loss" in key and old[key]:
                assert float(row[key]) == pytest.approx(float(old[key]), rel=1e-2)


def test_a_fine_tuning_goes_on(tmp_path: Path) -> None:
    """One fold is done, the other one has a checkpoint."""
    shutil.copytree(Path("half/finetune"), tmp_path / "out")
    run(FINETUNE, tmp_path / "out", "--folds_only")
    answers = Path("answers/half/finetune")
    assert_history(tmp_path / "out" / "history.csv", answers / "history.csv")
    assert told(tmp_path / "out" / "predictions.csv") == told(answers / "predictions.csv")


def test_a_training_from_scratch_goes_on(tmp_path: Path) -> None:
    shutil.copytree(Path("half/train"), tmp_path / "out")
    run(TRAIN, tmp_path / "out")
    answers = Path("answers/half/train")
    assert_history(tmp_path / "out" / "history.csv", answers / "history.csv")
    now, before = rows_of(tmp_path / "out" / "probabilities.csv"), rows_of(answers / "probabilities.csv")
    assert [row["id"] for row in now] == [row["id"] for row in before]
    for row, old in zip(now, before, strict=True):
        assert float(row["high"]) == pytest.approx(float(old["high"]), abs=2e-3)


def test_a_distillation_goes_on(tmp_path: Path) -> None:
    """From a checkpoint, with the targets that were labelled then."""
    shutil.copytree(Path("half/distill"), tmp_path / "out")
    run(DISTILL, tmp_path / "out")
    answers = Path("answers/half/distill")
    assert_history(tmp_path / "out" / "history.csv", answers / "history.csv")
    sums = json_of(answers / "sums.json")
    weights = load_file(tmp_path / "out" / "student.safetensors")
    assert weights.keys() == sums.keys()
    for name, tensor in weights.items():
        assert np.abs(tensor.astype(np.float64)).sum() == pytest.approx(sums[name], rel=1e-3)


def test_an_extraction_goes_on(tmp_path: Path) -> None:
    """A number that is changed in the part that is done is found in the whole."""
    cache = tmp_path / "features.h5"
    parts = tmp_path / "features.h5.parts"
    shutil.copytree(Path("half/extract/features.h5.parts"), parts)
    with h5py.File(parts / "part-00000.h5", "r+") as file:
        file["layers/conv1"][0, 0] += 1
    run(EXTRACT, cache)
    with FeatureCache(cache) as found, np.load(Path("answers/half/extract.npz")) as wanted:
        changed = wanted["conv1"].copy()
        changed[0, 0] += 1
        assert_close(found["conv1"][:, :CHANNELS], changed)
        assert_close(found["pool2"][:, :CHANNELS], wanted["pool2"])
