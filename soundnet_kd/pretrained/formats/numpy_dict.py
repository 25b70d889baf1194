"""A pickled dict of arrays (`np.save` of a dict), read without running anything that the file may hold.

Of numpy nothing is called by the pickle either: what it may build are stand-ins that keep what they are given, and the
arrays are made from them when all of it is known to be harmless.
"""

import io
import pickle
import re
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from soundnet_kd.errors import FormatError, one_line
from soundnet_kd.pretrained.formats.layout import HEADS, MAX_CONVOLUTIONS, Layout, SourceFile, State, to_native

MAGIC = b"\x93NUMPY"


def read_layout(file: SourceFile) -> Layout | None:
    """Read a file of the layout `numpy`; None if it is of another format.

    Raises
    ------
    FormatError
        If it is cut off, hostile or no network.
    """
    if not file.start.startswith(MAGIC):
        return None
    try:
        return Layout("numpy", _to_state(read_numpy_dict(file.path.read_bytes())))
    except FormatError as error:
        raise FormatError(f"{file.path} {error}") from error


def _to_state(found: Mapping[str, Mapping[str, NDArray[Any]]]) -> State:
    state = State()
    if len(found) > MAX_CONVOLUTIONS:
        raise FormatError(f"has {len(found)} layers; no network of SoundNet has more than {MAX_CONVOLUTIONS}")
    for layer, arrays in found.items():
        if not (parts := re.fullmatch(r"conv(\d+)(_2)?", layer)):
            raise FormatError(f"has the unknown layer {layer[:60]!r}")
        if not {"weights", "biases"} <= arrays.keys():
            raise FormatError(f"has no weights and biases for {layer}")
        kernel = arrays["weights"]
        if kernel.ndim != 4 or kernel.shape[1] != 1:
            raise FormatError(f"has {layer}'s weights as {kernel.shape}; expected (kernel, 1, in, out)")
        number = int(parts[1])
        is_head = f"conv{number}_2" in found or "mean" not in arrays
        name = f"conv{number}.{HEADS[1 if parts[2] else 0]}" if is_head else f"conv{number}"
        state[f"{name}.weight"] = torch.from_numpy(to_native(kernel[:, 0].transpose(2, 1, 0)))
        state[f"{name}.bias"] = torch.from_numpy(to_native(arrays["biases"]))
        if not is_head:
            for ours, theirs in (
                ("weight", "gamma"),
                ("bias", "beta"),
                ("running_mean", "mean"),
                ("running_var", "var"),
            ):
                if theirs not in arrays:
                    raise FormatError(f"has no {theirs} for {layer}")
                state[f"batchnorm{number}.{ours}"] = torch.from_numpy(to_native(arrays[theirs]))
    return state


def read_numpy_dict(content: bytes) -> dict[str, dict[str, NDArray[Any]]]:
    """Read a dict from layer to a dict from name to array.

    Parameters
    ----------
    content : bytes
        The whole `.npy` file, as Python 2 or 3 wrote it.

    Raises
    ------
    FormatError
        If the file is cut off, holds anything else or refers to code. The message is about the file, but does not name
        it.
    """
    try:
        return _read(io.BytesIO(content))
    except FormatError:
        raise
    except KeyError as error:  # pickle's own way to say that it does not know a code
        raise FormatError(f"has a code that no pickled array has ({error}), or is cut off") from error
    except Exception as error:  # a pickle that is broken or hostile fails in any way
        raise FormatError(f"is broken, or cut off: {one_line(error)}") from error


def _read(stream: io.BytesIO) -> dict[str, dict[str, NDArray[Any]]]:
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise FormatError(f"is a .npy file of the unknown version {version}")
    old = version == (1, 0)
    read_header = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
    shape, _, element = read_header(stream)
    if element != np.dtype(object) or shape != ():
        raise FormatError(f"holds an array of {element} of the shape {shape}, not a dict of layers")
    outer = _Restricted(stream, encoding="latin1").load()
    layers = outer.single() if isinstance(outer, _Array) else outer
    if not isinstance(layers, Mapping) or not layers:
        raise FormatError("holds no dict of layers")
    return {_text(layer): _layer(_text(layer), arrays) for layer, arrays in layers.items()}


