"""The three commands on a small cache: what they write, and that it says what was put in."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soundnet_kd.analysis.maps.file import read_maps
from soundnet_kd.commands.evaluate import evaluate
from soundnet_kd.commands.neurons import neurons
from soundnet_kd.commands.project import project
from soundnet_kd.data.datasets.esc50 import ESC50_CLASSES
from soundnet_kd.errors import RunConflictError, SettingsError
from soundnet_kd.transfer.results import write_evaluation
from tests.analysis.caches import write_cache
from tests.transfer.evaluations import evaluation

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
    assert (pool5["protocol"], pool5["selection"]) == ("notebook", "same folds")
    assert [setting["C"] for setting in pool5["grid"]] == [0.0001, 0.001, 0.01, 0.1, 1.0, 10.0]
    assert len(pool5["chosen"]) == 2

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

    for figure in ("accuracy_by_layer.png", "confusion_pool5.png", "classes_pool5.png"):
        assert (out / figure).read_bytes().startswith(PNG)
    # No class is taken for another one by the best layer, and only ESC-50 has categories.
    assert not list(out.glob("confused_pairs_*.png"))
    assert not list(out.glob("categories*"))
    lines = str(result).splitlines()
    assert lines[0].split() == ["layer", "features", "accuracy", "std", "fold", "1", "fold", "2", "chosen"]
    assert lines[2].split()[:6] == ["pool5", "4", "100.00%", "0.0%", "100.0%", "100.0%"]
    assert "pool5 is best of 2, chosen by these folds, with 100.00%" in lines[-1]


def test_evaluate_scores_every_class_of_every_layer(cache: Path, tmp_path: Path) -> None:
    """The tables say what the predictions, counted by hand, say."""
    out = tmp_path / "results"
    evaluate(cache, out)
    answers = [(row["label"], row["conv1"]) for row in rows_of(out / "predictions.csv") if row["label"]]
    classes = rows_of(out / "classes.csv")
    assert [(row["layer"], row["class"]) for row in classes] == [
        (layer, name) for layer in ("conv1", "pool5") for name in NAMES
    ]
    for row in classes[:3]:
        right = answers.count((row["class"], row["class"]))
        given = sum(answer == row["class"] for _, answer in answers)
        assert (row["clips"], row["recall"]) == ("10", f"{right / 10:.4f}")
        assert row["precision"] == (f"{right / given:.4f}" if given else "")
        assert row["f1"] == f"{2 * right / (10 + given):.4f}"
    assert {row["f1"] for row in classes[3:]} == {"1.0000"}
    pairs = rows_of(out / "confused_pairs.csv")
    assert {row["layer"] for row in pairs} == {"conv1"}
    for row in pairs:
        assert int(row["first as second"]) == answers.count((row["first"], row["second"]))
        assert int(row["second as first"]) == answers.count((row["second"], row["first"]))
    assert sum(int(row["mistakes"]) for row in pairs) == sum(label != answer for label, answer in answers)


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
    with pytest.raises(SettingsError, match="no layer 'pol5'; did you mean 'pool5'"):
        command(cache, tmp_path / "out", layers=["pol5"])
    assert not (tmp_path / "out").exists()


def test_neurons_writes_a_row_for_each_neuron(cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "neurons"
    result = neurons(cache, out, percentile=80, top_clips=2, neuron=3)
    table = rows_of(out / "neurons.csv")
    assert [(row["layer"], row["neuron"]) for row in table] == [
        (layer, str(neuron)) for layer in ("conv1", "pool5") for neuron in range(4)
    ]
    assert [row["best class"] for row in table[4:7]] == list(NAMES)
    assert {row["best share"] for row in table[4:7]} == {"1.0000"}
    assert {row["above chance"] for row in table[4:7]} == {"yes"}
    assert int(table[4]["top clip 1"].removeprefix("clip-")) < 10
    layers = rows_of(out / "layers.csv")
    assert [(row["layer"], row["neurons"]) for row in layers] == [("conv1", "4"), ("pool5", "4")]
    assert (layers[1]["above 30 %"], layers[1]["classes best for more than 5"]) == ("4", "0")
    for figure in ("neurons_conv1", "best_share_pool5", "selective_pool5", "neuron_pool5_3", "best_share_by_layer"):
        assert (out / f"{figure}.png").read_bytes().startswith(PNG)
        assert (out / f"{figure}.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert not (out / "best_classes_pool5.png").exists()
    assert str(result).splitlines()[-1] == f"wrote {out}: 8 neurons of 2 layers"


def test_clips_that_a_neuron_does_not_answer_to_are_not_among_its_strongest(tmp_path: Path) -> None:
    """Of four neurons one answers to no clip, one to clip 7 alone, one to all as to silence, one to all."""
    features = np.zeros((20, 4), np.float32)
    features[7, 1] = 2
    features[:, 2] = 0.5
    features[:, 3] = np.arange(20)
    cache = write_cache(tmp_path / "f.h5", {"conv5": features}, [0, 1] * 10, [0] * 20, ("a", "b"))
    neurons(cache, tmp_path / "neurons", top_clips=3, shuffles=10)
    with (tmp_path / "neurons" / "neurons.csv").open(encoding="utf-8", newline="") as handle:
        named = [row[9:] for row in csv.reader(handle)][1:]
    assert named == [[], ["clip-7"], [], ["clip-19", "clip-18", "clip-17"]]


def test_a_neuron_that_a_layer_lacks_is_refused(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no neuron 4 in conv1, which has 4 \(0 to 3\)"):
        neurons(cache, tmp_path / "neurons", neuron=4)
    assert not (tmp_path / "neurons").exists()


@pytest.mark.slow
def test_project_writes_maps_and_how_far_to_trust_them(cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "maps"
    # Of the three classes 10, 6 and 1 of ten clips are recognised.
    found_so = evaluation({"pool5": "a" * 14 + "b" * 6 + "a" * 9 + "c"}, "a" * 10 + "b" * 10 + "c" * 10)
    write_evaluation(replace(found_so, classes=NAMES), tmp_path)
    told = project(cache, out, layers=["pool5"], supervised=True, results=tmp_path)
    table = rows_of(out / "map_pool5.csv")
    assert len(table) == 31
    assert (table[15]["id"], table[15]["label"], table[30]["label"]) == ("clip-15", "dog_bark", "")
    content = json.loads((out / "maps.json").read_text(encoding="utf-8"))
    assert content["source"]["supervised"] is True
    assert content["source"]["results"] == ["rain", "cat"]
    assert "knowing the labels" in content["note"]
    (found,) = content["maps"]
    assert found["knn_accuracy_features"] == 1.0
    assert found["silhouette_features"] > 0.9
    assert found["held_out"] == {"clips": 15, "knn_accuracy_features": 1.0, "knn_accuracy_map": 1.0}
    for figure in ("map_pool5", "map_pool5_extremes"):
        assert (out / f"{figure}.png").read_bytes().startswith(PNG)
        assert (out / f"{figure}.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert "clip-15" in (out / "map_pool5.html").read_text(encoding="utf-8")
    assert (out / "plotly.min.js").is_file()
    assert "of 15 clips that a map is drawn without, 100.0% are right" in str(told)


@pytest.mark.slow
def test_project_leaves_out_and_counts_what_is_like_no_other(tmp_path: Path) -> None:
    """Silent clips, of all classes, have no cosine with any other; one of NaN has none either."""
    rng = np.random.default_rng(0)
    features = (np.abs(rng.normal(size=(31, 4))) * 0.1 + 5 * np.eye(4)[LABELS]).astype(np.float32)
    features[[0, 10, 20]] = 0
    features[5] = np.nan
    dead = np.zeros_like(features)
    cache = write_cache(tmp_path / "features.h5", {"conv1": dead, "pool5": features}, LABELS, [0] * 31, NAMES)
    told = project(cache, tmp_path / "maps")
    table = rows_of(tmp_path / "maps" / "map_pool5.csv")
    left = [clip for clip in range(31) if clip not in (0, 5, 10, 20)]
    assert [row["id"] for row in table] == [f"clip-{clip}" for clip in left]
    assert [row["label"] for row in table] == [(*NAMES, "")[LABELS[clip]] for clip in left]
    reason = "left out: 3 clips to which no neuron answers, 1 clip whose features are NaN or infinite"
    nothing = "left out: 31 clips to which no neuron answers; too few are left for a map"
    assert f"pool5: {reason}" in str(told).splitlines()
    assert f"conv1: {nothing}" in str(told).splitlines()
    content = json.loads((tmp_path / "maps" / "maps.json").read_text(encoding="utf-8"))
    assert content["left_out"] == {"conv1": nothing, "pool5": reason}
    assert [found["layer"] for found in content["maps"]] == ["pool5"]
    assert content["maps"][0]["clips"] == 27
    page = (tmp_path / "maps" / "map_pool5.html").read_text(encoding="utf-8")
    assert reason in page
    assert '"clip-10"' not in page
    assert read_maps(tmp_path / "maps")[0].left_out == reason
    with pytest.raises(SettingsError, match="there is no layer to draw a map of"):
        project(cache, tmp_path / "dead", layers=["conv1"])


@pytest.mark.slow
def test_project_draws_the_categories_of_esc50_and_repeats_itself(tmp_path: Path) -> None:
    features = np.random.default_rng(0).random((100, 4)).astype(np.float32)
    esc50 = write_cache(tmp_path / "features.h5", {"pool5": features}, [*range(50)] * 2, [0] * 100, ESC50_CLASSES)
    for name in ("first", "second"):
        project(esc50, tmp_path / name)
    assert (tmp_path / "first" / "map_pool5_categories.png").read_bytes().startswith(PNG)
    for file in (tmp_path / "first").iterdir():
        assert file.read_bytes() == (tmp_path / "second" / file.name).read_bytes(), file.name


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
