"""Weights of Keras in HDF5: a whole model (`model.save`) or its weights alone (`save_weights`), as Keras 2 writes both.

Nothing but plain arrays and texts is read: no link leaves the file, no filter unpacks anything, and all arrays together
are no larger than the file. What a model computes is told by its `model_config`, a JSON text of which no code is built.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import h5py
import numpy as np
from numpy.typing import NDArray

from soundnet_kd.errors import FormatError, one_line
from soundnet_kd.hdf5 import open_hdf5
from soundnet_kd.pretrained.description import from_json
from soundnet_kd.pretrained.formats.layout import to_native
from soundnet_kd.system.machine_errors import machine_error

MAGIC = b"\x89HDF\r\n\x1a\n"
MAX_LAYERS = 512
MAX_TEXT_BYTES = 1 << 22
"""Of a list of names, or of the text that describes a model."""
MAX_MESSAGE = 500
INPUT = "InputLayer"
"""Kind of a layer that only tells the shape of the input; models that are a plain list do not list it."""
CURE = "save it with `model.save('model.h5')`"
LAMBDA = re.compile(r"lambda(_\d+)?")
"""Keras's own names of layers that hold Python code; they have no weights that would tell."""


@dataclass(frozen=True)
class KerasLayer:
    """A layer of a model.

    Attributes
    ----------
    name : str
    kind : str
        Keras's name of its class, such as Conv1D; empty where the file does not tell what the model computes.
    settings : mapping
        Of the class, as the file has them.
    weights : mapping from role to array
        `kernel`, `bias`, `gamma`, `beta`, `moving_mean`, `moving_variance`; none of a layer that has learned nothing.
    """

    name: str
    kind: str
    settings: Mapping[str, Any]
    weights: Mapping[str, NDArray[Any]] = field(repr=False)


def is_keras(path: str | Path) -> bool:
    """Whether a file is HDF5, in which Keras 2 keeps its models, or an archive of Keras 3, which is refused."""
    path = Path(path)
    with path.open("rb") as handle:
        return handle.read(len(MAGIC)) == MAGIC or path.suffix == ".keras"


def read_keras(path: str | Path) -> tuple[KerasLayer, ...]:
    """Read the layers of a model in the order in which a sound goes through them.

    The order is that of the model's description; in a file of weights alone, that of its list of layers.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    tuple of KerasLayer
        With and without weights.

    Raises
    ------
    FormatError
        If the file is cut off, is hostile, holds code or branches, or is not as Keras 2 writes it.
    """
    path = Path(path)
    try:
        if path.suffix == ".keras" and is_zipfile(path):
            raise FormatError(f"is an archive of Keras 3; open it with Keras, and {CURE}")
        with open_hdf5(path) as file:
            return tuple(_layers(file, path.stat().st_size))
    except FormatError as error:
        raise refused(path, error) from error
    except Exception as error:  # HDF5 fails in many ways on a file that is broken or hostile
        raise machine_error(error, path) or refused(
            path, f"is broken, or cut off, or no HDF5: {one_line(error)}"
        ) from error


def refused(path: str | Path, what: FormatError | str) -> FormatError:
    """Return the error for a file, in one line; names in it are the file's own, which may hold anything."""
    line = " ".join(str(what).split())[:MAX_MESSAGE]
    return FormatError(f"{path} {''.join(letter if letter.isprintable() else '?' for letter in line)}")


def _layers(file: h5py.File, size: int) -> Iterator[KerasLayer]:
    group = file if _own(file, "model_weights") is None else _child(file, "model_weights")
    names = _names(group, "layer_names")
    if names is None:
        if _own(file, "layers") or _own(file, "_layer_checkpoint_dependencies"):
            raise FormatError(
                f"holds weights as Keras 3 keeps them, without an order; load them into the model, and {CURE}"
            )
        raise FormatError(f"is HDF5, but holds no model of Keras; {CURE}")
    if not 0 < len(names) <= MAX_LAYERS or len(set(names)) < len(names):
        raise FormatError(f"lists {len(names)} layers; 1 to {MAX_LAYERS} of different names are read")
    if _text(group, "backend") == "theano":
        raise FormatError(
            f"was saved with Theano, whose convolutions are mirrored; open it with TensorFlow, and {CURE}"
        )
    described = _described(_text(file, "model_config"))
    if described is None:
        described = dict.fromkeys(names, ("", {}))
    listed = {name for name, (kind, _) in described.items() if name in names or kind != INPUT}
    if listed != set(names):
        raise FormatError("describes other layers than it has weights of")
    left = size
    for name, (kind, settings) in described.items():
        if kind == "Lambda" or (not kind and LAMBDA.fullmatch(name)):
            raise FormatError(f"has a Lambda layer ({name[:60]!r}), which is Python code; code is never executed")
        weights = _weights(_child(group, name), left) if name in listed else {}
        left -= sum(array.nbytes for array in weights.values())
        yield KerasLayer(name, kind, settings, {role: to_native(array) for role, array in weights.items()})


def _weights(group: h5py.Group, left: int) -> dict[str, NDArray[Any]]:
    """Return what a layer has learned, by its role: the last part of a name such as conv1d_11/kernel:0."""
    where = str(group.name)[-60:]
    names = _names(group, "weight_names")
    if names is None:
        raise FormatError(f"does not name the weights of {where!r}")
    found: dict[str, NDArray[Any]] = {}
    for name in names:
        role = name.rpartition("/")[2].partition(":")[0]
        if role in found:
            raise FormatError(f"has two weights {role[:20]!r} in {where!r}; a model within a model is not read")
        *parents, last = name.split("/")
        place = group
        for parent in parents:
            place = _child(place, parent)
        found[role] = _array(place, last, left - sum(array.nbytes for array in found.values()))
    return found


