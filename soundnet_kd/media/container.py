"""Opening a media file: its tracks, its clock and its decoded frames, with every failure as one clear line."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from fractions import Fraction
from pathlib import Path
from time import monotonic
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from soundnet_kd.errors import GivenUpError, MediaError, SoundNetKDError
from soundnet_kd.system.machine_errors import machine_error

# PyAV 18, the last for Python 3.11, fails at tags in odd encodings unless it is told not to. PyAV 19 never does, and
# knows no such argument: this goes with Python 3.11.
ANY_TAGS: dict[str, Any] = {"metadata_errors": "replace"} if hasattr(InputContainer, "metadata_errors") else {}


COMMON_CODECS = {
    "sound": ("aac", "mp3", "opus", "vorbis", "flac", "alac", "ac3", "wmav2", "amrnb", "pcm_s16le"),
    "pictures": ("h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mpeg2video", "mjpeg", "prores"),
}
"""What most files hold, by FFmpeg's names."""

# FFmpeg's name for the family, whose files have an index of all that is in them.
MP4_FAMILY = "mov,mp4,m4a,3gp,3g2,mj2"


# When decoding is given up, by the clock of `monotonic`, and after how many minutes that is.
_LIMIT: ContextVar[tuple[float, float] | None] = ContextVar("_LIMIT", default=None)


@contextmanager
def time_limit(minutes: float) -> Iterator[None]:
    """Give up a file whose packets do not end within some minutes; nothing ends a decoder that hangs at one of them."""
    token = _LIMIT.set((monotonic() + 60 * minutes, minutes))
    try:
        yield
    finally:
        _LIMIT.reset(token)


def require_time(name: str) -> None:
    """Give a file up whose `time_limit` is over.

    Raises
    ------
    GivenUpError
        If it is.
    """
    limit = _LIMIT.get()
    if limit is not None and monotonic() > limit[0]:
        raise give_up_error(name, limit[1])


def give_up_error(name: str, minutes: float) -> GivenUpError:
    """Return the error of a file that was not decoded in time."""
    return GivenUpError(
        f"{name} was not decoded within {minutes:g} minutes; convert it, or give a longer --deadline_minutes"
    )


@contextmanager
def open_media(path: str | Path) -> Iterator[InputContainer]:
    """Open a file for reading; what FFmpeg cannot do within the block becomes a MediaError.

    Raises
    ------
    MediaError
        If the file is missing, empty, not readable or not a media file.
    """
    path = Path(path)
    with media_errors(path), _open(path) as container:
        yield container


@contextmanager
def media_errors(path: str | Path) -> Iterator[None]:
    """Turn what FFmpeg cannot do with a file into a MediaError."""
    path = Path(path)
    try:
        yield
    except av.error.InvalidDataError as error:
        raise MediaError(f"{path.name} is not a media file, or it is damaged or cut short") from error
    except FFmpegError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ESTALE) or not _is_readable(path):
            translated = machine_error(error, path)
            if translated is not None:
                raise translated from error
        raise MediaError(f"{path.name} cannot be read: {error.strerror}") from error


@contextmanager
def translate_decoding_errors(path: str | Path) -> Iterator[None]:
    """Turn whatever a broken file provokes into a MediaError: it is the file's fault, not the collection's."""
    path = Path(path)
    try:
        yield
    except SoundNetKDError:
        raise
    except Exception as error:
        # FFmpeg calls damage by the names of such failures too; and rights are a file's own.
        translated = None if isinstance(error, FFmpegError | PermissionError) else machine_error(error, path)
        if translated is not None:
            raise translated from error
        raise MediaError(f"{path.name} cannot be decoded ({type(error).__name__}: {error})") from error


def _is_readable(path: Path) -> bool:
    """Whether all of a file can be read; FFmpeg reports damage as a failure of the disk too."""
    try:
        with path.open("rb") as file:
            while file.read(1 << 20):
                pass
    except OSError as error:
        return error.errno not in (errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN)
    return True


def _open(path: Path) -> InputContainer:
    if path.is_dir():
        raise MediaError(f"{path.name} is a folder, not a sound or video file")
    if not path.exists():
        raise MediaError(f"{path.name} does not exist in {path.parent}; check the path")
    if path.stat().st_size == 0:
        raise MediaError(f"{path.name} is empty (0 bytes); copy or download it again")
    # Without "file:" a name such as "take:2.mp4" would be an address.
    container: InputContainer = av.open(f"file:{path}", "r", **ANY_TAGS)
    return container


