"""The whole route on real videos and real sounds, in short: one recipe from MP4s to accuracies."""

import csv
import json
from pathlib import Path

import pytest

from soundnet_kd.commands.run import run

VIDEOS = ("learning-area__rabbit320.mp4", "dom-examples__video.mp4", "moviepy__chaplin.mp4", "ExoPlayer__sample.mkv")
LAYERS = ["conv4", "pool5"]


@pytest.mark.real
def test_from_real_videos_to_accuracies_on_esc50(real_data: Path, tmp_path: Path) -> None:
    """Four videos (one of them silent) teach a student for two steps; 60 clips of three classes are told apart."""
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in VIDEOS:
        (videos / name).symlink_to(real_data / "videos" / name)
    with (real_data / "esc50" / "meta" / "esc50.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["category"] in ("dog", "rain", "clock_tick")]
    folder = real_data / "esc50" / "audio"
    table = tmp_path / "sounds.csv"
    lines = [f"{folder / row['filename']},{row['category']},{row['fold']}" for row in rows[::2]]
    table.write_text("\n".join(["path,label,fold", *lines]) + "\n")
    weights = real_data / "teachers" / "mobilenet_v2_imagenet.pth"
    values = {
        "videos": videos, "esc50": table, "objects": f"mobilenet_v2:{weights}", "layers": LAYERS, "steps": 2,
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
