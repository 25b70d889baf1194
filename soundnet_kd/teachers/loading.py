"""Teachers by name: torchvision's own, published ones, and files."""

import json
import os
from pathlib import Path
from urllib.error import URLError

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torchvision import models

from soundnet_kd.errors import SettingsError, nearest
from soundnet_kd.pretrained import PretrainedWeights, fetch, registry
from soundnet_kd.pretrained.fetching import sha256_of
from soundnet_kd.pretrained.formats.state_dict import load_weights
from soundnet_kd.system.cache_folders import home_folder
from soundnet_kd.system.machine_errors import machine_error
from soundnet_kd.teachers.teacher import Teacher, frame_transform


def load_teacher(spec: str, class_names: str | Path | None = None) -> Teacher:
    """Load a torchvision classification network as a teacher.

    Parameters
    ----------
    spec : str
        `NETWORK:WEIGHTS`, where WEIGHTS is a file with the network's state dict (`mobilenet_v2:weights.pth`), a set of
        weights in this package's registry (`resnet18:PLACES365`, fetched once into the user's cache) or a member of
        torchvision's weights enum (`resnet50:IMAGENET1K_V2`, fetched once into torch's cache); or a file alone that
        `write_teacher` wrote and that describes itself. Frames are prepared as the weights ask; for a file of weights
        as for the network's first set of torchvision weights.
    class_names : str or Path, optional
        A text file with a class a line, for a file of weights; without it the network must have ImageNet's 1000.
        Other weights bring their own.

    Raises
    ------
    SettingsError
        If there is no such network, weights or file, or the weights cannot be fetched.
    FormatError
        If the weights do not fit the network, or the class names the weights.
    """
    class_names = None if class_names is None else Path(class_names)
    if Path(spec).is_file():
        return _load_described(Path(spec))
    name, _, weights = spec.partition(":")
    if not weights:
        raise SettingsError(
            f"teacher {spec!r} should be NETWORK:WEIGHTS, such as resnet50:IMAGENET1K_V2, resnet18:PLACES365 or "
            "resnet18:FILE, or an existing file"
        )
    require_network(name)
    if Path(weights).is_file():
        return _load_file(name, Path(weights), class_names)
    if class_names is not None:
        raise SettingsError(f"{spec} brings its own class names; {class_names} is for weights in a file, leave it out")
    entry = registry().get(spec)
    return _load_enum(name, weights) if entry is None else _load_published(entry)


def _load_described(path: Path) -> Teacher:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise SettingsError(f"{path} does not say which network it is for; write NETWORK:{path}") from error
    if not {"network", "class_names", "input_size"} <= metadata.keys():
        raise SettingsError(f"{path} does not say which network it is for; write NETWORK:{path}")
    names = tuple(json.loads(metadata["class_names"]))
    network = network_from_file(metadata["network"], len(names), path)
    return Teacher(network, frame_transform(int(metadata["input_size"])), names, _identity(metadata["network"], path))


def _load_file(name: str, path: Path, class_names: Path | None) -> Teacher:
    enum = models.get_model_weights(name)
    standard = next(iter(enum))
    if class_names is None:
        names = tuple(standard.meta["categories"])
    else:
        if not class_names.is_file():
            raise SettingsError(f"there is no file of class names {class_names}")
        names = tuple(line.strip() for line in class_names.read_text(encoding="utf-8").splitlines() if line.strip())
    network = network_from_file(name, len(names), path)
    return Teacher(network, standard.transforms(), names, _identity(name, path))


def _load_published(entry: PretrainedWeights) -> Teacher:
    path, names, asked = fetch(entry), entry.class_names(), entry.preprocessing
    network = network_from_file(entry.architecture, len(names), path)
    transform = frame_transform(asked.crop, asked.resize, asked.mean, asked.std)
    identity = {"network": entry.architecture, "weights": entry.name.partition(":")[2], "sha256": sha256_of(path)}
    return Teacher(network, transform, names, identity)


def _load_enum(name: str, member: str) -> Teacher:
    network = network_from_torchvision(name, member)
    weights = models.get_model_weights(name)[member]
    identity = {"network": name, "weights": member, "url": weights.url}
    return Teacher(network, weights.transforms(), tuple(weights.meta["categories"]), identity)


def _identity(name: str, path: Path) -> dict[str, str]:
    return {"network": name, "weights": path.name, "sha256": sha256_of(path)}


def network_from_file(name: str, classes: int, path: str | Path) -> nn.Module:
    """Build a torchvision network, in evaluation mode, with the weights of a file.

    Parameters
    ----------
    name : str
        Its torchvision name.
    classes : int
    path : str or Path
        Anything that `read_state_dict` reads.

    Raises
    ------
    FormatError
        If the file cannot be trusted or read, or does not fit.
    """
    path = Path(path)
    network: nn.Module = models.get_model(name, weights=None, num_classes=classes)
    load_weights(network, path, f"{name} with {classes} classes")
    return network.eval()


def network_from_torchvision(name: str, member: str) -> nn.Module:
    """Build a torchvision network, in evaluation mode, with a set of its own weights, fetched once into torch's cache.

    Raises
    ------
    SettingsError
        If there is no such set, with the nearest that there is, or if it cannot be fetched.
    """
    enum = models.get_model_weights(name)
    if member not in enum.__members__:
        known = [*(f"{name}:{each}" for each in enum.__members__), *registry()]
        raise SettingsError(
            f"{name} has no weights {member!r} and there is no such file"
            f"{nearest(f'{name}:{member}', known, always=True)}"
        )
    if home_folder() is None and not {"TORCH_HOME", "XDG_CACHE_HOME"} & os.environ.keys():
        raise SettingsError(f"there is no home folder to keep {name}'s weights in; let TORCH_HOME name a folder")
    weights = enum[member]
    try:
        network: nn.Module = models.get_model(name, weights=weights)
    except (URLError, OSError, RuntimeError) as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise machine_error(error, folder) or SettingsError(
            f"{name}'s weights {member} could not be fetched ({error}); fetch {weights.url} elsewhere, "
            f"put it into {folder}, and try again"
        ) from error
    return network.eval()


def require_network(name: str) -> None:
    """Raise SettingsError, with the nearest name, if torchvision has no classification network `name`."""
    known = models.list_models(module=models)
    if name not in known:
        raise SettingsError(f"torchvision has no classification network {name!r}{nearest(name, known, always=True)}")
