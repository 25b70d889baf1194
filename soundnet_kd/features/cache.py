"""The feature cache: one HDF5 file with every wanted layer of every sound.

Layout of `features.h5`, for n sounds in the order of their manifest
---------------------------------------------------------------------
`layers/NAME`       (n, channels) float32, the layer's average over time
`sequences/NAME`    (steps of all sounds, channels) float32, only where asked for
`step_end/NAME`     (n,) int64, where each sound's steps end in `sequences/NAME`
`id`, `path`        (n,) str
`label`             (n,) int64, index into `class_names`; -1 where unlabeled
`fold`              (n,) int64, from 1; 0 where there are no folds
`class_names`       (classes,) str

`failures/id`, `failures/reason`  the sounds that could not be read, and why

Attributes: `format_version` and `identity` (JSON: the student's hash, the sounds' hash, the settings and the versions
that made the file).
"""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data import Clip
from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.storage import whole

FORMAT_VERSION = 1


class FeatureCache(Mapping[str, NDArray[np.float32]]):
    """A read-only mapping from layer to (sounds, channels) float32; a layer is read when it is asked for.

    Parameters
    ----------
    path : Path
        What `soundnet-kd extract` wrote. Use it as a context manager, or `close` it.

    Raises
    ------
    FormatError
        If `path` is not a feature cache of this format version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FormatError(f"there is no feature cache {path}; make one with `soundnet-kd extract`")
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise FormatError(
                f"{path} is not a readable feature cache ({error}); make one with `soundnet-kd extract`"
            ) from error
        version = self._file.attrs.get("format_version")
        if version != FORMAT_VERSION or "layers" not in self._file:
            self._file.close()
            raise FormatError(
                f"{path} is no feature cache of format {FORMAT_VERSION} (it says {version}); "
                "make it again with `soundnet-kd extract`"
            )

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, from the input on."""
        return tuple(self.identity["settings"]["layers"])

    @property
    def identity(self) -> dict[str, Any]:
        """The student's hash, the settings and the versions that made the features."""
        identity: dict[str, Any] = json.loads(self._file.attrs["identity"])
        return identity

    @property
    def ids(self) -> tuple[str, ...]:
        """Name of each sound, unique."""
        return tuple(self._file["id"].asstr()[:])

    @property
    def paths(self) -> tuple[Path, ...]:
        """Where each sound lay."""
        return tuple(Path(path) for path in self._file["path"].asstr()[:])

    @property
    def labels(self) -> NDArray[np.int64]:
        """(sounds,) class index of each sound, -1 where unlabeled."""
        return np.asarray(self._file["label"][:], dtype=np.int64)

    @property
    def folds(self) -> NDArray[np.int64]:
        """(sounds,) fold of each sound, 0 where there are none."""
        return np.asarray(self._file["fold"][:], dtype=np.int64)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes; none if the sounds are unlabeled."""
        return tuple(self._file["class_names"].asstr()[:])

    @property
    def failures(self) -> dict[str, str]:
        """Id of each sound of the manifest that could not be read, and the reason."""
        return _read_failures(self._file)

    def sequence(self, index: int, layer: str) -> NDArray[np.float32]:
        """Give one sound's whole sequence of a layer.

        Returns
        -------
        (steps, channels) float32

        Raises
        ------
        SettingsError
            If the sequences were not kept.
        """
        self._require(layer)
        if "sequences" not in self._file:
            raise SettingsError(
                f"{self.path} keeps time averages only; extract with --sequences to keep whole sequences"
            )
        ends = self._file[f"step_end/{layer}"]
        start = int(ends[index - 1]) if index else 0
        return np.asarray(self._file[f"sequences/{layer}"][start : int(ends[index])], dtype=np.float32)

    def __getitem__(self, layer: str) -> NDArray[np.float32]:
        self._require(layer)
        return np.asarray(self._file[f"layers/{layer}"][:], dtype=np.float32)

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __contains__(self, layer: object) -> bool:
        return layer in self.layers

    def __repr__(self) -> str:
        shapes = ", ".join(f"{layer} {self._file[f'layers/{layer}'].shape}" for layer in self.layers)
        return f"FeatureCache({str(self.path)!r}: {shapes})"

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _require(self, layer: str) -> None:
        if layer not in self.layers:
            nearest = difflib.get_close_matches(layer, self.layers, n=1, cutoff=0.0)[0]
            raise SettingsError(
                f"{self.path} has no layer {layer!r}, did you mean {nearest!r}? It has {', '.join(self.layers)}"
            )


def write_part(
    path: Path,
    rows: Mapping[str, Sequence[NDArray[np.float32]]],
    failures: Mapping[str, str],
    identity: Mapping[str, Any],
) -> None:
    """Write the features of a run of sounds, to be joined by `join_parts`.

    Parameters
    ----------
    path : Path
    rows : mapping from layer to a (steps, channels) array for each sound that could be read
    failures : mapping from clip id to the reason why it could not
    identity : mapping
        As in the cache.
    """
    with whole(path) as partial, h5py.File(partial, "w") as part:
        part.attrs["identity"] = json.dumps(identity)
        _write_failures(part, failures)
        sequences = identity["settings"]["sequences"]
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
        return _read_failures(part)


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


def _read_failures(file: h5py.File) -> dict[str, str]:
    return dict(zip(file["failures/id"].asstr()[:], file["failures/reason"].asstr()[:], strict=True))
