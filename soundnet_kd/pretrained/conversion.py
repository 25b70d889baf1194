"""A network from a file of any layout: built, checked and bound to its classes and preprocessing."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from soundnet_kd.errors import FormatError, SettingsError, SoundNetKDError, one_line
from soundnet_kd.models import (
    STUDENT_FILE,
    Network,
    Preprocessing,
    SoundNet5,
    SoundNet8,
    Student,
    build_student,
    read_student,
)
from soundnet_kd.models.architectures import parse_name
from soundnet_kd.models.checkpoint import kind_of
from soundnet_kd.models.device import Undrawn
from soundnet_kd.pretrained.description import from_json, read_description
from soundnet_kd.pretrained.formats import read_layout
from soundnet_kd.pretrained.formats.keras_hdf5 import is_keras
from soundnet_kd.pretrained.formats.layout import MAX_STUDENT_BYTES, Layout, State
from soundnet_kd.pretrained.formats.state_dict import is_safetensors
from soundnet_kd.pretrained.keras_networks import build_from_keras
from soundnet_kd.pretrained.registry import PretrainedStudent, class_list
from soundnet_kd.system.machine_errors import machine_error

UNTRAINED_FILE = "untrained.safetensors"
"""In a run folder, the student before its first step: untrained, or as the one that it starts from was."""
MAX_CLASSES = 100_000
KNOWN_CLASSES: Mapping[tuple[str, int], str] = {
    ("objects", 1000): "soundnet_objects.txt",
    ("scenes", 401): "soundnet_scenes.txt",
    ("scenes", 365): "places365.txt",
}

Names = Mapping[str, int | Sequence[str]]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Converted:
    """A network from a file.

    Attributes
    ----------
    network : Network
        In evaluation mode: a student, or of Keras's files a network from scratch.
    layout : str
        One of `soundnet_kd.pretrained.formats`, or `student` for this package's `student.safetensors`.
    training : mapping
        How it was trained, if the file says so.
    """

    network: Network
    layout: str
    training: Mapping[str, Any]


def convert(
    path: str | Path, entry: PretrainedStudent | None = None, class_names: Sequence[str] | None = None
) -> Converted:
    """Read a network in any of the layouts, without running anything that the file may hold.

    Parameters
    ----------
    path : str or Path
    entry : PretrainedStudent, optional
        What it should be; without it, classes and preprocessing are those in the file, or, for a checkpoint without
        them, in its run folder, or else SoundNet's own.
    class_names : sequence of str, optional
        Names of the outputs' classes, for a network from Keras, whose files hold none.

    Raises
    ------
    FormatError
        If the file is none of the layouts, is cut off, is hostile, or holds other shapes or values that are not finite.
    SettingsError
        If class names are given for a file that is not Keras's, or another number of them than it has outputs.
    """
    path = Path(path)
    try:
        if (size := path.stat().st_size) > MAX_STUDENT_BYTES:
            raise FormatError(f"{path} has {size} bytes, more than any student")
        if is_keras(path):
            return _from_keras(path, entry, class_names)
        if class_names is not None:
            raise SettingsError(f"{path} is no file of Keras; --classes names the classes of those only")
        if is_safetensors(path) and _describes_itself(path):
            return _own(path, entry)
        layout = read_layout(path, entry.member if entry is not None else None)
        if entry is not None and entry.member is not None and layout.name != "torch7":
            raise FormatError(f"{path} has the layout {layout.name}; {entry.name} is a network of Torch7")
    except OSError as error:
        raise machine_error(error, path) or FormatError(
            f"{path} cannot be read: {error.strerror or one_line(error)}"
        ) from error
    return Converted(_build(path, layout, entry), layout.name, {})


def _build(path: Path, layout: Layout, entry: PretrainedStudent | None) -> Student:
    """Put tensors into the network whose shapes they have."""
    state = layout.state
    found = {name: re.fullmatch(r"conv(\d+)\.(\w+)\.weight", name) for name in state}
    heads = {match[2]: state[name].shape[0] for name, match in found.items() if match and state[name].ndim}
    layers = {match[1] for match in found.values() if match}
    blocks = {known.__name__: str(known.depth_in_blocks()) for known in (SoundNet8, SoundNet5)}
    architecture = next((name for name, number in blocks.items() if layers == {number}), None)
    if layout.description is not None:
        # A checkpoint tells its own, which may be none of SoundNet's, or of another width.
        told = read_description(layout.description, path).architecture
        architecture = told if architecture in (None, parse_name(told)[0]) else architecture
    if architecture is None or not heads:
        raise FormatError(
            f"{path} holds no network of SoundNet with {' or '.join(blocks.values())} layers; it has "
            f"{', '.join(name[:40] for name in list(state)[:4]) or 'no weights'}"
        )
    for head, classes in heads.items():
        if not 1 <= classes <= MAX_CLASSES:
            raise FormatError(f"{path} has an output of {classes} {head[:40]}; 1 to {MAX_CLASSES} classes are read")
    names, preprocessing = _names(path, architecture, heads, layout, entry)
    try:
        with torch.device("meta"), Undrawn():
            student = build_student(architecture, names, preprocessing)
    except Exception as error:  # torch's modules refuse some names
        raise FormatError(f"{path} has impossible outputs: {one_line(error)}") from error
    state = {name: tensor for name, tensor in state.items() if not name.endswith(".num_batches_tracked")}
    _check_tensors(path, state, student, architecture)
    counters = {name: torch.tensor(0) for name in student.state_dict() if name.endswith(".num_batches_tracked")}
    student.load_state_dict(
        {name: tensor.float().contiguous() for name, tensor in state.items()} | counters, assign=True
    )
    _check_values(path, student)
    for parameter in student.parameters():
        parameter.requires_grad_(True)
    return student.eval()


def _from_keras(path: Path, entry: PretrainedStudent | None, class_names: Sequence[str] | None) -> Converted:
    if entry is not None:
        raise FormatError(f"{path} is a file of Keras, which {entry.name} was never published as")
    network = build_from_keras(path, class_names)
    _check_values(path, network)
    return Converted(network, "keras", {})


def _check_values(path: Path, network: Network) -> None:
    state = network.state_dict()
    if not all(bool(torch.isfinite(tensor).all()) for tensor in state.values()):
        raise FormatError(f"{path} holds weights that are not finite numbers")
    if any(bool((tensor < 0).any()) for name, tensor in state.items() if name.endswith("running_var")):
        raise FormatError(f"{path} holds a negative variance")


def _check_tensors(path: Path, state: State, student: Student, architecture: str) -> None:
    expected = {
        name: tensor for name, tensor in student.state_dict().items() if not name.endswith(".num_batches_tracked")
    }
    for name, tensor in expected.items():
        if name not in state:
            raise FormatError(f"{path} lacks {name}, which {architecture} has")
        if state[name].shape != tensor.shape:
            raise FormatError(
                f"{path} has {name} as {tuple(state[name].shape)}; {architecture} has {tuple(tensor.shape)}"
            )
        if not state[name].is_floating_point():
            raise FormatError(f"{path} has {name} as {state[name].dtype}, not as floating-point numbers")
    for name in state.keys() - expected.keys():
        raise FormatError(f"{path} has {name[:60]!r}, which {architecture} has not")


def _names(
    path: Path, architecture: str, heads: Mapping[str, int], layout: Layout, entry: PretrainedStudent | None
) -> tuple[Names, Preprocessing]:
    """Return the classes of each head, by name where they are known, and the preprocessing."""
    if entry is not None:
        _require_entry(path, architecture, heads, entry)
        return entry.class_names(), entry.preprocessing
    if layout.description is not None:
        return _described(path, architecture, heads, layout.description)
    if layout.name == "lightning":
        return _undescribed(path, heads)
    return _usual_names(heads), Preprocessing()


def _require_entry(path: Path, architecture: str, heads: Mapping[str, int], entry: PretrainedStudent) -> None:
    sizes = {head: len(names) for head, names in entry.class_names().items()}
    if architecture != entry.architecture or dict(heads) != sizes:
        raise FormatError(
            f"{path} holds {architecture} with {_counted(heads)}; {entry.name} is {entry.architecture} with "
            f"{_counted(sizes)}"
        )


def _described(
    path: Path, architecture: str, heads: Mapping[str, int], description: Any
) -> tuple[Names, Preprocessing]:
    """Return class names and preprocessing as a checkpoint describes them, if it describes the network in it."""
    told = read_description(description, path)
    if told.architecture != architecture or told.sizes() != dict(heads):
        raise FormatError(
            f"{path} holds {architecture} with {_counted(heads)}, but describes {told.architecture} with "
            f"{_counted(told.sizes())}"
        )
    return told.class_names, told.preprocessing


def _undescribed(path: Path, heads: Mapping[str, int]) -> tuple[Names, Preprocessing]:
    """Class names and preprocessing of a checkpoint without them: those of its run folder, if it lies in it."""
    silent = f"{path} does not hold its class names and preprocessing, as older checkpoints do not"
    for folder in (path.parent, path.parent.parent):
        for file in (folder / STUDENT_FILE, folder / UNTRAINED_FILE):
            if file.is_file():
                student = read_student(file)
                if {head: len(names) for head, names in student.class_names.items()} == dict(heads):
                    log.warning("%s; they are taken from %s", silent, file)
                    return student.class_names, student.preprocessing
    log.warning("%s; SoundNet's own are assumed. If they are wrong, import it where it lies in its run folder", silent)
    return _usual_names(heads), Preprocessing()


def _usual_names(heads: Mapping[str, int]) -> Names:
    """Return the class names where their number tells which they are, elsewhere their number."""
    return {
        head: class_list(KNOWN_CLASSES[head, size]) if (head, size) in KNOWN_CLASSES else size
        for head, size in heads.items()
    }


def _counted(heads: Mapping[str, int]) -> str:
    return ", ".join(f"{size} {head[:40]}" for head, size in list(heads.items())[:4])


def _describes_itself(path: Path) -> bool:
    try:
        with safe_open(path, framework="pt") as file:
            return "architecture" in (file.metadata() or {})
    except Exception as error:  # safetensors fails in several ways on a file that is broken
        raise machine_error(error, path) or FormatError(
            f"{path} is not readable as safetensors: {one_line(error)}"
        ) from error


def _own(path: Path, entry: PretrainedStudent | None) -> Converted:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        if (kind := kind_of(metadata)) != Student.kind:
            raise FormatError(
                f"{path} holds a network of another kind ({kind:.40}), no student; it needs no import: extract, "
                "predict and peel take the file"
            )
        description = read_description(metadata, path)
        training = from_json(metadata["training"])
        if not isinstance(training, dict):
            raise FormatError(f"{path} does not say how it was trained in a table")
        student = read_student(path)
    except SoundNetKDError:
        raise
    except Exception as error:  # the metadata can be anything
        raise machine_error(error, path) or FormatError(
            f"{path} does not describe its network: {one_line(error)}"
        ) from error
    if entry is not None:
        _require_entry(path, description.architecture, description.sizes(), entry)
        if description.class_names != entry.class_names() or description.preprocessing != entry.preprocessing:
            raise FormatError(f"{path} has other class names or another preprocessing than {entry.name}")
    return Converted(student, "student", training)
