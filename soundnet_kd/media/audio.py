"""Sound tracks of any media file as mono waveforms."""

from collections.abc import Generator, Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
from av.audio.frame import AudioFrame
from numpy.typing import NDArray

from soundnet_kd.errors import EmptyAudioError
from soundnet_kd.media.container import audio_track, clock_start, decode_audio, open_media
from soundnet_kd.media.tape import Tape

Channel = Literal["first", "mean"]

_FULL_SCALE = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63, "flt": 1.0, "dbl": 1.0}
_TYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}


def read_audio(
    path: str | Path,
    sample_rate: int | None = None,
    channel: Channel = "first",
    longest_seconds: float | None = None,
) -> tuple[NDArray[np.float32], int]:
    """Read the sound track of a sound or video file.

    Sample 0 is the moment at which the file starts: a track that starts later than the pictures begins with silence,
    and sound that is missing or cannot be decoded is silence of the same length, so sound and pictures stay together.

    Parameters
    ----------
    path : str or Path
    sample_rate : int, optional
        Samples per second of the result; None keeps the rate of the file.
    channel : {"first", "mean"}
        Which signal a track of several channels gives: its first one (left), or the mean of all.
    longest_seconds : float, optional
        So much is read, from the start on, and no more of the file.

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
    _check(sample_rate, channel)
    tape = Tape(sample_rate)
    blocks: list[NDArray[np.float32]] = []
    samples, wanted = 0, None
    with closing(_pieces(Path(path), tape, channel)) as pieces:
        for piece in pieces:
            blocks.append(piece)
            samples += len(piece)
            if longest_seconds is not None:
                # The tape has taken the rate of the first piece now.
                wanted = max(1, round(longest_seconds * (tape.sample_rate or 0)))
                if samples >= wanted:
                    break
    return np.concatenate(blocks)[:wanted], tape.sample_rate or 0


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
    _check(sample_rate, channel)
    if block_seconds * (sample_rate or 1) < 0.5:
        raise ValueError(f"block_seconds is {block_seconds}; a block must hold a sample or more at {sample_rate} Hz")
    tape = Tape(sample_rate)
    return _blocks(_pieces(Path(path), tape, channel), tape, block_seconds)


def _check(sample_rate: int | None, channel: Channel) -> None:
    if channel not in ("first", "mean"):
        raise ValueError(f'channel is {channel!r}; it must be "first" or "mean"')
    if sample_rate is not None and sample_rate <= 0:
        raise ValueError(f"sample_rate is {sample_rate}; it must be positive")


def _pieces(path: Path, tape: Tape, channel: Channel) -> Generator[NDArray[np.float32], None, None]:
    """Run a sound track over a tape and give what comes off it, in pieces of any length."""
    samples = 0
    with open_media(path) as container:
        stream = audio_track(container, path)
        start = clock_start(container)
        for piece in _recorded(decode_audio(container, stream), tape, channel, start):
            samples += len(piece)
            # Lossy codecs and resampling overshoot full scale (AMR by half); whatever plays the sound clips it too.
            yield np.clip(piece, -1, 1)
    if not samples:
        raise EmptyAudioError(f"{path.name} has an audio track without a single sample")


def _recorded(
    frames: Iterator[AudioFrame], tape: Tape, channel: Channel, start: Fraction
) -> Iterator[NDArray[np.float32]]:
    for frame in frames:
        seconds = None
        if frame.pts is not None and frame.time_base:
            seconds = float(frame.pts * frame.time_base - start)
        yield from tape.add(_mono(frame, channel), frame.sample_rate, seconds)
    yield from tape.finish()


def _blocks(
    pieces: Generator[NDArray[np.float32], None, None], tape: Tape, block_seconds: float
) -> Generator[NDArray[np.float32], None, None]:
    """Cut pieces of any length into blocks of one length."""
    with closing(pieces):
        block = np.empty(0, np.float32)
        filled = 0
        for piece in pieces:
            if not len(block):
                # The tape has taken the rate of the file now, where none is asked for.
                block_samples = round(block_seconds * (tape.sample_rate or 0))
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


def _mono(frame: AudioFrame, channel: Channel) -> NDArray[np.float32]:
    """One signal of a decoded block in any sample format, (samples,) with full scale ±1."""
    kind = frame.format.packed.name
    channels = frame.layout.nb_channels
    if frame.format.is_planar:
        planes = frame.planes[:1] if channel == "first" else frame.planes
        signals = np.stack([np.frombuffer(bytes(plane), _TYPES[kind], frame.samples) for plane in planes])
    else:
        signals = np.frombuffer(bytes(frame.planes[0]), _TYPES[kind], frame.samples * channels).reshape(-1, channels).T
        signals = signals[:1] if channel == "first" else signals
    scaled = signals.astype(np.float32) / np.float32(_FULL_SCALE[kind])
    if kind == "u8":
        scaled -= 1
    mono: NDArray[np.float32] = scaled[0] if len(scaled) == 1 else scaled.mean(axis=0)
    # Resampling would spread one broken float over its neighbours.
    if not np.isfinite(mono).all():
        np.nan_to_num(mono, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    return mono
