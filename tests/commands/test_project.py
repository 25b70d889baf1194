"""The command `project` on a small cache: what it writes, and that it says what was put in."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soundnet_kd.analysis.maps.file import read_maps
from soundnet_kd.commands.project import project
from soundnet_kd.data.datasets.esc50 import ESC50_CLASSES
from soundnet_kd.errors import SettingsError
from soundnet_kd.transfer.results import write_evaluation
from tests.analysis.caches import write_cache
from tests.commands.caches import LABELS, NAMES, PNG, make_cache, rows_of
from tests.transfer.evaluations import evaluation


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return make_cache(tmp_path)


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
