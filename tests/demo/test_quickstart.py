"""The quickstart's whole route, on a world small enough for a test."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from soundnet_kd import FeatureCache
from soundnet_kd.data import Targets
from soundnet_kd.demo import demo_teacher, demo_world
from soundnet_kd.recipes import quickstart, read_recipe, run_steps

LAYERS = ["conv1", "pool5", "conv8"]
"""Enough for a test; people get all of them."""


@pytest.mark.slow
def test_the_whole_route_on_a_tiny_world(tmp_path: Path) -> None:
    values = {"out": str(tmp_path), "videos_made": 6, "frames_per_event": 5, "sounds_per_event": 5, "steps": 2}
    values |= {"layers": LAYERS, "neuron_layers": LAYERS[1:]}
    result = run_steps(read_recipe(Path("quickstart")), values)
    targets = Targets(tmp_path / "targets")
    assert len(targets) == 6
    assert {name: len(names) for name, names in targets.class_names.items()} == {"objects": 10, "scenes": 4}
    with FeatureCache(tmp_path / "features" / "distilled.h5") as cache:
        assert len(cache.ids) == 50
        assert cache.folds.tolist() == [number // 10 % 5 + 1 for number in range(50)]
        assert cache.layers == tuple(LAYERS)
    with (tmp_path / "results" / "comparison.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["layer"] for row in rows[: len(LAYERS)]] == LAYERS
    assert list(rows[0])[:3] == ["layer", "untrained", "distilled"]
    for path in ("results/distilled/results.json", "neurons/neurons.csv", "maps/map_pool5.png", "student/history.csv"):
        assert (tmp_path / path).is_file(), path
    table = str(result)
    assert "untrained" in table
    assert table.splitlines()[-1] == f"all 13 steps are done; open {tmp_path / 'report' / 'index.html'} in a browser"
    again = run_steps(read_recipe(Path("quickstart")), values)
    assert str(again) == table


@pytest.mark.slow
def test_ones_own_videos_and_teacher(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With videos, teacher and sounds of one's own nothing of the world is made, and nothing is warned of."""
    demo_world(tmp_path / "world", videos=4, frames_per_event=5, sounds_per_event=5)
    demo_teacher(tmp_path / "world" / "frames" / "scenes", tmp_path / "scenes.safetensors", epochs=1)
    recipe = read_recipe(Path("quickstart"))
    assert recipe.variables["layers"] is None
    short = replace(recipe, variables={**recipe.variables, "steps": 2, "layers": LAYERS, "neuron_layers": LAYERS[1:]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("soundnet_kd.recipes.read_recipe", lambda path: short)
        quickstart(
            tmp_path / "run",
            videos=tmp_path / "world" / "videos",
            scenes=str(tmp_path / "scenes.safetensors"),
            sounds=tmp_path / "world" / "sounds.csv",
        )
        assert not (tmp_path / "run" / "world").exists()
        assert list(Targets(tmp_path / "run" / "targets").class_names) == ["scenes"]
        assert "means little" not in caplog.text
