"""Torch7 files that are no students, or are made to do harm."""

import struct
from pathlib import Path

import numpy as np

from tests.pretrained.torch7_files import Torch7Writer


def nested(path: Path) -> None:
    writer = Torch7Writer()
    content = writer.value(1)
    for _ in range(300):
        content = writer.value({1: content})
    path.write_bytes(content)


def in_a_module(path: Path, content: bytes) -> None:
    writer = Torch7Writer()
    writer.indices = 50  # Those before are the content's own.
    path.write_bytes(writer.module("nn.Sequential", thing=content))


def lua_function(path: Path) -> None:
    in_a_module(path, struct.pack("<iii", 8, 99, 4) + b"code" + struct.pack("<i", 0))


def stretched(path: Path) -> None:
    """A tensor of 2^40 elements that are all the same one."""
    writer = Torch7Writer("Float")
    layout = struct.pack("<iqqqqq", 2, 1 << 20, 1 << 20, 0, 0, 1)
    storage = writer.storage(np.ones(1, np.float32))
    in_a_module(path, writer.torch("torch.FloatTensor", layout + storage))


def storage_beyond_the_file(path: Path) -> None:
    in_a_module(path, Torch7Writer().torch("torch.FloatStorage", struct.pack("<q", 1 << 40)))


def other_class(path: Path) -> None:
    in_a_module(path, Torch7Writer().torch("os.Process", b""))


def text_form(path: Path) -> None:
    path.write_bytes(b"4\n1\n3\nV 1\n13\nnn.Sequential\n")


def circle(path: Path) -> None:
    """Modules that contain each other, and one that contains itself, by references only."""
    writer = Torch7Writer()
    inner: dict[int, bytes] = {}
    before = writer.module("nn.Sequential")
    for number in range(2000):
        inner[2000 - number] = before
        reference = struct.pack("<i", 4) + before[4:8]
        before = writer.modules("nn.Sequential", reference)
    path.write_bytes(writer.module("nn.Sequential", modules=writer.value(inner)))


def many_convolutions(path: Path) -> None:
    """Twenty convolutions that all have the same numbers."""
    writer = Torch7Writer()
    storage = writer.storage(np.ones(4, np.float32))
    tensors = {"weight": writer.tensor((1, 1, 4, 1), 0, storage), "bias": writer.tensor((1,), 0, storage[:8])}
    first = writer.module("nn.SpatialConvolution", **tensors)
    again = {name: tensor[:8] for name, tensor in tensors.items()}
    path.write_bytes(
        writer.modules("nn.Sequential", first, *(writer.module("nn.SpatialConvolution", **again) for _ in range(19)))
    )
