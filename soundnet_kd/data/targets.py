"""What the teachers leave for the student: a folder of parts and the settings that made it.

`targets.json`
    The settings: teachers, frame sampling, sample rate, versions.
`parts/part-00000.h5` …
    The labelled clips, each part an HDF5 file that is whole and readable on its own.

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

Attributes: `format_version`, `sample_rate`, and `settings` (the text of `targets.json`).

This is version 1. Version 2, which is written only where there is more than version 1 can hold, has besides:

===============================  ==========================  =============================================
`frame_seconds`                  (s, frames) float64         where a step was labelled from several frames
`features/NAME`                  (s, dims) float16           what NAME had before its last layer
`feature_factor/NAME`            (s,) float32                what each row of it is to be multiplied by
`frames/distributions/NAME`      (s, frames, classes) float16
`frames/features/NAME`           (s, frames, dims) float16   those of the frames, where they were kept
`frames/feature_factor/NAME`     (s, frames) float32
===============================  ==========================  =============================================

The factor is 1, but for features that are too large or too small for float16. `distributions` and `features` are the
means over a step's frames; a teacher without classes has features only. The attribute `step_seconds` is the length of a
step, which in version 1 is 5 s.
"""

import hashlib
import json
import math
import os
import tempfile
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, fields
from itertools import accumulate
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data.target_clips import (
    STEP_SECONDS,
    LabelledClip,
    LabelledVideo,
    count_clip_steps,
    from_half,
    to_half,
)
from soundnet_kd.errors import FormatError
from soundnet_kd.hdf5 import OpenHdf5, WaitingRows, open_hdf5
from soundnet_kd.storage import atomic_write, read_json

SETTINGS_FILE = "targets.json"

OPEN_PARTS = 16
"""How many parts a reader keeps open."""

FORMAT_VERSION = 2
"""The newest one; see `format_version`."""
READABLE_VERSIONS = (1, 2)
FRAMES = "frames/"
"""Where a part holds what was seen in the frames of a step one by one."""
GROUPS = tuple(f"{where}{group}" for where in ("", FRAMES) for group in ("distributions", "features", "feature_factor"))
COLUMN_KINDS: Mapping[Any, Any] = {str: h5py.string_dtype(), float: np.float64, int: np.int64}
"""How a column of `videos` is stored, by the type that `LabelledVideo` has it in."""


def format_version(step_seconds: float, frames_per_step: int, has_features: bool) -> int:
    """Return the first version of the format that holds targets: what version 1 can hold stays in it."""
    return 1 if (step_seconds, frames_per_step, has_features) == (STEP_SECONDS, 1, False) else 2


