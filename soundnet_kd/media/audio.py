"""Sound tracks of any media file as mono waveforms."""

from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Discard, Disposition
from numpy.typing import NDArray

from soundnet_kd.errors import EmptyAudioError, MediaError
from soundnet_kd.media.container import (
    MP4_FAMILY,
    audio_track,
    clock_start,
    decode_audio,
    open_media,
    ticks_to_seconds,
    to_fraction,
)
from soundnet_kd.media.misread import Block, known_to_libsndfile, read_by_libsndfile, read_misread
from soundnet_kd.media.samples import Channel, Mono
from soundnet_kd.media.timeline import Timeline

Piece = tuple[NDArray[np.float32], int]


def read_audio(
    path: str | Path,
    sample_rate: int | None = None,
    channel: Channel = "first",
    longest_seconds: float | None = None,
) -> tuple[NDArray[np.float32], int]:
    """Read the sound track of a sound or video file.

    In a video sample 0 is the moment at which the file starts: sound that starts later than the pictures begins with
    silence. Sound that is missing or cannot be decoded is silence of the same length, so sound and pictures stay
    together. A single timestamp that the following ones contradict moves nothing, and what an encoder added after the
    end that a file states is left out.

    Parameters
    ----------
    path : str or Path
    sample_rate : int, optional
        Samples per second of the result; None keeps the rate of the file.
    channel : {"first", "mean"}
        Which signal a track of several channels gives: its first one (left), or the mean of all.
    longest_seconds : float, optional
        Length that is read, from the start; the rest of the file is not decoded.

    Returns
    -------
    waveform : (samples,) float32
        Within ±1, which is full scale.
    sample_rate : int
        Samples per second.

    Raises
    ------
    MediaError
        If the file is missing, is not a media file, or has no audio track that can be decoded.
    EmptyAudioError
        If the audio track holds no samples.
    """
    check_settings(sample_rate, channel)
    blocks: list[NDArray[np.float32]] = []
    samples, wanted, rate = 0, None, 0
    with closing(_pieces(Path(path), sample_rate, channel)) as pieces:
        for piece, rate in pieces:
            blocks.append(piece)
            samples += len(piece)
            if longest_seconds is not None:
                wanted = max(1, round(longest_seconds * rate))
                if samples >= wanted:
                    break
    return np.concatenate(blocks)[:wanted], rate


def stream_audio(
    path: str | Path, sample_rate: int | None, channel: Channel = "first", *, block_seconds: float = 10.0
) -> Generator[NDArray[np.float32], None, None]:
    """Read the sound track of a file of any length in blocks; together they are exactly what `read_audio` gives.

    Parameters
    ----------
    path : str or Path
    sample_rate : int or None
        Samples per second of the result; None keeps the rate of the file.
    channel : {"first", "mean"}
        Which signal a track of several channels gives, as in `read_audio`.
    block_seconds : float
        Length of a block, rounded to whole samples.

    Yields
    ------
    (samples,) float32, samples = round(block_seconds * sample_rate); the last block may be shorter.

    The file stays open until the last block, or until the generator is closed. No more than a block and what FFmpeg
    buffers is held in memory.

    Raises
    ------
    MediaError, EmptyAudioError
        As `read_audio`, at the first block; damage farther on becomes silence.
    ValueError
        At once, if a setting is out of its range.
    """
    check_settings(sample_rate, channel)
    if block_seconds * (sample_rate or 1) < 0.5:
        raise ValueError(f"block_seconds is {block_seconds}; a block must hold a sample or more at {sample_rate} Hz")
    return blocks_of(_pieces(Path(path), sample_rate, channel), block_seconds)


def check_settings(sample_rate: int | None, channel: Channel) -> None:
    """Check what a sound is to be read as.

    Raises
    ------
    ValueError
        If there is no such rate or channel.
    """
    if channel not in ("first", "mean"):
        raise ValueError(f'channel is {channel!r}; it must be "first" or "mean"')
    if sample_rate is not None and sample_rate <= 0:
        raise ValueError(f"sample_rate is {sample_rate}; it must be positive")


