"""`teach` and `extract` on a Ray cluster write what they write on one machine."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from soundnet_kd.cli import main
from soundnet_kd.data.target_parts import part_files
from soundnet_kd.media import write_audio
from soundnet_kd.models import SoundNet5, write_network
from soundnet_kd.shards.ray_cluster import connect
from soundnet_kd.shards.ray_engine import on_ray
from soundnet_kd.teachers.labelling import label_videos
from soundnet_kd.teachers.teacher import Teacher
from tests.shards.clusters import Nodes, nodes
from tests.stores import new_bucket, objects, s3_server, use_s3
from tests.teachers.colours import NAMES, RATE, MeanColour, make_video, plain

pytest.importorskip("ray")


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_server() as url, pytest.MonkeyPatch.context() as patch:
        use_s3(url, patch)
        yield new_bucket("of-ray")


@pytest.fixture(scope="module")
def cluster(bucket: str) -> Iterator[Nodes]:
    # Its processes find the store as this one does. The last digits of what a network gives depend on its threads.
    threads, before = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    with nodes() as found, connect(found.address):
        yield found
    torch.set_num_threads(threads)
    if before is None:
        del os.environ["OMP_NUM_THREADS"]


def contents(folder: Path, pattern: str) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.glob(pattern))}


def test_features_are_those_of_one_machine(
    cluster: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    write_network(SoundNet5({"objects": 2}).eval(), Path("student.safetensors"), {})
    random = np.random.default_rng(0)
    for number in range(12):
        noise = random.normal(0, 0.1, 22_050 + 100 * number).astype(np.float32)
        write_audio(Path("sounds") / f"{number}.wav", noise, RATE)
    Path("sounds/broken.wav").write_bytes(b"no sound")
    words = "--student student.safetensors --layers conv3 --batch_size 1 --device cpu"
    with_ray = f"--engine ray --address {cluster.address}"
    assert main(["extract", "sounds", *f"{words} --out here.h5".split()]) == 0
    assert main(["extract", "sounds", *f"{words} --out there.h5 {with_ray}".split()]) == 0
    assert "wrote there.h5: 1 layers of 12 sounds, 1 skipped" in capsys.readouterr().out
    assert Path("there.h5").read_bytes() == Path("here.h5").read_bytes()
    assert Path("there.h5.failures.csv").read_bytes() == Path("here.h5.failures.csv").read_bytes()


def test_targets_are_those_of_one_machine(cluster: Nodes, tmp_path: Path) -> None:
    for number, colours in enumerate((["red"], ["green", "blue"], ["blue"], ["red", "green"], ["green"])):
        make_video(tmp_path / "videos" / f"{number}.mp4", colours)
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"no video")
    teachers = {"objects": Teacher(MeanColour(), plain, NAMES)}
    here = label_videos(tmp_path / "videos", teachers, tmp_path / "here", videos_per_part=2)
    with on_ray(tmp_path / "there", cluster.address) as ray:
        there = label_videos(tmp_path / "videos", teachers, tmp_path / "there", videos_per_part=2, ray=ray)
        again = label_videos(tmp_path / "videos", teachers, tmp_path / "there", videos_per_part=2, ray=ray)
    assert here.labelled == there.labelled == again.labelled == 5
    assert there.failures == here.failures
    parts = contents(tmp_path / "there", "parts/part-*.h5")
    assert len(parts) == 3
    assert parts == contents(tmp_path / "here", "parts/part-*.h5")
    assert contents(tmp_path / "there", "*.csv") == contents(tmp_path / "here", "*.csv")


def test_targets_go_to_a_bucket_from_every_machine(
    cluster: Nodes, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOUNDNET_KD_CACHE", str(tmp_path / "cache"))
    for number in range(4):
        make_video(tmp_path / "videos" / f"{number}.mp4", [NAMES[number % 3]])
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"no video")
    teachers = {"objects": Teacher(MeanColour(), plain, NAMES)}
    label_videos(tmp_path / "videos", teachers, tmp_path / "here", videos_per_part=2)
    with on_ray(None, cluster.address) as ray:
        label_videos(tmp_path / "videos", teachers, f"{bucket}/there", videos_per_part=2, ray=ray)
    here = {file.relative_to(tmp_path / "here").as_posix(): file.read_bytes() for file in part_files(tmp_path / "here")}
    found = objects(f"{bucket}/there")
    assert {name: content for name, content in found.items() if name.startswith("parts/")} == here
    assert found["failures.csv"] == (tmp_path / "here" / "failures.csv").read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--address auto", "address is for a Ray cluster; add --engine ray, or leave --address out"),
        ("--engine ray --shard 1/2", "Ray divides the work itself; leave --shard 1/2 out, or --engine ray"),
        ("--engine ray --address 127.0.0.1:1 --networks 0", "networks is 0; it has to be at least 1"),
        (
            "--engine ray --workers 3",
            "workers decode beside this process, and on Ray none do; give --decoders 3 in place of --workers 3, or",
        ),
    ],
)
def test_a_wrong_engine_is_refused_in_one_line(
    cluster: Nodes, tmp_path: Path, words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_video(tmp_path / "videos" / "red.mp4", ["red"])
    for command in ("teach", "extract"):
        assert main([command, str(tmp_path / "videos"), "--out", str(tmp_path / "out"), *words.split()]) != 0
        line = capsys.readouterr().err.splitlines()[-1]
        assert message in line