def write_part(
    path: str | Path,
    clips: Iterable[LabelledClip],
    class_names: Mapping[str, Sequence[str]],
    sample_rate: int,
    settings: Mapping[str, Any],
    videos: Iterable[LabelledVideo] = (),
) -> int:
    """Write labelled clips as one part, whole or not at all (see the module's text for the layout).

    Parameters
    ----------
    path : str or Path
    clips : iterable of LabelledClip
        May be made one after the other: they wait on the disk, not in memory. Without a clip there is no part.
        All hold the same of the same teachers.
    class_names : mapping from teacher to the names of its classes
        Of the teachers that have classes.
    sample_rate : int
        Sample rate of the sound, in Hz.
    settings : mapping
        What made the targets.
    videos : iterable of LabelledVideo
        Those that the clips are of; asked for when all clips are there.

    Returns
    -------
    int
        Number of clips written.

    Raises
    ------
    FormatError
        If one clip holds something that another one does not.
    """
    path = Path(path)
    sources: list[str] = []
    start_seconds: list[float] = []
    sound_lengths: list[int] = []
    step_counts: list[int] = []
    step_seconds = STEP_SECONDS
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as open_files:
        waiting: dict[str, WaitingRows] = {}
        for clip in clips:
            arrays = {"sound": clip.sound, **_arrays_of_steps(clip, class_names)}
            if not sources:
                step_seconds = clip.step_seconds
                for name, rows in arrays.items():
                    file = open_files.enter_context(tempfile.TemporaryFile(dir=path.parent))
                    waiting[name] = WaitingRows(file, rows)
            shapes = {name: rows.shape[1:] for name, rows in arrays.items()}
            wanted = {name: rows.row_shape for name, rows in waiting.items()}
            if shapes != wanted or clip.step_seconds != step_seconds:
                raise FormatError(f"the clips of {path} hold different things: {shapes}, not {wanted}")
            sources.append(clip.source)
            start_seconds.append(clip.start_seconds)
            sound_lengths.append(len(clip.sound))
            step_counts.append(len(clip.frame_seconds))
            for name, rows in arrays.items():
                waiting[name].append(rows)
        if not sources:
            return 0
        with atomic_write(path) as partial, open_hdf5(partial, "w") as part:
            frames = math.prod(waiting["frame_seconds"].row_shape)
            has_features = any(name.startswith("features/") for name in waiting)
            version = format_version(step_seconds, frames, has_features)
            part.attrs["format_version"] = version
            if version > 1:
                part.attrs["step_seconds"] = step_seconds
            part.attrs["sample_rate"] = sample_rate
            part.attrs["settings"] = json.dumps(settings)
            part["sound_end"] = np.cumsum(sound_lengths)
            part["step_end"] = np.cumsum(step_counts)
            part["source"] = np.array(sources, dtype=h5py.string_dtype())
            part["start_seconds"] = np.array(start_seconds)
            for name, each in waiting.items():
                each.store(part, name)
            for name, classes in class_names.items():
                part[f"class_names/{name}"] = np.array(list(classes), dtype=h5py.string_dtype())
            for column, values in _columns(videos).items():
                part[f"videos/{column}"] = values
    return len(sources)