def _pieces(path: Path, sample_rate: int | None, channel: Channel) -> Generator[Piece, None, None]:
    """Return a sound track on its timeline, in pieces of any length, with their rate in Hz."""
    mono = Mono(channel, path.name)
    samples = 0
    with ExitStack() as open_files:
        try:
            container = open_files.enter_context(open_media(path))
            stream = audio_track(container, path)
        except MediaError:
            if not known_to_libsndfile(path):
                raise
            recorded = _join_blocks(read_by_libsndfile(path), mono, sample_rate)
        else:
            blocks = read_misread(path, container, stream)
            if blocks is None:
                recorded = decode_by_ffmpeg(container, stream, mono, sample_rate)
            else:
                recorded = _join_blocks(blocks, mono, sample_rate)
        for piece, rate in recorded:
            samples += len(piece)
            # Lossy codecs and resampling overshoot full scale (AMR by half); whatever plays the sound clips it too.
            yield np.clip(piece, -1, 1), rate
    mono.require_scale()
    if not samples:
        raise EmptyAudioError(f"{path.name} has an audio track without a single sample")


def decode_by_ffmpeg(
    container: InputContainer, stream: AudioStream, mono: Mono, sample_rate: int | None
) -> Iterator[Piece]:
    """Return the pieces of an open file's sound track on its timeline, with their rate in Hz."""
    start = clock_start(container)
    end_seconds = _stated_end_seconds(container, stream)
    pictures = [track for track in container.streams.video if not track.disposition & Disposition.attached_pic]
    timeline = Timeline(sample_rate, end_seconds=end_seconds, starts_late=bool(pictures))
    for other in container.streams:
        if other.index != stream.index:
            # Damage in other tracks does not concern the sound.
            other.discard = Discard.all
    for frame in decode_audio(container, stream):
        seconds = None
        if frame.pts is not None and frame.time_base:
            seconds = ticks_to_seconds(frame.pts, frame.time_base, start)
        for piece in timeline.add(mono.mix(frame), frame.sample_rate, seconds):
            yield piece, timeline.sample_rate or frame.sample_rate
    for piece in timeline.finish():
        yield piece, timeline.sample_rate or 0


def _stated_end_seconds(container: InputContainer, stream: AudioStream) -> float | None:
    """Return where the sound ends if its container says so to the sample: what an encoder added is no sound."""
    if container.format.name == MP4_FAMILY and stream.duration:
        ticks = (stream.start_time or 0) + stream.duration
        return float(ticks * to_fraction(stream.time_base) - clock_start(container))
    return None


def _join_blocks(blocks: Iterator[Block], mono: Mono, sample_rate: int | None) -> Iterator[Piece]:
    timeline = Timeline(sample_rate)
    for block, rate in blocks:
        for piece in timeline.add(mono.mix_floats(block), rate, None):
            yield piece, timeline.sample_rate or rate
    for piece in timeline.finish():
        yield piece, timeline.sample_rate or 0


def blocks_of(pieces: Generator[Piece, None, None], block_seconds: float) -> Generator[NDArray[np.float32], None, None]:
    """Cut pieces of any length into blocks of one length."""
    with closing(pieces):
        block = np.empty(0, np.float32)
        filled = 0
        for piece, rate in pieces:
            if not len(block):
                block_samples = round(block_seconds * rate)
                block = np.empty(block_samples, np.float32)
            while len(piece):
                taken = piece[: block_samples - filled]
                block[filled : filled + len(taken)] = taken
                filled, piece = filled + len(taken), piece[len(taken) :]
                if filled == block_samples:
                    yield block
                    block, filled = np.empty(block_samples, np.float32), 0
        if filled:
            yield block[:filled].copy()
