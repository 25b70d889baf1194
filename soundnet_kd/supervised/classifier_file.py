"""A classifier of sounds on disk: one safetensors file whose metadata is enough to build its network again.

A network from scratch is as `models/classifiers/network_file.py` has it; of the layers of a student with a new head the
metadata is `format_version`, `architecture`, `layer`, `class_names`, `preprocessing`, `training` (the last three JSON).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from soundnet_kd.errors import FormatError
from soundnet_kd.models import ARCHITECTURES, Preprocessing
from soundnet_kd.models import classifiers as from_scratch
from soundnet_kd.models.classifiers.network_file import CLASSIFIER_FILE as CLASSIFIER_FILE
from soundnet_kd.models.network_file import read_network, write_network
from soundnet_kd.storage import rename_damaged
from soundnet_kd.supervised.clip_classifier import ClipClassifier
from soundnet_kd.system.machine_errors import translate_machine_errors


def write_classifier(
    classifier: ClipClassifier | from_scratch.SoundClassifier, path: str | Path, training: Mapping[str, Any]
) -> None:
    """Write a classifier, whole or not at all.

    Parameters
    ----------
    classifier : ClipClassifier or SoundClassifier
    path : str or Path
    training : mapping
        How it came about; anything that JSON can hold.
    """
    path = Path(path)
    if isinstance(classifier, from_scratch.SoundClassifier):
        from_scratch.write_network(classifier, path, training)
        return
    description = {
        "architecture": type(classifier.network).__name__,
        "layer": classifier.layer,
        "class_names": json.dumps(classifier.class_names, ensure_ascii=False),
        "preprocessing": json.dumps(asdict(classifier.network.preprocessing)),
        "training": json.dumps(training, ensure_ascii=False),
    }
    write_network(classifier, path, description)


def read_classifier(path: str | Path) -> ClipClassifier | from_scratch.SoundClassifier:
    """Build the classifier that a file describes, in evaluation mode.

    Parameters
    ----------
    path : str or Path
        A `classifier.safetensors`, or the run folder of `soundnet-kd finetune` or `train` that holds one.

    Raises
    ------
    FormatError
        If the file is not one that `write_classifier` wrote, or its weights do not fit its description.
    """
    path = Path(path)
    file = path / CLASSIFIER_FILE if path.is_dir() else path
    if _is_from_scratch(file):
        return from_scratch.read_network(file)
    keys = ("architecture", "layer", "class_names", "preprocessing")
    return read_network(file, "classifier", "soundnet-kd finetune", keys, _built)


def is_classifier(path: Path) -> bool:
    """Tell whether a run's classifier is there; one that is damaged is set aside."""
    try:
        read_classifier(path)
    except FormatError:
        if path.exists():
            rename_damaged(path, "it is trained again")
        return False
    return True


def _is_from_scratch(file: Path) -> bool:
    try:
        with translate_machine_errors(file), safe_open(file, framework="pt") as opened:
            return "settings" in (opened.metadata() or {})
    except (SafetensorError, OSError):
        return False


def _built(description: Mapping[str, str]) -> ClipClassifier:
    class_names = json.loads(description["class_names"])
    if not isinstance(class_names, list) or not all(isinstance(name, str) for name in class_names):
        raise ValueError("it does not list the names of its classes")
    preprocessing = Preprocessing(**json.loads(description["preprocessing"]))
    network = ARCHITECTURES[description["architecture"]]({"unused": 1}, preprocessing)
    return ClipClassifier(network, description["layer"], class_names)
