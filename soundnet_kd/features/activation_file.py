"""A network peeled on one sound: what every layer makes of it, and the weights at both ends, in one HDF5 file.

Layout of `peel.h5`
-------------------
`waveform`                (samples,) float32, as the network was given it: brought to length and scaled
`activations/LAYER`       (steps, channels) float32, gzip, or, of a network that takes a spectrogram,
                          (steps, channels, rows), rows from low to high frequency; step i covers `field_samples`
                          samples of the waveform from `field_start + i * field_stride` on; these are attributes
`pooled/LAYER`            (channels,) float32, mean of the steps, and of the rows

and for each head:

`heads/HEAD/class_names`  (classes,) str
`heads/HEAD/weight`       (classes, channels, kernel) float32; kernel 1 for a linear head
`heads/HEAD/bias`         (classes,) float32
`heads/HEAD/heard`        (channels, kernel) float32, what stands under the kernel, averaged over its steps; so
                          `sum(weight[c] * heard) + bias[c]` is the mean logit of class c

and of the first convolution, where it takes one channel and its kernel is longer than a sample:

`filters/weight`          (filters, kernel) float32, or (filters, rows, steps) over a spectrogram; attribute `layer`

and of filters over a waveform, whose rate is the attribute `sample_rate` of their weights:

`filters/frequency`       (bins,) float64, Hz
`filters/response`        (filters, bins) float64, gain in dB
`filters/centre`          (filters,) float64, Hz, where the response is greatest

Attributes: `format_version`, `sample_rate` (Hz), `amplitude` (full scale in `waveform`), `start_seconds` (where in the
file the sound was taken from), `sound_samples` (of it that are used), `repeats` (whether the sound was repeated where
it was too short, or followed by silence), `layers` (JSON: from the input on), and `source` (JSON: the network, the
sound, the settings and the versions that made the file). Version 1 had no rows, no `repeats`, and filters over
waveforms only.

Beside it lies `peel.json`, the same `source` as a file of settings: `network` (`architecture`, `sha256`), `sound`
(`file`, its name; `heard_sha256`, of the waveform), `settings` and `versions`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from soundnet_kd.errors import FormatError
from soundnet_kd.figures.filters import centre_frequencies, frequency_responses
from soundnet_kd.hdf5 import open_hdf5
from soundnet_kd.models.receptive_field import ReceptiveField
from soundnet_kd.storage import atomic_write, read_json

FORMAT_VERSION = 2
PEEL_FILE, SETTINGS_FILE = "peel.h5", "peel.json"


@dataclass(frozen=True, eq=False)
class PeeledLayer:
    """A layer's answer to a sound.

    Attributes
    ----------
    activations : (steps, channels) or (steps, channels, rows) float32
    field : ReceptiveField
        The receptive field of its steps.
    """

    activations: NDArray[np.float32]
    field: ReceptiveField

    @property
    def over_time(self) -> NDArray[np.float32]:
        """Mean of the rows, (steps, channels); the activations themselves, where there are no rows."""
        if self.activations.ndim == 2:
            return self.activations
        return np.asarray(self.activations.mean(axis=2, dtype=np.float64), dtype=np.float32)

    @property
    def pooled(self) -> NDArray[np.float32]:
        """Mean of the steps, and of the rows, (channels,)."""
        every = tuple(axis for axis in range(self.activations.ndim) if axis != 1)
        return np.asarray(self.activations.mean(axis=every, dtype=np.float64), dtype=np.float32)

    def middle_seconds(self, step: float, sample_rate: int) -> float:
        """Return the middle of a step's receptive field, in seconds from the start of the waveform."""
        return (self.field.start + step * self.field.stride + self.field.samples / 2) / sample_rate


@dataclass(frozen=True, eq=False)
class PeeledHead:
    """A head's weights, and what they met.

    Attributes
    ----------
    class_names : tuple of str
    weight : (classes, channels, kernel) float32
    bias : (classes,) float32
    heard : (channels, kernel) float32
        What stands under the kernel, averaged over its steps.
    """

    class_names: tuple[str, ...]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    heard: NDArray[np.float32]

    @property
    def contributions(self) -> NDArray[np.float64]:
        """What each channel adds to each class's mean logit, (classes, channels): weight x activation."""
        return np.asarray((self.weight * self.heard).sum(axis=2, dtype=np.float64))


@dataclass(frozen=True, eq=False)
class PeeledFilters:
    """The weights of a network's first convolution.

    Attributes
    ----------
    weight : (filters, kernel) or (filters, rows, steps) float32
    layer : str
        Name of their layer.
    sample_rate : int, optional
        Sample rate of the waveform that they are convolved with, in Hz; None if it is a spectrogram.
    """

    weight: NDArray[np.float32]
    layer: str
    sample_rate: int | None


@dataclass(frozen=True, eq=False)
class Peeled:
    """A network peeled on one sound.

    Attributes
    ----------
    waveform : (samples,) float32
        As the network was given it: brought to length and scaled.
    sample_rate : int
    amplitude : float
        Full scale in `waveform`.
    start_seconds : float
        Where in its file the sound was taken from.
    sound_samples : int
        How many of the sound's own are in it.
    repeats : bool
        Whether the sound is repeated after these; silence follows it else.
    layers : mapping from layer to PeeledLayer
        From the input on; the last is the output.
    heads : mapping from head to PeeledHead
    filters : PeeledFilters, optional
        None where the first convolution looks at several channels, or at single samples.
    """

    waveform: NDArray[np.float32]
    sample_rate: int
    amplitude: float
    start_seconds: float
    sound_samples: int
    repeats: bool
    layers: Mapping[str, PeeledLayer]
    heads: Mapping[str, PeeledHead]
    filters: PeeledFilters | None


