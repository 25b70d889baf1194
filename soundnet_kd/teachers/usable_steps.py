"""Which steps of a clip can teach: those with pictures, of which every teacher's answer is finite.

A clip has no holes: it ends before a step that cannot teach, and another one begins after it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data.target_clips import LabelledClip, LabelledVideo, Rows


class UsableSteps:
    """Of labelled clips the steps of which everything is finite, and what is lost of each video.

    Parameters
    ----------
    labelled : iterable of LabelledClip
    videos : iterable of LabelledVideo
        Those that the clips are of; asked for when all clips are there.
    sample_rate : int
        Of the sound, in Hz.
    """

    def __init__(self, labelled: Iterable[LabelledClip], videos: Iterable[LabelledVideo], sample_rate: int) -> None:
        self._labelled = labelled
        self._videos = videos
        self._sample_rate = sample_rate
        self._failed: Counter[str] = Counter()
        self._kept: set[str] = set()

    def clips(self) -> Iterator[LabelledClip]:
        """Return the clips; one ends before a step that is not usable, and another one begins after it."""
        for clip in self._labelled:
            usable = finite_steps(clip)
            self._failed[clip.source] += int(np.sum(~usable))
            for steps in stretches(usable):
                self._kept.add(clip.source)
                yield clip if usable.all() else cut_clip(clip, steps, self._sample_rate)

    def videos(self) -> Iterator[LabelledVideo]:
        """Return what was used of the videos that have clips."""
        for video in self._videos:
            if video.source in self._kept:
                yield replace(video, failed_steps=video.failed_steps + self._failed[video.source])


def finite_steps(clip: LabelledClip) -> NDArray[np.bool_]:
    """Return of which steps everything that the teachers gave is finite, (steps,)."""
    rows = [
        values.reshape(len(values), -1)
        for each in (clip.distributions, clip.features, clip.frame_distributions, clip.frame_features)
        for values in each.values()
    ]
    return np.asarray(np.all([np.isfinite(values).all(axis=1) for values in rows], axis=0), dtype=np.bool_)


def cut_clip(clip: LabelledClip, steps: slice, sample_rate: int) -> LabelledClip:
    """Return some steps of a clip as a clip of their own."""

    def of(rows: Rows) -> Rows:
        return {name: values[steps] for name, values in rows.items()}

    return replace(
        clip,
        start_seconds=clip.start_seconds + steps.start * clip.step_seconds,
        sound=sound_of_steps(clip.sound, clip.start_seconds, steps, clip.step_seconds, sample_rate),
        frame_seconds=clip.frame_seconds[steps],
        distributions=of(clip.distributions),
        features=of(clip.features),
        frame_distributions=of(clip.frame_distributions),
        frame_features=of(clip.frame_features),
    )


def stretches(usable: NDArray[np.bool_]) -> list[slice]:
    """Return where the steps that are usable lie without a break, (steps,)."""
    runs = [(is_usable, len(list(run))) for is_usable, run in groupby(usable.tolist())]
    ends = np.cumsum([length for _, length in runs]).tolist()
    return [slice(end - length, end) for (is_usable, length), end in zip(runs, ends, strict=True) if is_usable]


def sound_of_steps(
    sound: NDArray[np.int16], start_seconds: float, steps: slice, step_seconds: float, sample_rate: int
) -> NDArray[np.int16]:
    """Return the sound of some steps of a clip that starts at `start_seconds` of its video."""
    edges = (start_seconds + step * step_seconds for step in (0, steps.start, steps.stop))
    begin, first, last = (round(seconds * sample_rate) for seconds in edges)
    return sound[first - begin : last - begin]
