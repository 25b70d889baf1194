"""Torch7's binary files (`.t7`), as far as networks need them: tensors in tables in modules, never code.

The layout is that of Torch7's `File.lua` and `Tensor.c` on a 64-bit machine, little endian, longs of 8 bytes. Each
value has its kind in front (int32); tables, modules, tensors and storages also an index, by which a later value refers
to them.
"""

import fnmatch
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from soundnet_kd.errors import FormatError, one_line
from soundnet_kd.pretrained.formats.layout import (
    HEADS,
    MAX_CONVOLUTIONS,
    MAX_STUDENT_BYTES,
    Layout,
    SourceFile,
    State,
    to_native,
)

NIL, NUMBER, STRING, TABLE, TORCH, BOOLEAN = range(6)
FUNCTIONS = (6, 7, 8)
"""A function, and the two ways in which Torch7 wrote one that refers to itself."""
DEEPEST = 100
"""Values nested deeper than this are no network."""
ELEMENTS = {
    "Float": "<f4",
    "Cuda": "<f4",
    "Double": "<f8",
    "CudaDouble": "<f8",
    "Long": "<i8",
    "CudaLong": "<i8",
    "Int": "<i4",
    "Byte": "|u1",
}
STARTS = (struct.pack("<i", TORCH), struct.pack("<i", TABLE))
"""What a file can begin with: an object of Torch, or a table."""
MAX_PACKED = 100
"""Weights hardly shrink when they are packed; what shrank more than this is made to fill a memory."""
MIN_BOMB = 1 << 20
"""In bytes; smaller files may shrink as they like."""


@dataclass
class Module:
    """An object of `nn` or `cudnn`: its class and its fields."""

    kind: str
    fields: dict[Any, Any] = field(default_factory=dict)


def read_layout(file: SourceFile) -> Layout | None:
    """Read a file of the layout `torch7`, alone or in a zip archive; None if it is of another format.

    Raises
    ------
    FormatError
        If it is cut off, hostile or no network.
    """
    path, start = file.path, file.start
    try:
        content = path.read_bytes() if start.startswith(STARTS) else None
        if start.startswith(b"PK"):
            content = _read_member(path, file.member)
        if content is not None:
            return Layout("torch7", _to_state(read_torch7(content)))
    except FormatError as error:
        raise FormatError(f"{path} {error}") from error
    if re.match(rb"[34]\s+1\s+\d", start):
        raise FormatError(f"{path} is Torch7's text form; only its binary form is read")
    return None


def read_torch7(content: bytes) -> Any:
    """Read the value that a file holds.

    Parameters
    ----------
    content : bytes
        The whole file.

    Returns
    -------
    float, str, bool, None, dict, Module or numpy array
        A whole number as a key is an int; a tensor is an array, a storage one of a single dimension.

    Raises
    ------
    FormatError
        If the file is cut off, holds a function or another class, or is no Torch7 file. The message is about the file,
        but does not name it.
    """
    if not content.startswith(STARTS):
        raise FormatError("is no binary Torch7 file")
    return _Reader(content).value(0)


def modules(root: Any) -> Iterator[Module]:
    """Go through a network's modules in the order of the signal, containers before what they contain."""
    # Not a function that calls itself: by references a file can nest modules without end, and in circles.
    seen: set[int] = set()
    ahead = [root]
    while ahead:
        module = ahead.pop()
        if not isinstance(module, Module) or id(module) in seen:
            continue
        seen.add(id(module))
        yield module
        inner = module.fields.get("modules")
        if isinstance(inner, dict):
            ahead += [inner[key] for key in sorted((key for key in inner if isinstance(key, int)), reverse=True)]


