"""What a run knows of its videos: refusals that hold, folders that were moved, and what is left out of them."""

import os
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torchvision import models

from soundnet_kd.data import Targets
from soundnet_kd.data.target_parts import TargetsPart
from soundnet_kd.errors import MediaError, RunConflictError
from soundnet_kd.media import write_video
from soundnet_kd.storage import read_json, write_json
from soundnet_kd.teachers import Teacher, TeachResult, clips, decoding, label_videos, load_teacher
from tests.teachers.colours import COLOURS, NAMES, RATE, MeanColour, make_video, plain

TEACHER = Teacher(MeanColour(), plain, NAMES, {"network": "mean colour"})


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the names of the videos that are decoded."""
    names: list[str] = []
    read = clips.read_clips

    def noted(path: Path, *settings: Any, **more: Any) -> Any:
        names.append(path.name)
        return read(path, *settings, **more)

    monkeypatch.setattr(decoding, "read_clips", noted)
    return names


def label(videos: Path, out: Path, **settings: Any) -> TeachResult:
    return label_videos(videos, {"objects": TEACHER}, out, **settings)


def test_refused_videos_are_not_tried_again(tmp_path: Path, opened: list[str]) -> None:
    videos, out = tmp_path / "videos", tmp_path / "targets"
    make_video(videos / "good.mp4", ["red"])
    make_video(videos / "silent.mp4", ["red"], level=0.0)
    (videos / "text.mp4").write_text("this is no video")
    first = label(videos, out)
    assert opened == ["good.mp4", "silent.mp4", "text.mp4"]
    table = (out / "failures.csv").read_text()
    opened.clear()
    again = label(videos, out)
    assert opened == []
    assert again.failures == first.failures
    assert (out / "failures.csv").read_text() == table
    assert str(first) == f"wrote {out}: 1 clip of 1 video, 2 refused (see {out / 'failures.csv'})"
    assert str(again).endswith(f"2 refused (see {out / 'failures.csv'}; remove it to try them again)")
    # The same file with another date is still the same one.
    os.utime(videos / "silent.mp4", (0, 0))
    label(videos, out)
    assert opened == []


def test_a_refused_video_that_was_mended_is_tried_again(tmp_path: Path, opened: list[str]) -> None:
    videos, out = tmp_path / "videos", tmp_path / "targets"
    make_video(videos / "a.mp4", ["red"])
    whole = (videos / "a.mp4").read_bytes()
    (videos / "a.mp4").write_bytes(bytes(len(whole)))
    make_video(videos / "b.mp4", ["blue"])
    (videos / "c.mp4").write_text("this is no video")
    assert set(label(videos, out).failures) == {"a.mp4", "c.mp4"}
    opened.clear()
    # Of the same length as before.
    (videos / "a.mp4").write_bytes(whole)
    assert set(label(videos, out).failures) == {"c.mp4"}
    assert opened == ["a.mp4"]
    assert sorted(Targets(out).sources()) == ["a.mp4", "b.mp4"]
    (videos / "c.mp4").unlink()
    assert label(videos, out).failures == {}
    assert not (out / "failures.csv").exists()


@pytest.mark.parametrize("older", [False, True])
def test_a_user_can_have_them_tried_again(tmp_path: Path, opened: list[str], older: bool) -> None:
    """By removing the table; those of older versions say no more than a reason."""
    videos, out = tmp_path / "videos", tmp_path / "targets"
    make_video(videos / "a.mp4", ["red"])
    (videos / "text.mp4").write_text("this is no video")
    label(videos, out)
    opened.clear()
    if older:
        (out / "failures.csv").write_text("file,reason\ntext.mp4,it was refused\n")
    else:
        (out / "failures.csv").unlink()
    assert "is not a media file" in label(videos, out).failures["text.mp4"]
    assert opened == ["text.mp4"]


def test_a_killed_run_remembers_what_it_refused(tmp_path: Path, opened: list[str]) -> None:
    videos, out = tmp_path / "videos", tmp_path / "targets"
    (videos / "deep").mkdir(parents=True)
    (videos / "a.mp4").write_text("this is no video")
    for name in ("b.mp4", "c.mp4"):
        make_video(videos / name, ["red"])

    class Stop(MeanColour):
        calls = 0

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            Stop.calls += 1
            if Stop.calls == 2:
                raise KeyboardInterrupt
            return super().forward(images)

    stopping = Teacher(Stop(), plain, NAMES, TEACHER.identity)
    with pytest.raises(KeyboardInterrupt):
        label_videos(videos, {"objects": stopping}, out, videos_per_part=1)
    opened.clear()
    assert set(label(videos, out, videos_per_part=1).failures) == {"a.mp4"}
    assert opened == ["c.mp4"]


def test_all_refused_is_an_error_again(tmp_path: Path, opened: list[str]) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "text.mp4").write_text("no video")
    for _ in range(2):
        with pytest.raises(MediaError, match=r"none of the 1 files in .* such as: text\.mp4"):
            label(tmp_path / "videos", tmp_path / "targets")
    assert opened == ["text.mp4"]


def test_a_moved_folder_of_videos_is_the_same_run(tmp_path: Path, opened: list[str]) -> None:
    out = tmp_path / "targets"
    make_video(tmp_path / "v" / "a.mp4", ["red"])
    make_video(tmp_path / "v" / "deep" / "b.mp4", ["blue"])
    (tmp_path / "v" / "text.mp4").write_text("no video")
    label(tmp_path / "v", out)
    # As a copy that kept no dates, with a video more.
    shutil.copytree(tmp_path / "v", tmp_path / "w", copy_function=shutil.copyfile)
    make_video(tmp_path / "w" / "c.mp4", ["green"])
    opened.clear()
    result = label(tmp_path / "w", out)
    assert opened == ["c.mp4"]
    assert (result.labelled, set(result.failures)) == (3, {"text.mp4"})
    assert sorted(Targets(out).sources()) == ["a.mp4", "c.mp4", "deep/b.mp4"]


def test_other_videos_of_the_same_names_are_another_run(tmp_path: Path) -> None:
    out = tmp_path / "targets"
    make_video(tmp_path / "v" / "a.mp4", ["red"])
    make_video(tmp_path / "w" / "a.mp4", ["blue"])
    make_video(tmp_path / "u" / "b.mp4", ["blue"])
    label(tmp_path / "v", out)
    with pytest.raises(RunConflictError, match=r"videos was .*v, now .*w, and a\.mp4 is another video there"):
        label(tmp_path / "w", out)
    with pytest.raises(RunConflictError, match=r"videos was .*v, now .*u, and a\.mp4 is not there"):
        label(tmp_path / "u", out)
    assert list(Targets(out).sources()) == ["a.mp4"]


def test_targets_of_an_older_version_go_on(tmp_path: Path, opened: list[str]) -> None:
    """Their parts say nothing of the videos, whether these were moved or not."""
    out = tmp_path / "targets"
    for name in ("a", "b"):
        make_video(tmp_path / "v" / f"{name}.mp4", ["red"])
    label(tmp_path / "v", out)
    for part in (out / "parts").iterdir():
        with h5py.File(part, "r+") as file:
            del file["videos"]
    make_video(tmp_path / "v" / "c.mp4", ["green"])
    opened.clear()
    assert label(tmp_path / "v", out).labelled == 3
    (tmp_path / "v").rename(tmp_path / "w")
    assert label(tmp_path / "w", out).labelled == 3
    assert opened == ["c.mp4"]
    (tmp_path / "w" / "a.mp4").rename(tmp_path / "w" / "d.mp4")
    with pytest.raises(RunConflictError, match=r"a\.mp4 is not there"):
        label(tmp_path / "w", out)


def test_renamed_weights_of_the_same_content_are_the_same_teacher(tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "a.mp4", ["red"])
    (tmp_path / "names.txt").write_text("red\ngreen\nblue\n")
    torch.manual_seed(0)
    state = models.get_model("shufflenet_v2_x0_5", weights=None, num_classes=3).state_dict()
    torch.save(state, tmp_path / "old.pth")
    # As another program writes them.
    torch.save({"state_dict": state}, tmp_path / "new.pth")
    state["fc.bias"] += 1
    torch.save(state, tmp_path / "other.pth")
    for name in ("old", "new"):
        teacher = load_teacher(f"shufflenet_v2_x0_5:{tmp_path / name}.pth", tmp_path / "names.txt")
        label_videos(tmp_path / "videos", {"objects": teacher}, tmp_path / "targets")
    other = load_teacher(f"shufflenet_v2_x0_5:{tmp_path / 'other.pth'}", tmp_path / "names.txt")
    with pytest.raises(RunConflictError, match="state_sha256 was"):
        label_videos(tmp_path / "videos", {"objects": other}, tmp_path / "targets")


def test_targets_that_were_begun_with_a_preset_as_it_was_end_with_it(tmp_path: Path) -> None:
    """Until this version the preset itself prepared the frames, which gives slightly other pixels."""
    make_video(tmp_path / "videos" / "a.mp4", ["red"])
    preset = models.Swin_T_Weights.IMAGENET1K_V1.transforms()
    teacher = Teacher(MeanColour(), preset, NAMES)
    label_videos(tmp_path / "videos", {"objects": teacher}, tmp_path / "targets")
    settings = read_json(tmp_path / "targets" / "targets.json")
    settings["teachers"]["objects"]["transform"] = " ".join(repr(preset).split())
    write_json(tmp_path / "targets" / "targets.json", settings)
    # An edge, at which bicubic filters overshoot.
    frames = [np.kron(np.eye(2, dtype=np.uint8) * 255, np.ones((150, 200), np.uint8))[..., None].repeat(3, 2)] * 20
    sound = 0.3 * np.sin(np.arange(RATE * 5) / 20).astype(np.float32)
    write_video(tmp_path / "videos" / "b.mp4", frames, 4, sound, RATE)
    seen: list[torch.Tensor] = []

    class Watching(MeanColour):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(images)
            return super().forward(images)

    label_videos(tmp_path / "videos", {"objects": Teacher(Watching(), preset, NAMES)}, tmp_path / "targets")
    label_videos(tmp_path / "videos", {"objects": Teacher(Watching(), preset, NAMES)}, tmp_path / "new")
    begun, new = seen[0][0], seen[1][1]
    assert 1 < ((begun - new) * 0.225 * 255).abs().max() < 26


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    """20 s and a rest of 2 s; 7 s, of which one step takes 5 s; 20 s, 20 silent ones, and 4 s, which are a step."""
    videos = tmp_path / "videos"
    make_video(videos / "rest.mp4", ["red"], seconds_each=22)
    make_video(videos / "short.mp4", ["red"], seconds_each=7)
    sound = 0.3 * np.sin(np.arange(RATE * 44) / 20).astype(np.float32)
    sound[20 * RATE : 40 * RATE] = 0
    write_video(videos / "silence.mp4", [np.full((32, 32, 3), COLOURS["blue"], np.uint8)] * 176, 4, sound, RATE)
    make_video(videos / "whole.mp4", ["red"], seconds_each=20)
    (videos / "text.mp4").write_text("no video")
    result = label(videos, tmp_path / "targets", workers=1)
    assert result.seconds == pytest.approx(22 + 7 + 44 + 20, abs=0.2)
    assert result.rest_seconds == pytest.approx(2 + 2, abs=0.2)
    assert result.silent_seconds == pytest.approx(20, abs=0.1)
    told = "20.0 s in silent clips and 4.0 s in ends too short for a step left out (of 93.0 s)"
    assert told in str(result)
    assert told in str(label(videos, tmp_path / "targets"))
    limited = label(videos, tmp_path / "limited", clips_per_video=1)
    assert limited.seconds == pytest.approx(67, abs=0.2)
    assert limited.rest_seconds == pytest.approx(2, abs=0.1)
    known = {video.source: video for video in TargetsPart(Targets(tmp_path / "targets").parts[0]).videos()}
    assert known["silence.mp4"].seconds == pytest.approx(44, abs=0.1)
    assert known["whole.mp4"].rest_seconds == pytest.approx(0, abs=0.1)


def test_key_frames_outside_their_step_are_counted(tmp_path: Path) -> None:
    """A key frame every 16 s: of the steps from 0, 5, 10, 15 s the nearest are 0, 0, 16, 16 s."""
    frames = [np.full((64, 64, 3), COLOURS["red"], np.uint8)] * 80
    sound = 0.3 * np.sin(np.arange(RATE * 20) / 20).astype(np.float32)
    (tmp_path / "videos").mkdir()
    options = {"g": "64", "keyint_min": "64", "sc_threshold": "0"}
    write_video(tmp_path / "videos" / "a.mp4", frames, 4, sound, RATE, video_options=options)
    result = label(tmp_path / "videos", tmp_path / "targets", frames="keyframe")
    assert (result.steps, result.stray_steps) == (4, 2)
    assert str(result).endswith("2 of 4 steps labelled from a key frame outside their 5 s")
    exact = label(tmp_path / "videos", tmp_path / "exact")
    assert (exact.steps, exact.stray_steps) == (4, 0)
