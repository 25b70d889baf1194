"""Writing a feature cache: in parts, each whole, that are joined when the last one is there."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data import Clip
from soundnet_kd.features.cache import FORMAT_VERSION, read_failures
from soundnet_kd.storage import whole


def write_part(
    path: Path,
    rows: Mapping[str, Sequence[NDArray[np.float32]]],
    failures: Mapping[str, str],
    sequences: bool,
) -> None:
    """Write the features of a run of sounds, to be joined by `join_parts`.

    Parameters
    ----------
    path : Path
    rows : mapping from layer to a (steps, channels) array for each sound that could be read
    failures : mapping from clip id to the reason why it could not
    sequences : bool
        Whether the arrays themselves are kept beside their averages.
    """
    with whole(path) as partial, h5py.File(partial, "w") as part:
        _write_failures(part, failures)
        for layer, arrays in rows.items():
            if not arrays:
                continue
            part[f"layers/{layer}"] = np.stack([array.mean(axis=0, dtype=np.float64) for array in arrays]).astype(
                np.float32
            )
            if sequences:
                part[f"sequences/{layer}"] = np.concatenate(arrays)
                part[f"steps/{layer}"] = [len(array) for array in arrays]


def part_failures(path: Path) -> dict[str, str]:
    """Give the reason for each sound that a part has no rows for."""
    with h5py.File(path, "r") as part:
        return read_failures(part)


def join_parts(
    path: Path,
    parts: Sequence[Path],
    clips: Sequence[Clip],
    class_names: Sequence[str],
    failures: Mapping[str, str],
    identity: Mapping[str, Any],
) -> None:
    """Write the cache from its parts, whole or not at all; one part at a time is in memory.

    Parameters
    ----------
    path : Path
    parts : sequence of Path
        In order.
    clips : sequence of Clip
        Those that the parts have rows for, in order.
    class_names, failures, identity
        As in the cache.
    """
    layers = identity["settings"]["layers"]
    text = h5py.string_dtype()
    with whole(path) as partial, h5py.File(partial, "w") as cache:
        cache.attrs["format_version"] = FORMAT_VERSION
        cache.attrs["identity"] = json.dumps(identity)
        cache["id"] = np.array([clip.id for clip in clips], dtype=text)
        cache["path"] = np.array([str(clip.path.resolve()) for clip in clips], dtype=text)
        cache["label"] = np.array([clip.label for clip in clips], dtype=np.int64)
        cache["fold"] = np.array([clip.fold for clip in clips], dtype=np.int64)
        cache["class_names"] = np.array(list(class_names), dtype=text)
        _write_failures(cache, failures)
        steps: dict[str, list[int]] = {layer: [] for layer in layers}
        for part_path in parts:
            with h5py.File(part_path, "r") as part:
                for layer in part.get("layers", ()):
                    _append(cache, f"layers/{layer}", part[f"layers/{layer}"][:])
                for layer in part.get("sequences", ()):
                    _append(cache, f"sequences/{layer}", part[f"sequences/{layer}"][:])
                    steps[layer] += list(part[f"steps/{layer}"][:])
        if identity["settings"]["sequences"]:
            for layer, counts in steps.items():
                cache[f"step_end/{layer}"] = np.cumsum(counts)


def _append(cache: h5py.File, name: str, rows: NDArray[np.float32]) -> None:
    if name not in cache:
        chunk = (min(256, max(1, len(rows))), rows.shape[1])
        cache.create_dataset(name, data=rows, maxshape=(None, rows.shape[1]), chunks=chunk)
        return
    dataset = cache[name]
    dataset.resize(len(dataset) + len(rows), axis=0)
    dataset[-len(rows) :] = rows


def _write_failures(file: h5py.File, failures: Mapping[str, str]) -> None:
    text = h5py.string_dtype()
    file["failures/id"] = np.array(list(failures), dtype=text)
    file["failures/reason"] = np.array(list(failures.values()), dtype=text)
