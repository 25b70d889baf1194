"""One part of the targets: an HDF5 file of labelled clips, whole and readable on its own.

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
======================  ===================  =====================================================

Parts that were written before there was a group `videos` lack it.

Attributes: `format_version`, `sample_rate`, and `settings` (the text of `targets.json`).
"""

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data.filling import STEP_SECONDS
from soundnet_kd.errors import FormatError
from soundnet_kd.hdf5 import OpenHdf5, open_hdf5
from soundnet_kd.storage import whole

FORMAT_VERSION = 1
COPIED_SAMPLES = 2**22
"""Sound goes from one file to the other in pieces of this many samples."""


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


@dataclass(frozen=True)
class LabelledVideo:
    """What was used of a video.

    Attributes
    ----------
    source : str
        As the clips name it.
    fingerprint : str
        Tells its file from others.
    seconds : float
        How much sound with pictures was looked at.
    silent_seconds, rest_seconds, behind_jump_seconds : float
        How much of it was left out: silent clips, ends too short for a step, and what lies behind a jump of the clock.
    """

    source: str
    fingerprint: str
    seconds: float
    silent_seconds: float
    rest_seconds: float
    behind_jump_seconds: float


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
        May be made one after the other: their sound waits on the disk, not in memory. Without a clip there is no part.
    class_names : mapping from teacher to the names of its classes
    sample_rate : int
        Of the sound, in Hz.
    settings : mapping
        What made the targets.
    videos : iterable of LabelledVideo
        Those that the clips are of; asked for when all clips are there.

    Returns
    -------
    int
        Number of clips written.
    """
    path = Path(path)
    sources: list[str] = []
    start_seconds: list[float] = []
    sound_lengths: list[int] = []
    frame_seconds: list[NDArray[np.float64]] = []
    rows: dict[str, list[NDArray[np.float16]]] = {name: [] for name in class_names}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path.parent) as sound:
        for clip in clips:
            sound.write(clip.sound.tobytes())
            sources.append(clip.source)
            start_seconds.append(clip.start_seconds)
            sound_lengths.append(len(clip.sound))
            frame_seconds.append(clip.frame_seconds)
            for name in class_names:
                rows[name].append(clip.distributions[name].astype(np.float16))
        if not sources:
            return 0
        with whole(path) as partial, open_hdf5(partial, "w") as part:
            part.attrs["format_version"] = FORMAT_VERSION
            part.attrs["sample_rate"] = sample_rate
            part.attrs["settings"] = json.dumps(settings)
            stored = part.create_dataset("sound", (sum(sound_lengths),), np.int16)
            sound.seek(0)
            for first in range(0, len(stored), COPIED_SAMPLES):
                piece = np.fromfile(sound, np.int16, min(COPIED_SAMPLES, len(stored) - first))
                stored[first : first + len(piece)] = piece
            part["sound_end"] = np.cumsum(sound_lengths)
            part["step_end"] = np.cumsum([len(seconds) for seconds in frame_seconds])
            part["source"] = np.array(sources, dtype=h5py.string_dtype())
            part["start_seconds"] = np.array(start_seconds)
            part["frame_seconds"] = np.concatenate(frame_seconds)
            for name, classes in class_names.items():
                part[f"distributions/{name}"] = np.concatenate(rows[name])
                part[f"class_names/{name}"] = np.array(list(classes), dtype=h5py.string_dtype())
            for column, values in _columns(videos).items():
                part[f"videos/{column}"] = values
    return len(sources)


class Part:
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
            self._require_whole()
        except (OSError, KeyError, IndexError, ValueError, RuntimeError) as error:
            raise FormatError(
                f"{path} cannot be read ({error}); delete it and run the same `soundnet-kd teach` again"
            ) from error
        self._handles: tuple[h5py.File, dict[str, h5py.Dataset]] = (self._file, {})

    def __len__(self) -> int:
        return len(self._sound_end)

    def __getitem__(self, row: int) -> LabelledClip:
        sound = slice(int(self._sound_end[row - 1]) if row else 0, int(self._sound_end[row]))
        step_end = self._dataset("step_end")
        first_step, end_step = (0, int(step_end[0])) if row == 0 else map(int, step_end[row - 1 : row + 1])
        steps = slice(first_step, end_step)
        return LabelledClip(
            source=self._dataset("source")[row].decode(),
            start_seconds=float(self._dataset("start_seconds")[row]),
            sound=self._dataset("sound")[sound],
            frame_seconds=self._dataset("frame_seconds")[steps],
            distributions={
                name: _normalised(self._dataset(f"distributions/{name}")[steps]) for name in self._file["distributions"]
            },
        )

    @property
    def sample_rate(self) -> int:
        """Of the sound, in Hz."""
        return int(self._file.attrs["sample_rate"])

    def sources(self) -> list[str]:
        """Give the video of each clip."""
        return list(self._file["source"].asstr()[:])

    def videos(self) -> list[LabelledVideo]:
        """Give what was used of each video; nothing is known of those in parts of older versions."""
        if "videos" not in self._file:
            return []
        group = self._file["videos"]
        texts = (group[name].asstr()[:] for name in ("source", "fingerprint"))
        numbers = (
            group[name][:].tolist() for name in ("seconds", "silent_seconds", "rest_seconds", "behind_jump_seconds")
        )
        return [LabelledVideo(*row) for row in zip(*texts, *numbers, strict=True)]

    def steps(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give, for each labelled step, where it begins in its video, and the time of the frame that was looked at."""
        ends = self._file["step_end"][:]
        counts = np.diff(ends, prepend=0)
        place = np.arange(ends[-1]) - np.repeat(ends - counts, counts)
        starts = np.repeat(self._file["start_seconds"][:], counts) + place * STEP_SECONDS
        return starts, self._file["frame_seconds"][:]

    def class_names(self) -> dict[str, tuple[str, ...]]:
        """Give the names of each teacher's classes."""
        return {name: tuple(names.asstr()[:]) for name, names in self._file["class_names"].items()}

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
        rows = {name: len(rows) for name, rows in self._file["distributions"].items()}
        rows |= {"frame_seconds": len(self._file["frame_seconds"])}
        samples = len(self._file["sound"])
        if {*lengths.values()} != {clips} or {*rows.values()} != {steps} or samples != self._sound_end[-1]:
            raise ValueError("its arrays do not fit each other")
        if self._file["class_names"].keys() != self._file["distributions"].keys():
            raise ValueError("classes are missing")
        _ = self._file.attrs["sample_rate"]

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
    kinds = {field.name: h5py.string_dtype() if field.type is str else np.float64 for field in fields(LabelledVideo)}
    return {name: np.array([row[name] for row in rows], dtype=kind) for name, kind in kinds.items()}


def part_files(folder: Path) -> list[Path]:
    """Give the finished parts of a targets folder, in order."""
    return sorted((folder / "parts").glob("part-*.h5"), key=_number)


def part_file(folder: Path, number: int) -> Path:
    """Give the path of a targets folder's part."""
    return folder / "parts" / f"part-{number:05d}.h5"


def next_part_number(folder: Path) -> int:
    """Give the number of the part to write next: behind the last one, also where one between them was deleted."""
    return max(map(_number, part_files(folder)), default=-1) + 1


def _number(part: Path) -> int:
    return int(part.stem.removeprefix("part-"))


def _normalised(rows: NDArray[np.float16]) -> NDArray[np.float32]:
    wide = rows.astype(np.float32)
    return np.asarray(wide / wide.sum(axis=1, keepdims=True), dtype=np.float32)
