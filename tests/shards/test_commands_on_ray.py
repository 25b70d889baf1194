"""`teach` and `extract` on a Ray cluster write what they write on one machine."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from soundnet_kd.cli import main
from soundnet_kd.data.target_parts import part_files
from soundnet_kd.media import write_audio
from soundnet_kd.models import SoundNet5, write_network
from soundnet_kd.shards.ray_cluster import connect
from soundnet_kd.shards.ray_engine import RayEngine, on_ray
from soundnet_kd.teachers.labelling import label_videos
from soundnet_kd.teachers.result import TeachResult
from soundnet_kd.teachers.teacher import Teacher
from tests.shards.clusters import Nodes, nodes, wait_until
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


@pytest.fixture
def sounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A student and 24 sounds in the working directory, of which one is broken; eight to a shard."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    write_network(SoundNet5({"objects": 2}).eval(), Path("student.safetensors"), {})
    random = np.random.default_rng(0)
    for number in range(23):
        noise = random.normal(0, 0.1, 22_050 + 100 * number).astype(np.float32)
        write_audio(Path("sounds") / f"{number}.wav", noise, RATE)
    Path("sounds/broken.wav").write_bytes(b"no sound")


def hear(out: str, cluster: Nodes | None = None) -> None:
    words = "extract sounds --student student.safetensors --layers conv3 --batch_size 1 --device cpu"
    with_ray = [] if cluster is None else ["--engine", "ray", "--address", cluster.address]
    assert main([*words.split(), "--out", out, *with_ray]) == 0


def require_same_features() -> None:
    assert Path("there.h5").read_bytes() == Path("here.h5").read_bytes()
    assert Path("there.h5.failures.csv").read_bytes() == Path("here.h5.failures.csv").read_bytes()


@pytest.mark.usefixtures("sounds")
def test_features_are_those_of_one_machine(cluster: Nodes, capsys: pytest.CaptureFixture[str]) -> None:
    hear("here.h5")
    hear("there.h5", cluster)
    assert "wrote there.h5: 1 layer of 23 sounds, 1 skipped" in capsys.readouterr().out
    require_same_features()


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
    assert len(contents(tmp_path / "there", "parts/*")) == 3
    require_same_targets(tmp_path)


def require_same_targets(folder: Path) -> None:
    assert contents(folder / "there", "parts/*") == contents(folder / "here", "parts/*")
    assert contents(folder / "there", "*.csv") == contents(folder / "here", "*.csv")


def label(folder: Path, out: str, ray: RayEngine | None = None, teacher: nn.Module | None = None) -> TeachResult:
    """Label the videos of a folder, one to a shard."""
    teachers = {"objects": Teacher(teacher or MeanColour(), plain, NAMES, {"network": "mean colour"})}
    return label_videos(folder / "videos", teachers, folder / out, videos_per_part=1, ray=ray)


@contextmanager
def when(pattern: Path, then: Callable[[Path], object]) -> Iterator[list[Path]]:
    """Do something once there is a file, while the block goes on; yields those that it was done for."""
    found: list[Path] = []
    ended = Event()

    def watch() -> None:
        while not found and not ended.wait(0.001):
            for file in pattern.parent.glob(pattern.name):
                found.append(file)
                then(file)
                return

    thread = Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("command", ["teach", "extract"])
@pytest.mark.usefixtures("sounds")
def test_a_machine_that_is_lost_costs_nothing(command: str, cluster: Nodes, tmp_path: Path) -> None:
    """As soon as the first part is written, when others are in work."""
    cluster.fill()

    def lose(part: Path) -> None:
        cluster.lose(cluster.others[0])

    if command == "teach":
        for number in range(9):
            make_video(tmp_path / "videos" / f"{number}.mp4", [NAMES[number % 3]])
        label(tmp_path, "here")
        with (
            on_ray(tmp_path / "there", cluster.address) as ray,
            when(tmp_path / "there" / "parts" / "part-*", lose) as lost,
        ):
            assert label(tmp_path, "there", ray).labelled == 9
        require_same_targets(tmp_path)
    else:
        hear("here.h5")
        with when(Path("there.h5.parts") / "part-*", lose) as lost:
            hear("there.h5", cluster)
        require_same_features()
    assert lost


@pytest.mark.usefixtures("sounds")
def test_a_process_that_is_killed_while_it_writes_costs_nothing(cluster: Nodes) -> None:
    """What it was writing is called after it until it is whole."""
    hear("here.h5")
    with when(
        Path("there.h5.parts") / ".partial-*-part-*", lambda part: os.kill(writer_of(part), signal.SIGKILL)
    ) as killed:
        hear("there.h5", cluster)
    assert killed
    require_same_features()


def writer_of(partial: Path) -> int:
    """Return the process that writes a part: .partial-HOST-PROCESS-part-….h5."""
    return int(partial.name.partition("-part-")[0].rpartition("-")[2])


class EndsOnce(MeanColour):
    """Ends its process at the first picture that any of its copies looks at."""

    def __init__(self, mark: Path) -> None:
        super().__init__()
        self.mark = mark

    def forward(self, images: Tensor) -> Tensor:
        if not self.mark.exists():
            self.mark.touch()
            os._exit(1)
        return super().forward(images)


def test_a_process_that_ends_while_it_labels_costs_nothing(cluster: Nodes, tmp_path: Path) -> None:
    for number in range(4):
        make_video(tmp_path / "videos" / f"{number}.mp4", [NAMES[number % 3]])
    label(tmp_path, "here")
    with on_ray(tmp_path / "there", cluster.address) as ray:
        label(tmp_path, "there", ray, EndsOnce(tmp_path / "mark"))
    assert (tmp_path / "mark").exists()
    require_same_targets(tmp_path)


def hang_at_blue(image: Tensor) -> Tensor:
    if image[2].float().mean() > 200:
        time.sleep(3600)
    return plain(image)


def test_a_video_that_hangs_is_given_up_at_its_deadline(cluster: Nodes, tmp_path: Path) -> None:
    """And named, as on one machine; the rest is labelled."""
    for number, colours in enumerate((["red"], ["green", "blue"], ["green"])):
        make_video(tmp_path / "videos" / f"{number}.mp4", colours)
    teachers = {"objects": Teacher(MeanColour(), hang_at_blue, NAMES)}

    def label_all(out: str, ray: RayEngine | None = None) -> TeachResult:
        options: dict[str, Any] = {"videos_per_part": 3, "deadline_minutes": 0.5, "workers": None if ray else 1}
        return label_videos(tmp_path / "videos", teachers, tmp_path / out, ray=ray, **options)

    with on_ray(tmp_path / "there", cluster.address) as ray:
        there = label_all("there", ray)
    assert there.labelled == 2
    assert list(there.failures) == ["1.mp4"]
    assert "0.5 minutes" in there.failures["1.mp4"]
    assert label_all("here").failures == there.failures
    require_same_targets(tmp_path)


def test_targets_go_on_on_another_cluster_when_their_driver_was_killed(tmp_path: Path) -> None:
    for number in range(8):
        make_video(tmp_path / "videos" / f"{number}.mp4", [NAMES[number % 3]])
    label(tmp_path, "here")
    script = (
        "import sys\nfrom pathlib import Path\nfrom tests.shards.test_commands_on_ray import label, on_ray\n"
        "folder = Path(sys.argv[1])\n"
        "with on_ray(folder / 'there', sys.argv[2]) as ray:\n    label(folder, 'there', ray)\n"
    )
    parts = tmp_path / "there" / "parts"
    with nodes(others=0) as first:
        process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path), first.address], stderr=subprocess.PIPE)
        wait_until(lambda: list(parts.glob("part-*")) or process.poll() is not None)
        process.kill()
        process.communicate()
    before = len(list(parts.glob("part-*")))
    assert 0 < before < 8
    assert list((tmp_path / "there").glob(".seen-*"))
    with nodes(others=0) as second, on_ray(tmp_path / "there", second.address) as ray:
        label(tmp_path, "there", ray)
    assert not list((tmp_path / "there").glob(".seen-*"))
    require_same_targets(tmp_path)


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
