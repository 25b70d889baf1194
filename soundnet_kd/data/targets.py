"""What the teachers leave for the student: a folder of HDF5 parts, each whole and readable on its own.

Layout of `targets/`
--------------------
`targets.json`
    The settings that made the folder: teachers, frame sampling, sample rate, versions.
`parts/part-00000.h5` …
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
    ======================  ===================  =====================================================

    Attributes: `format_version`, `sample_rate`, and `settings` (the text of `targets.json`).
"""

import hashlib
import json
import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from soundnet_kd.errors import FormatError
from soundnet_kd.storage import read_json, whole

FORMAT_VERSION = 1
SETTINGS_FILE = "targets.json"
CLIP_SECONDS = 20.0
"""Length of a training clip (SoundNet, section 4)."""
STEP_SECONDS = 5.0
"""Span of sound that one frame labels; 20 s make four steps, as many as the student gives."""
OPEN_PARTS = 16
"""How many parts a reader keeps open."""


@dataclass(frozen=True)
class LabelledClip:
    """Up to 20 s of one video's sound, with what the teachers saw every 5 s.

    Attributes
    ----------
    source : str
        The video, relative to the folder that was labelled.
    start_seconds : float
        Where the clip starts in its video.
    sound : (samples,) int16
        Mono, at the targets' sample rate, at most `steps` x 5 s.
    frame_seconds : (steps,) float64
        Time of the labelled frame of each step.
    distributions : mapping from teacher to (steps, classes) float32
        Each row is a distribution.
    """

    source: str
    start_seconds: float
    sound: NDArray[np.int16]
    frame_seconds: NDArray[np.float64]
    distributions: Mapping[str, NDArray[np.float32]]

    def __post_init__(self) -> None:
        if self.sound.ndim != 1 or self.sound.dtype != np.int16:
            raise FormatError(f"sound must be (samples,) int16, not {self.sound.shape} {self.sound.dtype}")
        for name, rows in self.distributions.items():
            if rows.ndim != 2 or len(rows) != len(self.frame_seconds):
                raise FormatError(f"{name}: {rows.shape} does not give one distribution for each step")

    def __repr__(self) -> str:
        teachers = ", ".join(f"{name} {rows.shape}" for name, rows in self.distributions.items())
        return f"LabelledClip({self.source!r} from {self.start_seconds:g} s, sound {self.sound.shape}, {teachers})"


def write_part(
    path: Path,
    clips: Sequence[LabelledClip],
    class_names: Mapping[str, Sequence[str]],
    sample_rate: int,
    settings: Mapping[str, Any],
) -> None:
    """Write labelled clips as one part, whole or not at all (see the module's text for the layout)."""
    with whole(path) as partial, h5py.File(partial, "w") as part:
        part.attrs["format_version"] = FORMAT_VERSION
        part.attrs["sample_rate"] = sample_rate
        part.attrs["settings"] = json.dumps(settings)
        part["sound"] = np.concatenate([clip.sound for clip in clips])
        part["sound_end"] = np.cumsum([len(clip.sound) for clip in clips])
        part["step_end"] = np.cumsum([len(clip.frame_seconds) for clip in clips])
        part["source"] = np.array([clip.source for clip in clips], dtype=h5py.string_dtype())
        part["start_seconds"] = np.array([clip.start_seconds for clip in clips])
        part["frame_seconds"] = np.concatenate([clip.frame_seconds for clip in clips])
        for name, classes in class_names.items():
            rows = np.concatenate([clip.distributions[name] for clip in clips])
            part[f"distributions/{name}"] = rows.astype(np.float16)
            part[f"class_names/{name}"] = np.array(list(classes), dtype=h5py.string_dtype())


