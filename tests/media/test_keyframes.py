"""Key frames against a brute force that decodes everything and looks for the nearest frame with the flag."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from av.video.stream import VideoStream

from soundnet_kd.errors import MediaError
from soundnet_kd.media import read_frames
from soundnet_kd.media.container import open_media
from soundnet_kd.media.keyframes import KeyFrameSeeker, KeyFrameWalker
from soundnet_kd.media.picture_track import PictureTrack, SeekError
from tests.media_files import Pixels, garbage_instead_of, number_of, write_numbered

MILLISECOND = Fraction(1, 1000)
EVERY_40_MS = range(0, 200 * 40, 40)
# No time lies halfway between two pictures.
TIMES = [7.99, 0.0, -1.0, 0.51, 3.29, 3.31, 3.29, 5.13, 100.0, 1.23, 6.65]


def key_frames(path: Path) -> tuple[list[tuple[float, Pixels]], float]:
    """Decode all, give the key frames with their times, and the last time of all."""
    keys = []
    with open_media(path) as container:
        stream = cast(VideoStream, container.streams.best("video"))
        start = (container.start_time or 0) / 1e6
        seconds, interval = None, 1 / float(stream.average_rate or 25)
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except (StopIteration, IndexError, av.error.FFmpegError):
                break
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                continue
            for frame in frames:
                if frame.time is not None:
                    seconds = frame.time - start
                else:
                    seconds = 0.0 if seconds is None else seconds + interval
                if frame.key_frame:
                    keys.append((seconds, np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)))
    return keys, seconds or 0.0


def check(path: Path, times: list[float]) -> None:
    keys, _ = key_frames(path)
    expected = [min(keys, key=lambda key: abs(key[0] - seconds)) for seconds in times]
    together = read_frames(path, times, "keyframe")
    alone = [read_frames(path, [seconds], "keyframe", threads=1)[0] for seconds in times]
    for frames in (together, alone):
        assert [frame.time_seconds for frame in frames] == pytest.approx([key[0] for key in expected], abs=1e-5), path
        for frame, (_, picture) in zip(frames, expected, strict=True):
            # Turned pictures and those of oblong pixels are compared in exact mode's tests.
            if frame.image.shape == picture.shape:
                np.testing.assert_array_equal(frame.image, picture, path.name)


def test_every_container_and_codec_gives_the_nearest_key_frame(tmp_path: Path) -> None:
    def closed(stream: VideoStream) -> None:
        stream.options = {"x264-params": "scenecut=0:b-adapt=0:keyint=12:open-gop=0:bframes=3:b-pyramid=strict"}

    def mpeg(stream: VideoStream) -> None:
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = 15, 2

    def intra(stream: VideoStream) -> None:
        stream.codec_context.gop_size = 1

    for name in ("clip.mp4", "clip.mkv", "clip.mov", "clip.ts", "clip.flv", "clip.3gp", "clip.avi"):
        for kind, adjust in {"open": lambda stream: None, "closed": closed}.items():
            b_frames = 0 if name == "clip.avi" else 3
            # AVI counts pictures and would hold each millisecond as one.
            ticks, base = (range(200), Fraction(1, 25)) if name == "clip.avi" else (EVERY_40_MS, MILLISECOND)
            path = tmp_path / f"{kind}-{name}"
            write_numbered(path, ticks, base, b_frames=b_frames, adjust=adjust)
            check(path, TIMES)
    for name, codec in [("m4.avi", "mpeg4"), ("m4.mp4", "mpeg4"), ("m2.mpg", "mpeg2video"), ("m2.ts", "mpeg2video")]:
        write_numbered(tmp_path / name, range(200), Fraction(1, 25), codec=codec, adjust=mpeg)
        check(tmp_path / name, TIMES)
    for name, codec, pixels in [
        ("j.avi", "mjpeg", "yuvj420p"),
        ("f.mkv", "ffv1", "yuv420p"),
        ("p.mov", "png", "rgb24"),
    ]:
        write_numbered(tmp_path / name, range(200), Fraction(1, 25), codec=codec, pixel_format=pixels, adjust=intra)
        check(tmp_path / name, TIMES)
        frames = read_frames(tmp_path / name, [0.05, 3.99], "keyframe")
        assert [number_of(frame.image) for frame in frames] == [1, 100]


@pytest.mark.parametrize("name", ["live.mkv", "live.webm", "fragments.mp4"])
def test_files_without_an_index(tmp_path: Path, name: str) -> None:
    options = {"movflags": "frag_keyframe+empty_moov"} if name.endswith("mp4") else {"live": "1"}
    codec = "libvpx" if name.endswith("webm") else "libx264"

    def often(stream: VideoStream) -> None:
        if codec == "libvpx":
            stream.codec_context.gop_size = 12

    write_numbered(tmp_path / name, EVERY_40_MS, MILLISECOND, codec=codec, options=options, adjust=often)
    check(tmp_path / name, TIMES)


@pytest.mark.parametrize("b_frames", [0, 2])
def test_raw_streams_without_times(tmp_path: Path, b_frames: int) -> None:
    write_numbered(tmp_path / "raw.h264", range(100), Fraction(1, 25), format="h264", b_frames=b_frames)
    check(tmp_path / "raw.h264", TIMES)


def test_of_two_key_frames_as_near_the_earlier_is_given(tmp_path: Path) -> None:
    """Key frames at 0, 1.2, 2.4 s; 0.6 s and 1.8 s lie in the middle."""
    write_numbered(tmp_path / "clip.mp4", range(0, 60 * 100, 100), MILLISECOND, b_frames=0)
    frames = read_frames(tmp_path / "clip.mp4", [0.6, 0.601, 1.8, 1.799999, 1.81, 2.4], "keyframe")
    assert [frame.time_seconds for frame in frames] == pytest.approx([0, 1.2, 1.2, 1.2, 2.4, 2.4])
    assert [number_of(frame.image) for frame in frames] == [0, 12, 12, 12, 24, 24]


def test_times_are_counted_from_the_start_of_the_file(tmp_path: Path) -> None:
    for name in ("late.ts", "late.mp4", "late.mkv"):
        write_numbered(tmp_path / name, range(5000, 9000, 40), MILLISECOND)
        check(tmp_path / name, [0.0, 1.0, 2.01, 3.9, 5.01, 7.2])


def test_pictures_before_the_start_of_an_edit_list(tmp_path: Path) -> None:
    write_numbered(
        tmp_path / "early.mp4", range(-400, 6000, 40), MILLISECOND, options={"avoid_negative_ts": "disabled"}
    )
    check(tmp_path / "early.mp4", [0.0, 0.05, 1.0, 2.01, 3.9])


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
@pytest.mark.parametrize("broken", [{0}, {1}, {4, 5, 6}, {16}])
def test_broken_key_frames_are_passed_over(tmp_path: Path, name: str, broken: set[int]) -> None:
    def spoil(path: Path, spoiled: Path) -> None:
        with av.open(str(path)) as source, av.open(str(spoiled), "w") as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            keys = -1
            for packet in source.demux(video=0):
                if packet.dts is None:
                    continue
                keys += packet.is_keyframe
                changed = garbage_instead_of(packet) if packet.is_keyframe and keys in broken else packet
                changed.is_keyframe = packet.is_keyframe
                changed.stream = stream
                target.mux(changed)

    write_numbered(tmp_path / "whole.mp4", EVERY_40_MS, MILLISECOND, key_every=12, adjust=closed_gops)
    spoil(tmp_path / "whole.mp4", tmp_path / name)
    assert 0 < len(key_frames(tmp_path / name)[0]) < 17
    check(tmp_path / name, TIMES)


def closed_gops(stream: VideoStream) -> None:
    stream.options = {"x264-params": "scenecut=0:b-adapt=0:keyint=12:open-gop=0"}


def test_pictures_of_two_fields(tmp_path: Path) -> None:
    def interlace(stream: VideoStream) -> None:
        stream.options = {"x264-params": "scenecut=0:keyint=12:tff=1:interlaced=1"}

    for name in ("clip.ts", "clip.mp4"):
        write_numbered(tmp_path / name, EVERY_40_MS, MILLISECOND, adjust=interlace)
        check(tmp_path / name, TIMES)


def test_a_file_that_cannot_be_sought_is_walked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: PictureTrack, ticks: int) -> None:
        raise SeekError

    write_numbered(tmp_path / "clip.mkv", EVERY_40_MS, MILLISECOND)
    monkeypatch.setattr(PictureTrack, "seek", refuse)
    check(tmp_path / "clip.mkv", TIMES)


def test_each_way_by_itself_gives_the_same(tmp_path: Path) -> None:
    """So that no way hides behind another."""
    path = tmp_path / "clip.mp4"
    write_numbered(path, EVERY_40_MS, MILLISECOND)
    keys, _ = key_frames(path)
    ways: list[Callable[[PictureTrack], Any]] = [
        KeyFrameSeeker,
        lambda track: KeyFrameWalker(track, decode_all=False),
        lambda track: KeyFrameWalker(track, decode_all=True),
    ]
    for way in ways:
        with open_media(path) as container:
            finder = way(PictureTrack(container, path, 1))
            for seconds in sorted(TIMES):
                expected = min(keys, key=lambda key: abs(key[0] - seconds))[0]
                assert finder.frame_at(seconds)[0] == pytest.approx(expected, abs=1e-5)


def test_a_key_frame_wanted_often_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    decode = KeyFrameSeeker._decode

    def count(self: KeyFrameSeeker, packet: av.Packet[Any]) -> Any:
        decoded.append(packet.pts)
        return decode(self, packet)

    monkeypatch.setattr(KeyFrameSeeker, "_decode", count)
    write_numbered(tmp_path / "clip.mp4", EVERY_40_MS, MILLISECOND)
    frames = read_frames(tmp_path / "clip.mp4", [0.5, 0.45, 0.51, 0.0, 0.5], "keyframe")
    assert len(decoded) == 2
    assert frames[0] is frames[1] is frames[2] is frames[4]


def test_a_container_that_calls_other_pictures_key_frames(tmp_path: Path) -> None:
    write_numbered(tmp_path / "true.mkv", EVERY_40_MS, MILLISECOND)
    with av.open(str(tmp_path / "true.mkv")) as source, av.open(str(tmp_path / "lie.mkv"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.dts is not None:
                packet.is_keyframe = packet.is_keyframe or number % 5 == 0
                packet.stream = stream
                target.mux(packet)
    check(tmp_path / "lie.mkv", TIMES)


def test_files_cut_short(tmp_path: Path) -> None:
    for name, options in [("cut.mkv", {}), ("cut.mp4", {"movflags": "faststart"}), ("cut.ts", {})]:
        write_numbered(tmp_path / name, EVERY_40_MS, MILLISECOND, options=options)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) * 2 // 3])
        check(tmp_path / name, TIMES)


def test_settings_are_checked(tmp_path: Path) -> None:
    write_numbered(tmp_path / "clip.mp4", range(10), Fraction(1, 25))
    with pytest.raises(ValueError, match='it must be "exact" or "keyframe"'):
        read_frames(tmp_path / "clip.mp4", [0], "nearest")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="threads is -1"):
        read_frames(tmp_path / "clip.mp4", [0], threads=-1)
    with pytest.raises(MediaError, match="does not exist"):
        read_frames(tmp_path / "gone.mp4", [0], "keyframe")
    assert read_frames(tmp_path / "clip.mp4", [], "keyframe") == []


@pytest.mark.real
@pytest.mark.slow
def test_key_frames_of_real_videos(real_data: Path) -> None:
    choose = random.Random(0)
    for path in sorted((real_data / "videos").iterdir()):
        # The test picture in 1080p takes long to decode in full and has nothing that others lack.
        if path.suffix == ".csv" or "smpte" in path.name:
            continue
        _, end = key_frames(path)
        check(path, [0.0, *(choose.uniform(-0.2, end + 0.5) for _ in range(4))])
