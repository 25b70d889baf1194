"""SoundNet's weights in a file of each layout."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.pretrained.numpy_files import as_numpy_dict, python2_npy
from tests.pretrained.torch7_files import torch7_network

Write = Callable[[Path, dict[str, Tensor], int], None]


def write_pytorch(path: Path, state: dict[str, Tensor], depth: int) -> None:
    torch.save(state, path)


def write_pytorch_of_2018(path: Path, state: dict[str, Tensor], depth: int) -> None:
    """As PyTorch 0.3 did: no zip, no counters of batches."""
    old = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    torch.save(old, path, _use_new_zipfile_serialization=False)


def write_numpy(path: Path, state: dict[str, Tensor], depth: int) -> None:
    with path.open("wb") as handle:
        np.save(handle, np.array(as_numpy_dict(state, depth), dtype=object), allow_pickle=True)


def write_numpy_of_python2(path: Path, state: dict[str, Tensor], depth: int) -> None:
    path.write_bytes(python2_npy(as_numpy_dict(state, depth)))


def write_torch7(path: Path, state: dict[str, Tensor], depth: int) -> None:
    path.write_bytes(torch7_network(state, depth))


def write_torch7_of_doubles(path: Path, state: dict[str, Tensor], depth: int) -> None:
    path.write_bytes(torch7_network(state, depth, "Double"))


def write_torch7_in_a_zip(path: Path, state: dict[str, Tensor], depth: int) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if depth == 5 else zipfile.ZIP_STORED) as archive:
        archive.writestr("soundnet_models_public/README", "hello")
        archive.writestr("__MACOSX/soundnet_models_public/._soundnet.t7", "icon")
        archive.writestr(f"soundnet_models_public/soundnet{depth}_final.t7", torch7_network(state, depth))


def own_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {name.replace("_objs", ".objects").replace("_scns", ".scenes"): value for name, value in state.items()}
    return {name: value[..., 0] if value.ndim == 4 else value for name, value in renamed.items()}


def write_lightning(path: Path, state: dict[str, Tensor], depth: int) -> None:
    named = {f"student.{name}": value for name, value in own_names(state).items()}
    content = {
        "state_dict": named | {"loss.weight": torch.ones(1)},
        "global_step": 3,
        "optimizer_states": [{"lr": 1.0}],
    }
    torch.save(content, path)


def write_safetensors(path: Path, state: dict[str, Tensor], depth: int) -> None:
    save_file({name: value.contiguous() for name, value in state.items()}, path)


LAYOUTS: list[tuple[Write, str, str]] = [
    (write_pytorch, "sound.pth", "pytorch"),
    (write_pytorch_of_2018, "sound.pth", "pytorch"),
    (write_numpy, "sound.npy", "numpy"),
    (write_numpy_of_python2, "sound.npy", "numpy"),
    (write_torch7, "sound.t7", "torch7"),
    (write_torch7_of_doubles, "sound.t7", "torch7"),
    (write_torch7_in_a_zip, "sound.zip", "torch7"),
    (write_lightning, "step=3.ckpt", "lightning"),
    (write_safetensors, "sound.safetensors", "pytorch"),
]
