"""What the teachers leave for the student: a folder of parts and the settings that made it.

`targets.json`
    The settings: teachers, frame sampling, sample rate, versions.
`parts/part-1f0c….h5` …
    The labelled clips, each part an HDF5 file that is whole and readable on its own. It is of one shard of the videos,
    whose name is a hash of theirs; in versions 1 and 2 parts are numbered.
`.index.h5`
    What is in the parts, so that many are opened fast; made anew where it is missing (`soundnet_kd.data.parts_index`).

For n clips that hold s label steps together:

======================  ===================  =====================================================
`sound`                 (samples,) int16     the clips' sounds one after the other, mono
`sound_end`             (n,) int64           where each clip's sound ends in `sound`
`step_end`              (n,) int64           where each clip's steps end in the arrays of steps
`source`                (n,) str             the video, relative to the folder that was labelled
`start_seconds`         (n,) float64         where the clip starts in its video
`frame_seconds`         (s,) float64         the time of the frame that each step was labelled from
`distributions/NAME`    (s, classes) float16 what the teacher NAME sees, a distribution a row
`class_names/NAME`      (classes,) str
`videos/source`         (v,) str             the videos that the clips are of, each once
`videos/fingerprint`    (v,) str             tells their files from others (`fingerprint`)
`videos/seconds`        (v,) float64         how much sound with pictures was looked at
`videos/silent_seconds` (v,) float64         how much of it lies in silent clips, which are left out
`videos/rest_seconds`   (v,) float64         how much lies in ends that are too short for a step, left out too
`videos/behind_jump_seconds` (v,) float64    how much lies behind a jump of the clock, left out too
`videos/failed_steps`   (v,) int64           how many steps were left out for want of a frame or of finite answers
======================  ===================  =====================================================

Parts that were written before there was a group `videos`, or a column of it, lack it; their `failed_steps` may be
float64.

Attributes: `format_version`, `sample_rate`, and `settings` (as in `targets.json`, of the run that
wrote the part).

This is version 1. Version 2 has besides, where it was asked for:

===============================  ==========================  =============================================
`frame_seconds`                  (s, frames) float64         where a step was labelled from several frames
`features/NAME`                  (s, dims) float16           what NAME had before its last layer
`feature_factor/NAME`            (s,) float32                what each row of it is to be multiplied by
`frames/distributions/NAME`      (s, frames, classes) float16
`frames/features/NAME`           (s, frames, dims) float16   those of the frames, where they were kept
`frames/feature_factor/NAME`     (s, frames) float32
===============================  ==========================  =============================================

Version 3 is that of all parts that are named after shards. A part is written for every shard, also without clips, and
it has besides:

=======================  =============  ==============================================================
`refused/source`         (r,) str       the videos of the shard that could not be used
`refused/reason`         (r,) str
`refused/bytes` …        (r,) str       which file that was, as `RefusedVideo` says: `modified_ns`, `sha256`
=======================  =============  ==============================================================

The factor is 1, but for features that are too large or too small for float16. `distributions` and `features` are the
means over a step's frames; a teacher without classes has features only. The attribute `step_seconds` is the length of a
step, which in version 1 is 5 s.
"""

import hashlib
import logging
import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data.parts_index import PartsIndex
from soundnet_kd.data.target_clips import LabelledClip, count_clip_steps
from soundnet_kd.data.target_parts import TargetsPart
from soundnet_kd.errors import FormatError, MissingError
from soundnet_kd.media.block_cache import CACHE_GIGABYTES, BlockCache
from soundnet_kd.media.stored import address_of, local_file, local_path
from soundnet_kd.storage import read_json

log = logging.getLogger(__name__)

SETTINGS_FILE = "targets.json"
READABLE_VERSIONS = (1, 2, 3)
OPEN_PARTS = 16
"""How many parts a reader keeps open."""


def require_readable(folder: str | Path, settings: Mapping[str, Any]) -> None:
    """Check that targets are of a format version that is known.

    Raises
    ------
    FormatError
        If not.
    """
    if settings.get("format_version") not in READABLE_VERSIONS:
        raise FormatError(
            f"{folder} has format version {settings.get('format_version')}, this program reads "
            f"{', '.join(map(str, READABLE_VERSIONS))}; install a newer one, or label the videos again with "
            "`soundnet-kd teach`"
        )


