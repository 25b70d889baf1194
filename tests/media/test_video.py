from __future__ import annotations

import csv
import random
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer
from av.video.stream import VideoStream

from soundnet_kd.errors import MediaError
from soundnet_kd.media import Frame, duration_seconds, read_audio, read_frames
from soundnet_kd.media import container as container_module
from tests.media_files import Pixels, garbage_instead_of, number_of, numbered_picture, sine, write_numbered, write_sound

MILLISECOND = Fraction(1, 1000)
EVERY_40_MS = range(0, 200 * 40, 40)
IRREGULAR = [0, 10, 200, 210, 220, 1000, 1040, 1041, 2500, 2600, 2610, 2620, 2630, 5000, 5040]


def numbers(path: Path, times: Sequence[float]) -> list[int]:
    return [number_of(frame.image) for frame in read_frames(path, times)]


def shown_at(ticks: Sequence[int], seconds: float) -> int:
    """The definition: the last picture that is due, or else the first."""
    return max((number for number, tick in enumerate(ticks) if tick / 1000 <= seconds), default=0)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.mov", "clip.ts", "clip.flv"])
@pytest.mark.parametrize("b_frames", [0, 3])
def test_every_time_gives_the_picture_shown_then(tmp_path: Path, name: str, b_frames: int) -> None:
    write_numbered(tmp_path / name, EVERY_40_MS, MILLISECOND, b_frames=b_frames)
    times = [0.0, 0.5, 0.039, 0.041, 7.99, 3.3, 3.3, 3.31, 6.0001, 5.9599, 1.0]
    assert numbers(tmp_path / name, times) == [shown_at(EVERY_40_MS, seconds) for seconds in times]
    for seconds in (0.47, 0.4801, 4.79, 4.8001, 7.9):
        assert numbers(tmp_path / name, [seconds]) == [shown_at(EVERY_40_MS, seconds)]


def test_times_between_key_frames_far_apart_are_exact(tmp_path: Path) -> None:
    """Key frames every 4 s; seeking is worth it for some of the times and not for others."""
    write_numbered(tmp_path / "long.mp4", range(0, 250 * 100, 100), MILLISECOND, key_every=40)
    times = [0.05 + 1.7 * step for step in range(14)]
    assert numbers(tmp_path / "long.mp4", times) == [int(seconds * 10) for seconds in times]


@pytest.mark.parametrize("codec", ["mpeg4", "mjpeg", "ffv1"])
def test_other_codecs_are_exact_too(tmp_path: Path, codec: str) -> None:
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    write_numbered(tmp_path / "clip.avi", range(100), Fraction(1, 25), codec=codec, pixel_format=pixel_format)
    times = [3.9, 0.01, 2.5, 1.99, 2.02]
    assert numbers(tmp_path / "clip.avi", times) == [int(seconds * 25) for seconds in times]


def test_program_streams_keep_their_times(tmp_path: Path) -> None:
    """After a seek FFmpeg gives times that are off by some pictures until the stream tells one again."""

    def reorder(stream: VideoStream) -> None:
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = 15, 2

    write_numbered(tmp_path / "clip.mpg", range(250), Fraction(1, 25), codec="mpeg2video", adjust=reorder)
    for seconds in np.arange(0.21, 9.5, 0.4):
        assert numbers(tmp_path / "clip.mpg", [seconds]) == [int(seconds * 25)]


