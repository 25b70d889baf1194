"""A student on disk: one safetensors file whose metadata is enough to build its network again.

Metadata: `format_version`, `architecture`, `class_names` (JSON: head to names), `preprocessing` (JSON),
`training` (JSON: the settings, figures and versions that made it).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import safe_open

from soundnet_kd.models.network_file import read_network, write_network
from soundnet_kd.models.preprocessing import Preprocessing
from soundnet_kd.models.soundnet import ARCHITECTURES, SoundNet

STUDENT_FILE = "student.safetensors"
"""Name of the student in a run folder."""


def write_student(student: SoundNet, path: str | Path, training: Mapping[str, Any]) -> None:
    """Write a student, whole or not at all.

    Parameters
    ----------
    student : SoundNet
    path : str or Path
        Usually `student.safetensors`.
    training : mapping
        How it came about; anything that JSON can hold.
    """
    path = Path(path)
    description = {
        "architecture": type(student).__name__,
        "class_names": json.dumps(student.class_names, ensure_ascii=False),
        "preprocessing": json.dumps(asdict(student.preprocessing)),
        "training": json.dumps(training, ensure_ascii=False),
    }
    write_network(student, path, description)


def read_student(path: str | Path) -> SoundNet:
    """Build the network that a file describes, with its weights, class names and preprocessing, in evaluation mode.

    Raises
    ------
    FormatError
        If the file is not one that `write_student` wrote, or its weights do not fit its description.
    """
    path = Path(path)
    keys = ("architecture", "class_names", "preprocessing")
    return read_network(path, "student", "soundnet-kd distill", keys, _built)


def _built(description: Mapping[str, str]) -> SoundNet:
    class_names = json.loads(description["class_names"])
    # A number would build as many names as it says.
    if not isinstance(class_names, dict) or not all(
        head.isidentifier() and isinstance(names, list) and all(isinstance(name, str) for name in names)
        for head, names in class_names.items()
    ):
        raise ValueError("it does not list the names of its classes")
    architecture = ARCHITECTURES[description["architecture"]]
    return architecture(class_names, Preprocessing(**json.loads(description["preprocessing"])))


def read_training(path: str | Path) -> dict[str, Any]:
    """Return the settings, figures and versions that made a student."""
    path = Path(path)
    with safe_open(path, framework="pt") as file:
        training: dict[str, Any] = json.loads(file.metadata()["training"])
    return training
