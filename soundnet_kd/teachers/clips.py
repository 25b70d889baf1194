"""Cut a video into training clips: up to 20 s of sound, and the frame in the middle of each 5 s step."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data import CLIP_SECONDS, STEP_SECONDS, count_steps
from soundnet_kd.errors import MediaError
from soundnet_kd.media import Sampling, Video, measure_extent, stream_audio

MIN_SECONDS = 1.0
"""A shorter video fills too little of its 5 s step to be worth a label."""
SILENCE_DBFS = -60.0
"""A track whose level stays below this is taken for muted."""


@dataclass(frozen=True)
class VideoClip:
    """A clip of a video, before any teacher has looked at it.

    Attributes
    ----------
    start_seconds : float
        Where it starts in its video.
    sound : (samples,) int16
    frame_seconds : (steps,) float64
        The time of each step's frame in the video.
    frames : tuple of arrays
        As `read_clips` returns it, the picture of each step, (height, width, 3) uint8; as networks take it, for each of
        their transforms the frames of all steps, (steps, 3, height', width') float32.
    """

    start_seconds: float
    sound: NDArray[np.int16]
    frame_seconds: NDArray[np.float64]
    frames: tuple[NDArray[Any], ...]


@dataclass
class Tally:
    """Seconds of a video's sound with pictures: all that were looked at, and what was left out of them.

    Behind a jump of the clock, as where recordings were joined, it is unknown which picture belongs to a sound.
    """

    seconds: float = 0.0
    silent_seconds: float = 0.0
    rest_seconds: float = 0.0
    behind_jump_seconds: float = 0.0


def frame_times(duration: float, number: int) -> tuple[float, ...]:
    """Return which moments of a clip of a video are looked at; none if the video has no such clip.

    Clips follow one another, 20 s each. A clip has as many 5 s steps as its length comes nearest to (one at least for
    the first clip, four at most); a rest of less than half a step at the end of a long video is dropped. A step's frame
    is the one in the middle of what the video has of it.

    Parameters
    ----------
    duration : float
        Length of the video in seconds.
    number : int
        Number of the clip, from 0.

    Returns
    -------
    tuple of float
        One for each step, in seconds of the video.
    """
    start = number * CLIP_SECONDS
    if number and duration - start < STEP_SECONDS / 2:
        return ()
    steps = count_steps(min(duration - start, CLIP_SECONDS))
    edges = [min(start + step * STEP_SECONDS, duration) for step in range(steps + 1)]
    return tuple((first + last) / 2 for first, last in pairwise(edges))


def read_clips(
    video: str | Path,
    sample_rate: int,
    sampling: Sampling = "exact",
    max_clips: int | None = None,
    threads: int = 0,
    tally: Tally | None = None,
) -> Iterator[VideoClip]:
    """Read the clips of a video that can teach: those that are not silent.

    A video of any length is read clip by clip.

    Parameters
    ----------
    video : str or Path
    sample_rate : int
        Sample rate of the sound, in Hz.
    sampling : {"exact", "keyframe"}
        Which frames: those in the middle of the steps, or the key frames nearest to them.
    max_clips : int, optional
        How many clips from the start of the video are looked at.
    threads : int
        Threads of the picture decoder; 0 for one per core.
    tally : Tally, optional
        Counts what was looked at and left out.

    Raises
    ------
    MediaError
        If the video lacks sound or pictures, cannot be decoded, is too short, or is silent throughout.
    """
    video = Path(video)
    audible = 0
    end_seconds = 0.0
    tally = Tally() if tally is None else tally
    with ExitStack() as open_files:
        blocks = open_files.enter_context(closing(stream_audio(video, sample_rate, block_seconds=CLIP_SECONDS)))
        for number, block in enumerate(islice(blocks, max_clips)):
            if number == 0:
                extent = measure_extent(video)
                pictures = open_files.enter_context(Video(video, sampling, threads=threads))
            start = number * CLIP_SECONDS
            heard_seconds = start + len(block) / sample_rate
            duration = min(extent.end_seconds, heard_seconds)
            if duration < MIN_SECONDS:
                raise MediaError(
                    f"{video.name} has only {duration:.2f} s of sound and pictures together; "
                    f"{MIN_SECONDS:g} s are needed"
                )
            times = frame_times(duration, number)
            if times:
                end_seconds = start + len(times) * STEP_SECONDS
            tally.seconds, tally.rest_seconds = duration + extent.behind_seconds, max(0.0, duration - end_seconds)
            tally.behind_jump_seconds = extent.behind_seconds
            if not times:
                break
            samples = round(end_seconds * sample_rate) - round(start * sample_rate)
            sound = np.round(block[:samples] * 2.0**15).clip(-(2**15), 2**15 - 1).astype(np.int16)
            if level_dbfs(sound) < SILENCE_DBFS:
                tally.silent_seconds += min(duration, end_seconds) - start
                continue
            audible += 1
            frames = list(pictures.frames(times))
            frame_seconds = np.array([frame.time_seconds for frame in frames])
            yield VideoClip(start, sound, frame_seconds, tuple(frame.image for frame in frames))
    if not audible:
        heard = "throughout" if max_clips is None else f"in its first {max_clips * CLIP_SECONDS:g} s"
        raise MediaError(
            f"{video.name} is silent (below {SILENCE_DBFS:g} dBFS {heard}); there is nothing to learn from it"
        )


def level_dbfs(sound: NDArray[np.int16]) -> float:
    """Return the RMS level of a sound, in dB relative to full scale."""
    mean_square = float(np.mean(np.square(sound / 32768.0))) if len(sound) else 0.0
    return 10 * float(np.log10(max(mean_square, 1e-12)))
