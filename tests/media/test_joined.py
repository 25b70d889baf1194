"""Recordings that were joined byte by byte: sound is heard in order, pictures and sound never part."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from av.video.stream import VideoStream

from soundnet_kd.media import Video, duration_seconds, measure_extent, read_audio
from soundnet_kd.teachers.clips import Tally, read_clips
from tests.media_files import audio_frame, loudest_frequency, number_of, numbered_picture, sine

RATE = 48_000


def record(
    path: Path, first_number: int, seconds: int, hertz: float, start_seconds: int = 0, gap: range = range(0)
) -> None:
    """Write a number into the picture of each second, counted from `first_number`, beside a tone."""
    with av.open(str(path), "w") as container:
        codec = "mpeg2video" if path.suffix == ".mpg" else "libx264"
        picture = cast(VideoStream, container.add_stream(codec, rate=25))
        picture.width, picture.height, picture.pix_fmt = 96, 64, "yuv420p"
        picture.codec_context.gop_size = 25
        coder = "libmp3lame" if path.suffix == ".flv" else "mp2"
        sound: Any = container.add_stream(coder, rate=44_100 if path.suffix == ".flv" else RATE, layout="mono")
        tone = np.round(sine(hertz, seconds, RATE) * 32767).astype(np.int16)[np.newaxis]
        packets: list[av.Packet[Any]] = []
        for number in range(25 * seconds):
            frame = av.VideoFrame.from_ndarray(numbered_picture(first_number + number // 25), format="rgb24")
            frame.pts, frame.time_base = 25 * start_seconds + number, Fraction(1, 25)
            packets += picture.encode(frame)
        for start in range(0, seconds * RATE, 1152):
            block = np.ascontiguousarray(tone[:, start : start + 1152])
            packets += sound.encode(audio_frame(block, "s16", "mono", RATE, start_seconds * RATE + start))
        packets += [*picture.encode(None), *sound.encode(None)]
        for packet in sorted(packets, key=lambda packet: (packet.dts or 0) * packet.time_base):
            if (packet.dts or 0) * packet.time_base // 1 not in gap:
                container.mux(packet)


def join(path: Path, *parts: Path) -> None:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))


@pytest.mark.parametrize("suffix", [".ts", ".mpg"])
@pytest.mark.parametrize("sampling", ["exact", "keyframe"])
@pytest.mark.parametrize(("first", "second"), [(20, 40), (40, 20)])
@pytest.mark.parametrize("second_start", [0, 5000])
def test_joined_broadcasts_end_for_pictures_where_the_clock_jumps(
    tmp_path: Path, suffix: str, sampling: Any, first: int, second: int, second_start: int
) -> None:
    record(tmp_path / f"a{suffix}", 1, first, 400)
    record(tmp_path / f"b{suffix}", 101, second, 900, second_start)
    path = tmp_path / f"ab{suffix}"
    join(path, tmp_path / f"a{suffix}", tmp_path / f"b{suffix}")
    waveform, _ = read_audio(path)
    assert len(waveform) / RATE == pytest.approx(60, abs=0.1)
    assert loudest_frequency(waveform[RATE : 15 * RATE], RATE) == pytest.approx(400, abs=1)
    assert loudest_frequency(waveform[-15 * RATE : -RATE], RATE) == pytest.approx(900, abs=1)
    assert duration_seconds(path) == pytest.approx(first, abs=0.2)
    assert measure_extent(path).behind_seconds == pytest.approx(second, abs=0.5)
    clips = list(read_clips(path, 22_050, sampling))
    assert [len(clip.frames) for clip in clips] == [4] * (first // 20)
    for clip in clips:
        for picture, seconds in zip(clip.frames, clip.frame_seconds, strict=True):
            assert number_of(picture) == 1 + int(seconds + 1e-3)
        assert loudest_frequency(clip.sound.astype(np.float32), 22_050) == pytest.approx(400, abs=1)
    tally = Tally()
    assert len(list(read_clips(path, 22_050, sampling, tally=tally))) == len(clips)
    assert tally.seconds == pytest.approx(60, abs=1)
    assert tally.behind_jump_seconds == pytest.approx(second, abs=1)
    with Video(path, sampling) as video:
        late, early = video.frames([first - 0.9, 3.5])
        assert number_of(late.image) in (first - 1, first)
        assert number_of(early.image) in (4, 5)


@pytest.mark.parametrize("suffix", [".ts", ".mpg"])
@pytest.mark.parametrize("gap", [range(0), range(12, 15)])
def test_a_broadcast_with_one_clock_is_whole(tmp_path: Path, suffix: str, gap: range) -> None:
    path = tmp_path / f"a{suffix}"
    record(path, 1, 30, 400, 7, range(7 + gap.start, 7 + gap.stop))
    assert measure_extent(path).behind_seconds == 0
    assert duration_seconds(path) == pytest.approx(30, abs=0.1)
    assert len(read_audio(path)[0]) / RATE == pytest.approx(30, abs=0.1)
    with Video(path) as video:
        assert [number_of(frame.image) for frame in video.frames([3.5, 20.5, 29.5])] == [4, 21, 30]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".flv"])
@pytest.mark.parametrize("second", [20, 40])
def test_other_joined_files_give_the_pictures_of_the_first(tmp_path: Path, suffix: str, second: int) -> None:
    record(tmp_path / f"a{suffix}", 1, 20, 400)
    record(tmp_path / f"b{suffix}", 101, second, 900)
    join(tmp_path / f"ab{suffix}", tmp_path / f"a{suffix}", tmp_path / f"b{suffix}")
    assert duration_seconds(tmp_path / f"ab{suffix}") == pytest.approx(20, abs=0.2)
    samplings: tuple[Any, ...] = ("exact", "keyframe")
    for sampling in samplings:
        (clip,) = read_clips(tmp_path / f"ab{suffix}", 22_050, sampling)
        numbers = [number_of(picture) for picture in clip.frames]
        assert np.abs(np.subtract(numbers, [3, 8, 13, 18])).max() <= (0 if sampling == "exact" else 1)
        assert loudest_frequency(clip.sound.astype(np.float32), 22_050) == pytest.approx(400, abs=1)
        with Video(tmp_path / f"ab{suffix}", sampling) as video:
            assert [number_of(frame.image) for frame in video.frames([19.4])] == [20]


@pytest.mark.parametrize("second", [20, 40])
@pytest.mark.parametrize("sampling", ["exact", "keyframe"])
def test_joined_avi_is_counted_on_in_both_tracks(tmp_path: Path, second: int, sampling: Any) -> None:
    record(tmp_path / "a.avi", 1, 20, 400)
    record(tmp_path / "b.avi", 101, second, 900)
    join(tmp_path / "ab.avi", tmp_path / "a.avi", tmp_path / "b.avi")
    first, *others = read_clips(tmp_path / "ab.avi", 22_050, sampling)
    assert [number_of(picture) for picture in first.frames] == [3, 8, 13, 18]
    assert loudest_frequency(first.sound.astype(np.float32), 22_050) == pytest.approx(400, abs=1)
    assert len(others) == second // 20
    for clip in others:
        numbers = [number_of(picture) for picture in clip.frames]
        expected = [round(81 + clip.start_seconds + offset) for offset in (2, 7, 12, 17)]
        assert np.abs(np.subtract(numbers, expected)).max() <= (0 if sampling == "exact" else 1)
        assert loudest_frequency(clip.sound.astype(np.float32), 22_050) == pytest.approx(900, abs=1)