def busy_pictures(path: Path, change_packet: Any = None) -> list[tuple[float, Pixels]]:
    """Write moving noise whose pictures refer to each other; give what plain decoding gives."""
    rng = np.random.default_rng(0)
    world = np.kron(rng.integers(0, 255, (12, 40, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.options = {"x264-params": "keyint=60:bframes=5:b-pyramid=normal:ref=4"}
        packets = []
        for number in range(200):
            picture = world[number % 30 : number % 30 + 64, number : number + 96]
            noise = rng.normal(0, 10, picture.shape)
            image = np.clip(picture + noise, 0, 255).astype(np.uint8)
            packets += stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24"))
        for index, packet in enumerate([*packets, *stream.encode(None)]):
            container.mux(packet if change_packet is None else change_packet(index, packet))
    shown: list[tuple[float, Pixels]] = []
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            with suppress(av.error.FFmpegError):
                for frame in packet.decode():
                    assert isinstance(frame, av.VideoFrame)
                    assert frame.time is not None
                    shown.append((frame.time, np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)))
    return shown


def check_busy(path: Path, shown: list[tuple[float, Pixels]]) -> None:
    times = [0.053 + 0.37 * step for step in range(21)]
    for threads in (0, 1):
        alone = [read_frames(path, [seconds], threads=threads)[0] for seconds in times]
        for seconds, one, many in zip(times, alone, read_frames(path, times, threads=threads), strict=True):
            expected = max((timed for timed in shown if timed[0] <= seconds), key=lambda timed: timed[0])
            for frame in (one, many):
                assert frame.time_seconds == pytest.approx(expected[0], abs=1e-6)
                np.testing.assert_array_equal(frame.image, expected[1])


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts"])
def test_every_pixel_is_that_of_plain_decoding(tmp_path: Path, name: str) -> None:
    shown = busy_pictures(tmp_path / name)
    check_busy(tmp_path / name, [(seconds - shown[0][0], picture) for seconds, picture in shown])


def test_damage_is_mended_as_in_plain_decoding(tmp_path: Path) -> None:
    def spoil(index: int, packet: av.Packet[Any]) -> av.Packet[Any]:
        return garbage_instead_of(packet) if index % 7 == 3 else packet

    check_busy(tmp_path / "clip.mkv", busy_pictures(tmp_path / "clip.mkv", spoil))


def test_variable_frame_rate(tmp_path: Path) -> None:
    write_numbered(tmp_path / "vfr.mp4", IRREGULAR, MILLISECOND)
    times = [0.0, 0.009, 0.0101, 0.199, 0.9, 1.0402, 1.0411, 2.4, 2.55, 4.999, 5.0, 5.02]
    assert numbers(tmp_path / "vfr.mp4", times) == [shown_at(IRREGULAR, seconds) for seconds in times]
    assert [frame.time_seconds for frame in read_frames(tmp_path / "vfr.mp4", [0.9, 2.4])] == [0.22, 1.041]


def test_times_before_the_start_and_after_the_end(tmp_path: Path) -> None:
    write_numbered(tmp_path / "clip.mp4", EVERY_40_MS, MILLISECOND)
    assert numbers(tmp_path / "clip.mp4", [-1.0, 100.0, 8.0]) == [0, 199, 199]
    assert read_frames(tmp_path / "clip.mp4", []) == []


def test_time_is_counted_from_the_start_of_the_file(tmp_path: Path) -> None:
    """The pictures of a broadcast start at any time of its clock."""
    write_numbered(tmp_path / "clip.ts", range(5000, 9000, 40), MILLISECOND)
    with av.open(str(tmp_path / "clip.ts")) as container:
        assert container.start_time == 5_000_000
    frames = read_frames(tmp_path / "clip.ts", [0.0, 1.0, 2.01])
    assert [number_of(frame.image) for frame in frames] == [0, 25, 50]
    assert [frame.time_seconds for frame in frames] == pytest.approx([0, 1, 2], abs=1e-5)


def test_floats_a_hair_before_a_picture_still_show_it(tmp_path: Path) -> None:
    write_numbered(tmp_path / "clip.mp4", range(0, 5000, 100), MILLISECOND)
    assert 0.7 + 0.1 < 0.8
    assert numbers(tmp_path / "clip.mp4", [0.7 + 0.1]) == [8]


def test_raw_streams_without_times_are_decoded_from_the_start(tmp_path: Path) -> None:
    write_numbered(tmp_path / "raw.h264", range(100), Fraction(1, 25), format="h264", b_frames=0)
    assert numbers(tmp_path / "raw.h264", [2.02, 0.0, 3.5]) == [50, 0, 87]


def test_a_file_cut_short_shows_its_last_picture(tmp_path: Path) -> None:
    write_numbered(tmp_path / "whole.mkv", EVERY_40_MS, MILLISECOND)
    whole = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    last = numbers(tmp_path / "cut.mkv", [7.9])[0]
    assert 60 < last < 140
    assert numbers(tmp_path / "cut.mkv", [0.5, 100.0]) == [12, last]


def test_a_cut_mp4_whose_index_promises_more(tmp_path: Path) -> None:
    write_numbered(tmp_path / "whole.mp4", EVERY_40_MS, MILLISECOND, options={"movflags": "faststart"})
    whole = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    got = numbers(tmp_path / "cut.mp4", [1.0, 7.9])
    assert got[0] == 25
    assert 80 < got[1] < 160


@pytest.mark.parametrize("pixel_format", ["yuv420p10le", "yuv422p", "yuv444p", "gray"])
def test_pixel_formats(tmp_path: Path, pixel_format: str) -> None:
    write_numbered(tmp_path / "clip.mkv", range(10), Fraction(1, 25), codec="ffv1", pixel_format=pixel_format)
    frame = read_frames(tmp_path / "clip.mkv", [0.28])[0]
    assert np.abs(frame.image.astype(int) - numbered_picture(7)).max() <= 3


def test_alpha_and_palettes_are_left_out(tmp_path: Path) -> None:
    for name, codec, pixel_format in [("alpha.mov", "qtrle", "argb"), ("clip.gif", "gif", "rgb8")]:
        write_numbered(tmp_path / name, range(10), Fraction(1, 25), codec=codec, pixel_format=pixel_format)
        frame = read_frames(tmp_path / name, [0.21])[0]
        assert frame.image.shape == (64, 96, 3)
        assert number_of(frame.image) == 5


def test_a_track_that_joins_late_ends_the_file_quietly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged 3gp in which FFmpeg found a track more on the way made PyAV 18.1 raise IndexError after the packets."""
    write_numbered(tmp_path / "clip.mkv", range(50), Fraction(1, 25))
    demux = container_module.read_packets

    class LateTrack:
        def __init__(self, container: InputContainer) -> None:
            self.container = container

        def demux(self, stream: VideoStream) -> Iterator[object]:
            yield from self.container.demux(stream)
            raise IndexError("list index out of range")

    monkeypatch.setattr(
        container_module, "read_packets", lambda container, stream: demux(cast(Any, LateTrack(container)), stream)
    )
    assert numbers(tmp_path / "clip.mkv", [0.5, 1.99]) == [12, 49]


def test_a_codec_that_nobody_knows(tmp_path: Path) -> None:
    write_numbered(tmp_path / "known.mkv", range(10), Fraction(1, 25))
    known = (tmp_path / "known.mkv").read_bytes()
    (tmp_path / "new.mkv").write_bytes(known.replace(b"V_MPEG4/ISO/AVC", b"V_FUTURE_IS_NOW"))
    with pytest.raises(MediaError, match=r"new\.mkv uses a codec for its picture track"):
        read_frames(tmp_path / "new.mkv", [0.0])


def test_pixels_become_square(tmp_path: Path) -> None:
    def widen(stream: VideoStream) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)

    write_numbered(tmp_path / "wide.mkv", range(10), Fraction(1, 25), adjust=widen)
    frame = read_frames(tmp_path / "wide.mkv", [0.2])[0]
    assert frame.image.shape == (64, 128, 3)
    assert number_of(frame.image) == 5


def test_a_turned_phone_gives_upright_pictures(tmp_path: Path) -> None:
    """90 degrees anticlockwise take the left edge of the stored picture to the bottom."""

    def turn(stream: VideoStream) -> None:
        stream.set_display_rotation(90)

    write_numbered(tmp_path / "turned.mp4", range(2), Fraction(1, 25), adjust=turn)
    image = read_frames(tmp_path / "turned.mp4", [0.04])[0].image
    assert image.shape == (96, 64, 3)
    # Picture 1 is white in its leftmost band only.
    assert image[-6, 32].min() > 200
    assert image[:80].max() < 50


# The eight ways to lay a picture: as a display matrix [[a, b], [c, d]], which takes column x and row y to column
# a x + c y and row b x + d y, and as what numpy does to the picture.
ORIENTATIONS: dict[str, tuple[tuple[int, int, int, int], Callable[[Pixels], Pixels]]] = {
    "as it is": ((1, 0, 0, 1), lambda image: image),
    "upside down": ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
    "a quarter clockwise": ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
    "a quarter anticlockwise": ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
    "left for right": ((-1, 0, 0, 1), np.fliplr),
    "top for bottom": ((1, 0, 0, -1), np.flipud),
    "about the diagonal": ((0, 1, 1, 0), lambda image: image.swapaxes(0, 1)),
    "about the other diagonal": ((0, -1, -1, 0), lambda image: np.rot90(image, 2).swapaxes(0, 1)),
}


def lettered_picture() -> Pixels:
    """Four blocks in a row over four others, no two alike."""
    blocks = np.random.default_rng(3).permutation(np.linspace(0, 255, 24).astype(np.uint8)).reshape(2, 4, 3)
    return np.kron(blocks, np.ones((32, 24, 1), np.uint8)).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [
        ("clip.mp4", "libx264", "yuv444p"),
        ("clip.mp4", "mpeg4", "yuv420p"),
        ("clip.mov", "qtrle", "rgb24"),
        ("clip.mov", "libx264", "yuv444p"),
        ("clip.mkv", "mjpeg", "yuvj444p"),
    ],
)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_all_orientations_of_a_display_matrix(
    tmp_path: Path, name: str, codec: str, pixel_format: str, orientation: str
) -> None:
    (a, b, c, d), lay = ORIENTATIONS[orientation]
    with av.open(str(tmp_path / name), "w") as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=25))
        stream.width, stream.height, stream.pix_fmt = 96, 64, pixel_format
        stream.set_display_matrix([number << 16 for number in (a, b, 0, c, d, 0)] + [0, 0, 1 << 30])
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(lettered_picture(), format="rgb24")))
        container.mux(stream.encode(None))
    wanted = lay(lettered_picture()).astype(int)
    for sampling in ("exact", "keyframe"):
        image = read_frames(tmp_path / name, [0.04], sampling)[0].image
        assert image.shape == wanted.shape
        assert np.abs(image - wanted).mean() < 10


def write_restated(path: Path, filters: str) -> None:
    """Write three pictures as H.264 whose headers are changed by a bitstream filter, which keeps the pixels."""
    raw = path.with_name("raw.h264")
    with av.open(str(raw), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv444p"
        stream.options = {"x264-params": "bframes=0"}
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(lettered_picture(), format="rgb24")))
        container.mux(stream.encode(None))
    with av.open(str(raw)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        restated = BitStreamFilterContext(filters, source.streams.video[0])
        for number, packet in enumerate(packet for packet in source.demux(video=0) if packet.size):
            for changed in restated.filter(packet):
                changed.pts = changed.dts = 40 * number
                changed.time_base, changed.stream = MILLISECOND, stream
                target.mux(changed)


@pytest.mark.parametrize("seconds", [0.0, 0.08])
@pytest.mark.parametrize("angle", [0, 90])
def test_a_mirror_that_the_pictures_themselves_state(tmp_path: Path, angle: int, seconds: float) -> None:
    """H.264 can say beside a key frame how it and those that follow are shown: mirrored, then turned anticlockwise."""
    filters = f"h264_metadata=display_orientation=insert:rotate={angle}:flip=horizontal"
    write_restated(tmp_path / "clip.mkv", filters)
    image = read_frames(tmp_path / "clip.mkv", [seconds])[0].image
    wanted = np.rot90(np.fliplr(lettered_picture()), angle // 90)
    assert image.shape == wanted.shape
    assert np.abs(image - wanted.astype(int)).mean() < 5


@pytest.mark.parametrize("sampling", ["exact", "keyframe"])
def test_a_broadcast_that_changes_its_size_and_the_shape_of_its_pixels(tmp_path: Path, sampling: Any) -> None:
    """2 s of square pixels, 2 s of wide ones, 2 s in twice the size, in one stream with one clock."""
    parts = [(1, Fraction(1)), (1, Fraction(4, 3)), (2, Fraction(1))]
    whole = b""
    for number, (scale, aspect) in enumerate(parts):
        with av.open(str(tmp_path / "part.ts"), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 96 * scale, 64 * scale, "yuv420p"
            stream.codec_context.sample_aspect_ratio = aspect
            stream.options = {"x264-params": "keyint=25:bframes=0:scenecut=0"}
            for index in range(50):
                picture = av.VideoFrame.from_ndarray(numbered_picture(number, 64 * scale, 96 * scale), format="rgb24")
                picture.pts, picture.time_base = 50 * number + index, Fraction(1, 25)
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        whole += (tmp_path / "part.ts").read_bytes()
    (tmp_path / "clip.ts").write_bytes(whole)
    frames = read_frames(tmp_path / "clip.ts", [0.5, 1.2, 2.5, 3.2, 4.5, 5.2], sampling)
    assert [number_of(frame.image) for frame in frames] == [0, 0, 1, 1, 2, 2]
    sizes = [(64, 96, 3)] * 2 + [(64, 128, 3)] * 2 + [(128, 192, 3)] * 2
    assert [frame.image.shape for frame in frames] == sizes


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize(
    ("matrix", "red", "blue"),
    # ITU-T H.273: the weights of red and blue in the luma of each matrix_coefficients.
    [(1, 0.2126, 0.0722), (5, 0.299, 0.114), (6, 0.299, 0.114), (9, 0.2627, 0.0593)],
)
def test_colours_are_those_that_the_file_states(
    tmp_path: Path, matrix: int, red: float, blue: float, full_range: bool
) -> None:
    rgb = np.array([200.0, 60.0, 90.0])
    luma = red * rgb[0] + (1 - red - blue) * rgb[1] + blue * rgb[2]
    chroma = [(rgb[2] - luma) / 2 / (1 - blue), (rgb[0] - luma) / 2 / (1 - red)]
    levels = [luma, *(each + 128 for each in chroma)]
    if not full_range:
        levels = [16 + luma * 219 / 255, *(128 + each * 224 / 255 for each in chroma)]
    planes = np.stack([np.full((64, 96), round(level), np.uint8) for level in levels])
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 2 if full_range else 1
        stream.options = {"qp": "0"}
        picture = av.VideoFrame.from_ndarray(planes, format="yuv444p")
        picture.colorspace, picture.color_range = matrix, 2 if full_range else 1
        container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    image = read_frames(tmp_path / "clip.mkv", [0.0])[0].image
    np.testing.assert_allclose(image[32, 48], rgb, atol=2)


def test_colours_that_ffmpeg_cannot_convert_are_named(tmp_path: Path) -> None:
    """YCgCo, number 8 of H.273, which FFmpeg's command line does not show either."""
    write_restated(tmp_path / "odd.mkv", "h264_metadata=matrix_coefficients=8")
    with pytest.raises(MediaError, match=r"odd\.mkv has pictures whose colours .* \(yuv444p, colour matrix 8: "):
        read_frames(tmp_path / "odd.mkv", [0.0])


def test_duration_with_and_without_a_header(tmp_path: Path) -> None:
    write_numbered(tmp_path / "clip.mp4", range(50), Fraction(1, 25))
    write_numbered(tmp_path / "live.mkv", range(50), Fraction(1, 25), options={"live": "1"})
    with av.open(str(tmp_path / "live.mkv")) as container:
        assert container.duration is None
    assert duration_seconds(tmp_path / "clip.mp4") == pytest.approx(2.0, abs=1e-3)
    assert duration_seconds(tmp_path / "live.mkv") == pytest.approx(2.0, abs=1e-3)


def spoil_header(path: Path, found: str, skipped: int, wrong: bytes) -> None:
    """Write other bytes into a file's header, so many after some that stand there once."""
    content = bytearray(path.read_bytes())
    assert content.count(found.encode("latin-1")) == 1
    place = content.index(found.encode("latin-1")) + len(found) + skipped
    content[place : place + len(wrong)] = wrong
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "codec", "found", "skipped", "wrong"),
    [
        # The property "duration" of FLV, after its type; Matroska's element Duration, after its length; the length of
        # AVI's first stream in pictures, after seven numbers of four bytes.
        ("clip.flv", "libx264", "duration", 1, struct.pack(">d", 2.0)),
        ("clip.mkv", "libx264", "\x44\x89\x88", 0, struct.pack(">d", 2000.0)),
        ("clip.avi", "mpeg4", "vidsFMP4", 24, struct.pack("<I", 50)),
    ],
    ids=["flv", "mkv", "avi"],
)
def test_pictures_go_on_beyond_a_wrong_header(
    tmp_path: Path, name: str, codec: str, found: str, skipped: int, wrong: bytes
) -> None:
    def reorder(stream: VideoStream) -> None:
        stream.codec_context.gop_size = 12

    write_numbered(tmp_path / name, range(250), Fraction(1, 25), codec=codec, adjust=reorder)
    spoil_header(tmp_path / name, found, skipped, wrong)
    with av.open(str(tmp_path / name)) as container:
        stream = container.streams.video[0]
        ticks = stream.duration or container.duration or 0
        stated = ticks * ((stream.time_base if stream.duration else None) or Fraction(1, 10**6))
        assert float(stated) == pytest.approx(2, abs=0.1)
    assert duration_seconds(tmp_path / name) == pytest.approx(10, abs=0.05)
    assert numbers(tmp_path / name, [9.5]) == [237]


