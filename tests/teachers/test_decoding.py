"""Decoding beside the networks: the same answers as in turn, and no video takes another one with it."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from soundnet_kd.data import Targets
from soundnet_kd.data.target_parts import TargetsPart, part_files
from soundnet_kd.errors import MediaError, RunConflictError, SettingsError
from soundnet_kd.media import Frame, Video, decode_pool, write_video
from soundnet_kd.storage import lock_folder
from soundnet_kd.teachers import Teacher, label_videos, shard_work, write_teacher
from soundnet_kd.teachers.transforms import frame_transform
from tests.processes import run_command, signal_itself_after
from tests.teachers.colours import COLOURS, NAMES, MeanColour, make_video, plain


@dataclass(frozen=True)
class OnColour:
    """A transform that does something bad when it sees a colour."""

    colour: str
    act: Callable[[], None]

    def __call__(self, image: Tensor) -> Tensor:
        if int(image.float().mean(dim=(1, 2)).argmax()) == list(COLOURS).index(self.colour):
            self.act()
        return plain(image)


def die() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hang() -> None:
    time.sleep(3600)


def assert_same(first: Targets, second: Targets) -> None:
    assert [part.name for part in first.parts] == [part.name for part in second.parts]
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert (one.source, one.start_seconds) == (other.source, other.start_seconds)
        np.testing.assert_array_equal(one.sound, other.sound)
        np.testing.assert_array_equal(one.frame_seconds, other.frame_seconds)
        for name, rows in one.distributions.items():
            np.testing.assert_array_equal(rows, other.distributions[name])
        for name, rows in one.features.items():
            np.testing.assert_array_equal(rows, other.features[name])


def test_workers_give_what_decoding_in_turn_gives(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    for number, colour in enumerate(["red", "green", "blue", "red"]):
        make_video(videos / f"{number}.mp4", [colour, "blue"])
    (videos / "2b.mp4").write_text("no video")
    teachers = {name: Teacher(MeanColour(), plain, NAMES, {"network": name}) for name in ("a", "b")}
    results = {
        workers: label_videos(videos, teachers, tmp_path / f"{workers}", videos_per_part=2, workers=workers)
        for workers in (0, 2)
    }
    assert_same(Targets(results[0].out), Targets(results[2].out))
    assert results[0].failures == results[2].failures
    assert list(results[2].failures) == ["2b.mp4"]
    assert not (results[2].out / ".decoded").exists()


def test_a_decoder_that_dies_takes_its_video_with_it(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    for number, colour in enumerate(["red", "green", "blue", "red", "green", "red"]):
        make_video(videos / f"{number}.mp4", [colour])
    teacher = Teacher(MeanColour(), OnColour("green", die), NAMES, {"network": "mean colour"})
    result = label_videos(videos, {"objects": teacher}, tmp_path / "targets", workers=2)
    assert list(Targets(result.out).sources()) == ["0.mp4", "2.mp4", "3.mp4", "5.mp4"]
    assert set(result.failures) == {"1.mp4", "4.mp4"}
    assert "made the process that decoded it die (SIGSEGV)" in result.failures["1.mp4"]


def test_a_decoder_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_pool, "STALLED_SECONDS", 1.0)
    monkeypatch.setattr(decode_pool, "CHECK_SECONDS", 0.2)
    for number, colour in enumerate(["red", "green", "blue"]):
        make_video(tmp_path / "videos" / f"{number}.mp4", [colour])
    teacher = Teacher(MeanColour(), OnColour("green", hang), NAMES, {"network": "mean colour"})
    result = label_videos(tmp_path / "videos", {"objects": teacher}, tmp_path / "targets", workers=1)
    assert list(Targets(result.out).sources()) == ["0.mp4", "2.mp4"]
    assert "gave nothing for" in result.failures["1.mp4"]


def test_a_video_that_was_given_up_is_tried_again(tmp_path: Path) -> None:
    """It may have been the machine's fault, as where memory ran out or a deadline was too short."""
    for number, colour in enumerate(["red", "green"]):
        make_video(tmp_path / "videos" / f"{number}.mp4", [colour])
    deadly = Teacher(MeanColour(), OnColour("green", die), NAMES, {"network": "mean colour"})
    first = label_videos(tmp_path / "videos", {"objects": deadly}, tmp_path / "targets", workers=1)
    assert list(first.failures) == ["1.mp4"]
    well = Teacher(MeanColour(), OnColour("green", lambda: None), NAMES, {"network": "mean colour"})
    result = label_videos(tmp_path / "videos", {"objects": well}, tmp_path / "targets")
    assert (result.labelled, result.failures, result.remembered) == (2, {}, 0)


