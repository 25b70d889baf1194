"""Sound that arrives bit by bit, such as on standard input: decoded as it comes."""

import os
from collections.abc import Generator
from typing import Protocol

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from soundnet_kd.errors import EmptyAudioError, MediaError
from soundnet_kd.media.audio import blocks_of, check_settings, decode_by_ffmpeg
from soundnet_kd.media.container import ANY_TAGS, audio_track
from soundnet_kd.media.samples import Channel, Mono

NAME = "standard input"
WAITED_BYTES = 4096
"""FFmpeg waits for no more than this at once: 0.1 s of speech at 22 050 Hz and 16 bit."""


class Pipe(Protocol):
    """What sound comes from: a file that is open in binary mode, and has a descriptor."""

    def fileno(self) -> int:
        """Return the descriptor."""


class _Arriving:
    """What PyAV reads: as many bytes as are there, where a file object would wait for all that are asked for.

    An interrupt that comes while PyAV waits for it is lost on its way through FFmpeg: the stream ends there, and
    whoever reads it has `require_going_on` raise what came.
    """

    name = NAME

    def __init__(self, pipe: Pipe) -> None:
        self._descriptor = pipe.fileno()
        self._ended_by: BaseException | None = None

    def read(self, size: int) -> bytes:
        if self._ended_by is None:
            try:
                return os.read(self._descriptor, size)
            except BaseException as error:
                self._ended_by = error
        return b""

    def require_going_on(self) -> None:
        if self._ended_by is not None:
            raise self._ended_by


def stream_arriving(
    pipe: Pipe, sample_rate: int | None, channel: Channel = "first", *, block_seconds: float = 5.0
) -> Generator[NDArray[np.float32], None, None]:
    """Read the sound track of what arrives through a pipe, in blocks, each as soon as it is there.

    Parameters
    ----------
    pipe : file with a descriptor
        Such as sys.stdin.buffer. Anything that FFmpeg can read without going back: WAV, FLAC, Ogg, MP3, ADTS, MPEG-TS,
        Matroska.
    sample_rate : int or None
        Samples per second of the result; None keeps that of the sound.
    channel : {"first", "mean"}
        Which signal a track of several channels gives.
    block_seconds : float
        Length of a block.

    Yields
    ------
    (samples,) float32 within ±1, samples = round(block_seconds * sample_rate); the last block may be shorter.

    Raises
    ------
    MediaError
        If nothing that FFmpeg can read arrives, or nothing with sound.
    EmptyAudioError
        If the stream ends before its first sample.
    """
    check_settings(sample_rate, channel)
    return blocks_of(_pieces(pipe, sample_rate, channel), block_seconds)


def _pieces(
    pipe: Pipe, sample_rate: int | None, channel: Channel
) -> Generator[tuple[NDArray[np.float32], int], None, None]:
    mono = Mono(channel, NAME)
    samples = 0
    arriving = _Arriving(pipe)
    try:
        # Whoever writes WAV to a pipe cannot know its length: what the header says of it is left alone.
        options = {"ignore_length": "1"}
        with av.open(arriving, "r", buffer_size=WAITED_BYTES, options=options, **ANY_TAGS) as container:
            stream = audio_track(container, NAME)
            for piece, rate in decode_by_ffmpeg(container, stream, mono, sample_rate):
                arriving.require_going_on()
                samples += len(piece)
                yield np.clip(piece, -1, 1), rate
    except MediaError:
        # A stream that an interrupt ends before its tracks are known has none.
        arriving.require_going_on()
        raise
    except FFmpegError as error:
        arriving.require_going_on()
        raise MediaError(
            f"{NAME} is no sound that can be read as it comes; send WAV, such as from `ffmpeg -i … -f wav -`"
        ) from error
    arriving.require_going_on()
    mono.require_scale()
    if not samples:
        raise EmptyAudioError(f"{NAME} ended without a single sample of sound")