def _child(group: h5py.Group, name: str) -> h5py.Group:
    """Return a group within a group, in the same file."""
    found = _own(group, name)
    if not isinstance(found, h5py.Group):
        raise FormatError(f"has no group {name[:60]!r}")
    return found


def _array(group: h5py.Group, name: str, left: int) -> NDArray[Any]:
    """Return an array that lies in the file as it is, and has at most `left` bytes."""
    found = _own(group, name)
    if not isinstance(found, h5py.Dataset):
        raise FormatError(f"has no array {name[:60]!r}")
    if found.dtype.kind != "f" or found.dtype.itemsize not in (2, 4, 8):
        raise FormatError(f"has {name[:60]!r} as {str(found.dtype)[:40]}, not as floating-point numbers")
    # What is in chunks may be packed, and a program that unpacks it loaded; what is outside the file is anybody's.
    layout = found.id.get_create_plist()
    if layout.get_layout() not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT) or layout.get_external_count():
        raise FormatError(f"keeps {name[:60]!r} packed, or outside of itself, as Keras never does; {CURE}")
    size = math.prod(found.shape or ()) * found.dtype.itemsize
    if not 0 < size <= left or found.id.get_storage_size() != size:
        raise FormatError(f"has {name[:60]!r} as {str(found.shape)[:60]}, of which it does not hold as much")
    return np.asarray(found[()])


def _own(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset | None:
    """Return what lies in a group; None if nothing of this name does."""
    link = None if name in ("", ".") else group.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        raise FormatError(f"has a link to another place for {name[:60]!r}; none is followed")
    return group[name]


def _names(group: h5py.Group, name: str) -> list[str] | None:
    """Return a list of texts, which Keras divides into several (layer_names0, layer_names1 …) where it is long."""
    if name in group.attrs:
        return list(_listed(group, name))
    names: list[str] = []
    for number in range(MAX_LAYERS):
        if f"{name}{number}" not in group.attrs:
            return names or None
        names += _listed(group, f"{name}{number}")
    return names


def _listed(group: h5py.Group, name: str) -> list[str]:
    attribute = group.attrs.get_id(name)
    if attribute.shape == (0,):
        return []
    if len(attribute.shape or ()) != 1:
        raise FormatError(f"has no list of names for {name}")
    return [_decoded(text, name) for text in np.asarray(_checked(group, name)).tolist()]


def _text(group: h5py.Group, name: str) -> str | None:
    """Return a text; None if there is none."""
    return _decoded(_checked(group, name), name) if name in group.attrs else None


def _checked(group: h5py.Group, name: str) -> Any:
    """Read an attribute of texts, unless they are too long."""
    attribute = group.attrs.get_id(name)
    kind, count = h5py.check_string_dtype(attribute.dtype), math.prod(attribute.shape or ())
    # What has no length of its own lies elsewhere in the file, where each of several can be all of it.
    longest = group.file.id.get_filesize() * count if kind and kind.length is None else attribute.get_storage_size()
    if kind is None or count > MAX_LAYERS or longest > MAX_TEXT_BYTES * (MAX_LAYERS if kind.length is None else 1):
        raise FormatError(f"has no text for {name}, or too much of it")
    return group.attrs[name]


def _decoded(value: Any, name: str) -> str:
    text = value.decode() if isinstance(value, bytes) else value
    if not isinstance(text, str) or len(text) > MAX_TEXT_BYTES:
        raise FormatError(f"has no text for {name}, or too much of it")
    return text


def _described(text: str | None) -> dict[str, tuple[str, Mapping[str, Any]]] | None:
    """Return each layer's class and settings, in the order in which a sound goes through them; None without a text."""
    if text is None:
        return None
    try:
        model = from_json(text)
        layers = model["config"] if isinstance(model["config"], list) else model["config"]["layers"]
        found = {str(layer["config"]["name"]): (str(layer["class_name"]), layer["config"]) for layer in layers}
        if len(found) != len(layers):
            raise FormatError("describes two layers of one name")
        if model["class_name"] == "Sequential":
            return found
        sources = {str(layer["config"]["name"]): set(_sources(layer["inbound_nodes"])) for layer in layers}
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise FormatError(
            f"does not describe its model as Keras does ({type(error).__name__}: {one_line(error)})"
        ) from error
    chain: dict[str, tuple[str, Mapping[str, Any]]] = {}
    last: set[str] = set()
    while len(chain) < len(found):
        following = [name for name, before in sources.items() if before == last and name not in chain]
        if len(following) != 1:
            where = " and ".join(name[:40] for name in following[:2]) or "where it goes on"
            raise FormatError(f"describes a model that is no chain of layers ({where}); those that are read are")
        chain[following[0]] = found[following[0]]
        last = {following[0]}
    return chain


def _sources(nodes: Any) -> Iterator[str]:
    """Return the layers that a layer is given: [name, node, tensor, ...] somewhere in what Keras writes of it."""
    match nodes:
        case [str(name), int(), int(), *_]:
            yield name
        case list():
            for node in nodes:
                yield from _sources(node)
        case dict():
            for node in nodes.values():
                yield from _sources(node)