def test_a_transform_that_cannot_travel_is_named(tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "a.mp4", ["red"])
    teacher = Teacher(MeanColour(), lambda image: image.float() / 255, NAMES)
    with pytest.raises(SettingsError, match=r"transform cannot be handed to other processes .* workers=0"):
        label_videos(tmp_path / "videos", {"objects": teacher}, tmp_path / "targets", workers=1)


def test_an_error_of_ours_ends_the_run_and_is_no_fault_of_the_video(tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "a.mp4", ["red"])
    teacher = Teacher(MeanColour(), torch.linalg.inv, NAMES)
    with pytest.raises(RuntimeError):
        label_videos(tmp_path / "videos", {"objects": teacher}, tmp_path / "targets", workers=1)


def test_what_a_broken_file_provokes_is_its_own_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for colour in ("red", "blue"):
        make_video(tmp_path / "videos" / f"{colour}.mp4", [colour])
    read = Video.frames

    def frames(self: Video, times: list[float]) -> list[Frame]:
        if self.path.name == "blue.mp4":
            raise MemoryError("Unable to allocate 200. TiB for a picture")
        return read(self, times)

    monkeypatch.setattr(Video, "frames", frames)
    teacher = Teacher(MeanColour(), plain, NAMES)
    result = label_videos(tmp_path / "videos", {"objects": teacher}, tmp_path / "targets")
    assert result.failures == {
        "blue.mp4": "blue.mp4 cannot be decoded (MemoryError: Unable to allocate 200. TiB for a picture)"
    }


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "a.mp4", ["red"])
    with lock_folder(tmp_path / "targets"), pytest.raises(RunConflictError, match="another run is writing to"):
        label_videos(tmp_path / "videos", {"a": Teacher(MeanColour(), plain, NAMES)}, tmp_path / "targets")


def test_another_network_or_transform_is_refused(tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "a.mp4", ["red"])
    torch.manual_seed(0)
    networks = [nn.Sequential(MeanColour(), nn.Linear(3, 3)) for _ in range(2)]

    def label(network: nn.Module, transform: Callable[[Tensor], Tensor]) -> None:
        label_videos(tmp_path / "videos", {"objects": Teacher(network, transform, NAMES)}, tmp_path / "targets")

    label(networks[0], plain)
    with pytest.raises(RunConflictError, match=r"teachers\.objects\.state_sha256 was"):
        label(networks[1], plain)
    with pytest.raises(
        RunConflictError, match=r'teachers\.objects\.transform was "tests\.teachers\.colours\.plain", now'
    ):
        label(networks[0], frame_transform(32))


def test_a_limit_of_clips_per_video(tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "long.mp4", ["red", "green", "blue"], seconds_each=20)
    make_video(tmp_path / "videos" / "short.mp4", ["red"])
    teacher = Teacher(MeanColour(), plain, NAMES)
    result = label_videos(tmp_path / "videos", {"objects": teacher}, tmp_path / "targets", clips_per_video=2)
    found = [(clip.source, clip.start_seconds) for clip in Targets(result.out)]
    assert found == [("long.mp4", 0.0), ("long.mp4", 20.0), ("short.mp4", 0.0)]
    with pytest.raises(RunConflictError, match=r"frame_sampling\.clips_per_video was 2, now 3"):
        label_videos(tmp_path / "videos", {"objects": teacher}, tmp_path / "targets", clips_per_video=3)


