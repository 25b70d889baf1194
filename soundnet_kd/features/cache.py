"""The feature cache: one HDF5 file with every wanted layer of every sound.

Layout of `features.h5`, for n sounds in the order of their manifest
---------------------------------------------------------------------
`layers/NAME`       (n, channels) float32, the layer pooled over time; not where `pooling` is none
`poolings/POOLING/NAME`   the same, of each further way of pooling that was asked for
`sequences/NAME`    (steps of all sounds, channels) float32, gzip, only where asked for
`step_end/NAME`     (n,) int64, where each sound's steps end in `sequences/NAME`
`id`, `path`        (n,) str
`label`             (n,) int64, index into `class_names`; -1 where unlabeled
`fold`              (n,) int64, from 1; 0 where there are no folds (from 0 and -1 where an attribute says so)
`class_names`       (classes,) str
`columns/name`, `columns/value`   (columns,) and (n, columns) str, the other columns of the sounds' table, if it had any

`failures/id`, `failures/reason`  the sounds that could not be read, and why

Attributes: `format_version`, `identity` (JSON: the student's hash, the sounds' hash, the settings and the versions
that made the file) and `step_samples` (JSON: from one step of each layer to the next, in samples of the sound); where
the data set counts its folds from 0, `folds_from` (0); where it is split and has no folds, `split_column` (that of
`columns` which says what each sound is for).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data.manifest import UNLABELED, Clip, Manifest, Split
from soundnet_kd.errors import FormatError, SettingsError, nearest
from soundnet_kd.hdf5 import OpenHdf5
from soundnet_kd.media import MediaSource, as_source
from soundnet_kd.storage import read_json

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

    from soundnet_kd.features.pooling import Pooling

FORMAT_VERSION = 1
STUDENT = "student"
"""Kind of a network that learned from teachers."""


@dataclass(frozen=True)
class NetworkIdentity:
    """The network that features, or results made from them, come from.

    Attributes
    ----------
    architecture : str
    sha256 : str
        Hash of its weights; empty if it is not written down.
    kind : str
        `STUDENT`, or what else the network's file holds; empty if it is not written down.
    """

    architecture: str
    sha256: str = ""
    kind: str = ""

    @classmethod
    def from_identity(cls, identity: Mapping[str, Any]) -> "NetworkIdentity | None":
        """Read it from an identity as a cache holds it; None if that names no network."""
        found = identity.get("student")
        if isinstance(found, Mapping):
            # Of a student no kind is written.
            return cls(str(found["architecture"]), str(found.get("sha256", "")), str(found.get("kind", STUDENT)))
        return None if found is None else cls(str(found))


class FeatureCache(Mapping[str, NDArray[np.float32]]):
    """A read-only mapping from layer to (sounds, channels) float32; a layer is read when it is asked for.

    A cache of whole sequences (`pooling` none) names its layers, but has no such arrays: see `sequence`. It may be
    handed to other processes, such as those of a DataLoader: each opens the file anew.

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
            self._opened = OpenHdf5(self.path)
        except OSError as error:
            raise FormatError(
                f"{path} is not a readable feature cache ({error}); make one with `soundnet-kd extract`"
            ) from error
        version = self._file.attrs.get("format_version")
        if version != FORMAT_VERSION or "layers" not in self._file:
            self.close()
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
    def network(self) -> NetworkIdentity:
        """The network that the features are of.

        Raises
        ------
        FormatError
            If the file does not name it.
        """
        network = NetworkIdentity.from_identity(self.identity)
        if network is None:
            raise FormatError(f"{self.path} does not name its network; make it again with `soundnet-kd extract`")
        return network

    def source_of(self, settings: Mapping[str, Any], versions: Mapping[str, str]) -> dict[str, Any]:
        """Return what an output that is made from these features writes beside itself; see `read_source_identity`."""
        return {"features": self.identity, "settings": settings, "versions": versions}

    @property
    def pooling(self) -> str:
        """How the layers were pooled over time: mean, max, std, or none."""
        return str(self.identity["settings"].get("pooling", "mean"))

    @property
    def poolings(self) -> "tuple[Pooling, ...]":
        """Every way in which the layers were pooled over time, `pooling` first; empty where that is none."""
        return poolings_in(self.identity["settings"])

    @property
    def speeds(self) -> tuple[float, ...]:
        """The speeds at which the sounds were heard, whose features are averaged; 1 is as they are."""
        return tuple(self.identity["settings"].get("speeds", (1.0,)))

    @property
    def ids(self) -> tuple[str, ...]:
        """Name of each sound, unique."""
        return tuple(self._file["id"].asstr()[:])

    @property
    def paths(self) -> tuple[MediaSource, ...]:
        """Path of each sound, as it was named."""
        return tuple(as_source(path) for path in self._file["path"].asstr()[:])

    @property
    def labels(self) -> NDArray[np.int64]:
        """(sounds,) class index of each sound, -1 where unlabeled."""
        return np.asarray(self._file["label"][:], dtype=np.int64)

    @property
    def folds(self) -> NDArray[np.int64]:
        """(sounds,) fold of each sound, `no_fold` where there are none."""
        return np.asarray(self._file["fold"][:], dtype=np.int64)

    @property
    def no_fold(self) -> int:
        """The fold of a sound that has none: 0, or -1 where the data set counts its folds from 0."""
        return int(self._file.attrs.get("folds_from", 1)) - 1

    @property
    def splits(self) -> tuple[Split | None, ...]:
        """What each sound is for: train, validation, test, or None; empty where the data set is not split."""
        return self.manifest.splits

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes; none if the sounds are unlabeled."""
        return tuple(self._file["class_names"].asstr()[:])

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        """The other columns of the table that named the sounds, (sounds,) texts each."""
        if "columns" not in self._file:
            return {}
        names, values = self._file["columns/name"].asstr()[:], self._file["columns/value"].asstr()[:]
        return {name: tuple(values[:, number]) for number, name in enumerate(names)}

    @property
    def manifest(self) -> Manifest:
        """The sounds that there are features of, as they were named."""
        columns = self.columns
        carried = list(zip(*columns.values(), strict=True)) if columns else [()] * len(self.ids)
        rows = zip(self.ids, self.paths, self.labels.tolist(), self.folds.tolist(), carried, strict=True)
        return Manifest(
            tuple(Clip(*row) for row in rows),
            self.class_names,
            tuple(columns),
            self.no_fold + 1,
            self._file.attrs.get("split_column", ""),
        )

    @property
    def failures(self) -> dict[str, str]:
        """Id of each sound of the manifest that could not be read, and the reason."""
        return read_failures(self._file)

    def sequence(self, index: int, layer: str) -> NDArray[np.float32]:
        """Return one sound's whole sequence of a layer.

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
                f"{self.path} keeps layers pooled over time only; extract with --sequences (or --pooling none) to keep "
                "whole sequences"
            )
        ends = self._file[f"step_end/{layer}"]
        start = int(ends[index - 1]) if index else 0
        return np.asarray(self._file[f"sequences/{layer}"][start : int(ends[index])], dtype=np.float32)

    @property
    def step_samples(self) -> dict[str, int]:
        """From one step of each layer to the next, in samples of the sound; without those that have no steps."""
        samples: dict[str, int] = json.loads(self._file.attrs["step_samples"])
        return samples

    def step_seconds(self, layer: str) -> float:
        """Return the time from one step of a layer to the next.

        Raises
        ------
        SettingsError
            If the sounds were read at their own rates, or each step of the layer covers a whole sound.
        """
        self._require(layer)
        rate = self.identity["settings"]["preprocessing"]["sample_rate"]
        if rate is None:
            raise SettingsError(
                f"{self.path} was made at the native rate of each file, so that its steps have no common length; "
                "extract with --rate model"
            )
        samples = self.step_samples
        if layer not in samples:
            raise SettingsError(f"{layer} has no steps over time, each hears a whole sound; choose a layer before it")
        return float(samples[layer] / rate)

    def to_pandas(self, layer: str) -> "pd.DataFrame":
        """Return a layer as a table, one row for each sound.

        Returns
        -------
        DataFrame
            Columns `id`, `label` (the class's name, missing where unlabeled), `fold` (`no_fold` where there are none),
            the other columns of the table that named the sounds (as `NAME_table` where the name is taken), and the
            features `LAYER_0`, `LAYER_1` … as float32.

        Raises
        ------
        SettingsError
            If pandas is not installed, there is no such layer, or the cache keeps whole sequences.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise SettingsError("tables need pandas; install it with `pip install pandas`") from error
        features = self[layer]
        names = self.class_names
        about: dict[str, Any] = {
            "id": self.ids,
            "label": [names[label] if label != UNLABELED else None for label in self.labels],
            "fold": self.folds,
        }
        for name, texts in self.columns.items():
            about[f"{name}_table" if name in about else name] = texts
        table = pd.DataFrame(features, columns=[f"{layer}_{channel}" for channel in range(features.shape[1])])
        return pd.concat([pd.DataFrame(about), table], axis=1)

    def __getitem__(self, layer: str) -> NDArray[np.float32]:
        self._require(layer)
        if self.pooling == "none":
            raise SettingsError(
                f"{self.path} keeps whole sequences (pooling none), which have no common length; take sequence(index, "
                f"{layer!r}), or extract with --pooling mean"
            )
        return self.pooled(layer, self.pooling)

    def pooled(self, layer: str, pooling: str) -> NDArray[np.float32]:
        """Return a layer, (sounds, channels), pooled over time in one of the ways that the cache holds.

        Raises
        ------
        SettingsError
            If there is no such layer, or it was not pooled so.
        """
        self._require(layer)
        if pooling not in self.poolings:
            raise SettingsError(
                f"{self.path} has no {pooling} over time (it has {', '.join(self.poolings) or 'whole sequences'}); "
                f"extract with --pooling {pooling}, or several of them"
            )
        return np.asarray(self._file[pooled_name(layer, pooling, self.poolings)][:], dtype=np.float32)

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __contains__(self, layer: object) -> bool:
        return layer in self.layers

    def __repr__(self) -> str:
        group = "sequences" if self.pooling == "none" else "layers"
        shapes = ", ".join(f"{layer} {self._file[f'{group}/{layer}'].shape}" for layer in self.layers)
        return f"FeatureCache({str(self.path)!r}: {shapes})"

    def close(self) -> None:
        """Close the file."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _file(self) -> h5py.File:
        return self._opened.file

    def _require(self, layer: str) -> None:
        if layer not in self.layers:
            hint = nearest(layer, self.layers, always=True)
            raise SettingsError(f"{self.path} has no layer {layer!r}{hint} It has {', '.join(self.layers)}")