@pytest.mark.parametrize("codec", ["mpeg1video", "mpeg2video"])
def test_a_program_stream_is_as_long_as_its_pictures(tmp_path: Path, codec: str) -> None:
    """Its pictures are stamped once in a packet of 2 kB; at a quiet end FFmpeg's estimate is up to a second short."""

    def reorder(stream: VideoStream) -> None:
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = 100, 2

    write_numbered(tmp_path / "clip.mpg", range(250), Fraction(1, 25), codec=codec, adjust=reorder)
    with av.open(str(tmp_path / "clip.mpg")) as container:
        stream = container.streams.video[0]
        assert 0 < (stream.duration or 0) * (stream.time_base or Fraction(1)) < Fraction(99, 10)
    assert duration_seconds(tmp_path / "clip.mpg") == pytest.approx(10, abs=0.06)


@pytest.mark.parametrize(("format", "codec"), [("h264", "libx264"), ("m4v", "mpeg4"), ("mpeg2video", "mpeg2video")])
def test_a_raw_stream_is_as_long_as_its_pictures(tmp_path: Path, format: str, codec: str) -> None:
    write_numbered(tmp_path / "raw", range(100), Fraction(1, 25), codec=codec, format=format)
    assert duration_seconds(tmp_path / "raw") == pytest.approx(4, abs=0.05)