def test_key_frames_keep_their_true_time(tmp_path: Path) -> None:
    """A key frame every 4 s (16 frames at 4 a second): of 2.5, 7.5, 12.5, 17.5 s, the nearest are 4, 8, 12, 16 s."""
    frames = [np.full((64, 64, 3), COLOURS[NAMES[index // 16 % 3]], np.uint8) for index in range(80)]
    sound = 0.3 * np.sin(np.arange(22_050 * 20) / 20).astype(np.float32)
    (tmp_path / "videos").mkdir()
    options = {"g": "16", "keyint_min": "16", "sc_threshold": "0"}
    write_video(tmp_path / "videos" / "a.mp4", frames, 4, sound, 22_050, video_options=options)
    teacher = Teacher(MeanColour(), plain, NAMES)
    teachers = {"objects": teacher}
    clips = {
        sampling: Targets(label_videos(tmp_path / "videos", teachers, tmp_path / sampling, frames=sampling).out)[0]
        for sampling in ("exact", "keyframe")
    }
    np.testing.assert_allclose(clips["exact"].frame_seconds, [2.5, 7.5, 12.5, 17.5])
    np.testing.assert_allclose(clips["keyframe"].frame_seconds, [4, 8, 12, 16])
    seen = [NAMES[row.argmax()] for row in clips["keyframe"].distributions["objects"]]
    assert seen == ["green", "blue", "red", "green"]
    with pytest.raises(RunConflictError, match=r'frame_sampling\.frames was "exact", now "keyframe"'):
        label_videos(tmp_path / "videos", teachers, tmp_path / "exact", frames="keyframe")


def test_nothing_readable_in_a_worker_is_an_error_with_an_example(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "text.mp4").write_text("no video")
    teacher = Teacher(MeanColour(), plain, NAMES)
    with pytest.raises(MediaError, match=r"such as: text\.mp4"):
        label_videos(tmp_path / "videos", {"objects": teacher}, tmp_path / "targets", workers=1)


def die_after_a_part() -> None:
    signal_itself_after(shard_work, "write_part", signal.SIGKILL, lambda *_: True)


SEVERAL = ["--keep_features", "--step_seconds", "2", "--frames_per_step", "2", "--keep_frames"]


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], SEVERAL], ids=["plain", "several"])
def test_a_killed_run_ends_as_if_it_had_not_been_killed(tmp_path: Path, more: list[str]) -> None:
    videos = tmp_path / "videos"
    for number, colour in enumerate(["red", "green", "blue", "red", "green", "blue"]):
        make_video(videos / f"{number}.mp4", [colour, "red"])
    torch.manual_seed(0)
    network = models.get_model("shufflenet_v2_x0_5", weights=None, num_classes=3)
    write_teacher(tmp_path / "teacher.safetensors", network, "shufflenet_v2_x0_5", NAMES, input_size=64)

    def run(name: str, prepare: Callable[[], None] | None = None) -> int | None:
        command = ["teach", str(videos), "--out", str(tmp_path / name), "--videos_per_part", "1", "--device", "cpu"]
        options = ["--objects", str(tmp_path / "teacher.safetensors"), "--workers", "1", *more]
        return run_command([*command, *options], tmp_path / "log.txt", prepare)

    assert run("killed", die_after_a_part) == -signal.SIGKILL
    (first,) = part_files(tmp_path / "killed")
    assert TargetsPart(first).sources() == ["0.mp4"]
    assert run("killed") == 0
    assert run("whole") == 0
    assert_same(Targets(tmp_path / "killed"), Targets(tmp_path / "whole"))
    assert not (tmp_path / "killed" / ".decoded").exists()