def _arrays_of_steps(clip: LabelledClip, teachers: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Return what a part holds of a clip's steps, under the names that it has there."""
    arrays: dict[str, NDArray[Any]] = {"frame_seconds": clip.frame_seconds}
    for name in teachers:
        arrays[f"distributions/{name}"] = clip.distributions[name].astype(np.float16)
        if name in clip.frame_distributions:
            arrays[f"{FRAMES}distributions/{name}"] = clip.frame_distributions[name].astype(np.float16)
    for where, features in (("", clip.features), (FRAMES, clip.frame_features)):
        for name, values in features.items():
            arrays[f"{where}features/{name}"], arrays[f"{where}feature_factor/{name}"] = to_half(values)
    return arrays


class TargetsPart:
    """An open part.

    It may be handed to other processes, which open it anew.

    Parameters
    ----------
    path : Path

    Raises
    ------
    FormatError
        If the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._opened = OpenHdf5(path)
            self._sound_end = self._file["sound_end"][:]
            self.step_seconds = float(self._file.attrs.get("step_seconds", STEP_SECONDS))
            self._names = {group: tuple(self._file.get(group, ())) for group in GROUPS}
            self._require_whole()
        except (OSError, KeyError, IndexError, ValueError, RuntimeError) as error:
            raise FormatError(
                f"{path} cannot be read ({error}); delete it and run the same `soundnet-kd teach` again"
            ) from error
        self._handles: tuple[h5py.File, dict[str, h5py.Dataset]] = (self._file, {})

    def __len__(self) -> int:
        return len(self._sound_end)

    def __getitem__(self, row: int) -> LabelledClip:
        return self.clip(row)

    def clip(self, row: int, with_frames: bool = False, with_features: bool = True) -> LabelledClip:
        """Return a clip, with features, and with what was seen in the frames one by one, where asked for and kept."""
        sound = slice(int(self._sound_end[row - 1]) if row else 0, int(self._sound_end[row]))
        step_end = self._dataset("step_end")
        first_step, end_step = (0, int(step_end[0])) if row == 0 else map(int, step_end[row - 1 : row + 1])
        steps = slice(first_step, end_step)
        return LabelledClip(
            source=self._dataset("source")[row].decode(),
            start_seconds=float(self._dataset("start_seconds")[row]),
            sound=self._dataset("sound")[sound],
            frame_seconds=self._dataset("frame_seconds")[steps],
            distributions=self._distributions("", steps),
            features=self._features("", steps) if with_features else {},
            step_seconds=self.step_seconds,
            frame_distributions=self._distributions(FRAMES, steps) if with_frames else {},
            frame_features=self._features(FRAMES, steps) if with_frames and with_features else {},
        )

    @property
    def sample_rate(self) -> int:
        """Of the sound, in Hz."""
        return int(self._file.attrs["sample_rate"])

    def sources(self) -> list[str]:
        """Return the video of each clip."""
        return list(self._file["source"].asstr()[:])

    def videos(self) -> list[LabelledVideo]:
        """Return what was used of each video; nothing is known of those in parts of older versions."""
        if "videos" not in self._file:
            return []
        group = self._file["videos"]
        texts = (group[name].asstr()[:] for name in ("source", "fingerprint"))
        columns = [field for field in fields(LabelledVideo)[2:] if field.name in group]
        numbers = (group[field.name][:].astype(COLUMN_KINDS[field.type]).tolist() for field in columns)
        return [LabelledVideo(*row) for row in zip(*texts, *numbers, strict=True)]

    def step_counts(self) -> NDArray[np.int64]:
        """Return how many label steps each clip has, (clips,)."""
        counts: NDArray[np.int64] = np.diff(self._file["step_end"][:], prepend=0)
        return counts

    def steps(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return where each labelled step begins in its video and the time of its frame, or of its frames, in seconds.

        Returns
        -------
        (steps,) float64, (steps,) or (steps, frames) float64
        """
        ends = self._file["step_end"][:]
        counts = self.step_counts()
        place = np.arange(ends[-1]) - np.repeat(ends - counts, counts)
        starts = np.repeat(self._file["start_seconds"][:], counts) + place * self.step_seconds
        return starts, self._file["frame_seconds"][:]

    def class_names(self) -> dict[str, tuple[str, ...]]:
        """Return the names of each teacher's classes."""
        return {name: tuple(self._file[f"class_names/{name}"].asstr()[:]) for name in self._names["distributions"]}

    def feature_sizes(self) -> dict[str, int]:
        """Return how many numbers each teacher's features are."""
        return {name: self._file[f"features/{name}"].shape[1] for name in self._names["features"]}

    def close(self) -> None:
        """Close the file."""
        self._opened.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handles": (None, {})}

    @property
    def _file(self) -> h5py.File:
        return self._opened.file

    def _require_whole(self) -> None:
        clips = len(self._sound_end)
        lengths = {name: len(self._file[name]) for name in ("step_end", "source", "start_seconds")}
        steps = int(self._file["step_end"][-1])
        rows = {"frame_seconds": len(self._file["frame_seconds"])}
        for group, names in self._names.items():
            rows |= {f"{group}/{name}": len(self._file[f"{group}/{name}"]) for name in names}
        samples = len(self._file["sound"])
        if {*lengths.values()} != {clips} or {*rows.values()} != {steps} or samples != self._sound_end[-1]:
            raise ValueError("its arrays do not fit each other")
        if set(self._file.get("class_names", ())) != set(self._names["distributions"]):
            raise ValueError("classes are missing")
        for where in ("", FRAMES):
            if self._names[f"{where}features"] != self._names[f"{where}feature_factor"]:
                raise ValueError("factors of features are missing")
        if not self._names["distributions"] + self._names["features"]:
            raise KeyError("distributions")
        _ = self._file.attrs["sample_rate"]

    def _distributions(self, where: str, steps: slice) -> dict[str, NDArray[np.float32]]:
        group = f"{where}distributions"
        return {name: _normalised(self._dataset(f"{group}/{name}")[steps]) for name in self._names[group]}

    def _features(self, where: str, steps: slice) -> dict[str, NDArray[np.float32]]:
        return {
            name: from_half(
                self._dataset(f"{where}features/{name}")[steps], self._dataset(f"{where}feature_factor/{name}")[steps]
            )
            for name in self._names[f"{where}features"]
        }

    def _dataset(self, name: str) -> h5py.Dataset:
        # Finding a dataset in its file costs as much as reading from it.
        file, handles = self._handles
        if file is not self._file:
            handles = {}
            self._handles = (self._file, handles)
        if name not in handles:
            handles[name] = self._file[name]
        return handles[name]


def _columns(videos: Iterable[LabelledVideo]) -> dict[str, NDArray[Any]]:
    rows = [asdict(video) for video in videos]
    kinds = {field.name: COLUMN_KINDS[field.type] for field in fields(LabelledVideo)}
    return {name: np.array([row[name] for row in rows], dtype=kind) for name, kind in kinds.items()}


def part_files(folder: Path) -> list[Path]:
    """Return the finished parts of a targets folder, in order."""
    return sorted((folder / "parts").glob("part-*.h5"), key=_number)


def part_file(folder: Path, number: int) -> Path:
    """Return the path of a targets folder's part."""
    return folder / "parts" / f"part-{number:05d}.h5"


def next_part_number(folder: Path) -> int:
    """Return the number of the part to write next: behind the last one, also where one between them was deleted."""
    return max(map(_number, part_files(folder)), default=-1) + 1


def _number(part: Path) -> int:
    return int(part.stem.removeprefix("part-"))


def _normalised(rows: NDArray[np.float16]) -> NDArray[np.float32]:
    wide = rows.astype(np.float32)
    return np.asarray(wide / wide.sum(axis=-1, keepdims=True), dtype=np.float32)


class Targets:
    """A folder of targets, read lazily: parts are opened when a clip of theirs is asked for.

    It may be handed to worker processes: open files stay behind and are opened anew there.

    Parameters
    ----------
    folder : str or Path
        What `soundnet-kd teach` wrote.

    Raises
    ------
    FormatError
        If `folder` is no targets folder, is of another format version, or holds no clips.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        self.folder = folder
        if not (folder / SETTINGS_FILE).is_file():
            raise FormatError(
                f"{folder} is not a targets folder (no {SETTINGS_FILE}); make one with `soundnet-kd teach`"
            )
        self.settings: dict[str, Any] = read_json(folder / SETTINGS_FILE)
        if self.settings.get("format_version") not in READABLE_VERSIONS:
            raise FormatError(
                f"{folder} has format version {self.settings.get('format_version')}, this program reads "
                f"{' and '.join(map(str, READABLE_VERSIONS))}; install a newer one, or label the videos again with "
                "`soundnet-kd teach`"
            )
        self.parts = part_files(folder)
        self._open: OrderedDict[int, TargetsPart] = OrderedDict()
        self._process = os.getpid()
        counts: list[int] = []
        hashes: list[NDArray[np.uint64]] = []
        step_counts: list[NDArray[np.int64]] = []
        for index in range(len(self.parts)):
            part = self._part(index)
            counts.append(len(part))
            hashes.append(np.array([_hash(source) for source in part.sources()], np.uint64))
            step_counts.append(part.step_counts())
        self._first_clips = [0, *accumulate(counts)]
        if len(self) == 0:
            raise FormatError(f"{folder} holds no labelled clips; run `soundnet-kd teach` to its end")
        self.videos: NDArray[np.uint64] = np.concatenate(hashes)
        """(clips,) hash of the name of each clip's video: equal where the video is the same."""
        self.step_counts: NDArray[np.int64] = np.concatenate(step_counts)
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


def _hash(source: str) -> int:
    return int.from_bytes(hashlib.sha256(source.encode()).digest()[:8])
