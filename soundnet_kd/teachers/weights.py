"""Image networks with their weights: torchvision's own, those of the registry, those in files."""

import difflib
import os
from pathlib import Path
from urllib.error import URLError

import torch
from torch import nn
from torchvision import models

from soundnet_kd.errors import SettingsError
from soundnet_kd.pretrained import registry
from soundnet_kd.pretrained.formats.state_dict import load_weights
from soundnet_kd.system.cache_folders import home_folder
from soundnet_kd.system.machine_errors import machine_error


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
            f"{name} has no weights {member!r} and there is no such file; "
            f"did you mean {nearest(f'{name}:{member}', known)!r}?"
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
        raise SettingsError(
            f"torchvision has no classification network {name!r}; did you mean {nearest(name, known)!r}?"
        )


def nearest(name: str, known: list[str]) -> str:
    """Give the one of `known` that `name` most likely means, whatever its case."""
    by_lower = {each.lower(): each for each in known}
    return by_lower[difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.0)[0]]
