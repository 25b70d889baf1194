"""Torch7's binary files (`.t7`), as far as networks need them: tensors in tables in modules, never code.

The layout is that of Torch7's `File.lua` and `Tensor.c` on a 64-bit machine, little endian, longs of 8 bytes. Each
value has its kind in front (int32); tables, modules, tensors and storages also an index, by which a later value refers
to them.
"""

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.errors import FormatError

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


@dataclass
class Module:
    """An object of `nn` or `cudnn`: its class and its fields."""

    kind: str
    fields: dict[Any, Any] = field(default_factory=dict)


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
