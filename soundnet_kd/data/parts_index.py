"""What the parts of a targets folder hold, in one file: thousands of parts need not be opened to know it.

`.index.h5` is made from the parts, and made anew of those that it does not know, or that have changed since. For p
parts with n clips, v labelled and r refused videos together:

========================================  ==================  ====================================================
`part/file`                               (p,) str            the part's name
`part/bytes`                              (p,) int64          length of the file that was indexed
`part/version`                            (p,) str            under an address, what tells it from another one there
`part/clip_end`, `part/video_end`,        (p,) int64          where each part's clips, labelled and refused videos end
`part/refused_end`
`part/totals`                             (p, 6) float64      sums over the part's videos: see `TOTALS`
`clip/source_hash`, `clip/step_count`     (n,) uint64, int64
`video`                                   (v,) str
`refused/source`, `refused/reason` …      (r,) str
========================================  ==================  ====================================================
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data.target_clips import RefusedVideo
from soundnet_kd.data.target_parts import PartPlace, TargetsPart, is_of_shard, part_places
from soundnet_kd.errors import FormatError, MissingError
from soundnet_kd.hdf5 import open_hdf5
from soundnet_kd.media.block_cache import BlockCache
from soundnet_kd.media.stored import address_of, local_file
from soundnet_kd.storage import atomic_write

INDEX_FILE = ".index.h5"
SECONDS = ("seconds", "silent_seconds", "rest_seconds", "behind_jump_seconds")
TOTALS = (*SECONDS, "failed_steps", "stray_steps")
"""Of `LabelledVideo`, and how many steps were labelled from a frame outside their own time."""
TOLERANCE_SECONDS = 1e-3
"""Times of frames are rounded to those of their container."""
READ_AT_ONCE = 16
"""So many parts under an address: h5py reads one at a time, but does not wait for what is fetched of the others."""
TEXT = h5py.string_dtype()


@dataclass(frozen=True, eq=False)
class IndexedPart:
    """What a part holds.

    Attributes
    ----------
    file : str
        Its name.
    bytes : int
        Its length.
    version : str
        What tells it from another one under the same address, such as an ETag; empty for a file of this machine.
    videos : tuple of str
        The labelled ones, each once.
    refused : tuple of RefusedVideo
    source_hashes : (clips,) uint64
        Of the name of each clip's video.
    step_counts : (clips,) int64
    totals : (6,) float64
        `TOTALS` of its videos.
    place : Path or CachedObject
        Where it lies.
    """

    file: str
    bytes: int
    version: str
    videos: tuple[str, ...]
    refused: tuple[RefusedVideo, ...]
    source_hashes: NDArray[np.uint64]
    step_counts: NDArray[np.int64]
    totals: NDArray[np.float64]
    place: PartPlace

    @classmethod
    def read(cls, place: PartPlace) -> Self:
        """Read what a part holds.

        Raises
        ------
        FormatError
            If it is damaged.
        """
        count, version = _identity(place)
        part = TargetsPart(place)
        try:
            sources = part.sources()
            videos = part.videos()
            hashes = {source: hash_source(source) for source in dict.fromkeys(sources)}
            totals = [sum(getattr(video, name) for video in videos) for name in TOTALS[:-1]]
            return cls(
                place.name,
                count,
                version,
                tuple(hashes),
                tuple(part.refused()),
                np.array([hashes[source] for source in sources], np.uint64),
                part.step_counts(),
                np.array([*totals, _count_stray(part)], np.float64),
                place,
            )
        except (OSError, KeyError, IndexError, RuntimeError, TypeError, ValueError) as error:
            raise FormatError(
                f"{place} cannot be read ({error}); delete it and run the same `soundnet-kd teach` again"
            ) from error
        finally:
            part.close()

    @property
    def clips(self) -> int:
        """How many it has."""
        return len(self.step_counts)

    @property
    def first(self) -> str:
        """The first in order of its videos, by which parts of shards are in order."""
        return min((*self.videos, *(refused.source for refused in self.refused)), default="")


@dataclass(frozen=True)
class PartsIndex:
    """What all parts of a targets folder hold, in the order of their clips.

    Numbered parts, of versions 1 and 2, come in the order of their numbers, then those of shards in that of their first
    videos, whoever wrote them and when.
    """

    parts: tuple[IndexedPart, ...]

    @classmethod
    def of(
        cls,
        folder: str | Path,
        set_aside: Callable[[PartPlace], object] | None = None,
        cache: BlockCache | None = None,
    ) -> Self:
        """Return what a folder's parts hold; only those that its index does not know are opened.

        Parameters
        ----------
        folder : str or Path
            Also one under an address.
        set_aside : callable, optional
            Called with each part that is damaged, which is then left out.
        cache : BlockCache, optional
            For what is read of parts under an address. [default: the user's]

        Raises
        ------
        FormatError
            If a part is damaged, and nobody sets it aside.
        """
        places = part_places(folder, cache)
        known, indexed_ns = _read_of(folder)
        parts, unknown = [], []
        for place in places:
            part = known.get(place.name)
            if part is not None and _is_as_indexed(place, part, indexed_ns):
                parts.append(replace(part, version=_identity(place)[1], place=place))
            else:
                unknown.append(place)
        for place, read in zip(unknown, _read_all(unknown), strict=True):
            if isinstance(read, IndexedPart):
                parts.append(read)
            elif set_aside is None:
                raise read
            else:
                set_aside(place)
        places_of = {place.name: number for number, place in enumerate(places)}
        parts.sort(key=lambda part: places_of[part.file])
        # Sorting is stable: numbered ones stay as they are.
        return cls(tuple(sorted(parts, key=lambda part: part.first if is_of_shard(part.file) else "")))

    def labelled(self) -> set[str]:
        """Return the videos that have clips."""
        return {source for part in self.parts for source in part.videos}

    def twice(self) -> str:
        """Return what is wrong where two runs that did not know of each other labelled the same video, and the cure.

        Parts of older versions, which have numbers, may share a video: each has some of its clips.
        """
        part_of: dict[str, IndexedPart] = {}
        for part in self.parts:
            for video in part.videos:
                first = part_of.setdefault(video, part)
                if first is not part and (is_of_shard(first.file) or is_of_shard(part.file)):
                    return (
                        f"{video} is labelled twice, in {first.place} and in {part.place}, by two runs at the same "
                        f"time; remove {part.place}, and run `soundnet-kd teach` again without --shard, which labels "
                        "what else it holds"
                    )
        return ""

    def totals(self) -> dict[str, Any]:
        """Return the sums of `TOTALS` over all videos."""
        sums = np.sum([part.totals for part in self.parts], axis=0) if self.parts else np.zeros(len(TOTALS))
        return {
            name: value if name in SECONDS else int(value) for name, value in zip(TOTALS, sums.tolist(), strict=True)
        }

    def write(self, folder: str | Path) -> None:
        """Keep it."""
        parts = self.parts
        refused = [each for part in parts for each in part.refused]
        columns: dict[str, Any] = {
            "part/file": np.array([part.file for part in parts], TEXT),
            "part/bytes": np.array([part.bytes for part in parts], np.int64),
            "part/version": np.array([part.version for part in parts], TEXT),
            "part/clip_end": np.cumsum([part.clips for part in parts], dtype=np.int64),
            "part/video_end": np.cumsum([len(part.videos) for part in parts], dtype=np.int64),
            "part/refused_end": np.cumsum([len(part.refused) for part in parts], dtype=np.int64),
            "part/totals": np.array([part.totals for part in parts], np.float64).reshape(-1, len(TOTALS)),
            "clip/source_hash": _joined([part.source_hashes for part in parts], np.uint64),
            "clip/step_count": _joined([part.step_counts for part in parts], np.int64),
            "video": np.array([video for part in parts for video in part.videos], TEXT),
        }
        for column in fields(RefusedVideo):
            columns[f"refused/{column.name}"] = np.array([getattr(each, column.name) for each in refused], TEXT)
        with atomic_write(Path(folder) / INDEX_FILE) as partial, open_hdf5(partial, "w") as file:
            for name, values in columns.items():
                file[name] = values


def _read_all(places: Sequence[PartPlace]) -> Iterator[IndexedPart | FormatError]:
    """Read parts, in order; what is damaged is told in place of it. Those under an address are fetched side by side."""

    def read(place: PartPlace) -> IndexedPart | FormatError:
        try:
            return IndexedPart.read(place)
        except FormatError as error:
            return error

    if all(isinstance(place, Path) for place in places):
        yield from map(read, places)
        return
    with ThreadPoolExecutor(READ_AT_ONCE) as pool:
        yield from pool.map(read, places)


def _read_of(folder: str | Path) -> tuple[dict[str, IndexedPart], int]:
    """Read a folder's index, as `_read` does."""
    address = address_of(folder)
    if address is None:
        return _read(Path(folder) / INDEX_FILE)
    try:
        with local_file(f"{address}/{INDEX_FILE}") as copy:
            return _read(copy)
    except MissingError:
        return {}, 0


def _read(path: Path) -> tuple[dict[str, IndexedPart], int]:
    """Read an index, and when it was written, in ns; one that is not there or is damaged knows no part."""
    if not path.is_file():
        return {}, 0
    try:
        indexed_ns = path.stat().st_mtime_ns
        with open_hdf5(path) as file:
            names = file["part/file"].asstr()[:]
            sizes = file["part/bytes"][:].tolist()
            # Older versions knew none.
            versions = file["part/version"].asstr()[:] if "part/version" in file else [""] * len(names)
            clips, videos, refusals = (_slices(file[f"part/{what}_end"][:]) for what in ("clip", "video", "refused"))
            totals, hashes, counts = file["part/totals"][:], file["clip/source_hash"][:], file["clip/step_count"][:]
            video = file["video"].asstr()[:].tolist()
            columns = (file[f"refused/{column.name}"].asstr()[:] for column in fields(RefusedVideo))
            refused = [RefusedVideo(*row) for row in zip(*columns, strict=True)]
            parts = {
                name: IndexedPart(
                    name, size, version, tuple(video[v]), tuple(refused[r]), hashes[c], counts[c], total, path
                )
                for name, size, version, v, r, c, total in zip(
                    names, sizes, versions, videos, refusals, clips, totals, strict=True
                )
            }
    except (OSError, KeyError, IndexError, RuntimeError, TypeError, ValueError):
        return {}, 0
    return parts, indexed_ns


def _is_as_indexed(place: PartPlace, part: IndexedPart, indexed_ns: int) -> bool:
    """Whether a part is of the same length and the same version; of a file, was not changed since, or just then.

    The index of a folder that was copied to a store knows no versions there.
    """
    count, version = _identity(place)
    if count != part.bytes:
        return False
    return place.stat().st_mtime_ns < indexed_ns if isinstance(place, Path) else part.version in ("", version)


def _identity(place: PartPlace) -> tuple[int, str]:
    """Return how long a part is, and its version under an address."""
    return (place.stat().st_size, "") if isinstance(place, Path) else (place.source.size, place.source.version)


def _slices(ends: NDArray[np.int64]) -> list[slice]:
    return [slice(*edges) for edges in pairwise([0, *ends.tolist()])]


def _count_stray(part: TargetsPart) -> int:
    if not len(part):
        return 0
    begins, looked_at = part.steps()
    behind = looked_at.reshape(len(begins), -1) - begins[:, None]
    stray = (behind < -TOLERANCE_SECONDS) | (behind > part.step_seconds + TOLERANCE_SECONDS)
    return int(stray.any(axis=1).sum())


def _joined(arrays: Sequence[NDArray[Any]], kind: type[np.generic]) -> NDArray[Any]:
    return np.concatenate([np.empty(0, kind), *arrays])


def hash_source(source: str) -> int:
    """Return the hash of a video's name that fits into 64 bits."""
    return int.from_bytes(hashlib.sha256(source.encode()).digest()[:8])
