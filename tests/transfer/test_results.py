"""What an evaluation found, written and read again; and files of version 0.1.0, which named no kind."""

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.transfer.results import (
    Evaluation,
    Kind,
    kind_of_results,
    read_evaluation,
    write_evaluation,
    write_results,
)
from tests.transfer.evaluations import evaluation

SOURCES: dict[Kind, Mapping[str, Any]] = {
    "features": {"features": "features.h5", "identity": {}, "folds": "five folds that were made", "seed": 0},
    "finetuned": {"student": "student.safetensors", "identity": {}, "skipped": 0, "parameters": 100},
    "trained": {"recipe": "About.", "identity": {}, "skipped": 0, "parameters": 100},
    "tags": {"recipe": "About.", "identity": {}, "skipped": 0, "parameters": 100},
}


def without_kind(folder: Path) -> None:
    file = folder / "results.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    del content["kind"]
    file.write_text(json.dumps(content), encoding="utf-8")


def assert_equal(one: Evaluation, other: Evaluation) -> None:
    for each in fields(Evaluation):
        if each.name not in ("results", "labels", "folds", "folder"):
            assert getattr(one, each.name) == getattr(other, each.name)
    assert one.labels.tolist() == other.labels.tolist()
    assert one.folds.tolist() == other.folds.tolist()
    assert one.results.keys() == other.results.keys()
    for layer, result in one.results.items():
        found = vars(other.results[layer])
        for name, value in vars(result).items():
            assert np.array_equal(found[name], value) if isinstance(value, np.ndarray) else found[name] == value


@pytest.mark.parametrize("kind", ["features", "finetuned", "trained"])
def test_an_evaluation_reads_back(kind: Kind, tmp_path: Path) -> None:
    made = evaluation(
        {"conv1": "aab-b", "conv1+pool5": "bab-b"}, "aab-b", ["r", "r", "s", "t", "s"], kind=kind, source=SOURCES[kind]
    )
    made = replace(made, paths=tuple(f"/sounds/{clip}.wav" for clip in made.ids), folds=np.array([1, 2, 1, 0, 2]))
    write_evaluation(made, tmp_path)
    assert json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["kind"] == kind
    for place in (tmp_path, tmp_path / "results.json"):
        read = read_evaluation(place)
        assert_equal(made, read)
        assert read.folder == tmp_path
    assert list(read.place_of) == ["clip-0", "clip-1", "clip-2", "clip-4"]
    assert read.correct("conv1+pool5", ["clip-4", "clip-0"]).tolist() == [True, False]
    assert (read.best_layer, read.chance, read.true_class("clip-2")) == ("conv1", 0.5, "b")
    # Of version 0.1.0 it is the same.
    without_kind(tmp_path)
    assert_equal(made, read_evaluation(tmp_path))


@pytest.mark.parametrize("is_old", [False, True])
def test_tags_are_no_classes(is_old: bool, tmp_path: Path) -> None:
    content = {"source": SOURCES["tags"], "tags": ["a"], "protocol": "from scratch", "results": [{"layer": "Net"}]}
    write_results(tmp_path, "tags", content)
    (tmp_path / "predictions.csv").touch()
    if is_old:
        without_kind(tmp_path)
    assert kind_of_results(tmp_path) == "tags"
    with pytest.raises(FormatError, match="holds measures of tags, which cannot be compared"):
        read_evaluation(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "3", '{"results": 1}', '{"kind": "weather", "results": [1]}'])
def test_results_of_other_programs_are_none(content: str, tmp_path: Path) -> None:
    assert kind_of_results(tmp_path) is None
    (tmp_path / "results.json").write_text(content, encoding="utf-8")
    assert kind_of_results(tmp_path) is None


def test_what_is_cut_short_is_refused(tmp_path: Path) -> None:
    write_evaluation(evaluation({"conv1": "aabb"}, "aabb"), tmp_path)
    table = tmp_path / "predictions.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    for wrong, message in ((["id,fold", "x,1"], "'label' is missing"), ([*lines, "clip-9,1,a,c"], "'c' is missing")):
        table.write_text("\n".join(wrong), encoding="utf-8")
        with pytest.raises(FormatError, match=message):
            read_evaluation(tmp_path)
    table.unlink()
    with pytest.raises(SettingsError, match=r"there is no .*predictions\.csv; make it with `soundnet-kd evaluate`"):
        read_evaluation(tmp_path)