@dataclass(frozen=True)
class PeelSource:
    """Which sound went through which network.

    Attributes
    ----------
    sound : str
        Name of its file.
    network : str
        Name of its architecture.
    """

    sound: str
    network: str


def peel_source(
    peeled: Peeled,
    about: PeelSource,
    network_sha256: str,
    settings: Mapping[str, Any],
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """Return what made a peeled network, as `peel.h5` and `peel.json` hold it.

    Parameters
    ----------
    peeled : Peeled
    about : PeelSource
    network_sha256 : str
        Hash of the network's weights.
    settings, versions : mapping
        Anything that JSON can hold.
    """
    return {
        "network": {"architecture": about.network, "sha256": network_sha256},
        "sound": {"file": about.sound, "heard_sha256": sha256(peeled.waveform.tobytes()).hexdigest()},
        "settings": settings,
        "versions": versions,
    }


def read_peel_source(folder: str | Path) -> PeelSource:
    """Read which sound went through which network from the `peel.json` in a folder.

    Raises
    ------
    FormatError
        If it is not what `soundnet-kd peel` writes.
    """
    file = Path(folder) / SETTINGS_FILE
    content = read_json(file)
    try:
        return PeelSource(str(content["sound"]["file"]), str(content["network"]["architecture"]))
    except (KeyError, TypeError) as error:
        raise FormatError(f"{file} is not what `soundnet-kd peel` writes ({error!r}); peel the sound again") from error


def write_peel(path: str | Path, peeled: Peeled, source: Mapping[str, Any]) -> None:
    """Write a peeled network, whole or not at all.

    Parameters
    ----------
    path : str or Path
        Usually `peel.h5`.
    peeled : Peeled
    source : mapping
        What made it; anything that JSON can hold.
    """
    path = Path(path)
    with atomic_write(path) as partial, open_hdf5(partial, "w") as file:
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["source"] = json.dumps(source)
        file.attrs["layers"] = json.dumps(list(peeled.layers))
        for name in ("sample_rate", "amplitude", "start_seconds", "sound_samples", "repeats"):
            file.attrs[name] = getattr(peeled, name)
        file["waveform"] = peeled.waveform
        for name, layer in peeled.layers.items():
            dataset = file.create_dataset(f"activations/{name}", data=layer.activations, compression="gzip")
            for part in ("samples", "stride", "start"):
                dataset.attrs[f"field_{part}"] = getattr(layer.field, part)
            file[f"pooled/{name}"] = layer.pooled
        for name, head in peeled.heads.items():
            file[f"heads/{name}/class_names"] = list(head.class_names)
            for part in ("weight", "bias", "heard"):
                file[f"heads/{name}/{part}"] = getattr(head, part)
        if peeled.filters is not None:
            _write_filters(file, peeled.filters)


def read_peel(path: str | Path) -> Peeled:
    """Read what `write_peel` wrote.

    Raises
    ------
    FormatError
        If the file is not one of this format version.
    """
    path = Path(path)
    try:
        with open_hdf5(path) as file:
            if file.attrs["format_version"] not in (1, FORMAT_VERSION):
                raise KeyError(f"format_version {file.attrs['format_version']}, expected {FORMAT_VERSION}")
            return Peeled(
                waveform=file["waveform"][:],
                sample_rate=int(file.attrs["sample_rate"]),
                amplitude=float(file.attrs["amplitude"]),
                start_seconds=float(file.attrs["start_seconds"]),
                sound_samples=int(file.attrs["sound_samples"]),
                repeats=bool(file.attrs.get("repeats", True)),
                layers={name: _layer(file[f"activations/{name}"]) for name in json.loads(file.attrs["layers"])},
                heads={name: _head(group) for name, group in file["heads"].items()},
                filters=_filters(file),
            )
    except (OSError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise FormatError(f"{path} is not a readable peel.h5 ({reason}); make one with `soundnet-kd peel`") from error


def _write_filters(file: h5py.File, filters: PeeledFilters) -> None:
    dataset = file.create_dataset("filters/weight", data=filters.weight)
    dataset.attrs["layer"] = filters.layer
    if filters.sample_rate is None:
        return
    dataset.attrs["sample_rate"] = filters.sample_rate
    frequencies, decibels = frequency_responses(filters.weight, filters.sample_rate)
    file["filters/frequency"] = frequencies
    file["filters/response"] = decibels
    file["filters/centre"] = centre_frequencies(frequencies, decibels)


def _filters(file: h5py.File) -> PeeledFilters | None:
    if "filters" not in file:
        return None
    dataset = file["filters/weight"]
    if file.attrs["format_version"] == 1:
        return PeeledFilters(dataset[:], json.loads(file.attrs["layers"])[0], int(file.attrs["sample_rate"]))
    rate = dataset.attrs.get("sample_rate")
    return PeeledFilters(dataset[:], str(dataset.attrs["layer"]), None if rate is None else int(rate))


def _layer(dataset: h5py.Dataset) -> PeeledLayer:
    field = {part: int(dataset.attrs[f"field_{part}"]) for part in ("samples", "stride", "start")}
    return PeeledLayer(dataset[:], ReceptiveField(**field))


def _head(group: h5py.Group) -> PeeledHead:
    return PeeledHead(tuple(group["class_names"].asstr()[:]), group["weight"][:], group["bias"][:], group["heard"][:])