def _layer(layer: str, arrays: Any) -> dict[str, NDArray[Any]]:
    if not isinstance(arrays, Mapping) or not all(isinstance(array, _Array) for array in arrays.values()):
        raise FormatError(f"has no dict of arrays for {layer}")
    return {_text(name): array.array(f"{layer}, {_text(name)}") for name, array in arrays.items()}


def _text(key: Any) -> str:
    if not isinstance(key, str):
        raise FormatError(f"has a {type(key).__name__} for a name")
    return key


class _Array:
    """Stands in for an array: keeps its state."""

    state: Any = None

    def __init__(self, *ignored: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def _parts(self, where: str) -> tuple[Any, str, bool, Any]:
        match self.state:
            case (_, tuple(shape), _Element() as element, (bool() | int()) as fortran, content):
                return shape, element.described(), bool(fortran), content
        raise FormatError(f"has an array that is not whole ({where})")

    def single(self) -> Any:
        """Return the one object of an array of objects without dimensions."""
        shape, element, _, content = self._parts("the outermost")
        if shape != () or element != "O" or not isinstance(content, list) or len(content) != 1:
            raise FormatError("holds no dict of layers")
        return content[0]

    def array(self, where: str) -> NDArray[Any]:
        shape, element, fortran, content = self._parts(where)
        if not re.fullmatch("[<>=]f[48]", element):
            raise FormatError(f"has an array of {element[:20]!r} where float32 or float64 should be ({where})")
        if isinstance(content, str):
            content = content.encode("latin-1")
        if not isinstance(content, bytes) or not all(isinstance(size, int) and size >= 0 for size in shape):
            raise FormatError(f"has an array that is not whole ({where})")
        flat = np.frombuffer(content, np.dtype(element))
        if len(shape) > 8 or flat.size != np.prod([float(size) for size in shape]):
            raise FormatError(f"has an array whose size does not fit its shape {shape} ({where})")
        return flat.reshape(shape, order="F" if fortran else "C")


class _Element:
    """Stands in for the type of an array's elements: keeps its name and byte order."""

    name: Any = ""
    order = "="

    def __init__(self, name: Any = "", *ignored: Any) -> None:
        self.name = name

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "=", "|"):
            self.order = state[1]

    def described(self) -> str:
        if not isinstance(self.name, str):
            raise FormatError("has an array whose elements have no type")
        name = str(self.name).lstrip("<>=|")
        return "O" if name.startswith("O") else f"{self.order}{name}"


class _Encode:
    """Does what Python 3 leaves to `_codecs.encode` when it writes bytes for Python 2; has nothing that can be set."""

    __slots__ = ()

    def __call__(self, text: Any, encoding: Any = "latin1") -> bytes:
        if not isinstance(text, str) or encoding != "latin1":
            raise FormatError("holds bytes in a form that numpy does not write")
        return text.encode("latin-1")


_KNOWN: Mapping[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Element,
    ("_codecs", "encode"): _Encode(),
}


_CODES = frozenset(
    getattr(pickle, name)[0]
    for name in (
        *("PROTO", "FRAME", "MARK", "STOP", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "MEMOIZE"),
        *("PUT", "BINPUT", "LONG_BINPUT", "GET", "BINGET", "LONG_BINGET", "POP", "POP_MARK"),
        *("NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "EMPTY_LIST", "LIST", "APPEND", "APPENDS"),
        *("TUPLE", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_DICT", "SETITEM", "SETITEMS"),
    )
)
"""All that numpy's arrays in dicts need of pickle's language."""


# The one in C gives memory to whatever place of its memo a file names; the one in Python keeps a dict. It has no types.
_Unpickler: Any = pickle._Unpickler


class _Restricted(_Unpickler):  # type: ignore[misc]
    dispatch: ClassVar[dict[int, Any]] = {code: _Unpickler.dispatch[code] for code in _CODES}

    def set_item(self) -> None:
        self._check_keys(self.stack[-2:-1])
        _Unpickler.load_setitem(self)

    def set_items(self) -> None:
        self._check_keys(self.stack[::2])
        _Unpickler.load_setitems(self)

    dispatch |= {pickle.SETITEM[0]: set_item, pickle.SETITEMS[0]: set_items}

    def _check_keys(self, keys: list[Any]) -> None:
        """Refuse tuples in tuples before they are hashed, which can take for ever."""
        for key in keys:
            _text(key)

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise FormatError(f"wants to call {module}.{name}, which is no array; a pickle is never executed")
        return _KNOWN[module, name]
