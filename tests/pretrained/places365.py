"""Files of the shape in which CSAIL published the networks of Places365, written as its training script did."""

import io
import pickle
import pickletools
import re
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._utils import _rebuild_tensor
from torch.storage import TypedStorage
from torchvision import models


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
