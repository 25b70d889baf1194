"""Cut a video into training clips: up to 20 s of sound, and the frames of each step, such as the middle one of 5 s."""

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data import CLIP_SECONDS, STEP_SECONDS, count_steps
from soundnet_kd.errors import GivenUpError, MediaError
from soundnet_kd.media import Sampling, Video, measure_extent, stream_audio, translate_decoding_errors
from soundnet_kd.teachers.usable_steps import sound_of_steps, stretches

LEAST_SHARE = 0.2
"""A video that fills less than this share of a step, a second of 5 s, is not worth a label."""
PICTURES_AT_A_TIME = 16
"""The pictures of at most this many steps' frames, but of one step at least, are in memory before they are prepared."""
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
    frame_seconds : (steps,) float64, or (steps, frames)
        The time of each step's frame, or of its frames, in the video. The same time is the same picture.
    frames : tuple
        As `read_clips` returns it, each picture once, in the order of `picture_places`: (height, width, 3) uint8, or
        what was made of it; as networks take it, for each of their transforms (pictures, 3, height', width') float32.
    """

    start_seconds: float
    sound: NDArray[np.int16]
    frame_seconds: NDArray[np.float64]
    frames: tuple[Any, ...]


@dataclass
class Tally:
    """Seconds of a video's sound with pictures: all that were looked at, and what was left out of them.

    `failed_steps` are those without a picture that can be decoded and shown.

    Behind a jump of the clock, as where recordings were joined, it is unknown which picture belongs to a sound.
    """

    seconds: float = 0.0
    silent_seconds: float = 0.0
    rest_seconds: float = 0.0
    behind_jump_seconds: float = 0.0
    failed_steps: int = 0


def frame_times(
    duration: float, number: int, step_seconds: float = STEP_SECONDS, frames_per_step: int = 1
) -> NDArray[np.float64]:
    """Return which moments of a clip of a video are looked at; none if the video has no such clip.

    Clips follow one another, 20 s each. A clip has as many steps as its length comes nearest to (one at least for the
    first clip, 20 s of them at most); a rest of less than half a step at the end of a long video is dropped. What the
    video has of a step is divided into as many equal parts as frames are wanted; they are those in the middles.

    Parameters
    ----------
    duration : float
        Length of the video in seconds.
    number : int
        Number of the clip, from 0.
    step_seconds : float
    frames_per_step : int

    Returns
    -------
    (steps, frames) float64
        In seconds of the video.
    """
    start = number * CLIP_SECONDS
    rest = duration - start
    steps = 0 if number and rest < step_seconds / 2 else count_steps(min(rest, CLIP_SECONDS), step_seconds)
    edges = np.minimum(start + np.arange(steps + 1) * step_seconds, duration)
    # Of halves of the parts, the first ends of all others.
    halves = np.arange(1, 2 * frames_per_step, 2)
    first, last = edges[:-1, None], edges[1:, None]
    return np.asarray((first * (2 * frames_per_step - halves) + last * halves) / (2 * frames_per_step))


def picture_places(frame_seconds: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return which of a clip's pictures each step was labelled from, (steps, frames).

    A picture that is shown at several of the moments, as of a slide, or a key frame where they are rare, is there once;
    pictures are numbered as they first appear.
    """
    order: dict[float, int] = {}
    places = [order.setdefault(seconds, len(order)) for seconds in frame_seconds.ravel().tolist()]
    return np.array(places, np.intp).reshape(len(frame_seconds), -1)


