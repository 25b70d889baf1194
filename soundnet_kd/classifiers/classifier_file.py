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
from safetensors.torch import save_file

from soundnet_kd.classifiers.clip_classifier import ClipClassifier
from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.models import ARCHITECTURES, Preprocessing
from soundnet_kd.models.classifiers import SoundClassifier, read_network, write_network
from soundnet_kd.models.classifiers.network_file import CLASSIFIER_FILE as CLASSIFIER_FILE
from soundnet_kd.models.classifiers.network_file import FORMAT_VERSION
from soundnet_kd.storage import whole


def write_classifier(classifier: ClipClassifier | SoundClassifier, path: Path, training: Mapping[str, Any]) -> None:
    """Write a classifier, whole or not at all.

    Parameters
    ----------
    classifier : ClipClassifier or SoundClassifier
    path : Path
    training : mapping
        How it came about; anything that JSON can hold.
    """
    if isinstance(classifier, SoundClassifier):
        write_network(classifier, path, training)
        return
    metadata = {
        "format_version": str(FORMAT_VERSION),
        "architecture": type(classifier.network).__name__,
        "layer": classifier.layer,
        "class_names": json.dumps(classifier.class_names, ensure_ascii=False),
        "preprocessing": json.dumps(asdict(classifier.network.preprocessing)),
        "training": json.dumps(training, ensure_ascii=False),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in classifier.state_dict().items()}
    with whole(path) as partial:
        save_file(tensors, partial, metadata)


def read_classifier(path: Path) -> ClipClassifier | SoundClassifier:
    """Build the classifier that a file describes, in evaluation mode.

    Parameters
    ----------
    path : Path
        A `classifier.safetensors`, or the run folder of `soundnet-kd finetune` or `train` that holds one.

    Raises
    ------
    FormatError
        If the file is not one that `write_classifier` wrote, or its weights do not fit its description.
    """
    file_path = path / CLASSIFIER_FILE if path.is_dir() else path
    try:
        with safe_open(file_path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - safe_open is no mapping
        if metadata.get("format_version") != str(FORMAT_VERSION) or not {"layer", "settings"} & metadata.keys():
            raise FormatError(f"{file_path} is safetensors, but no classifier of format {FORMAT_VERSION}")
        if "settings" in metadata:
            return read_network(file_path)
        network = ARCHITECTURES[metadata["architecture"]](
            {"unused": 1}, Preprocessing(**json.loads(metadata["preprocessing"]))
        )
        classifier = ClipClassifier(network, metadata["layer"], json.loads(metadata["class_names"]))
        classifier.load_state_dict(tensors)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError, SettingsError) as error:
        reason = " ".join(str(error).split())
        raise FormatError(
            f"{file_path} is not a readable classifier ({reason}); make one with `soundnet-kd finetune` or `train`"
        ) from error
    return classifier.eval()
