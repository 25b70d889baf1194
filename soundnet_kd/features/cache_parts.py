"""The parts of a feature cache, each whole, that are joined when the last one is there.

A part holds `layers/NAME`, `poolings` and `failures` as the cache does, and `sequences/NUMBER/NAME`, (steps, channels)
float32, for each sound of the part that could be read. Its attributes `first` and `sounds` say which of the manifest it
is about, `computed_by` what ran the network. Where parts end makes no difference to the cache.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from soundnet_kd.features.cache import read_failures
from soundnet_kd.hdf5 import open_hdf5
from soundnet_kd.storage import atomic_write, escape_name, rename_damaged

NUMBER_DIGITS = 12
"""Names of parts with so many characters at most are numbers, which earlier versions gave them."""
CHUNK_BYTES = 1 << 18
"""Sequences are compressed in pieces of about this size."""
HEARD_AGAIN = "its sounds are heard again"
# Parts are read once, soon after; the cache is kept, and read by programs that know gzip only.
PART_COMPRESSION: Mapping[str, Any] = {"compression": "lzf", "shuffle": True}
CACHE_COMPRESSION: Mapping[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}


class CachePart:
    """A run of sounds whose features are being written."""

    def __init__(self, file: h5py.File) -> None:
        self._file = file

    def extend(self, number: int, layer: str, steps: NDArray[np.float32]) -> None:
        """Append (steps, channels) to the sequence of a sound of this part."""
        append(self._file, f"sequences/{number}/{layer}", steps, PART_COMPRESSION)

    def finish(
        self,
        sounds: int,
        rows: Mapping[str, Sequence[NDArray[np.float32]]],
        failures: Mapping[str, str],
        first: int = 0,
        computed_by: str = "",
    ) -> None:
        """Write what is not a sequence.

        Parameters
        ----------
        sounds : int
            How many of the manifest this part is about.
        rows : mapping from the name of an array to a (channels,) array for each sound that could be read
            Named as `pooled_name` does.
        failures : mapping from clip id to the reason why it could not
        first : int
            Place in the manifest of the first one.
        computed_by : str
            What ran the network.
        """
        self._file.attrs["first"] = first
        self._file.attrs["computed_by"] = computed_by
        self._file.attrs["sounds"] = sounds
        write_failed(self._file, failures)
        for name, arrays in rows.items():
            self._file[name] = np.stack(arrays).astype(np.float32)


@contextmanager
def new_part(path: str | Path) -> Iterator[CachePart]:
    """Return a part to write to; it is at `path` only when the block ends well."""
    with atomic_write(path) as partial, open_hdf5(partial, "w") as file:
        yield CachePart(file)


def written_parts(folder: str | Path) -> dict[Path, range]:
    """Return which sounds of the manifest the parts of an earlier run hold, in their order.

    Damaged ones are set aside, and of two that are about the same sounds, as where batches had another size, one.
    Those of earlier versions are numbered, and the oldest of these do not say where they begin: behind the one before.
    """
    folder = Path(folder)
    found: dict[Path, range] = {}
    follows = end = 0
    paths = list(folder.glob("part-*.h5"))
    numbers = {path: int(_name(path)) for path in paths if is_numbered(path)}
    for path in sorted(paths, key=lambda path: numbers.get(path, -1)):
        about = _sounds_of(path)
        if about is None:
            rename_damaged(path, HEARD_AGAIN)
            continue
        if about.start < 0:
            if numbers.get(path) != follows:
                rename_damaged(path, HEARD_AGAIN, "behind a part that is missing or damaged")
                continue
            about = range(end, end + len(about))
        found[path] = about
        if path in numbers:
            follows, end = numbers[path] + 1, about.stop
    whole: dict[Path, range] = {}
    end = 0
    for path, about in sorted(found.items(), key=lambda item: item[1].start):
        if about.start < end:
            then = "what no other part has of them is heard again"
            rename_damaged(path, then, "about sounds that another part has too")
            continue
        whole[path], end = about, about.stop
    return whole


def is_numbered(path: Path) -> bool:
    """Return whether a part is of an earlier version, which numbered them."""
    name = _name(path)
    return len(name) <= NUMBER_DIGITS and name.isdecimal()


def _name(path: Path) -> str:
    return path.stem.removeprefix("part-")


def _sounds_of(path: Path) -> range | None:
    """Which sounds a part is about; None if it is damaged. Earlier versions did not write where a part begins."""
    try:
        with open_hdf5(path) as part:
            first, sounds = int(part.attrs.get("first", -part.attrs["sounds"])), int(part.attrs["sounds"])
            groups = [part.get("layers", {}), *part.get("poolings", {}).values()]
            arrays = [array for group in groups for array in group.values()]
            counts = [len(each) for each in (*arrays, *([part["sequences"]] if "sequences" in part else []))]
            read = sounds - len(part["failures/id"])
    except (OSError, KeyError, RuntimeError, TypeError, ValueError):
        return None
    return range(first, first + sounds) if sounds > 0 and all(count == read for count in counts) else None


def part_file(folder: str | Path, name: str) -> Path:
    """Return the place of the part of a shard, by its name."""
    return Path(folder) / f"part-{name}.h5"


def part_failures(path: str | Path) -> dict[str, str]:
    """Return the reason for each sound that a part has no rows for."""
    with open_hdf5(path) as part:
        return read_failures(part)


def computed_by(parts: Iterable[str | Path]) -> str:
    """Return what ran the network, in the order of the parts; a run may be gone on with by another engine."""
    found: dict[str, None] = {}
    for path in parts:
        with open_hdf5(path) as part:
            found[str(part.attrs.get("computed_by", ""))] = None
    return ", ".join(filter(None, found))


def append(file: h5py.File, name: str, steps: NDArray[np.float32], compression: Mapping[str, Any]) -> None:
    """Append (steps, channels) to an array of a file."""
    if name not in file:
        channels = steps.shape[1]
        # The first piece of a sequence may be short, or empty, though many follow.
        chunk = (min(CHUNK_BYTES // (4 * channels), max(64, len(steps))), channels)
        file.create_dataset(name, data=steps, maxshape=(None, channels), chunks=chunk, **compression)
    elif len(steps):
        dataset = file[name]
        dataset.resize(len(dataset) + len(steps), axis=0)
        dataset[-len(steps) :] = steps


def write_failed(file: h5py.File, failures: Mapping[str, str]) -> None:
    """Write the reason for each sound that a cache, or a part of one, has no rows for."""
    text = h5py.string_dtype()
    file["failures/id"] = np.array(list(failures), dtype=text)
    file["failures/reason"] = np.array([escape_name(reason) for reason in failures.values()], dtype=text)