def test_a_live_stream_that_was_cut_ends_where_it_ends(tmp_path: Path) -> None:
    write_numbered(tmp_path / "live.mkv", range(250), Fraction(1, 25), options={"live": "1"})
    write_numbered(tmp_path / "frag.mp4", range(250), Fraction(1, 25), options={"movflags": "frag_keyframe+empty_moov"})
    for name in ("live.mkv", "frag.mp4"):
        assert duration_seconds(tmp_path / name) == pytest.approx(10, abs=0.1)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        assert 3 < duration_seconds(tmp_path / name) < 7


def write_mp3_with_cover(path: Path) -> None:
    with av.open(str(path), "w") as container:
        sound = container.add_stream("libmp3lame", rate=44100, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 96, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(numbered_picture(1), format="rgb24")))
        container.mux(cover.encode(None))
        frame = av.AudioFrame.from_ndarray(sine(500, 1, 44100)[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))


def test_each_unusable_file_is_told_in_one_line(tmp_path: Path) -> None:
    write_sound(tmp_path / "sound.wav", sine(500, 1, 8000)[np.newaxis], 8000, "pcm_s16le", sample_format="fltp")
    write_mp3_with_cover(tmp_path / "cover.mp3")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no media at all\n" * 100)
    expected = {
        "gone.mp4": "gone.mp4 does not exist",
        "empty.mp4": "empty.mp4 is empty",
        "text.mp4": "text.mp4 is not a media file",
        "sound.wav": "sound.wav has no picture track",
        "cover.mp3": "cover.mp3 has no picture track",
    }
    for name, message in expected.items():
        with pytest.raises(MediaError, match=message):
            read_frames(tmp_path / name, [0.0])
        with pytest.raises(MediaError, match=message):
            duration_seconds(tmp_path / name)


