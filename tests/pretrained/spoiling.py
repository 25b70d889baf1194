"""Files that are no students, or are made to do harm."""

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch._utils import _rebuild_tensor
from torch.storage import TypedStorage

from soundnet_kd import SoundNet5
from soundnet_kd.models import write_network
from soundnet_kd.pretrained.description import CHECKPOINT_KEY
from soundnet_kd.pretrained.formats.layout import MAX_STUDENT_BYTES
from tests.pretrained.layouts import Write, own_names, write_lightning, write_pytorch
from tests.pretrained.numpy_files import as_numpy_dict
from tests.pretrained.soundnet import soundnet
from tests.pretrained.torch7_files import torch7_network


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return (os.system, ('touch "${SOUNDNET_KD_CACHE}.executed"',))


def hostile_pytorch(path: Path) -> None:
    torch.save({"conv1.weight": Hostile()}, path)


def hostile_numpy(path: Path) -> None:
    with path.open("wb") as handle:
        np.save(handle, np.array({"conv1": {"weights": Hostile()}}, dtype=object), allow_pickle=True)


def pickled(*codes: bytes) -> Callable[[Path], None]:
    """Write a .npy file whose pickle has these codes."""

    def write(path: Path) -> None:
        stream = io.BytesIO()
        np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": ()})
        path.write_bytes(stream.getvalue() + b"".join(codes) + pickle.STOP)

    return write


def changed(name: str, change: Callable[[Tensor], Tensor], write: Write = write_pytorch) -> Callable[[Path], None]:
    def changed(path: Path) -> None:
        state = soundnet(5)
        write(path, state | {name: change(state[name])}, 5)

    return changed


class Beyond:
    """Pickled as a tensor of 2^20 numbers in a storage of four."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        typed: Any = TypedStorage
        storage = typed(wrap_storage=torch.ones(4).untyped_storage(), dtype=torch.float32, _internal=True)
        return _rebuild_tensor, (storage, 0, (1 << 20,), (1,))


def without(name: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        torch.save({key: value for key, value in soundnet(5).items() if key != name}, path)

    return write


def member_named(name: str) -> Callable[[Path], None]:
    """Write a zip archive with a whole network under a name."""

    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, torch7_network(soundnet(5), 5))

    return write


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("soundnet8.t7", bytes(30_000_000))


def bomb_for_torch(path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(5_000_000)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def numpy_layers(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path], None]:
    """Write a .npy dict whose layers are changed."""

    def write(path: Path) -> None:
        with path.open("wb") as handle:
            np.save(handle, np.array(change(as_numpy_dict(soundnet(5), 5)), dtype=object), allow_pickle=True)

    return write


def two_networks(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("soundnet8.t7", b"")
        archive.writestr("soundnet5.t7", b"")


def nothing(path: Path) -> None:
    path.write_bytes(b"")


def web_page(path: Path) -> None:
    path.write_text("\n<!DOCTYPE html><html><body>The server is being repaired</body></html>")


def many_classes(path: Path) -> None:
    torch.save(soundnet(5) | {"conv5_objs.weight": torch.zeros(1).expand(1 << 40, 256, 16, 1)}, path)


def described(**changed: str) -> Callable[[Path], None]:
    """Write a student.safetensors whose description is changed."""

    def write(path: Path) -> None:
        student = path.with_name("student.safetensors")
        write_network(SoundNet5({"objects": ["cat"]}), student, {})
        with safe_open(student, framework="pt") as file:
            metadata = file.metadata()
        save_file(load_file(student), path, metadata | changed)
        student.unlink()

    return write


def half_a_student(path: Path) -> None:
    described()(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def safetensors(header: dict[str, Any], length: int | None = None) -> Callable[[Path], None]:
    """Write a safetensors file of 16 bytes of numbers, with any header, and any length that this is said to have."""

    def write(path: Path) -> None:
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + bytes(16))

    return write


def larger_than_any_student(path: Path) -> None:
    """A file that says what it is, with nothing but a hole after that."""
    described()(path)
    os.truncate(path, MAX_STUDENT_BYTES + 1)


def checkpoint_described(description: Any) -> Callable[[Path], None]:
    """Write a checkpoint of five layers, 3 objects and 2 scenes, that says anything of its student."""

    def write(path: Path) -> None:
        write_lightning(path, soundnet(5), 5)
        torch.save(torch.load(path, weights_only=True) | {CHECKPOINT_KEY: description}, path)

    return write


def named_head(head: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        torch.save({name.replace("objects", head): value for name, value in own_names(soundnet(5)).items()}, path)

    return write
