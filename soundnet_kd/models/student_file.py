"""A student on disk: one safetensors file whose metadata is enough to build its network again.

Metadata: `format_version`, `architecture`, `class_names` (JSON: head to names), `preprocessing` (JSON),
`training` (JSON: the settings, figures and versions that made it).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.models.preprocessing import Preprocessing
from soundnet_kd.models.soundnet import ARCHITECTURES, SoundNet
from soundnet_kd.storage import whole

FORMAT_VERSION = 1
STUDENT_FILE = "student.safetensors"
"""Name of the student in a run folder."""


def write_student(student: SoundNet, path: Path, training: Mapping[str, Any]) -> None:
    """Write a student, whole or not at all.

    Parameters
    ----------
    student : SoundNet
    path : Path
        Usually `student.safetensors`.
    training : mapping
        How it came about; anything that JSON can hold.
    """
    metadata = {
        "format_version": str(FORMAT_VERSION),
        "architecture": type(student).__name__,
        "class_names": json.dumps(student.class_names, ensure_ascii=False),
        "preprocessing": json.dumps(asdict(student.preprocessing)),
        "training": json.dumps(training, ensure_ascii=False),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in student.state_dict().items()}
    with whole(path) as partial:
        save_file(tensors, partial, metadata)


def read_student(path: Path) -> SoundNet:
    """Build the network that a file describes, with its weights, class names and preprocessing, in evaluation mode.

    Raises
    ------
    FormatError
        If the file is not one that `write_student` wrote, or its weights do not fit its description.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - safe_open is no mapping
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path} is not a readable student ({error}); make one with `soundnet-kd distill`") from error
    if metadata.get("format_version") != str(FORMAT_VERSION) or metadata.get("architecture") not in ARCHITECTURES:
        raise FormatError(
            f"{path} is safetensors, but no student of format {FORMAT_VERSION} (format "
            f"{metadata.get('format_version')}, architecture {metadata.get('architecture')})"
        )
    with torch.device("meta"):
        # Nothing is allocated for what the description says before the weights are seen to fit it.
        student = ARCHITECTURES[metadata["architecture"]](*_described(metadata, path))
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise FormatError(f"{path} holds weights that are not finite numbers; its training diverged")
    try:
        student.load_state_dict(
            {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()},
            assign=True,
        )
    except RuntimeError as error:
        raise FormatError(
            f"{path}: the weights do not fit {metadata['architecture']}: {' '.join(str(error).split())}"
        ) from error
    return student.eval()


def _described(metadata: Mapping[str, str], path: Path) -> tuple[dict[str, list[str]], Preprocessing]:
    try:
        class_names = json.loads(metadata["class_names"])
        preprocessing = Preprocessing(**json.loads(metadata["preprocessing"]))
    except (KeyError, TypeError, ValueError, SettingsError) as error:
        raise FormatError(f"{path} does not describe its network as it should ({error})") from error
    # A number would build as many names as it says.
    if not isinstance(class_names, dict) or not all(
        head.isidentifier() and isinstance(names, list) and all(isinstance(name, str) for name in names)
        for head, names in class_names.items()
    ):
        raise FormatError(f"{path} does not list the names of its student's classes")
    return class_names, preprocessing


def read_training(path: Path) -> dict[str, Any]:
    """Give the settings, figures and versions that made a student."""
    with safe_open(path, framework="pt") as file:
        training: dict[str, Any] = json.loads(file.metadata()["training"])
    return training