def _read_settings(folder: str | Path) -> dict[str, Any]:
    try:
        with local_file(f"{folder}/{SETTINGS_FILE}") as file:
            if file.is_file():
                settings: dict[str, Any] = read_json(file)
                return settings
    except MissingError:
        pass
    raise FormatError(f"{folder} is not a targets folder (no {SETTINGS_FILE}); make one with `soundnet-kd teach`")


class Targets:
    """A folder of targets, read lazily: parts are opened when a clip of theirs is asked for.

    It may be handed to worker processes: open files stay behind and are opened anew there.

    Parameters
    ----------
    folder : str or Path
        What `soundnet-kd teach` wrote, also under an address that fsspec knows, such as s3://bucket/targets.
    cache_gigabytes : float
        Under an address: space on this machine for what is read (`soundnet_kd.media.block_cache`).

    Attributes
    ----------
    bytes : int
        Size of the parts.

    Raises
    ------
    FormatError
        If `folder` is no targets folder, is of another format version, or holds no clips.
    SettingsError
        If its store lets nobody in.
    """

    def __init__(self, folder: str | Path, cache_gigabytes: float = CACHE_GIGABYTES) -> None:
        self.folder: str | Path = address_of(folder) or local_path(folder)
        folder = self.folder
        self.cache = BlockCache(cache_gigabytes) if isinstance(folder, str) else None
        self.settings: dict[str, Any] = _read_settings(folder)
        require_readable(folder, self.settings)
        index = PartsIndex.of(folder, cache=self.cache)
        if twice := index.twice():
            log.warning(twice)
        parts = [part for part in index.parts if part.clips]
        self.parts = [part.place for part in parts]
        self.bytes = sum(part.bytes for part in parts)
        self._open: OrderedDict[int, TargetsPart] = OrderedDict()
        self._process = os.getpid()
        self._first_clips = [0, *accumulate(part.clips for part in parts)]
        if len(self) == 0:
            raise FormatError(f"{folder} holds no labelled clips; run `soundnet-kd teach` to its end")
        self.videos: NDArray[np.uint64] = np.concatenate([part.source_hashes for part in parts])
        """(clips,) hash of the name of each clip's video: equal where the video is the same."""
        self.step_counts: NDArray[np.int64] = np.concatenate([part.step_counts for part in parts])
        """(clips,) label steps of each clip."""
        first = self._part(0)
        self.sample_rate = first.sample_rate
        self.class_names = first.class_names()
        """Of each teacher that has classes."""
        self.feature_sizes = first.feature_sizes()
        """How many numbers the features of each teacher are, whose features were kept."""
        self.step_seconds = first.step_seconds
        self.steps_per_clip = count_clip_steps(self.step_seconds)
        """Steps of a clip of 20 s."""

    def __len__(self) -> int:
        return self._first_clips[-1]

    def __iter__(self) -> Iterator[LabelledClip]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> LabelledClip:
        return self.clip(index)

    def clip(self, index: int, with_frames: bool = False, with_features: bool = True) -> LabelledClip:
        """Return a clip, with features, and with what was seen in the frames one by one, where asked for and kept."""
        if not 0 <= index < len(self):
            raise IndexError(f"{self.folder} has clips 0 to {len(self) - 1}, not {index}")
        part_index = bisect_right(self._first_clips, index) - 1
        return self._part(part_index).clip(index - self._first_clips[part_index], with_frames, with_features)

    def identity(self) -> dict[str, Any]:
        """Return what identifies these targets: their teachers and sampling, and which videos they are of."""
        kept = {key: self.settings[key] for key in ("teachers", "frame_sampling", "sample_rate")}
        sources = hashlib.sha256(self.videos.astype("<u8").tobytes()).hexdigest()
        return {**kept, "clips": len(self), "sources_sha256": sources}

    def sources(self) -> Iterator[str]:
        """Return the video of every clip, in the order of the clips."""
        return (source for index in range(len(self.parts)) for source in self._part(index).sources())

    def steps(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return where each labelled step begins in its video, and the times of its frames, as `TargetsPart.steps`."""
        begins, looked_at = zip(*(self._part(index).steps() for index in range(len(self.parts))), strict=True)
        return np.concatenate(begins), np.concatenate(looked_at)

    def _part(self, index: int) -> TargetsPart:
        if self._process != os.getpid():
            self._open, self._process = OrderedDict(), os.getpid()
        if index in self._open:
            self._open.move_to_end(index)
            return self._open[index]
        part = TargetsPart(self.parts[index])
        self._open[index] = part
        if len(self._open) > OPEN_PARTS:
            self._open.popitem(last=False)[1].close()
        return part

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}
