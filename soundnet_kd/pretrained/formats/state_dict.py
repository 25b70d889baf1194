"""State dicts from files that are not trusted, in the layouts in which image networks are published."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from soundnet_kd.errors import FormatError, one_line
from soundnet_kd.pretrained.description import CHECKPOINT_KEY
from soundnet_kd.pretrained.formats.layout import Layout, SourceFile, State
from soundnet_kd.system.machine_errors import machine_error


@dataclass(frozen=True)
class Checkpoint:
    """What a file of tensors holds.

    Attributes
    ----------
    state : dict from name to value
        Named as in the file.
    beside : mapping from name to value
        The other values of the file, if it has the state dict under the key `state_dict`.
    """

    state: dict[str, Any]
    beside: Mapping[Any, Any]


def read_state_dict(path: str | Path) -> dict[str, Any]:
    """Read a state dict without running anything that the file may hold; see `read_checkpoint`."""
    path = Path(path)
    return read_checkpoint(path).state


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a state dict and the values beside it, without running anything that the file may hold.

    Parameters
    ----------
    path : str or Path
        A `.safetensors` file, or one of `torch.save` with a state dict, alone or under the key `state_dict`.

    Raises
    ------
    FormatError
        If the file is cut off, is something else or holds more than tensors and plain values.
    """
    path = Path(path)
    try:
        if is_safetensors(path):
            return Checkpoint(safetensors.torch.load_file(path), {})
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise machine_error(error, path) or FormatError(f"{path} cannot be read: {one_line(error)}") from error
    except Exception as error:  # torch's readers fail in many ways on a file that is broken or hostile
        raise machine_error(error, path) or FormatError(
            f"{path} is not a file of tensors alone that can be trusted and read: {_why(error, path)}"
        ) from error
    beside = content if isinstance(content, Mapping) and "state_dict" in content else {}
    state = beside.get("state_dict", content)
    if not isinstance(state, Mapping) or not state or not all(isinstance(key, str) for key in state):
        raise FormatError(f"{path} holds no state dict")
    return Checkpoint(dict(state), beside)


def read_layout(file: SourceFile) -> Layout:
    """Read a file of the layouts `pytorch`, `state dict` and `lightning`.

    Raises
    ------
    FormatError
        If it is none of these, is cut off or holds more than tensors and plain values.
    """
    path = file.path
    found = read_checkpoint(path)
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
        if value.ndim == 4 and layout != "lightning":
            layout = "pytorch"
            if value.shape[3] != 1:
                raise FormatError(f"{path}: {name} is {tuple(value.shape)}; the last size should be 1")
            value = value[..., 0]
        tensors[name] = value
    return Layout(layout, tensors, found.beside.get(CHECKPOINT_KEY))


def load_weights(network: nn.Module, path: str | Path, described: str, assign: bool = False) -> None:
    """Load a file's state dict into a network.

    Its names may be the network's own, those with `module` in front or in between that `nn.DataParallel` leaves, or
    those of DenseNets before torchvision 0.2.1 (`denselayer1.norm.1.weight`).

    Parameters
    ----------
    network : nn.Module
    path : str or Path
    described : str
        What the network is, for the message.
    assign : bool
        Put the file's tensors in the place of the network's, which may then be on the meta device.

    Raises
    ------
    FormatError
        If the file cannot be read or does not fit.
    """
    path = Path(path)
    expected = network.state_dict().keys()
    state = {key if key in expected else _modern_name(key): value for key, value in read_state_dict(path).items()}
    try:
        network.load_state_dict(state, assign=assign)
    except RuntimeError as error:
        raise FormatError(f"{path} does not fit {described}: {one_line(error)}") from error


def is_safetensors(path: str | Path) -> bool:
    """Whether a file begins as safetensors do, with the length of a JSON object and that object, or is named so."""
    path = Path(path)
    with path.open("rb") as handle:
        return path.suffix == ".safetensors" or handle.read(9)[6:] == b"\0\0{"


def _modern_name(key: str) -> str:
    plain = ".".join(part for part in key.split(".") if part != "module")
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", plain)


def _why(error: Exception, path: Path) -> str:
    """Say what torch or safetensors found, without torch's advice to open the file all the same."""
    with path.open("rb") as handle:
        start = handle.read(512).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page"
    if isinstance(error, EOFError):
        return "it ends too early"
    found = error.__context__ if isinstance(error, UnpicklingError) else None
    return one_line(found or error)
