"""SoundNet's weights as its authors have them: Torch7's binary files."""

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tests.pretrained.soundnet import LAYERS, NORM, Layer


class Torch7Writer:
    """Writes values as Torch7's `File.lua` does on a 64-bit machine; each method gives the bytes of a value."""

    def __init__(self, kind: str = "Cuda") -> None:
        self.kind = kind
        self.indices = 0

    def index(self) -> bytes:
        self.indices += 1
        return struct.pack("<i", self.indices)

    def raw_text(self, value: str) -> bytes:
        return struct.pack("<i", len(value)) + value.encode()

    def value(self, value: Any) -> bytes:
        match value:
            case bytes():
                return value
            case None:
                return struct.pack("<i", 0)
            case bool():
                return struct.pack("<ii", 5, value)
            case int() | float():
                return struct.pack("<id", 1, value)
            case str():
                return struct.pack("<i", 2) + self.raw_text(value)
            case dict():
                start = struct.pack("<i", 3) + self.index() + struct.pack("<i", len(value))
                return start + b"".join(self.value(key) + self.value(each) for key, each in value.items())
        raise AssertionError(value)

    def torch(self, name: str, content: bytes) -> bytes:
        return struct.pack("<i", 4) + self.index() + self.raw_text("V 1") + self.raw_text(name) + content

    def storage(self, values: NDArray[Any]) -> bytes:
        return self.torch(f"torch.{self.kind}Storage", struct.pack("<q", values.size) + values.tobytes())

    def tensor(self, shape: tuple[int, ...], offset: int, storage: bytes) -> bytes:
        strides = [int(np.prod(shape[place + 1 :])) for place in range(len(shape))]
        layout = struct.pack(f"<i{2 * len(shape)}q", len(shape), *shape, *strides)
        return self.torch(f"torch.{self.kind}Tensor", layout + struct.pack("<q", offset + 1) + storage)

    def module(self, name: str, **fields: Any) -> bytes:
        common = {"_type": f"torch.{self.kind}Tensor", "train": False, "output": self.tensor((), 0, self.value(None))}
        return self.torch(name, self.value(common | fields))

    def modules(self, name: str, *inner: bytes) -> bytes:
        return self.module(name, modules=self.value(dict(enumerate(inner, start=1))))


def torch7_network(state: Mapping[str, Tensor], depth: int, kind: str = "Cuda") -> bytes:
    """Write SoundNet as the authors' Torch7 does, its parameters in one storage as `getParameters` leaves them."""
    writer, element = Torch7Writer(kind), "<f8" if kind == "Double" else "<f4"
    names = [name for name in state if not name.endswith("num_batches_tracked")]
    flat = np.concatenate([state[name].numpy().ravel() for name in names]).astype(element)
    offsets = dict(zip(names, np.cumsum([0, *(state[name].numel() for name in names)]).tolist(), strict=False))
    written: list[bytes] = []

    def piece(name: str) -> bytes:
        if not written:
            storage = writer.storage(flat)
            written.append(storage[:8])
        else:
            storage = written[0]
        return writer.tensor(tuple(state[name].shape), offsets[name], storage)

    def convolution(name: str, layer: Layer) -> bytes:
        sizes = {"kW": 1, "kH": layer.kernel, "dW": 1, "dH": layer.stride, "padW": 0, "padH": layer.padding}
        tensors = {key: piece(f"{name}.{key}") for key in ("weight", "bias")}
        return writer.module("cudnn.SpatialConvolution", **sizes, **tensors, groups=1, gradBias=None)

    layers = []
    for number, layer in enumerate(LAYERS[depth][:-1], start=1):
        layers.append(convolution(f"conv{number}", layer))
        norms = {name: piece(f"batchnorm{number}.{name}") for name in NORM}
        layers.append(writer.module("nn.SpatialBatchNormalization", eps=1e-5, momentum=0.1, affine=True, **norms))
        layers.append(writer.module("cudnn.ReLU", inplace=True))
        if layer.pool > 1:
            layers.append(writer.module("cudnn.SpatialMaxPooling", kH=layer.pool, kW=1))
    heads = [
        writer.modules(
            "nn.Sequential", convolution(f"conv{depth}{head}", LAYERS[depth][-1]), writer.module("nn.LogSoftMax")
        )
        for head in ("_objs", "_scns")
    ]
    return writer.modules("nn.Sequential", *layers, writer.modules("nn.ConcatTable", *heads))
