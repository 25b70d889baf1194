"""The command `evaluate` on a small cache: what it writes, and that it says what was put in."""

import json
from pathlib import Path

import pytest

from soundnet_kd.commands.evaluate import evaluate
from tests.commands.caches import NAMES, PNG, make_cache, rows_of


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return make_cache(tmp_path)


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
