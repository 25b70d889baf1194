"""Writing a feature cache: in parts, each whole, that are joined when the last one is there.

A part holds `layers/NAME`, `poolings` and `failures` as the cache does, and `sequences/NUMBER/NAME`, (steps, channels)
float32, for each sound of the part that could be read. Its attributes `first` and `sounds` say which of the manifest it
is about, `computed_by` what ran the network. Where parts end makes no difference to the cache.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data import Clip
from soundnet_kd.errors import FormatError
from soundnet_kd.features.cache import FORMAT_VERSION, pooled_name, poolings_in, read_failures
from soundnet_kd.hdf5 import open_hdf5
from soundnet_kd.media import place_name
from soundnet_kd.storage import atomic_write, escape_name, rename_damaged
from soundnet_kd.system.machine_errors import machine_error

NUMBER_DIGITS = 12
"""Names of parts with so many characters at most are numbers, which earlier versions gave them."""
CHUNK_BYTES = 1 << 18
"""Sequences are compressed in pieces of about this size."""
COPIED_BYTES = 1 << 26
"""Sequences of any length are joined in pieces of about this size."""
# Parts are read once, soon after; the cache is kept, and read by programs that know gzip only.
PART_COMPRESSION: Mapping[str, Any] = {"compression": "lzf", "shuffle": True}
CACHE_COMPRESSION: Mapping[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}


class CachePart:
    """A run of sounds whose features are being written."""

    def __init__(self, file: h5py.File) -> None:
        self._file = file

    def extend(self, number: int, layer: str, steps: NDArray[np.float32]) -> None:
        """Append (steps, channels) to the sequence of a sound of this part."""
        _append(self._file, f"sequences/{number}/{layer}", steps, PART_COMPRESSION)

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
        _write_failures(self._file, failures)
        for name, arrays in rows.items():
            self._file[name] = np.stack(arrays).astype(np.float32)


@contextmanager
def new_part(path: str | Path) -> Iterator[CachePart]:
    """Return a part to write to; it is at `path` only when the block ends well."""
    with atomic_write(path) as partial, open_hdf5(partial, "w") as file:
        yield CachePart(file)


def written_parts(folder: str | Path) -> dict[Path, range]:
    """Return which sounds of the manifest the parts of an earlier run hold, in their order; damaged parts are renamed.

    Those of earlier versions are numbered, and the oldest of these do not say where they begin: behind the one before.
    """
    folder = Path(folder)
    found: dict[Path, range] = {}
    follows = end = 0
    paths = list(folder.glob("part-*.h5"))
    numbers = {path: int(_name(path)) for path in paths if is_numbered(path)}
    for path in sorted(paths, key=lambda path: numbers.get(path, -1)):
        about = _sounds_of(path)
        if about is not None and about.start < 0:
            about = range(end, end + len(about)) if numbers.get(path) == follows else None
        if about is None:
            _set_aside(path)
            continue
        found[path] = about
        if path in numbers:
            follows, end = numbers[path] + 1, about.stop
    whole: dict[Path, range] = {}
    end = 0
    for path, about in sorted(found.items(), key=lambda item: item[1].start):
        if about.start < end:
            _set_aside(path)
            continue
        whole[path], end = about, about.stop
    return whole


def is_numbered(path: Path) -> bool:
    """Return whether a part is of an earlier version, which numbered them."""
    name = _name(path)
    return len(name) <= NUMBER_DIGITS and name.isdecimal()


def _name(path: Path) -> str:
    return path.stem.removeprefix("part-")


def _set_aside(path: Path) -> None:
    rename_damaged(path, "its sounds are heard again", "damaged, or behind a damaged one,")


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


def join_parts(
    path: str | Path,
    passes: Sequence[Sequence[str | Path]],
    heard: Sequence[Clip],
    class_names: Sequence[str],
    failures: Mapping[str, str],
    identity: Mapping[str, Any],
    columns: Sequence[str] = (),
    step_samples: Mapping[str, int] | None = None,
    folds_from: int = 1,
    split_column: str = "",
) -> None:
    """Write the cache from its parts, whole or not at all; a small piece of them at a time is in memory.

    Parameters
    ----------
    path : str or Path
    passes : sequence of sequences of str or Path
        The parts, in order, of each time that the sounds were heard. What was pooled is averaged over these.
    heard : sequence of Clip
        All that the parts are about, in order; what failed in a pass is left out of the cache.
    class_names, failures, identity
        As in the cache.
    columns : sequence of str
        Names of what the clips carry along.
    step_samples : mapping from layer to int, optional
        From one step to the next.
    folds_from, split_column
        As in the manifest.
    """
    files = [[Path(part) for part in parts] for parts in passes]
    clips = [clip for clip in heard if clip.id not in failures]
    layers = identity["settings"]["layers"]
    text = h5py.string_dtype()
    with atomic_write(path) as partial, open_hdf5(partial, "w") as cache:
        cache.attrs["format_version"] = FORMAT_VERSION
        cache.attrs["identity"] = json.dumps(identity)
        cache.attrs["step_samples"] = json.dumps(step_samples or {})
        if folds_from != 1:
            cache.attrs["folds_from"] = folds_from
        if split_column:
            cache.attrs["split_column"] = split_column
        cache["id"] = np.array([clip.id for clip in clips], dtype=text)
        cache["path"] = np.array([place_name(clip.path) for clip in clips], dtype=text)
        cache["label"] = np.array([clip.label for clip in clips], dtype=np.int64)
        cache["fold"] = np.array([clip.fold for clip in clips], dtype=np.int64)
        cache["class_names"] = np.array(list(class_names), dtype=text)
        if columns:
            cache["columns/name"] = np.array(list(columns), dtype=text)
            cache["columns/value"] = np.array([clip.carried for clip in clips], dtype=text)
        _write_failures(cache, failures)
        cache.create_group("layers")
        poolings = poolings_in(identity["settings"])
        for pooling in poolings:
            for layer in layers:
                _join_pooled(cache, files, pooled_name(layer, pooling, poolings), heard, failures)
        if identity["settings"]["sequences"]:
            (only,) = files
            for layer in layers:
                _join_sequences(cache, only, layer)


def _join_pooled(
    cache: h5py.File, passes: Sequence[Sequence[Path]], name: str, heard: Sequence[Clip], failures: Mapping[str, str]
) -> None:
    sounds = sum(clip.id not in failures for clip in heard)
    for parts in passes:
        begin = row = 0
        for path in parts:
            with _open_part(path) as part:
                about = heard[begin : begin + int(part.attrs["sounds"])]
                begin += len(about)
                if name not in part:
                    continue
                unread = read_failures(part)
                rows = part[name][:][[clip.id not in failures for clip in about if clip.id not in unread]]
            joined = cache.require_dataset(name, (sounds, rows.shape[1]), np.float32)
            joined[row : row + len(rows)] += rows / len(passes)
            row += len(rows)


def _join_sequences(cache: h5py.File, parts: Sequence[Path], layer: str) -> None:
    ends: list[int] = []
    for path in parts:
        with _open_part(path) as part:
            for number in sorted(part.get("sequences", ()), key=int):
                sequence = part[f"sequences/{number}/{layer}"]
                steps_at_once = max(1, COPIED_BYTES // (4 * sequence.shape[1]))
                for start in range(0, max(1, len(sequence)), steps_at_once):
                    _append(cache, f"sequences/{layer}", sequence[start : start + steps_at_once], CACHE_COMPRESSION)
                ends.append(len(cache[f"sequences/{layer}"]))
    cache[f"step_end/{layer}"] = np.array(ends, dtype=np.int64)


@contextmanager
def _open_part(path: Path) -> Iterator[h5py.File]:
    """Open a part whose arrays are read.

    Raises
    ------
    FormatError
        If they cannot be; the part is set aside.
    """
    with open_hdf5(path) as part:
        try:
            yield part
        except OSError as error:
            if "Can't synchronously read data" not in str(error) or machine_error(error, path) is not None:
                raise
            reason = error
        else:
            return
    rename_damaged(path, "the same command hears its sounds again")
    raise FormatError(f"{path} is damaged ({reason}); run the same command again") from reason


def _append(file: h5py.File, name: str, steps: NDArray[np.float32], compression: Mapping[str, Any]) -> None:
    if name not in file:
        channels = steps.shape[1]
        # The first piece of a sequence may be short, or empty, though many follow.
        chunk = (min(CHUNK_BYTES // (4 * channels), max(64, len(steps))), channels)
        file.create_dataset(name, data=steps, maxshape=(None, channels), chunks=chunk, **compression)
    elif len(steps):
        dataset = file[name]
        dataset.resize(len(dataset) + len(steps), axis=0)
        dataset[-len(steps) :] = steps


def _write_failures(file: h5py.File, failures: Mapping[str, str]) -> None:
    text = h5py.string_dtype()
    file["failures/id"] = np.array(list(failures), dtype=text)
    file["failures/reason"] = np.array([escape_name(reason) for reason in failures.values()], dtype=text)
