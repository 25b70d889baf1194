"""The quickstart's whole route, on a world small enough for a test."""

import csv
import json
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from soundnet_kd import FeatureCache
from soundnet_kd.cli.steps import RecipeResult, run_steps
from soundnet_kd.commands.demo_teacher import demo_teacher
from soundnet_kd.commands.demo_world import demo_world
from soundnet_kd.commands.quickstart import quickstart
from soundnet_kd.config.recipes import read_recipe
from soundnet_kd.data import Targets
from soundnet_kd.models.checkpoint import read_training

LAYERS = ["conv1", "pool5", "conv8"]
"""Enough for a test; people get all of them."""


MEASURED = ["train/clips_per_second", "train/data_wait_share"]
"""Columns of the training's history that tell of time, the only figures of a run that no seed gives again."""

VALUES: dict[str, Any] = {"videos_made": 6, "frames_per_event": 5, "sounds_per_event": 5, "steps": 2}
VALUES |= {"layers": LAYERS, "neuron_layers": LAYERS[1:]}


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RecipeResult]:
    out = tmp_path_factory.mktemp("once") / "run"
    return out, run_steps(read_recipe(Path("quickstart")), {**VALUES, "out": str(out)})


@pytest.mark.slow
def test_the_whole_route_on_a_tiny_world(tiny_run: tuple[Path, RecipeResult]) -> None:
    out, result = tiny_run
    targets = Targets(out / "targets")
    assert len(targets) == 6
    assert {name: len(names) for name, names in targets.class_names.items()} == {"objects": 10, "scenes": 4}
    assert list(targets.feature_sizes) == ["objects", "scenes"]
    student = read_training(out / "student" / "student.safetensors")
    assert student["objectives"] == {"kl": 1, "contrast": 1}
    assert (student["steps_done"], student["batch_size"]) == (2, 4)
    with FeatureCache(out / "features" / "distilled.h5") as cache:
        assert len(cache.ids) == 50
        assert cache.folds.tolist() == [number // 10 % 5 + 1 for number in range(50)]
        assert cache.layers == tuple(LAYERS)
    with (out / "results" / "comparison.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["layer"] for row in rows[: len(LAYERS)]] == LAYERS
    assert list(rows[0])[:3] == ["layer", "untrained", "distilled"]
    for path in ("results/distilled/results.json", "neurons/neurons.csv", "maps/map_pool5.png", "student/history.csv"):
        assert (out / path).is_file(), path
    table = str(result)
    assert "untrained" in table
    assert table.splitlines()[-1] == f"13 steps done; open {out / 'report' / 'index.html'} in a browser"
    again = run_steps(read_recipe(Path("quickstart")), {**VALUES, "out": str(out)})
    assert str(again) == table


@pytest.mark.slow
def test_a_seed_gives_the_same_files(
    tiny_run: tuple[Path, RecipeResult], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """From the world to the page, also where Python's sets and dicts have another order."""
    first, _ = tiny_run
    second = tmp_path_factory.mktemp("both") / "run"
    given = [f"{name}={value}" for name, value in VALUES.items()]
    subprocess.run(
        [sys.executable, "-m", "soundnet_kd.cli", "run", "quickstart", "--out", second, "--set", *given],
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "5"},
    )
    one, other = files_of(first, second), files_of(second, second)
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == []


def files_of(run: Path, called: Path) -> dict[str, object]:
    """Return what each file holds, but for what is measured in time, with another name for the folder of the run."""
    found: dict[str, object] = {}
    for path in sorted(path for path in run.rglob("*") if path.is_file()):
        name = path.relative_to(run).as_posix()
        content = path.read_bytes().replace(os.fsencode(run), os.fsencode(called))
        if "tfevents" in name:
            name, content = "student/logs/tensorboard", b""
        elif name.endswith(".csv") and name.startswith("student/"):
            rows = list(csv.DictReader(content.decode().splitlines()))
            found[name] = [{column: row[column] for column in row if column not in MEASURED} for row in rows]
            continue
        elif name == "report/data/sections.js":
            found[name] = without_measured(json.loads(content[content.index(b",") + 1 : content.rindex(b")")]))
            continue
        elif path.suffix == ".ckpt":
            # A zip with the sums and a hash of its parts.
            with zipfile.ZipFile(path) as parts:
                inside = {part: parts.read(part) for part in parts.namelist() if "serialization_id" not in part}
            found[name] = {part: held.replace(os.fsencode(run), os.fsencode(called)) for part, held in inside.items()}
            continue
        elif name == "report/index.html":
            content = re.sub(rb"Made \d{4}-\d\d-\d\d by", b"Made today by", content)
        found[name] = content
    return found


def without_measured(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_measured(item) for key, item in value.items()}
    if isinstance(value, list):
        return [
            without_measured(item) for item in value if not (isinstance(item, dict) and item.get("figure") in MEASURED)
        ]
    return value


@pytest.mark.slow
def test_ones_own_videos_and_teacher(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With videos, teacher and sounds of one's own nothing of the world is made, and nothing is warned of."""
    demo_world(tmp_path / "world", videos=4, frames_per_event=5, sounds_per_event=5)
    demo_teacher(tmp_path / "world" / "frames" / "scenes", tmp_path / "scenes.safetensors", epochs=1)
    recipe = read_recipe(Path("quickstart"))
    assert recipe.variables["layers"] is None
    short = replace(recipe, variables={**recipe.variables, "steps": 2, "layers": LAYERS, "neuron_layers": LAYERS[1:]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("soundnet_kd.commands.quickstart.read_recipe", lambda path: short)
        quickstart(
            tmp_path / "run",
            videos=tmp_path / "world" / "videos",
            scenes=str(tmp_path / "scenes.safetensors"),
            sounds=tmp_path / "world" / "sounds.csv",
        )
        assert not (tmp_path / "run" / "world").exists()
        assert list(Targets(tmp_path / "run" / "targets").class_names) == ["scenes"]
        assert "means little" not in caplog.text
