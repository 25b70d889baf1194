"""Files of the shape in which networks are published, and a site on this machine that serves them.

Places365's are those of CSAIL's training script. SoundNet's are written in each layout on its own terms, with no help
of the package, and `hear` computes the network with plain 2-D convolutions.
"""

import io
import pickle
import pickletools
import re
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch._utils import _rebuild_tensor
from torch.storage import TypedStorage
from torchvision import models


@dataclass
class Site:
    """What a running site is told and tells."""

    url: str
    folder: Path
    cut: bool = False
    """Break the connection off in the middle of the file."""
    asked: list[str] = field(default_factory=list)
    ranges: bool = False
    """Send parts of files to who asks for them."""
    parts: list[str] = field(default_factory=list)
    """The parts that were sent."""


@contextmanager
def serve(folder: Path) -> Iterator[Site]:
    """Serve a folder at 127.0.0.1 as long as the block lasts."""
    folder.mkdir(exist_ok=True)

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            path, wanted = folder / self.path.lstrip("/"), self.headers.get("Range")
            if not (site.ranges and wanted and path.is_file()):
                super().do_GET()
                return
            version = self.date_time_string(path.stat().st_mtime)
            if self.headers.get("If-Range", version) != version:
                super().do_GET()
                return
            content, start = path.read_bytes(), int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
            site.parts.append(wanted)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.send_header("Last-Modified", version)
            self.end_headers()
            self.copyfile(io.BytesIO(content[start:]), self.wfile)

        def copyfile(self, source: Any, outputfile: Any) -> None:
            content = source.read()
            outputfile.write(content[: len(content) // 2] if site.cut else content)

        def log_message(self, format: str, *arguments: Any) -> None:
            site.asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        site = Site(f"http://127.0.0.1:{server.server_port}", folder)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()


def constants(architecture: str, classes: int = 365) -> dict[str, Tensor]:
    """Give a network's parameters and running statistics, each full of another number: right shapes in a small file."""
    with torch.device("meta"):
        state = models.get_model(architecture, weights=None, num_classes=classes).state_dict()
    names = [name for name in state if not name.endswith("num_batches_tracked")]
    return {name: torch.tensor(float(at)).expand(state[name].shape) for at, name in enumerate(names)}


def published_name(architecture: str, name: str) -> str:
    """Name a tensor as PyTorch 0.2 did for a network that `train_placesCNN.py` wrapped in DataParallel."""
    if architecture == "alexnet":
        return name.replace("features.", "features.module.")
    return "module." + re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name)


def write_published(path: Path, architecture: str, state: dict[str, Tensor], form: str = "python2") -> Path:
    """Write a state dict as CSAIL's training script does.

    Parameters
    ----------
    path : Path
    architecture : str
    state : dict
        With torchvision's names of today.
    form : {"zip", "legacy", "python2"}
        `torch.save` of today, its form before PyTorch 1.6, and that as Python 2.7 with PyTorch 0.2 wrote it on a GPU.
    """
    named = {published_name(architecture, name): tensor for name, tensor in state.items()}
    content = {
        "epoch": 90,
        "arch": architecture,
        "state_dict": _OldDict(named) if form == "python2" else named,
        "best_prec1": 50.0,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    if form == "python2":
        path.write_bytes(_with_strings_of_python2(path.read_bytes()))
    return path


@dataclass
class _OldDict:
    """Pickled as Python 2.7's OrderedDict: from a list of lists."""

    items: dict[str, Tensor]

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return OrderedDict, ([[name, _OldTensor(tensor)] for name, tensor in self.items.items()],)


@dataclass
class _OldTensor:
    """Pickled as a tensor of PyTorch 0.2: without `requires_grad` and hooks."""

    tensor: Tensor

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        typed: Any = TypedStorage
        storage = typed(wrap_storage=self.tensor.untyped_storage(), dtype=self.tensor.dtype, _internal=True)
        return _rebuild_tensor, (storage, self.tensor.storage_offset(), tuple(self.tensor.size()), self.tensor.stride())


def _with_strings_of_python2(content: bytes) -> bytes:
    """Change the five pickles at the start of a legacy file, all text and the device; the tensors' data follow."""
    stream, changed = io.BytesIO(content), bytearray()
    for _ in range(5):
        codes = list(pickletools.genops(stream))
        starts = [start or 0 for _, _, start in codes]
        for (code, argument, _), start, end in zip(codes, starts, [*starts[1:], stream.tell()], strict=True):
            if code.name == "BINUNICODE":
                text = str(argument).replace("cpu", "cuda:0").encode("ascii")
                changed += pickle.SHORT_BINSTRING + bytes([len(text)]) + text
            else:
                changed += content[start:end]
    return bytes(changed) + stream.read()


@dataclass(frozen=True)
class Layer:
    """A convolution of SoundNet as FACTS.md lists it."""

    filters: int
    kernel: int
    stride: int
    padding: int
    pool: int = 1


LAYERS = {
    8: (
        Layer(16, 64, 2, 32, 8),
        Layer(32, 32, 2, 16, 8),
        Layer(64, 16, 2, 8),
        Layer(128, 8, 2, 4),
        Layer(256, 4, 2, 2, 4),
        Layer(512, 4, 2, 2),
        Layer(1024, 4, 2, 2),
        Layer(0, 8, 2, 0),
    ),
    5: (
        Layer(32, 64, 2, 32, 8),
        Layer(64, 32, 2, 16, 8),
        Layer(128, 16, 2, 8, 8),
        Layer(256, 8, 2, 4),
        Layer(0, 16, 12, 4),
    ),
}
NORM = ("weight", "bias", "running_mean", "running_var")


@cache
def soundnet(depth: int, objects: int = 3, scenes: int = 2) -> dict[str, Tensor]:
    """Draw weights with the names and shapes of `sound8.pth`: 2-D convolutions (out, in, kernel, 1)."""
    generator = torch.Generator().manual_seed(depth)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    state, before = {}, 1
    for number, layer in enumerate(LAYERS[depth], start=1):
        outputs = {"": layer.filters} if number < depth else {"_objs": objects, "_scns": scenes}
        for suffix, filters in outputs.items():
            scale = (before * layer.kernel) ** -0.5
            state[f"conv{number}{suffix}.weight"] = draw(filters, before, layer.kernel, 1) * scale
            state[f"conv{number}{suffix}.bias"] = draw(filters)
        if number < depth:
            values = (
                1 + draw(layer.filters) / 10,
                draw(layer.filters),
                draw(layer.filters),
                1 + draw(layer.filters).abs(),
            )
            state |= {f"batchnorm{number}.{name}": value for name, value in zip(NORM, values, strict=True)}
            state[f"batchnorm{number}.num_batches_tracked"] = torch.tensor(7)
        before = layer.filters
    return state


def hear(state: Mapping[str, Tensor], depth: int, waveform: Tensor) -> dict[str, Tensor]:
    """Compute SoundNet as its ports do, with 2-D convolutions over (batch, 1, samples, 1)."""
    hidden = waveform[..., None]
    for number, layer in enumerate(LAYERS[depth], start=1):
        names = [f"conv{number}"] if number < depth else [f"conv{number}_objs", f"conv{number}_scns"]
        convolved = [
            torch.nn.functional.conv2d(
                hidden, state[f"{name}.weight"], state[f"{name}.bias"], (layer.stride, 1), (layer.padding, 0)
            )
            for name in names
        ]
        if number == depth:
            return dict(zip(("objects", "scenes"), (each[..., 0] for each in convolved), strict=True))
        weight, bias, mean, variance = (state[f"batchnorm{number}.{name}"] for name in NORM)
        normed = torch.nn.functional.batch_norm(convolved[0], mean, variance, weight, bias, eps=1e-5)
        hidden = torch.nn.functional.max_pool2d(normed.relu(), (layer.pool, 1))
    raise AssertionError


def as_numpy_dict(state: Mapping[str, Tensor], depth: int) -> dict[str, dict[str, NDArray[Any]]]:
    """Arrange weights as the TensorFlow port does: views of Torch's arrays, heads `conv8` and `conv8_2`."""
    layers = {}
    for number in range(1, depth + 1):
        heads = {"": ""} if number < depth else {"": "_objs", "_2": "_scns"}
        for suffix, ours in heads.items():
            name = f"conv{number}{ours}"
            layer = {
                "weights": state[f"{name}.weight"].numpy().transpose(2, 3, 1, 0),
                "biases": state[f"{name}.bias"].numpy(),
            }
            if number < depth:
                theirs = ("gamma", "beta", "mean", "var")
                layer |= {
                    key: state[f"batchnorm{number}.{name}"].numpy() for key, name in zip(theirs, NORM, strict=True)
                }
            layers[f"conv{number}{suffix}"] = layer
    return layers


def python2_npy(layers: Mapping[str, Mapping[str, NDArray[Any]]]) -> bytes:
    """Write a dict of arrays as `numpy.save` of Python 2 did: texts and arrays' data as strings of bytes."""

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(value)) + value

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"I%d\n" % value for value in values) + b"t"

    def array(shape: tuple[int, ...], element: bytes, order: bytes, fortran: bool, data: bytes) -> bytes:
        made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\nt" + text(b"b") + b"tR"
        kind = b"cnumpy\ndtype\n(" + text(element) + b"I0\nI1\ntR(I3\n" + text(order) + b"NNNI-1\nI-1\nI0\ntb"
        return made + b"(I1\n" + numbers(shape) + kind + (b"I01\n" if fortran else b"I00\n") + data + b"tb"

    def mapping(items: Mapping[str, bytes]) -> bytes:
        return b"}(" + b"".join(text(name.encode()) + value for name, value in items.items()) + b"u"

    def tensor(values: NDArray[Any]) -> bytes:
        fortran = values.flags.f_contiguous and not values.flags.c_contiguous
        return array(values.shape, b"f4", b"<", fortran, text(values.tobytes("F" if fortran else "C")))

    content = mapping(
        {name: mapping({key: tensor(each) for key, each in layer.items()}) for name, layer in layers.items()}
    )
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    header += b" " * (-(len(header) + 11) % 16) + b"\n"
    return (
        b"\x93NUMPY\x01\x00"
        + struct.pack("<H", len(header))
        + header
        + array((), b"O8", b"|", False, b"]" + content + b"a")
        + b"."
    )


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
