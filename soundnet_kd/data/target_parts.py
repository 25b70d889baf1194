"""A part of a targets folder: the labelled clips of some videos, in an HDF5 file that is whole and readable on its own.

Its layout is told in `soundnet_kd.data.targets`.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, fields
from fnmatch import fnmatchcase
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data.target_clips import (
    STEP_SECONDS,
    LabelledClip,
    LabelledVideo,
    RefusedVideo,
    from_half,
    to_half,
)
from soundnet_kd.errors import FormatError
from soundnet_kd.hdf5 import OpenHdf5, WaitingRows, open_hdf5
from soundnet_kd.media.block_cache import BlockCache, CachedObject
from soundnet_kd.media.remote import list_objects
from soundnet_kd.media.stored import StoredMedia, address_of
from soundnet_kd.storage import atomic_write

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")

FORMAT_VERSION = 3
NUMBER_DIGITS = 12
"""Names of parts with so many characters at most are numbers, which versions 1 and 2 gave them."""
FRAMES = "frames/"
"""Where a part holds what was seen in the frames of a step one by one."""
GROUPS = tuple(f"{where}{group}" for where in ("", FRAMES) for group in ("distributions", "features", "feature_factor"))
PARTS_FOLDER = "parts"
PartPlace = Path | CachedObject
"""Where a part lies: a file of this machine, or an object under an address."""
COLUMN_KINDS: Mapping[Any, Any] = {str: h5py.string_dtype(), float: np.float64, int: np.int64}
"""How a column of `videos` is stored, by the type that `LabelledVideo` has it in."""


def write_part(
    path: str | Path,
    clips: Iterable[LabelledClip],
    class_names: Mapping[str, Sequence[str]],
    sample_rate: int,
    settings: Mapping[str, Any],
    videos: Iterable[LabelledVideo] = (),
    refused: Iterable[RefusedVideo] = (),
) -> int:
    """Write labelled clips as one part, whole or not at all (see `soundnet_kd.data.targets` for the layout).

    Parameters
    ----------
    path : str or Path
    clips : iterable of LabelledClip
        May be made one after the other: they wait on the disk, not in memory. All hold the same of the same teachers.
        Without a clip and a refused video there is no part.
    class_names : mapping from teacher to the names of its classes
        Of the teachers that have classes.
    sample_rate : int
        Sample rate of the sound, in Hz.
    settings : mapping
        What made the targets.
    videos : iterable of LabelledVideo
        Those that the clips are of; asked for when all clips are there.
    refused : iterable of RefusedVideo
        Those that could not be used; asked for after them.

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
        of_videos = {f"videos/{name}": values for name, values in _columns(LabelledVideo, videos).items()}
        of_refused = {f"refused/{name}": values for name, values in _columns(RefusedVideo, refused).items()}
        if not sources and not len(of_refused["refused/source"]):
            return 0
        with atomic_write(path) as partial, open_hdf5(partial, "w") as part:
            part.attrs["format_version"] = FORMAT_VERSION
            part.attrs["step_seconds"] = step_seconds
            part.attrs["sample_rate"] = sample_rate
            part.attrs["settings"] = json.dumps(settings)
            part["sound_end"] = np.cumsum(sound_lengths, dtype=np.int64)
            part["step_end"] = np.cumsum(step_counts, dtype=np.int64)
            part["source"] = np.array(sources, dtype=h5py.string_dtype())
            part["start_seconds"] = np.array(start_seconds, dtype=np.float64)
            for name, each in waiting.items():
                each.store(part, name)
            for name, classes in class_names.items():
                part[f"class_names/{name}"] = np.array(list(classes), dtype=h5py.string_dtype())
            for name, column in (of_videos | of_refused).items():
                part[name] = column
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


def _reads(
    method: Callable[Concatenate["TargetsPart", Arguments], Answer],
) -> Callable[Concatenate["TargetsPart", Arguments], Answer]:
    """Have a method done again where something of the file has to be fetched for it."""

    @wraps(method)
    def read(part: "TargetsPart", /, *arguments: Arguments.args, **named: Arguments.kwargs) -> Answer:
        return part._opened.reading(lambda: method(part, *arguments, **named))

    return read


