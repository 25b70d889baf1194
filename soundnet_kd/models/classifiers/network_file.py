"""A network for labelled sounds on disk: one safetensors file whose metadata is enough to build it again.

Metadata: `format_version`, `architecture`, `settings`, `class_names`, `training` (the last three JSON).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from soundnet_kd.models import network_file
from soundnet_kd.models.classifiers.registry import build_classifier
from soundnet_kd.models.classifiers.sound_classifier import HEAD, SoundClassifier

CLASSIFIER_FILE = "classifier.safetensors"
"""Name of the classifier in a run folder."""


def write_network(network: SoundClassifier, path: str | Path, training: Mapping[str, Any]) -> None:
    """Write a network, whole or not at all.

    Parameters
    ----------
    network : SoundClassifier
    path : str or Path
    training : mapping
        How it came about; anything that JSON can hold.
    """
    path = Path(path)
    description = {
        "architecture": type(network).__name__,
        "settings": json.dumps(network.settings, ensure_ascii=False),
        "class_names": json.dumps(network.class_names[HEAD], ensure_ascii=False),
        "training": json.dumps(training, ensure_ascii=False),
    }
    network_file.write_network(network, path, description)


def read_network(path: str | Path) -> SoundClassifier:
    """Build the network that a file describes, in evaluation mode.

    Parameters
    ----------
    path : str or Path
        A `classifier.safetensors`, or the run folder of `soundnet-kd train` that holds one.

    Raises
    ------
    FormatError
        If the file is not one that `write_network` wrote, or its weights do not fit its description.
    """
    path = Path(path)
    file = path / CLASSIFIER_FILE if path.is_dir() else path
    keys = ("architecture", "settings")
    return network_file.read_network(file, "network for labelled sounds", "soundnet-kd train", keys, _built)


def _built(description: Mapping[str, str]) -> SoundClassifier:
    return build_classifier(description["architecture"], json.loads(description["settings"]))