def poolings_in(settings: Mapping[str, Any]) -> "tuple[Pooling, ...]":
    """Return how layers were pooled over time, by the settings of their extraction; the cache's own way first."""
    first = settings.get("pooling", "mean")
    return tuple(settings.get("poolings", () if first == "none" else (first,)))


def pooled_name(layer: str, pooling: str, poolings: Sequence[str]) -> str:
    """Return the name, in a cache and in its parts, of the array of a layer that was pooled in one of several ways."""
    return f"layers/{layer}" if pooling == poolings[0] else f"poolings/{pooling}/{layer}"


def is_feature_cache(path: str | Path) -> bool:
    """Tell whether a file holds features, of this format version; a file that cannot be opened does not."""
    try:
        with FeatureCache(path) as cache:
            # A part of a cache has layers, but not these.
            return "identity" in cache._file.attrs and "class_names" in cache._file
    except FormatError:
        return False


def read_source_identity(path: str | Path) -> dict[str, Any] | None:
    """Return the identity of the features that an output was made from; None if its file of settings does not tell."""
    with suppress(FormatError, AttributeError):
        identity: dict[str, Any] | None = read_json(path).get("features")
        return identity
    return None


def read_failures(file: h5py.File) -> dict[str, str]:
    """Return the reason for each sound that a cache, or a part of one, has no rows for."""
    return dict(zip(file["failures/id"].asstr()[:], file["failures/reason"].asstr()[:], strict=True))