class _Reader:
    def __init__(self, content: bytes) -> None:
        self.content = memoryview(content)
        self.at = 0
        self.seen: dict[int, Any] = {}

    def value(self, depth: int) -> Any:
        if depth > DEEPEST:
            raise FormatError(f"nests its values more than {DEEPEST} deep")
        kind = self.int32()
        match kind:
            case _ if kind == NIL:
                return None
            case _ if kind == NUMBER:
                return self.number()
            case _ if kind == STRING:
                return self.text()
            case _ if kind == BOOLEAN:
                return self.int32() == 1
            case _ if kind == TABLE:
                return self.shared(lambda index: self.table(index, depth))
            case _ if kind == TORCH:
                return self.shared(lambda index: self.torch(index, depth))
        if kind in FUNCTIONS:
            raise FormatError("holds a Lua function, which is never read")
        raise FormatError(f"has a value of the unknown kind {kind} at byte {self.at - 4}")

    def shared(self, read: Callable[[int], Any]) -> Any:
        """Return a value that was read before, or read it."""
        index = self.int32()
        if index not in self.seen:
            self.seen[index] = read(index)
        return self.seen[index]

    def table(self, index: int, depth: int) -> dict[Any, Any]:
        table: dict[Any, Any] = {}
        self.seen[index] = table
        for _ in range(self.int32()):
            key = self.value(depth + 1)
            if not isinstance(key, float | str | bool):
                raise FormatError("has a table whose keys are not numbers and texts")
            whole = isinstance(key, float) and key.is_integer()
            table[int(key) if whole else key] = self.value(depth + 1)
        return table

    def torch(self, index: int, depth: int) -> Any:
        kind = self.text()
        if re.fullmatch(r"V \d+", kind):
            kind = self.text()
        if found := re.fullmatch(r"torch\.(\w+?)(Tensor|Storage)", kind):
            if found[1] not in ELEMENTS:
                raise FormatError(f"holds a {kind}, which no network of SoundNet has")
            element = np.dtype(ELEMENTS[found[1]])
            return self.storage(element) if found[2] == "Storage" else self.tensor(element, depth)
        if not re.fullmatch(r"(nn|cudnn|cunn)\.\w+", kind):
            raise FormatError(f"holds an object of the class {kind[:60]!r}, which is not one of nn or cudnn")
        module = Module(kind)
        self.seen[index] = module
        content = self.value(depth + 1)
        if not isinstance(content, dict):
            raise FormatError(f"has a {kind} without fields")
        module.fields = content
        return module

    def storage(self, element: np.dtype[Any]) -> NDArray[Any]:
        return np.frombuffer(self.take(self.long() * element.itemsize), element)

    def tensor(self, element: np.dtype[Any], depth: int) -> NDArray[Any]:
        dimensions = self.int32()
        if not 0 <= dimensions <= 8:
            raise FormatError(f"has a tensor of {dimensions} dimensions")
        shape = [self.long() for _ in range(dimensions)]
        strides = [self.long() for _ in range(dimensions)]
        offset = self.long() - 1
        storage = self.value(depth + 1)
        if storage is None or dimensions == 0:
            return np.zeros(0, element)
        if not isinstance(storage, np.ndarray) or storage.ndim != 1 or storage.dtype != element:
            raise FormatError("has a tensor whose storage is something else")
        if min(*shape, *strides, offset) < 0:
            raise FormatError("has a tensor of negative size")
        if 0 in shape:
            return np.zeros(shape, element)
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        # A size counts also where its stride is 0: such a tensor would be larger than the file.
        if last >= len(storage) or _product(shape) > len(storage):
            raise FormatError("has a tensor that reaches beyond its storage")
        step = element.itemsize
        return np.lib.stride_tricks.as_strided(
            storage[offset:], shape, [stride * step for stride in strides], writeable=False
        )

    def take(self, length: int) -> memoryview:
        if not 0 <= length <= len(self.content) - self.at:
            raise FormatError("ends too early, or is no Torch7 file of 64-bit longs")
        self.at += length
        return self.content[self.at - length : self.at]

    def int32(self) -> int:
        return int(struct.unpack("<i", self.take(4))[0])

    def long(self) -> int:
        return int(struct.unpack("<q", self.take(8))[0])

    def number(self) -> float:
        return float(struct.unpack("<d", self.take(8))[0])

    def text(self) -> str:
        return bytes(self.take(self.int32())).decode("latin-1")


