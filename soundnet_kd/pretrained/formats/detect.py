"""The layouts in which SoundNet's weights are published, each read into this package's names and shapes.

| layout | how a convolution is kept |
|---|---|
| `pytorch` | state dict, 2-D: `convN.weight` (out, in, kernel, 1), heads `conv8_objs`, `conv8_scns` |
| `state dict` | this package's own names, 1-D |
| `lightning` | a checkpoint of `soundnet-kd distill`: this package's names behind `student.` |
| `numpy` | pickled dict: weights (kernel, 1, in, out), biases, mean, var, beta, gamma; heads `conv8`, `conv8_2` |
| `torch7` | modules in a `.t7`, alone or in a zip: weight (out, in, kernel, 1), bias, running_mean, running_var |
"""

import fnmatch
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from soundnet_kd.errors import FormatError
from soundnet_kd.pretrained.description import CHECKPOINT_KEY
from soundnet_kd.pretrained.formats.numpy_dict import MAGIC, read_numpy_dict
from soundnet_kd.pretrained.formats.state_dict import Checkpoint, one_line, read_checkpoint
from soundnet_kd.pretrained.formats.torch7 import STARTS, modules, read_torch7

MAX_BYTES = 1 << 29
"""No file of a student is larger, packed or unpacked."""
MAX_PACKED = 100
"""Weights hardly shrink when they are packed; what shrank more than this is made to fill a memory."""
MIN_BOMB = 1 << 20
"""In bytes; smaller files may shrink as they like."""
HEADS = ("objects", "scenes")
"""The order in which the authors' network has them."""

State = dict[str, Tensor]


@dataclass(frozen=True)
class Layout:
    """What a file of one of the layouts holds.

    Attributes
    ----------
    name : str
        The layout.
    state : dict from name to tensor
        With the names and dimensions of `SoundNet.state_dict`; sizes and values are not checked.
    description : mapping, optional
        What a checkpoint says of its student; not checked either, see `read_description`.
    """

    name: str
    state: State
    description: Any = None


def read_layout(path: str | Path, member: str | None = None) -> Layout:
    """Read a file of any layout without running anything that it may hold.

    Parameters
    ----------
    path : str or Path
    member : str, optional
        Pattern of the one file to read of a zip archive. [default: *.t7]

    Raises
    ------
    FormatError
        If the file is none of the layouts, is cut off or is hostile.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    with path.open("rb") as handle:
        start = handle.read(16)
    try:
        if start.startswith(MAGIC):
            return Layout("numpy", _from_numpy(path.read_bytes()))
        if start.startswith(STARTS):
            return Layout("torch7", _from_torch7(path.read_bytes()))
        if start.startswith(b"PK") and (packed := _member(path, member)) is not None:
            return Layout("torch7", _from_torch7(packed))
    except FormatError as error:
        raise FormatError(f"{path} {error}") from error
    if re.match(rb"[34]\s+1\s+\d", start):
        raise FormatError(f"{path} is Torch7's text form; only its binary form is read")
    return _from_checkpoint(read_checkpoint(path), path)


MAX_CONVOLUTIONS = 16
"""More are no network of SoundNet; each is copied, however often a file names the same numbers."""


def _from_checkpoint(found: Checkpoint, path: Path) -> Layout:
    tensors: State = {}
    layout = "lightning" if any(name.startswith("student.") for name in found.state) else "state dict"
    for name, value in found.state.items():
        if layout == "lightning":
            if not name.startswith("student."):
                continue
            name = name.removeprefix("student.")
        if not isinstance(value, Tensor) or value.layout is not torch.strided or value.is_quantized:
            raise FormatError(f"{path}: {name[:60]!r} is no plain tensor")
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise FormatError(f"{path}: {name[:60]!r} claims to be larger than what is stored of it")
        if head := re.fullmatch(r"(conv\d+)_(objs|scns)\.(weight|bias)", name):
            name = f"{head[1]}.{'objects' if head[2] == 'objs' else 'scenes'}.{head[3]}"
        if value.ndim == 4:
            layout = "pytorch"
            if value.shape[3] != 1:
                raise FormatError(f"{path}: {name} is {tuple(value.shape)}; the last size should be 1")
            value = value[..., 0]
        tensors[name] = value
    return Layout(layout, tensors, found.beside.get(CHECKPOINT_KEY))


def _from_numpy(content: bytes) -> State:
    found, state = read_numpy_dict(content), State()
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
        state[f"{name}.weight"] = torch.from_numpy(_native(kernel[:, 0].transpose(2, 1, 0)))
        state[f"{name}.bias"] = torch.from_numpy(_native(arrays["biases"]))
        if not is_head:
            for ours, theirs in (
                ("weight", "gamma"),
                ("bias", "beta"),
                ("running_mean", "mean"),
                ("running_var", "var"),
            ):
                if theirs not in arrays:
                    raise FormatError(f"has no {theirs} for {layer}")
                state[f"batchnorm{number}.{ours}"] = torch.from_numpy(_native(arrays[theirs]))
    return state


def _from_torch7(content: bytes) -> State:
    convolutions: list[State] = []
    norms: dict[int, State] = {}
    for module in modules(read_torch7(content)):
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
    return {name: torch.from_numpy(_native(fields[name])) for name in wanted}


def _native(array: Any) -> Any:
    """Return an array that torch takes: in memory of its own, in this machine's byte order."""
    return array.astype(array.dtype.newbyteorder("="), order="C", copy=True)


def _member(path: Path, pattern: str | None) -> bytes | None:
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
    if sum(info.file_size for info in infos) > MAX_BYTES:
        raise FormatError(f"unpacks to more than {MAX_BYTES} bytes; no student does")
