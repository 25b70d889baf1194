"""The teacher stage on real videos, good and bad."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

from soundnet_kd.commands.teach import teach
from soundnet_kd.data import Targets
from soundnet_kd.data.target_parts import part_files
from soundnet_kd.errors import MediaError, RunConflictError, SettingsError
from soundnet_kd.media import write_audio, write_video
from soundnet_kd.teachers import Teacher, label_videos
from soundnet_kd.teachers.clips import frame_times
from tests.teachers.colours import NAMES, RATE, MeanColour, make_video, plain


@pytest.fixture
def teacher() -> Teacher:
    return Teacher(MeanColour(), plain, NAMES, {"network": "mean colour"})


def test_cutting_by_hand() -> None:
    assert [frame_times(20.0, clip).tolist() for clip in range(2)] == [[[2.5], [7.5], [12.5], [17.5]], []]
    assert [frame_times(3.0, clip).tolist() for clip in range(2)] == [[[1.5]], []]
    # 8 s come nearer to two steps than to one; the second step has 3 s, whose middle is at 6.5 s.
    assert [frame_times(8.0, clip).tolist() for clip in range(2)] == [[[2.5], [6.5]], []]
    assert [len(frame_times(7.4, clip)) for clip in range(2)] == [1, 0]
    # The rest of 2.4 s after the first clip is dropped, one of 2.5 s is a clip.
    assert [len(frame_times(22.4, clip)) for clip in range(2)] == [4, 0]
    assert [len(frame_times(42.5, clip)) for clip in range(4)] == [4, 4, 1, 0]
    assert frame_times(42.5, 2).tolist() == [[41.25]]


def test_labels_belong_to_their_sound(tmp_path: Path, teacher: Teacher) -> None:
    make_video(tmp_path / "videos" / "a.mp4", ["red", "blue", "green", "green", "blue"])
    result = label_videos(tmp_path / "videos", {"objects": teacher}, tmp_path / "targets")
    targets = Targets(result.out)
    assert targets.class_names == {"objects": NAMES}
    assert [(clip.source, clip.start_seconds) for clip in targets] == [("a.mp4", 0.0), ("a.mp4", 20.0)]
    seen = [NAMES[row.argmax()] for clip in targets for row in clip.distributions["objects"]]
    assert seen == ["red", "blue", "green", "green", "blue"]
    heard = []
    for clip in targets:
        for step in range(len(clip.frame_seconds)):
            sound = clip.sound[step * 5 * RATE : (step + 1) * 5 * RATE]
            heard.append(round(float(np.abs(np.fft.rfft(sound)).argmax()) * RATE / len(sound)))
    assert heard == pytest.approx([300, 700, 500, 500, 700], abs=2)
    assert all(abs(clip.frame_seconds - np.round(clip.frame_seconds * 4) / 4).max() < 1e-6 for clip in targets)


def test_the_bad_are_named_and_the_good_are_kept(tmp_path: Path, teacher: Teacher) -> None:
    videos = tmp_path / "videos"
    make_video(videos / "good.mp4", ["red"])
    make_video(videos / "deep" / "good.mp4", ["blue"])
    make_video(videos / "silent.mp4", ["red"], level=0.0)
    make_video(videos / "tiny.mp4", ["red"], seconds_each=0.5)
    write_video(videos / "mute.mp4", [np.zeros((32, 32, 3), np.uint8)] * 20, 4)
    write_audio(videos / "sound only.wav", np.full(RATE * 5, 0.1, np.float32), RATE)
    (videos / "empty.mp4").touch()
    (videos / "text.mp4").write_text("this is no video")
    good = (videos / "good.mp4").read_bytes()
    (videos / "truncated.mp4").write_bytes(good[: len(good) // 3])
    result = label_videos(videos, {"objects": teacher}, tmp_path / "targets")
    assert list(Targets(result.out).sources()) == ["deep/good.mp4", "good.mp4"]
    assert set(result.failures) == {
        "silent.mp4", "tiny.mp4", "mute.mp4", "sound only.wav", "empty.mp4", "text.mp4", "truncated.mp4",
    }  # fmt: skip
    assert all("\n" not in reason for reason in result.failures.values())
    assert "silent" in result.failures["silent.mp4"]
    assert "0.50 s" in result.failures["tiny.mp4"]
    assert "no audio track" in result.failures["mute.mp4"]
    assert "no picture track" in result.failures["sound only.wav"]
    table = (result.out / "failures.csv").read_text().splitlines()
    assert len(table) == 8
    assert str(result) == f"wrote {result.out}: 2 clips of 2 videos, 7 refused (see {result.out / 'failures.csv'})"


def test_a_stopped_run_goes_on_and_ends_the_same(tmp_path: Path, teacher: Teacher) -> None:
    videos = tmp_path / "videos"
    for number, colour in enumerate(["red", "green", "blue", "red", "green"]):
        make_video(videos / f"{number}.mp4", [colour])

    class Stop(MeanColour):
        calls = 0

        def forward(self, images: Tensor) -> Tensor:
            Stop.calls += 1
            if Stop.calls == 2:
                raise KeyboardInterrupt
            return super().forward(images)

    stopping = Teacher(Stop(), teacher.transform, NAMES, teacher.identity)
    with pytest.raises(KeyboardInterrupt):
        label_videos(videos, {"objects": stopping}, tmp_path / "stopped", videos_per_part=2)
    assert list(Targets(tmp_path / "stopped").sources()) == ["0.mp4", "1.mp4"]
    label_videos(videos, {"objects": teacher}, tmp_path / "stopped", videos_per_part=2)
    label_videos(videos, {"objects": teacher}, tmp_path / "whole", videos_per_part=2)
    stopped, whole = Targets(tmp_path / "stopped"), Targets(tmp_path / "whole")
    assert [part.name for part in stopped.parts] == [part.name for part in whole.parts]
    for first, second in zip(stopped, whole, strict=True):
        assert first.source == second.source
        np.testing.assert_array_equal(first.sound, second.sound)
        np.testing.assert_array_equal(first.distributions["objects"], second.distributions["objects"])


def test_another_teacher_is_refused(tmp_path: Path, teacher: Teacher) -> None:
    make_video(tmp_path / "videos" / "a.mp4", ["red"])
    label_videos(tmp_path / "videos", {"objects": teacher}, tmp_path / "targets")
    other = Teacher(teacher.network, teacher.transform, NAMES, {"network": "another"})
    with pytest.raises(RunConflictError, match=r'teachers\.objects\.network was "mean colour", now "another"'):
        label_videos(tmp_path / "videos", {"objects": other}, tmp_path / "targets")


def test_nothing_readable_is_an_error_with_an_example(tmp_path: Path, teacher: Teacher) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "text.mp4").write_text("no video")
    with pytest.raises(MediaError, match=r"none of the 1 files in .* such as: text\.mp4"):
        label_videos(tmp_path / "videos", {"objects": teacher}, tmp_path / "targets")
    assert (tmp_path / "targets" / "failures.csv").exists()


def test_no_teacher_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="at least one teacher"):
        teach(tmp_path, tmp_path / "targets")


@pytest.mark.parametrize(
    ("name", "fitting"),
    [
        ("ViT-B/32", "vit_b_32"),
        ("clip.vit", "clip_vit"),
        ("my-objects", "my_objects"),
        ("values", "teacher_values"),
        ("2d", "teacher_2d"),
    ],
)
def test_a_name_that_no_head_can_have_is_refused_at_once(
    tmp_path: Path, teacher: Teacher, name: str, fitting: str
) -> None:
    """Before the videos are looked for; by the name that the refusal gives it is taken."""
    with pytest.raises(SettingsError, match=f"cannot be named '{name}', .*, such as {fitting}$"):
        label_videos(tmp_path / "nowhere", {"objects": teacher, name: teacher}, tmp_path / "targets")
    assert not (tmp_path / "targets").exists()
    make_video(tmp_path / "videos" / "a.mp4", ["red"])
    assert label_videos(tmp_path / "videos", {fitting: teacher}, tmp_path / "targets").labelled == 1


def test_targets_that_were_begun_with_such_a_name_go_on(tmp_path: Path, teacher: Teacher) -> None:
    videos, out = tmp_path / "videos", tmp_path / "targets"
    make_video(videos / "a.mp4", ["red"])
    label_videos(videos, {"objects": teacher}, out)
    for file in (out / "targets.json", *part_files(out)):
        if file.suffix == ".json":
            file.write_text(file.read_text().replace('"objects"', '"my-objects"'))
            continue
        with h5py.File(file, "r+") as part:
            for group in ("distributions", "class_names"):
                part.move(f"{group}/objects", f"{group}/my-objects")
    make_video(videos / "b.mp4", ["blue"])
    assert label_videos(videos, {"my-objects": teacher}, out).labelled == 2
    assert Targets(out).class_names == {"my-objects": NAMES}


def test_a_deadline_is_above_zero(tmp_path: Path, teacher: Teacher) -> None:
    make_video(tmp_path / "videos" / "a.mp4", ["red"])
    with pytest.raises(SettingsError, match="deadline_minutes is 0; it has to be above 0"):
        label_videos(tmp_path / "videos", {"objects": teacher}, tmp_path / "targets", deadline_minutes=0)


@pytest.mark.real
@pytest.mark.slow
def test_all_real_videos_are_handled(real_data: Path, tmp_path: Path) -> None:
    """37 videos; the seven that clips.csv calls silent or that last 0.1 s are refused, the rest teach."""
    result = teach(
        real_data / "videos",
        tmp_path / "targets",
        objects=f"mobilenet_v2:{real_data / 'teachers' / 'mobilenet_v2_imagenet.pth'}",
        device="cpu",
    )
    assert set(result.failures) == {
        "ExoPlayer__dolbyVision-hdr.MOV",
        "ExoPlayer__sample.mkv",
        "ExoPlayer__sample_av1.mp4",
        "interactive-examples__flower.webm",
        "interactive-examples__stream-of-water-audioless.webm",
        "moviepy__no_duration.webm",
        "moviepy__transparent.webm",
    }
    assert result.labelled == 30
    targets = Targets(result.out)
    assert len(targets.class_names["objects"]) == 1000
    lengths = {clip.source: 0 for clip in targets}
    for clip in targets:
        lengths[clip.source] += len(clip.frame_seconds)
        assert torch.isfinite(torch.from_numpy(clip.distributions["objects"])).all()
    assert lengths["mp4parser__multiTrack.3gp"] == 14  # 70 s
    assert lengths["dom-examples__video.mp4"] == 5  # 24.4 s: four steps, and one for the rest of 4.4 s
