"""A network for labelled sounds on disk: one safetensors file whose metadata is enough to build it again.

Metadata: `format_version`, `architecture`, `settings`, `class_names`, `training` (the last three JSON).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.models.classifiers.registry import build_classifier
from soundnet_kd.models.classifiers.sound_classifier import HEAD, SoundClassifier
from soundnet_kd.storage import whole

FORMAT_VERSION = 1
CLASSIFIER_FILE = "classifier.safetensors"
"""Name of the classifier in a run folder."""


def write_network(network: SoundClassifier, path: Path, training: Mapping[str, Any]) -> None:
    """Write a network, whole or not at all.

    Parameters
    ----------
    network : SoundClassifier
    path : Path
    training : mapping
        How it came about; anything that JSON can hold.
    """
    metadata = {
        "format_version": str(FORMAT_VERSION),
        "architecture": type(network).__name__,
        "settings": json.dumps(network.settings, ensure_ascii=False),
        "class_names": json.dumps(network.class_names[HEAD], ensure_ascii=False),
        "training": json.dumps(training, ensure_ascii=False),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with whole(path) as partial:
        save_file(tensors, partial, metadata)


def read_network(path: Path) -> SoundClassifier:
    """Build the network that a file describes, in evaluation mode.

    Parameters
    ----------
    path : Path
        A `classifier.safetensors`, or the run folder of `soundnet-kd train` that holds one.

    Raises
    ------
    FormatError
        If the file is not one that `write_network` wrote, or its weights do not fit its description.
    """
    file_path = path / CLASSIFIER_FILE if path.is_dir() else path
    try:
        with safe_open(file_path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - safe_open is no mapping
        if metadata.get("format_version") != str(FORMAT_VERSION) or "settings" not in metadata:
            raise FormatError(f"it is safetensors, but no network of format {FORMAT_VERSION}")
        network = build_classifier(metadata["architecture"], json.loads(metadata["settings"]))
        network.load_state_dict(tensors)
    except (
        SafetensorError,
        OSError,
        KeyError,
        TypeError,
        ValueError,
        RuntimeError,
        SettingsError,
        FormatError,
    ) as error:
        reason = " ".join(str(error).split())
        raise FormatError(
            f"{file_path} is not a readable network for labelled sounds ({reason}); make one with `soundnet-kd train`"
        ) from error
    return network.eval()