def describe_ffmpeg() -> list[str]:
    """Return lines that say which FFmpeg this is, and which of the `COMMON_CODECS` it decodes."""
    parts = ("libavcodec", "libavformat", "libswscale", "libswresample")
    lines = [", ".join(f"{part} {'.'.join(map(str, av.library_versions[part]))}" for part in parts)]
    for kind, codecs in COMMON_CODECS.items():
        missing = [name for name in codecs if not _decodes(name)]
        known = [name for name in codecs if name not in missing]
        lines.append(f"decodes {kind}: {', '.join(known)}" + (f"; not {', '.join(missing)}" if missing else ""))
    return lines


def _decodes(codec: str) -> bool:
    try:
        av.Codec(codec, "r")
    except ValueError:
        return False
    return True


def audio_track(container: InputContainer, path: str | Path) -> AudioStream:
    """Return the sound track that a player would choose.

    Raises
    ------
    MediaError
        If there is none, or no decoder for it.
    """
    path = Path(path)
    stream = container.streams.best("audio")
    if not isinstance(stream, AudioStream):
        raise MediaError(f"{path.name} has no audio track")
    _require_decoder(stream, path, "audio")
    return stream


def picture_track(container: InputContainer, path: str | Path) -> VideoStream:
    """Return the picture track that a player would choose; cover art is not one.

    Raises
    ------
    MediaError
        If there is none, or no decoder for it.
    """
    path = Path(path)
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
        raise MediaError(f"{path.name} has no picture track")
    _require_decoder(stream, path, "picture")
    return stream


def to_fraction(rational: Any) -> Fraction:
    """Return a number that PyAV has as numerator and denominator (19 has its own type for it); 1 for none."""
    return Fraction(rational.numerator, rational.denominator) if rational else Fraction(1)


def clock_start(container: InputContainer) -> Fraction:
    """Presentation time in seconds at which the file starts: zero of every time in this room."""
    # Raw streams have no clock of their own and give None.
    return Fraction(container.start_time or 0, av.time_base)


def ticks_to_seconds(ticks: int, time_base: Any, start: Fraction) -> float:
    """Return a time in units of `time_base` in seconds from `start`: what fractions give, in a tenth of their time."""
    numerator = ticks * time_base.numerator * start.denominator - start.numerator * time_base.denominator
    return float(numerator / (time_base.denominator * start.denominator))


def decode_audio(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """Decode a sound track from the present position to its end; damaged packets are left out."""
    for frame in _decode(container, stream):
        if isinstance(frame, AudioFrame):
            yield frame


def decode_video(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Decode a picture track from the present position to its end; damaged packets are left out."""
    for frame in _decode(container, stream):
        if isinstance(frame, VideoFrame):
            yield frame


def read_packets(container: InputContainer, *streams: AudioStream | VideoStream) -> "Iterator[Packet[Any]]":
    """Return the packets of one or more tracks up to the end of the file or to damage that ends it, as players do."""
    packets = container.demux(*streams)
    while True:
        try:
            packet = next(packets)
        # PyAV raises IndexError at the end of a file in which FFmpeg found one more track on the way.
        except (StopIteration, FFmpegError, IndexError):
            return
        # Thousands of packets come here: the name is looked for when it is needed.
        limit = _LIMIT.get()
        if limit is not None and monotonic() > limit[0]:
            require_time(Path(container.name.removeprefix("file:")).name)
        yield packet


def _decode(container: InputContainer, stream: AudioStream | VideoStream) -> Iterator[object]:
    decoded = False
    failure: FFmpegError | None = None
    for packet in read_packets(container, stream):
        try:
            frames = packet.decode()
        except FFmpegError as error:
            failure = failure or error
            continue
        decoded = decoded or bool(frames)
        yield from frames
    if failure and not decoded:
        name = Path(container.name.removeprefix("file:")).name
        raise MediaError(f"{name} has a damaged {stream.type} track: nothing in it can be decoded") from failure


def _require_decoder(stream: AudioStream | VideoStream, path: Path, kind: str) -> None:
    if stream.codec_context is None:
        raise MediaError(
            f"{path.name} uses a codec for its {kind} track that this FFmpeg cannot decode; convert the file"
        )