class Targets:
    """A folder of targets, read lazily: parts are opened when a clip of theirs is asked for.

    It may be handed to worker processes: open files stay behind and are opened anew there.

    Parameters
    ----------
    folder : Path
        What `soundnet-kd teach` wrote.

    Raises
    ------
    FormatError
        If `folder` is no targets folder, is of another format version, or holds no clips.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / SETTINGS_FILE).is_file():
            raise FormatError(
                f"{folder} is not a targets folder (no {SETTINGS_FILE}); make one with `soundnet-kd teach`"
            )
        self.settings: dict[str, Any] = read_json(folder / SETTINGS_FILE)
        if self.settings.get("format_version") != FORMAT_VERSION:
            raise FormatError(
                f"{folder} has format version {self.settings.get('format_version')}, this program reads "
                f"{FORMAT_VERSION}; label the videos again with `soundnet-kd teach`"
            )
        self.parts = part_files(folder)
        self._open: OrderedDict[int, h5py.File] = OrderedDict()
        self._process = os.getpid()
        counts = [len(self._part(index)["source"]) for index in range(len(self.parts))]
        self._first_clips = [0, *accumulate(counts)]
        if len(self) == 0:
            raise FormatError(f"{folder} holds no labelled clips; run `soundnet-kd teach` to its end")
        first = self._part(0)
        self.sample_rate = int(first.attrs["sample_rate"])
        self.class_names: dict[str, tuple[str, ...]] = {
            name: tuple(first["class_names"][name].asstr()[:]) for name in first["class_names"]
        }

    def __len__(self) -> int:
        return self._first_clips[-1]

    def __iter__(self) -> Iterator[LabelledClip]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> LabelledClip:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.folder} has clips 0 to {len(self) - 1}, not {index}")
        part_index = bisect_right(self._first_clips, index) - 1
        part, row = self._part(part_index), index - self._first_clips[part_index]
        sound_start = int(part["sound_end"][row - 1]) if row else 0
        step_start = int(part["step_end"][row - 1]) if row else 0
        steps = slice(step_start, int(part["step_end"][row]))
        return LabelledClip(
            source=part["source"].asstr()[row],
            start_seconds=float(part["start_seconds"][row]),
            sound=part["sound"][sound_start : int(part["sound_end"][row])],
            frame_seconds=part["frame_seconds"][steps],
            distributions={name: _normalised(part["distributions"][name][steps]) for name in self.class_names},
        )

    def identity(self) -> dict[str, Any]:
        """Give what tells these targets from others: their teachers and sampling, and which videos they are of."""
        kept = {key: self.settings[key] for key in ("teachers", "frame_sampling", "sample_rate")}
        sources = hashlib.sha256("\n".join(self.sources()).encode()).hexdigest()
        return {**kept, "clips": len(self), "sources_sha256": sources}

    def sources(self) -> list[str]:
        """Give the video of every clip, in the order of the clips."""
        return [source for index in range(len(self.parts)) for source in self._part(index)["source"].asstr()[:]]

    def _part(self, index: int) -> h5py.File:
        if self._process != os.getpid():
            self._open, self._process = OrderedDict(), os.getpid()
        if index in self._open:
            self._open.move_to_end(index)
            return self._open[index]
        part = _open_part(self.parts[index])
        self._open[index] = part
        if len(self._open) > OPEN_PARTS:
            self._open.popitem(last=False)[1].close()
        return part

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}


def part_files(folder: Path) -> list[Path]:
    """Give the finished parts of a targets folder, in order."""
    return sorted((folder / "parts").glob("part-*.h5"))


def part_file(folder: Path, number: int) -> Path:
    """Give the path of a targets folder's part."""
    return folder / "parts" / f"part-{number:05d}.h5"


def next_part_file(folder: Path) -> Path:
    """Give the path of the part to write next: behind the last one, also where one between them was deleted."""
    parts = part_files(folder)
    return part_file(folder, int(parts[-1].stem.removeprefix("part-")) + 1 if parts else 0)


def part_sources(path: Path) -> set[str]:
    """Give the videos that a part holds clips of.

    Raises
    ------
    FormatError
        If the part cannot be read.
    """
    with _open_part(path) as part:
        return set(part["source"].asstr()[:])


def _open_part(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise FormatError(f"{path} cannot be read ({error}); delete it and run `soundnet-kd teach` again") from error


def _normalised(rows: NDArray[np.float16]) -> NDArray[np.float32]:
    wide = rows.astype(np.float32)
    return np.asarray(wide / wide.sum(axis=1, keepdims=True), dtype=np.float32)
