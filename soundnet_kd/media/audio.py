"""Sound tracks of any media file as mono waveforms."""

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
    path: str | Path, sample_rate: int | None = None, channel: Channel = "first"
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
    path = Path(path)
    if channel not in ("first", "mean"):
        raise ValueError(f'channel is {channel!r}; it must be "first" or "mean"')
    if sample_rate is not None and sample_rate <= 0:
        raise ValueError(f"sample_rate is {sample_rate}; it must be positive")
    with open_media(path) as container:
        stream = audio_track(container, path)
        start = clock_start(container)
        tape = Tape(sample_rate)
        for frame in decode_audio(container, stream):
            seconds = None
            if frame.pts is not None and frame.time_base is not None:
                seconds = float(frame.pts * frame.time_base - start)
            tape.add(_mono(frame, channel), frame.sample_rate, seconds)
        waveform = tape.finish()
    if tape.sample_rate is None or not len(waveform):
        raise EmptyAudioError(f"{path.name} has an audio track without a single sample")
    # Lossy codecs and resampling overshoot full scale (AMR by half); whatever plays the sound clips it too.
    return np.clip(waveform, -1, 1, out=waveform), tape.sample_rate


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
    # Resampling would spread one broken float over its neighbours.
    mono: NDArray[np.float32] = np.nan_to_num(scaled.mean(axis=0), copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    return mono
