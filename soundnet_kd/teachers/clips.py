"""Cut a video into training clips: up to 20 s of sound, and the frame in the middle of each 5 s step."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data import CLIP_SECONDS, STEP_SECONDS
from soundnet_kd.errors import MediaError
from soundnet_kd.media import Frame, duration_seconds, read_audio, read_frames

LEAST_SECONDS = 1.0
"""A shorter video says too little about its 5 s step to be worth a label."""
SILENCE_DBFS = -60.0
"""Sound whose level stays below this is taken for a muted track."""


@dataclass(frozen=True)
class Cut:
    """Where a clip lies in its video, and which moment of each of its steps is looked at."""

    start_seconds: float
    end_seconds: float
    frame_seconds: tuple[float, ...]


@dataclass(frozen=True)
class UnlabelledClip:
    """A clip's sound (samples,) int16 and its frames, before any teacher has looked at them."""

    start_seconds: float
    sound: NDArray[np.int16]
    frames: tuple[Frame, ...]


def cut(duration: float) -> list[Cut]:
    """Cut a video into consecutive clips.

    A clip has as many 5 s steps as its length comes nearest to (one at least for the first clip, four at most); a rest
    of less than half a step at the end of a long video is dropped. A step's frame is the one in the middle of what the
    video has of it.

    Parameters
    ----------
    duration : float
        Length of the video in seconds.
    """
    cuts: list[Cut] = []
    start = 0.0
    while not cuts or duration - start >= STEP_SECONDS / 2:
        span = min(duration - start, CLIP_SECONDS)
        steps = max(1, int(span / STEP_SECONDS + 0.5))
        edges = [min(start + step * STEP_SECONDS, duration) for step in range(steps + 1)]
        middles = tuple((first + last) / 2 for first, last in pairwise(edges))
        cuts.append(Cut(start, start + steps * STEP_SECONDS, middles))
        start += CLIP_SECONDS
    return cuts


def read_clips(path: Path, sample_rate: int) -> Iterator[UnlabelledClip]:
    """Read the clips of a video that can teach: those that are not silent.

    Raises
    ------
    MediaError
        If the video lacks sound or pictures, cannot be decoded, is too short, or is silent throughout.
    """
    waveform, _ = read_audio(path, sample_rate)
    picture_seconds = duration_seconds(path)
    duration = min(picture_seconds, len(waveform) / sample_rate)
    if duration < LEAST_SECONDS:
        raise MediaError(
            f"{path.name} has only {duration:.2f} s of sound and pictures together; {LEAST_SECONDS:g} s are needed"
        )
    samples = np.round(waveform * 2.0**15).clip(-(2**15), 2**15 - 1).astype(np.int16)
    audible = 0
    for clip in cut(duration):
        sound = samples[round(clip.start_seconds * sample_rate) : round(clip.end_seconds * sample_rate)]
        if level_dbfs(sound) < SILENCE_DBFS:
            continue
        audible += 1
        yield UnlabelledClip(clip.start_seconds, sound, tuple(read_frames(path, clip.frame_seconds)))
    if not audible:
        raise MediaError(
            f"{path.name} is silent (below {SILENCE_DBFS:g} dBFS throughout); there is nothing to learn from it"
        )


def level_dbfs(sound: NDArray[np.int16]) -> float:
    """Give the RMS level of a sound, in dB relative to full scale."""
    mean_square = float(np.mean(np.square(sound / 32768.0))) if len(sound) else 0.0
    return 10 * float(np.log10(max(mean_square, 1e-12)))