class TargetsPart:
    """An open part.

    It may be handed to other processes, which open it anew.

    Parameters
    ----------
    place : Path or CachedObject

    Raises
    ------
    FormatError
        If the file cannot be read.
    GivenUpError, SettingsError
        If its store does not give it.
    """

    def __init__(self, place: PartPlace) -> None:
        try:
            self._opened = OpenHdf5(place)
            self._load()
        except (OSError, KeyError, IndexError, ValueError, RuntimeError) as error:
            raise FormatError(
                f"{place} cannot be read ({error}); delete it and run the same `soundnet-kd teach` again"
            ) from error
        self._handles: tuple[h5py.File, dict[str, h5py.Dataset]] = (self._file, {})

    def __len__(self) -> int:
        return len(self._sound_end)

    def __getitem__(self, row: int) -> LabelledClip:
        return self.clip(row)

    @_reads
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
    @_reads
    def sample_rate(self) -> int:
        """Of the sound, in Hz."""
        return int(self._file.attrs["sample_rate"])

    @_reads
    def sources(self) -> list[str]:
        """Return the video of each clip."""
        return list(self._file["source"].asstr()[:])

    @_reads
    def videos(self) -> list[LabelledVideo]:
        """Return what was used of each video; nothing is known of those in parts of older versions."""
        if "videos" not in self._file:
            return []
        group = self._file["videos"]
        texts = (group[name].asstr()[:] for name in ("source", "fingerprint"))
        columns = [field for field in fields(LabelledVideo)[2:] if field.name in group]
        numbers = (group[field.name][:].astype(COLUMN_KINDS[field.type]).tolist() for field in columns)
        return [LabelledVideo(*row) for row in zip(*texts, *numbers, strict=True)]

    @_reads
    def refused(self) -> list[RefusedVideo]:
        """Return the videos that could not be used; parts of older versions do not hold them."""
        if "refused" not in self._file:
            return []
        columns = (self._file[f"refused/{field.name}"].asstr()[:] for field in fields(RefusedVideo))
        return [RefusedVideo(*row) for row in zip(*columns, strict=True)]

    @_reads
    def step_counts(self) -> NDArray[np.int64]:
        """Return how many label steps each clip has, (clips,)."""
        counts: NDArray[np.int64] = np.diff(self._file["step_end"][:], prepend=0)
        return counts

    @_reads
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

    @_reads
    def class_names(self) -> dict[str, tuple[str, ...]]:
        """Return the names of each teacher's classes."""
        return {name: tuple(self._file[f"class_names/{name}"].asstr()[:]) for name in self._names["distributions"]}

    @_reads
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

    @_reads
    def _load(self) -> None:
        self._sound_end = self._file["sound_end"][:]
        self.step_seconds = float(self._file.attrs.get("step_seconds", STEP_SECONDS))
        self._names = {group: tuple(self._file.get(group, ())) for group in GROUPS}
        self._require_whole()

    def _require_whole(self) -> None:
        clips = len(self._sound_end)
        _ = self._file.attrs["sample_rate"]
        if not clips:
            # A shard of which no video could be used.
            _ = self._file["refused/source"]
            return
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


def _columns(kind: type[LabelledVideo | RefusedVideo], rows: Iterable[Any]) -> dict[str, NDArray[Any]]:
    values = [asdict(row) for row in rows]
    kinds = {field.name: COLUMN_KINDS[field.type] for field in fields(kind)}
    return {name: np.array([row[name] for row in values], dtype=kind) for name, kind in kinds.items()}


def part_files(folder: str | Path) -> list[Path]:
    """Return the finished parts of a targets folder: those with numbers in their order, then those of shards."""
    return sorted((Path(folder) / PARTS_FOLDER).glob("part-*.h5"), key=_order)


def part_places(folder: str | Path, cache: BlockCache | None = None) -> Sequence[PartPlace]:
    """Return the finished parts of a targets folder, also of one under an address, in the order of `part_files`."""
    address = address_of(folder)
    if address is None:
        return part_files(folder)
    found = list_objects(f"{address}/{PARTS_FOLDER}", may_miss=True)
    cache = cache or BlockCache()
    parts = [each for name, each in found.items() if fnmatchcase(name, "part-*.h5")]
    return sorted((CachedObject.of(each, cache) for each in parts), key=_order)


def part_place(folder: str | Path, name: str, cache: BlockCache | None = None) -> PartPlace:
    """Return where a part of a targets folder lies, by the name of its shard."""
    address = address_of(folder)
    if address is None:
        return part_file(Path(folder), name)
    return CachedObject.of(StoredMedia(f"{address}/{part_file(Path(), name).as_posix()}"), cache or BlockCache())


def part_file(folder: Path, name: str | int) -> Path:
    """Return the path of a targets folder's part, by the name of its shard, or by its number."""
    return folder / PARTS_FOLDER / (f"part-{name:05d}.h5" if isinstance(name, int) else f"part-{name}.h5")


def is_of_shard(name: str) -> bool:
    """Return whether a part's file is named after a shard, not by a number."""
    stem = name.removeprefix("part-").removesuffix(".h5")
    return len(stem) > NUMBER_DIGITS or not stem.isdecimal()


def _order(part: PartPlace) -> tuple[bool, int, str]:
    name = part.name.removeprefix("part-").removesuffix(".h5")
    of_shard = is_of_shard(part.name)
    return of_shard, 0 if of_shard else int(name), name


def _normalised(rows: NDArray[np.float16]) -> NDArray[np.float32]:
    wide = rows.astype(np.float32)
    return np.asarray(wide / wide.sum(axis=-1, keepdims=True), dtype=np.float32)