def test_frames_print_shapes_and_check_themselves() -> None:
    assert repr(Frame(numbered_picture(3), 1.5)) == "Frame(image=(64, 96, 3) uint8, time_seconds=1.500)"
    with pytest.raises(ValueError, match="must be"):
        Frame(numbered_picture(3)[0], 1.5)


@pytest.mark.real
def test_all_real_videos_can_be_read(real_data: Path) -> None:
    """Against what ffprobe said when the collection was made (clips.csv)."""
    with (real_data / "videos" / "clips.csv").open(encoding="utf-8") as handle:
        clips = list(csv.DictReader(handle))
    assert len(clips) == 37
    for clip in clips:
        path = real_data / "videos" / clip["name"]
        waveform, sample_rate = read_audio(path)
        seconds = len(waveform) / sample_rate
        assert seconds == pytest.approx(float(clip["audio_s"]), abs=0.1), path.name
        assert (20 * np.log10(np.sqrt(np.mean(waveform**2)) + 1e-6) < -60) == (clip["silent"] == "1"), path.name
        # Two pairs of tracks: ffprobe's first is the small one, a player takes the large one.
        if path.name != "torchcodec__nasa_13013.mp4":
            assert sample_rate == int(clip["arate"]), path.name
        duration = duration_seconds(path)
        # The container may go on for as long as the sound does.
        if clip["duration_s"]:
            assert -0.35 < duration - float(clip["duration_s"]) < 0.05, path.name
        frames = read_frames(path, [duration * (step + 0.5) / 4 for step in range(4)])
        assert all(frame.image.ndim == 3 for frame in frames)


