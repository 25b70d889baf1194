"""Steps of other lengths, several frames of a step, and steps that cannot teach."""

import logging
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import h5py
import numpy as np
import pytest
import torch
from av.bitstream import BitStreamFilterContext
from torch import Tensor, nn

from soundnet_kd.commands.teach import teach
from soundnet_kd.data import Targets
from soundnet_kd.data.target_parts import TargetsPart, part_files
from soundnet_kd.errors import FormatError, MediaError, RunConflictError, SettingsError
from soundnet_kd.media import read_frames, write_video
from soundnet_kd.storage import read_json
from soundnet_kd.teachers import Teacher, label_videos
from soundnet_kd.teachers.clips import frame_times, picture_places, read_clips
from soundnet_kd.teachers.disk_sizes import describe_sizes, estimate_hours, megabytes_per_hour
from soundnet_kd.teachers.usable_steps import stretches
from tests.teachers.colours import COLOURS, NAMES, RATE, MeanColour, make_video, plain

TEACHER = Teacher(MeanColour(), plain, NAMES, {"network": "mean colour"})
WITH_FEATURES = Teacher(nn.Sequential(MeanColour(), nn.Linear(3, 3)), plain, NAMES, {"network": "two"}, "1")


class Counting(MeanColour):
    """Counts the frames that it sees."""

    frames = 0

    def forward(self, images: Tensor) -> Tensor:
        self.frames += len(images)
        return super().forward(images)


@dataclass(frozen=True)
class BlindTo:
    """A transform that gives numbers that are not finite of pictures of a colour."""

    colour: str

    def __call__(self, image: Tensor) -> Tensor:
        if int(image.float().mean(dim=(1, 2)).argmax()) == list(COLOURS).index(self.colour):
            return torch.full(image.shape, torch.nan)
        return plain(image)


class Finite(nn.Module):
    """Answers with numbers, whatever it is given."""

    def forward(self, logits: Tensor) -> Tensor:
        return logits.nan_to_num().clamp(-9, 9)


def pitch(sound: np.ndarray) -> int:
    """Return the strongest frequency of a sound, in Hz."""
    return round(float(np.abs(np.fft.rfft(sound)).argmax()) * RATE / len(sound))


def test_moments_by_hand() -> None:
    assert frame_times(4.0, 0, 2.0, 1).tolist() == [[1], [3]]
    assert frame_times(20.0, 0, 5.0, 2).tolist() == [[1.25, 3.75], [6.25, 8.75], [11.25, 13.75], [16.25, 18.75]]
    # The second step has 1.2 s of its 2, whose three parts have their middles at 2.2, 2.6 and 3 s.
    np.testing.assert_allclose(frame_times(3.2, 0, 2.0, 3), [[1 / 3, 1, 5 / 3], [2.2, 2.6, 3.0]])
    # A rest of 0.9 s is dropped, one of 1 s is a step.
    assert [len(frame_times(seconds, 1, 2.0)) for seconds in (20.9, 21, 24, 40, 60)] == [0, 1, 2, 10, 10]
    assert picture_places(np.array([[4.0, 4.0, 8.0], [8.0, 12.0, 4.0]])).tolist() == [[0, 0, 1], [1, 2, 0]]
    assert stretches(np.array([True, True, False, True, False])) == [slice(0, 2), slice(3, 4)]


def test_labels_of_short_steps_belong_to_their_sound(tmp_path: Path) -> None:
    colours = ["red", "blue", "green", "green", "blue", "red"]
    make_video(tmp_path / "videos" / "a.mp4", colours, seconds_each=4)
    result = label_videos(tmp_path / "videos", {"objects": TEACHER}, tmp_path / "targets", step_seconds=2)
    targets = Targets(result.out)
    assert (targets.step_seconds, targets.steps_per_clip, result.steps) == (2.0, 10, 12)
    assert [(clip.start_seconds, len(clip.frame_seconds), clip.step_seconds) for clip in targets] == [
        (0, 10, 2),
        (20, 2, 2),
    ]
    seen = [NAMES[row.argmax()] for clip in targets for row in clip.distributions["objects"]]
    assert seen == [colour for colour in colours for _ in range(2)]
    heard = [
        pitch(clip.sound[step * 2 * RATE : (step + 1) * 2 * RATE])
        for clip in targets
        for step in range(len(clip.frame_seconds))
    ]
    assert heard == pytest.approx([300 + 200 * NAMES.index(colour) for colour in seen], abs=2)


