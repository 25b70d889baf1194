"""The three commands on a small cache: what they write, and that it says what was put in."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from soundnet_kd.analysis import evaluate, neurons, project
from soundnet_kd.errors import RunConflictError, SettingsError
from tests.analysis.caches import write_cache

NAMES = ("cat", "dog_bark", "rain")
LABELS = [0] * 10 + [1] * 10 + [2] * 10 + [-1]
PNG = b"\x89PNG\r\n"


def make_cache(folder: Path, folds: list[int]) -> Path:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(31, 4)).astype(np.float32)
    telling = (np.abs(noise) * 0.1 + 5 * np.eye(4)[LABELS]).astype(np.float32)
    return write_cache(folder / "features.h5", {"conv1": noise, "pool5": telling}, LABELS, folds, NAMES)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return make_cache(tmp_path, [1 + index % 2 for index in range(30)] + [0])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_evaluate_writes_results_tables_and_figures(cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    result = evaluate(cache, out)

    content = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert content["format_version"] == 1
    assert content["classes"] == list(NAMES)
    assert content["best_layer"] == "pool5"
    assert content["chance"] == pytest.approx(1 / 3)
    assert content["source"]["folds"] == "the folds of the data set"
    assert content["source"]["identity"]["student"]["sha256"] == "none"
    pool5 = content["results"][1]
    assert (pool5["layer"], pool5["channels"], pool5["accuracy"], pool5["left_out"]) == ("pool5", 4, 1.0, 1)
    assert pool5["confusion"] == [[10, 0, 0], [0, 10, 0], [0, 0, 10]]
    assert set(pool5["accuracy_by_C"]) == {"0.0001", "0.001", "0.01", "0.1", "1.0", "10.0"}

    table = rows_of(out / "accuracy.csv")
    assert [row["layer"] for row in table] == ["conv1", "pool5"]
    assert (table[1]["accuracy"], table[1]["std"], table[1]["fold 2"]) == ("1.0000", "0.0000", "1.0000")
    predictions = rows_of(out / "predictions.csv")
    assert predictions[12] == {
        "id": "clip-12",
        "fold": "1",
        "label": "dog_bark",
        "conv1": predictions[12]["conv1"],
        "pool5": "dog_bark",
    }
    assert predictions[30]["pool5"] == ""

    for figure in ("accuracy_by_layer.png", "confusion_pool5.png"):
        assert (out / figure).read_bytes().startswith(PNG)
    assert "pool5 is best with 100.0%" in str(result).splitlines()[-1]


def test_evaluate_draws_folds_where_there_are_none(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, [0] * 31)
    first = evaluate(cache, tmp_path / "first", layers=["conv1"], seed=3)
    second = evaluate(cache, tmp_path / "second", layers=["conv1"], seed=3)
    assert "5 folds, drawn class by class with seed 3" in str(first)
    for name in ("accuracy.csv", "predictions.csv"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    assert list(second.evaluation.results) == ["conv1"]


@pytest.mark.parametrize("command", [evaluate, neurons, project])
def test_an_unknown_layer_names_the_nearest_one(command: type, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no layer 'pol5', did you mean 'pool5'"):
        command(cache, tmp_path / "out", layers=["pol5"])
    assert not (tmp_path / "out").exists()


def test_neurons_writes_a_row_for_each_neuron(cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "neurons"
    result = neurons(cache, out, percentile=80, top_clips=2)
    table = rows_of(out / "neurons.csv")
    assert [(row["layer"], row["neuron"]) for row in table] == [
        (layer, str(neuron)) for layer in ("conv1", "pool5") for neuron in range(4)
    ]
    assert [row["best class"] for row in table[4:7]] == list(NAMES)
    assert {row["best share"] for row in table[4:7]} == {"1.0000"}
    assert int(table[4]["top clip 1"].removeprefix("clip-")) < 10
    for figure in ("best_share_by_layer.png", "neurons_conv1.png", "neurons_pool5.png"):
        assert (out / figure).read_bytes().startswith(PNG)
    assert str(result).splitlines()[-1] == f"wrote {out}: 8 neurons of 2 layers"


@pytest.mark.slow
def test_project_writes_maps_and_how_far_to_trust_them(cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "maps"
    project(cache, out, layers=["pool5"], supervised=True)
    table = rows_of(out / "map_pool5.csv")
    assert len(table) == 31
    assert (table[15]["id"], table[15]["label"], table[30]["label"]) == ("clip-15", "dog_bark", "")
    content = json.loads((out / "maps.json").read_text(encoding="utf-8"))
    assert content["source"]["supervised"] is True
    assert "knowing the labels" in content["note"]
    assert content["maps"][0]["knn_accuracy_features"] == 1.0
    assert (out / "map_pool5.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize(
    ("command", "change"),
    [
        (evaluate, {"seed": 1}),
        (neurons, {"percentile": 90.0}),
        (project, {"seed": 1}),
    ],
)
def test_a_folder_that_holds_another_run_is_refused_and_kept(
    command: Callable[..., object], change: dict[str, float], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    labels, folds = [0, 1] * 10, [1, 1, 2, 2] * 5
    features = write_cache(
        tmp_path / "features.h5", {"conv1": rng.random((20, 4)).astype(np.float32)}, labels, folds, ("a", "b")
    )
    out = tmp_path / "out"
    command(features, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(RunConflictError, match=rf"settings\.{next(iter(change))} was"):
        command(features, out, **change)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