@pytest.mark.real
@pytest.mark.slow
def test_seeking_in_real_videos_gives_what_decoding_all_of_them_gives(real_data: Path) -> None:
    choose = random.Random(0)
    for path in sorted((real_data / "videos").iterdir()):
        if path.suffix == ".csv" or "smpte" in path.name:
            continue
        with av.open(str(path)) as container:
            stream = container.streams.best("video")
            start = (container.start_time or 0) / 1e6
            moments = [frame.time - start for frame in container.decode(cast(VideoStream, stream))]
        times = [choose.uniform(-0.2, moments[-1] + 0.5) for _ in range(3)]
        expected = [max((moment for moment in moments if moment <= seconds), default=moments[0]) for seconds in times]
        together = [frame.time_seconds for frame in read_frames(path, times)]
        alone = [read_frames(path, [seconds])[0].time_seconds for seconds in times]
        assert together == pytest.approx(expected, abs=1e-6), path.name
        assert alone == pytest.approx(expected, abs=1e-6), path.name


@pytest.mark.real
def test_the_sideways_phone_video_is_upright(real_data: Path) -> None:
    """Checked by eye: a face, stored lying on its side, stands after a quarter turn clockwise."""
    path = real_data / "videos" / "streamio-ffmpeg__sideways_movie.mov"
    with av.open(str(path)) as container:
        stored = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert stored.shape == (480, 640, 3)
    np.testing.assert_array_equal(read_frames(path, [0])[0].image, stored[::-1].transpose(1, 0, 2))