def _as_it_is(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return picture


def read_clips(
    video: str | Path,
    sample_rate: int,
    sampling: Sampling = "exact",
    max_clips: int | None = None,
    threads: int = 0,
    tally: Tally | None = None,
    step_seconds: float = STEP_SECONDS,
    frames_per_step: int = 1,
    prepare: Callable[[NDArray[np.uint8]], Any] = _as_it_is,
) -> Iterator[VideoClip]:
    """Read the clips of a video that can teach: those that are not silent.

    A video of any length is read clip by clip. A clip ends before a step whose pictures cannot be had, and another one
    begins after it.

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
    step_seconds : float
        Length of a step.
    frames_per_step : int
        How many moments of a step are looked at.
    prepare : callable
        What is made of each picture, (height, width, 3) uint8, before there are too many of them.

    Raises
    ------
    MediaError
        If the video lacks sound or pictures, cannot be decoded, is too short, or is silent throughout.
    """
    video = Path(video)
    audible = usable = 0
    failure: MediaError | None = None
    end_seconds = 0.0
    least_seconds = LEAST_SHARE * step_seconds
    tally = Tally() if tally is None else tally
    with ExitStack() as open_files:
        blocks = open_files.enter_context(closing(_read_sound(video, sample_rate)))
        for number, block in enumerate(islice(blocks, max_clips)):
            if number == 0:
                with translate_decoding_errors(video):
                    extent = measure_extent(video)
                    pictures = open_files.enter_context(Video(video, sampling, threads=threads))
            start = number * CLIP_SECONDS
            heard_seconds = start + len(block) / sample_rate
            duration = min(extent.end_seconds, heard_seconds)
            if duration < least_seconds:
                raise MediaError(
                    f"{video.name} has only {duration:.2f} s of sound and pictures together; "
                    f"{least_seconds:g} s are needed"
                )
            times = frame_times(duration, number, step_seconds, frames_per_step)
            if len(times):
                end_seconds = start + len(times) * step_seconds
            tally.seconds, tally.rest_seconds = duration + extent.behind_seconds, max(0.0, duration - end_seconds)
            tally.behind_jump_seconds = extent.behind_seconds
            if not len(times):
                break
            samples = round(end_seconds * sample_rate) - round(start * sample_rate)
            sound = np.round(block[:samples] * 2.0**15).clip(-(2**15), 2**15 - 1).astype(np.int16)
            if level_dbfs(sound) < SILENCE_DBFS:
                tally.silent_seconds += min(duration, end_seconds) - start
                continue
            audible += 1
            shown, prepared, why = _look(pictures, times, prepare)
            failure = failure or why
            has_pictures = np.isfinite(shown[:, 0])
            tally.failed_steps += int(np.sum(~has_pictures))
            if failure is not None and not usable and not has_pictures.any():
                # Nobody would go through the whole of a video that is damaged throughout, a step at a time.
                raise failure
            usable += int(has_pictures.sum())
            for steps in stretches(has_pictures):
                seconds = shown[steps]
                frames = tuple(prepared[each] for each in dict.fromkeys(seconds.ravel().tolist()))
                yield VideoClip(
                    start + steps.start * step_seconds,
                    sound_of_steps(sound, start, steps, step_seconds, sample_rate),
                    seconds[:, 0] if frames_per_step == 1 else seconds,
                    frames,
                )
    if not audible:
        heard = "throughout" if max_clips is None else f"in its first {max_clips * CLIP_SECONDS:g} s"
        raise MediaError(
            f"{video.name} is silent (below {SILENCE_DBFS:g} dBFS {heard}); there is nothing to learn from it"
        )


def _read_sound(video: Path, sample_rate: int) -> Generator[NDArray[np.float32], None, None]:
    with translate_decoding_errors(video):
        yield from stream_audio(video, sample_rate, block_seconds=CLIP_SECONDS)


def _look(
    video: Video, times: NDArray[np.float64], prepare: Callable[[NDArray[np.uint8]], Any]
) -> tuple[NDArray[np.float64], dict[float, Any], MediaError | None]:
    """Read the pictures of a clip's steps, each picture once.

    Parameters
    ----------
    video : Video
    times : (steps, frames) float64
        The moments that are looked at.
    prepare : callable

    Returns
    -------
    shown : (steps, frames) float64
        When the video began to show each picture; NaN for the steps whose pictures cannot be had.
    prepared : dict from these times to what was made of the picture
    why : MediaError, optional
        Why a step has none.
    """
    shown = np.full_like(times, np.nan)
    prepared: dict[float, Any] = {}
    failure: MediaError | None = None

    def read(steps: slice) -> None:
        with translate_decoding_errors(video.path):
            frames = video.frames(times[steps].ravel().tolist())
        for frame in frames:
            if frame.time_seconds not in prepared:
                prepared[frame.time_seconds] = prepare(frame.image)
        shown[steps] = np.reshape([frame.time_seconds for frame in frames], times[steps].shape)

    together = max(1, PICTURES_AT_A_TIME // times.shape[1])
    waiting = [slice(first, min(first + together, len(times))) for first in range(0, len(times), together)]
    while waiting:
        steps = waiting.pop(0)
        try:
            read(steps)
        except GivenUpError:
            raise
        except MediaError as error:
            failure = failure or error
            if steps.stop - steps.start > 1:
                waiting[:0] = [slice(step, step + 1) for step in range(steps.start, steps.stop)]
    return shown, prepared, failure


def level_dbfs(sound: NDArray[np.int16]) -> float:
    """Return the RMS level of a sound, in dB relative to full scale."""
    mean_square = float(np.mean(np.square(sound / 32768.0))) if len(sound) else 0.0
    return 10 * float(np.log10(max(mean_square, 1e-12)))