def _product(sizes: list[int]) -> int:
    """Multiply without overflow."""
    product = 1
    for size in sizes:
        product *= size
    return product


def _to_state(network: Any) -> State:
    convolutions: list[State] = []
    norms: dict[int, State] = {}
    for module in modules(network):
        if len(convolutions) > MAX_CONVOLUTIONS:
            raise FormatError(f"has more than {MAX_CONVOLUTIONS} convolutions; no network of SoundNet has")
        if module.kind.endswith(".SpatialConvolution"):
            convolutions.append(_arrays(module.fields, module.kind, ("weight", "bias")))
        elif module.kind.endswith(".SpatialBatchNormalization"):
            if not convolutions:
                raise FormatError("has a batch norm before its first convolution")
            wanted = ("weight", "bias", "running_mean", "running_var")
            norms[len(convolutions)] = _arrays(module.fields, module.kind, wanted)
    depth = len(norms)
    heads = convolutions[depth:]
    if not depth or sorted(norms) != list(range(1, depth + 1)) or not 1 <= len(heads) <= len(HEADS):
        raise FormatError(
            f"has {len(convolutions)} convolutions and {depth} batch norms; SoundNet has one batch norm after each "
            "convolution, then one output for objects and one for scenes"
        )
    state = State()
    named = {f"conv{number}": tensors for number, tensors in enumerate(convolutions[:depth], start=1)}
    named |= {f"conv{depth + 1}.{head}": tensors for head, tensors in zip(HEADS, heads, strict=False)}
    for name, tensors in named.items():
        weight = tensors["weight"]
        if weight.ndim != 4 or weight.shape[3] != 1:
            raise FormatError(f"has {name}'s weight as {tuple(weight.shape)}; expected (out, in, kernel, 1)")
        state |= {f"{name}.weight": weight[..., 0], f"{name}.bias": tensors["bias"]}
    for number, tensors in norms.items():
        state |= {f"batchnorm{number}.{name}": tensor for name, tensor in tensors.items()}
    return state


def _arrays(fields: Mapping[Any, Any], kind: str, wanted: tuple[str, ...]) -> State:
    for name in wanted:
        if not isinstance(fields.get(name), np.ndarray) or fields[name].dtype.kind != "f":
            raise FormatError(f"has a {kind} without {name}")
    return {name: torch.from_numpy(to_native(fields[name])) for name in wanted}


def _read_member(path: Path, pattern: str | None) -> bytes | None:
    """Read the one network of a zip archive into memory; None if the archive holds none, as one of torch.save."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            _check_archive(infos)
            if not any(info.filename.lower().endswith(".t7") for info in infos):
                return None
            found = [
                info
                for info in infos
                if fnmatch.fnmatchcase(info.filename.lower(), (pattern or "*.t7").lower())
                and not info.filename.startswith("__MACOSX/")
            ]
            if len(found) != 1:
                names = ", ".join(info.filename[:80] for info in infos[:5])
                advice = "" if pattern else "; import it as a name of the registry (`soundnet-kd weights list`)"
                raise FormatError(
                    f"holds {len(found)} files {pattern or '*.t7'} where one should be; it has {names}{advice}"
                )
            return archive.read(found[0])
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        raise FormatError(f"is a zip archive that is broken, cut off or locked: {one_line(error)}") from error


def _check_archive(infos: Sequence[zipfile.ZipInfo]) -> None:
    """Refuse paths that lead elsewhere, though nothing is unpacked to them, and what would fill the memory."""
    for info in infos:
        name, windows = repr(info.filename[:80]), PureWindowsPath(info.filename)
        if ".." in windows.parts or windows.anchor:
            raise FormatError(f"holds the path {name}, which leads out of the archive")
        if info.file_size > max(MIN_BOMB, MAX_PACKED * info.compress_size):
            raise FormatError(
                f"holds {name}, which unpacks from {info.compress_size} to {info.file_size} bytes; no network does"
            )
    if sum(info.file_size for info in infos) > MAX_STUDENT_BYTES:
        raise FormatError(f"unpacks to more than {MAX_STUDENT_BYTES} bytes; no student does")