def test_several_frames_are_averaged_and_kept_on_request(tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "a.mp4", ["red", "blue", "green", "green"], seconds_each=2.5)
    teachers = {"a": WITH_FEATURES, "b": TEACHER}
    result = label_videos(tmp_path / "videos", teachers, tmp_path / "targets", frames_per_step=2, keep_frames=True)
    targets = Targets(result.out)
    clip = targets.clip(0, with_frames=True)
    np.testing.assert_allclose(clip.frame_seconds, [[1.25, 3.75], [6.25, 8.75]])
    pictures = [f.image for f in read_frames(tmp_path / "videos" / "a.mp4", clip.frame_seconds.ravel())]
    colours = np.array([picture.mean(axis=(0, 1)) / 255 for picture in pictures]).reshape(2, 2, 3)
    likely = np.exp(10 * colours) / np.exp(10 * colours).sum(axis=2, keepdims=True)
    np.testing.assert_allclose(clip.frame_features["a"], 10 * colours, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(clip.features["a"], 10 * colours.mean(axis=1), rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(clip.frame_distributions["b"], likely, rtol=3e-3, atol=1e-6)
    np.testing.assert_allclose(clip.distributions["b"], likely.mean(axis=1), rtol=3e-3, atol=1e-6)
    assert clip.distributions["b"][0].round(1).tolist() == [0.5, 0, 0.5]
    sampling = targets.settings["frame_sampling"]
    assert (sampling["frames_per_step"], sampling["keep_frames"]) == (2, True)
    mean_only = label_videos(tmp_path / "videos", teachers, tmp_path / "mean", frames_per_step=2)
    only = Targets(mean_only.out).clip(0, with_frames=True)
    assert not only.frame_features
    np.testing.assert_array_equal(only.features["a"], clip.features["a"])


def test_a_key_frame_that_is_the_nearest_twice_counts_once(tmp_path: Path) -> None:
    """One each 4 s: the first step's moments 0.8, 2.5 and 4.2 s are nearest to those at 0, 4 and 4 s."""
    frames = [np.full((64, 64, 3), COLOURS[NAMES[index // 16 % 3]], np.uint8) for index in range(80)]
    sound = 0.3 * np.sin(np.arange(RATE * 20) / 20).astype(np.float32)
    (tmp_path / "videos").mkdir()
    options = {"g": "16", "keyint_min": "16", "sc_threshold": "0"}
    write_video(tmp_path / "videos" / "a.mp4", frames, 4, sound, RATE, video_options=options)
    network = Counting()
    teachers = {"a": Teacher(network, plain, NAMES)}
    result = label_videos(tmp_path / "videos", teachers, tmp_path / "out", frames="keyframe", frames_per_step=3)
    (clip,) = Targets(result.out)
    np.testing.assert_allclose(clip.frame_seconds, [[0, 4, 4], [4, 8, 8], [12, 12, 16], [16, 16, 16]], atol=1e-6)
    assert network.frames == 5
    # Red at 0 s, green at 4, blue at 8, and again from 12 s on.
    wanted = np.array([[0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0.5, 0], [0, 1, 0]])
    np.testing.assert_allclose(clip.distributions["a"], wanted, atol=0.01)
    # Of the second step one lies before it, of the third one behind it.
    assert "2 of 4 steps labelled from a key frame outside their 5 s" in str(result)


def test_how_short_a_video_may_be_follows_the_step(tmp_path: Path) -> None:
    """A fifth of one: a second where steps have 5 s, 0.1 s where they have 0.5 s."""
    make_video(tmp_path / "videos" / "a.mp4", ["red"], seconds_each=0.75)
    with pytest.raises(MediaError, match=r"has only 0\.75 s of sound and pictures together; 1 s are needed"):
        next(read_clips(tmp_path / "videos" / "a.mp4", RATE))
    with pytest.raises(MediaError, match=r"; 0\.8 s are needed"):
        next(read_clips(tmp_path / "videos" / "a.mp4", RATE, step_seconds=4))
    result = label_videos(tmp_path / "videos", {"objects": TEACHER}, tmp_path / "targets", step_seconds=0.5)
    (clip,) = Targets(result.out)
    assert [NAMES[row.argmax()] for row in clip.distributions["objects"]] == ["red"] * result.steps
    assert result.steps == 2


def test_a_step_that_is_not_finite_is_left_out_and_counted(tmp_path: Path) -> None:
    """The clip ends before it, and another one begins after it; a video without any other step is refused."""
    videos = tmp_path / "videos"
    make_video(videos / "a.mp4", ["green", "green"])
    make_video(videos / "b.mp4", ["red", "green", "blue", "blue", "green"])
    teacher = Teacher(MeanColour(), BlindTo("green"), NAMES, {"network": "mean colour"})
    result = label_videos(videos, {"objects": teacher}, tmp_path / "out", videos_per_part=1)
    assert result.failures == {"a.mp4": "a.mp4 has no step for which every teacher's answer is finite"}
    assert (result.labelled, result.clips, result.steps, result.failed_steps) == (1, 2, 3, 2)
    files = Targets(result.out).parts
    videos_before = [video for file in files for video in TargetsPart(file).videos()]
    assert [(type(video.failed_steps), video.failed_steps) for video in videos_before] == [(int, 2)]
    for file in files:
        with h5py.File(file, "r+") as part:  # As the column was before.
            del part["videos/failed_steps"]
            part["videos/failed_steps"] = np.array([2.0])
        assert [repr(video) for video in TargetsPart(file).videos()] == [repr(video) for video in videos_before]
    assert "2 of 5 steps without a picture or a finite answer left out" in str(result)
    first, second = Targets(result.out)
    assert (first.start_seconds, first.frame_seconds.tolist()) == (0, [2.5])
    assert (second.start_seconds, second.frame_seconds.tolist()) == (10, [12.5, 17.5])
    assert [(len(clip.sound) / RATE, pitch(clip.sound)) for clip in (first, second)] == [(5, 300), (10, 700)]
    begins, _ = Targets(result.out).steps()
    assert begins.tolist() == [0, 10, 15]
    make_video(videos / "c.mp4", ["red"])
    again = label_videos(videos, {"objects": teacher}, tmp_path / "out", videos_per_part=1)
    assert (again.remembered, again.labelled, again.failed_steps) == (1, 2, 2)


def test_a_step_whose_feature_is_not_finite_is_left_out_though_its_answer_is(tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "a.mp4", ["red", "green", "blue"])
    network = nn.Sequential(MeanColour(), nn.Linear(3, 3), Finite())
    teacher = Teacher(network, BlindTo("green"), NAMES).keep_features()
    answered = label_videos(tmp_path / "videos", {"objects": replace(teacher, features=None)}, tmp_path / "answers")
    assert (answered.steps, answered.failed_steps) == (3, 0)
    result = label_videos(tmp_path / "videos", {"objects": teacher}, tmp_path / "out")
    assert (result.clips, result.steps, result.failed_steps) == (2, 2, 1)
    for clip in Targets(result.out):
        assert np.isfinite(clip.features["objects"]).all()


def test_weights_that_are_broken_are_told_at_once(tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "a.mp4", ["red"])
    network = nn.Sequential(MeanColour(), nn.Linear(3, 3))
    nn.init.constant_(network[1].weight, float("inf"))  # type: ignore[arg-type]
    with pytest.raises(FormatError, match="of the teacher objects are not finite numbers; its weights are broken"):
        label_videos(tmp_path / "videos", {"objects": Teacher(network, plain, NAMES)}, tmp_path / "out")
    assert not part_files(tmp_path / "out")


def write_changing(path: Path) -> None:
    """Write 10 s of pictures with a sound: red, two seconds in colours that FFmpeg cannot convert, then blue."""
    with av.open(str(path.with_suffix(".h264")), "w") as container:
        stream = container.add_stream("libx264", rate=4)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv444p"
        stream.options = {"x264-params": "bframes=0:keyint=4:min-keyint=4"}
        for index in range(40):
            picture = np.full((32, 32, 3), COLOURS["red" if index < 20 else "blue"], np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    with av.open(str(path.with_suffix(".h264"))) as source, av.open(str(path), "w") as target:
        pictures = target.add_stream_from_template(source.streams.video[0])
        sound = target.add_stream("pcm_s16le", rate=RATE, layout="mono")
        tone = (3000 * np.sin(np.arange(10 * RATE) / 9)).astype(np.int16)
        # YCgCo, and what pictures of this size are in anyway.
        odd, usual = (
            BitStreamFilterContext(f"h264_metadata=matrix_coefficients={matrix}", source.streams.video[0])
            for matrix in (8, 6)
        )
        for number, packet in enumerate(packet for packet in source.demux(video=0) if packet.size):
            for changed in (odd if 16 <= number < 24 else usual).filter(packet):
                changed.pts = changed.dts = 250 * number
                changed.time_base, changed.stream = Fraction(1, 1000), pictures
                target.mux(changed)
            heard = av.AudioFrame.from_ndarray(tone[None, number * RATE // 4 : (number + 1) * RATE // 4], "s16", "mono")
            heard.sample_rate, heard.pts, heard.time_base = RATE, number * RATE // 4, Fraction(1, RATE)
            target.mux(sound.encode(heard))
        target.mux(sound.encode(None))
    path.with_suffix(".h264").unlink()


def test_a_step_without_a_picture_that_can_be_shown_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    write_changing(tmp_path / "videos" / "a.mkv")
    with pytest.raises(MediaError, match="colour matrix 8"):
        read_frames(tmp_path / "videos" / "a.mkv", [5.0])
    assert [clip.start_seconds for clip in read_clips(tmp_path / "videos" / "a.mkv", RATE, step_seconds=2)] == [0, 6]
    result = label_videos(tmp_path / "videos", {"objects": TEACHER}, tmp_path / "out", step_seconds=2)
    assert (result.clips, result.steps, result.failed_steps) == (2, 4, 1)
    first, second = Targets(result.out)
    assert [NAMES[row.argmax()] for clip in (first, second) for row in clip.distributions["objects"]] == [
        *["red"] * 2,
        *["blue"] * 2,
    ]
    assert [(clip.start_seconds, len(clip.sound)) for clip in (first, second)] == [(0, 4 * RATE), (6, 4 * RATE)]


def test_what_may_not_be_is_told_before_anything_else(tmp_path: Path) -> None:
    settings: dict[str, Any]
    for settings, message in (
        (
            {"step_seconds": 3},
            "step_seconds is 3; it is from 0.5 to 5, and a whole number of steps makes 20 s: 5, 4,",
        ),
        ({"frames_per_step": 0}, "frames_per_step is 0; it has to be at least 1"),
        ({"keep_frames": True}, "add --frames_per_step, or leave it out"),
    ):
        with pytest.raises(SettingsError, match=message):
            teach(tmp_path / "no videos", tmp_path / "out", objects="resnet18:NO_SUCH_WEIGHTS", **settings)


def test_targets_that_were_begun_otherwise_are_not_mixed(tmp_path: Path) -> None:
    """What needs no new setting is written as it always was, and goes on so."""
    make_video(tmp_path / "videos" / "a.mp4", ["red"])
    label_videos(tmp_path / "videos", {"objects": TEACHER}, tmp_path / "out")
    settings = read_json(tmp_path / "out" / "targets.json")
    assert settings["format_version"] == 3
    assert settings["teachers"]["objects"].keys() == {"network", "state_sha256", "transform", "class_names_sha256"}
    assert settings["frame_sampling"] == {
        "clip_seconds": 20.0,
        "step_seconds": 5.0,
        "frame": "middle of the step",
        "frames": "exact",
        "clips_per_video": None,
    }
    changed: dict[str, Any]
    for changed, message in (
        ({"step_seconds": 2.5}, r"step_seconds was 5\.0, now 2\.5"),
        ({"frames_per_step": 2}, r"frames_per_step was null, now 2"),
    ):
        with pytest.raises(RunConflictError, match=rf"already holds a different run .*{message}.*choose another --out"):
            label_videos(tmp_path / "videos", {"objects": TEACHER}, tmp_path / "out", **changed)


def test_sizes_are_told_and_true(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        make_video(tmp_path / "videos" / f"{number}.mp4", ["red", "blue"] * 4)
    settings: dict[str, Any] = {"step_seconds": 1.0, "frames_per_step": 2, "keep_frames": True}
    with caplog.at_level(logging.INFO):
        result = label_videos(tmp_path / "videos", {"a": WITH_FEATURES}, tmp_path / "out", **settings)
    (told,) = [record.getMessage() for record in caplog.records if "MB on disk" in record.getMessage()]
    sizes = megabytes_per_hour(RATE, 1.0, {"a": 3}, {"a": 3}, kept_frames=2)
    assert sizes == {
        "sound": pytest.approx(158.76),
        "distributions of a": pytest.approx(3600 * 3 * 3 * 2 / 1e6),
        "features of a": pytest.approx(3600 * 3 * (3 * 2 + 4) / 1e6),
    }
    assert told.startswith(
        "an hour of video takes 159 MB on disk (sound 159, distributions of a 0.0648, features of a "
    )
    # A transform that leaves pictures as they are makes 3 x 480 x 640 float32 of the usual ones, 7200 an hour.
    wanted = (
        "the 3 videos to label are about 2 minutes, 5.3 MB; while it runs, an hour of decoded frames takes 26542 MB"
    )
    assert told.endswith(f"; {wanted}")
    on_disk = sum(part.stat().st_size for part in part_files(result.out)) / 1e6
    assert on_disk == pytest.approx(5.3, rel=0.05)
    (tmp_path / "videos" / "bad.mp4").write_text("no video")
    videos = sorted((tmp_path / "videos").iterdir())
    assert estimate_hours(videos) == pytest.approx(120 / 3600, rel=0.01)
    assert estimate_hours(videos, clips_per_video=1) == pytest.approx(60 / 3600, rel=0.01)
    assert describe_sizes({"sound": 158.76}, 2, 1.5).endswith("the 2 videos to label are about 1.5 hours, 238 MB")
    assert describe_sizes({"sound": 158.76}, 2, 0.0) == "an hour of video takes 159 MB on disk (sound 159)"
