"""Image networks by name, from the libraries that have them; teachers are built of these.

Another library, such as timm, is a class here that does what `Torchvision` does, and a line in `LIBRARIES`; weights of
its networks that others publish are entries of the registry.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.error import URLError

import torch
from torch import Tensor, nn

from soundnet_kd.errors import SettingsError, nearest
from soundnet_kd.system.cache_folders import home_folder
from soundnet_kd.system.machine_errors import machine_error


@dataclass(frozen=True)
class LibraryWeights:
    """A set of weights that a library publishes for one of its networks.

    Attributes
    ----------
    name : str
        As the library calls it.
    url : str
        Of its file.
    class_names : tuple of str
        In the order of the logits.
    transform : callable
        (3, height, width) uint8 -> (3, height', width') float32, as the weights were trained.
    """

    name: str
    url: str
    class_names: tuple[str, ...]
    transform: Callable[[Tensor], Tensor]


class ImageLibrary(Protocol):
    """What is asked of a library of image networks."""

    name: str

    def networks(self) -> Sequence[str]:
        """Return the names of its classification networks."""

    def build(self, network: str, classes: int) -> nn.Module:
        """Build a network with new weights, and with a logit for each class."""

    def weights(self, network: str) -> Sequence[LibraryWeights]:
        """Return its own sets of weights for a network, its usual one first."""

    def load(self, network: str, weights: LibraryWeights) -> nn.Module:
        """Build a network with its own weights, fetched once into its cache.

        Raises
        ------
        SettingsError
            If they cannot be fetched.
        """


class Torchvision:
    """The classification networks of torchvision; its weights are kept in torch's cache."""

    name = "torchvision"

    def networks(self) -> Sequence[str]:
        """Return the names of its classification networks."""
        from torchvision import models

        return list(models.list_models(module=models))

    def build(self, network: str, classes: int) -> nn.Module:
        """Build a network with new weights, and with a logit for each class."""
        from torchvision import models

        built: nn.Module = models.get_model(network, weights=None, num_classes=classes)
        return built

    def weights(self, network: str) -> Sequence[LibraryWeights]:
        """Return its own sets of weights for a network, its usual one first."""
        from torchvision import models

        members: dict[str, Any] = models.get_model_weights(network).__members__
        return [
            LibraryWeights(name, each.url, tuple(each.meta["categories"]), each.transforms())
            for name, each in members.items()
        ]

    def load(self, network: str, weights: LibraryWeights) -> nn.Module:
        """Build a network with its own weights, fetched once into torch's cache.

        Raises
        ------
        SettingsError
            If they cannot be fetched.
        """
        from torchvision import models

        if home_folder() is None and not {"TORCH_HOME", "XDG_CACHE_HOME"} & os.environ.keys():
            raise SettingsError(f"there is no home folder to keep {network}'s weights in; let TORCH_HOME name a folder")
        try:
            loaded: nn.Module = models.get_model(network, weights=models.get_model_weights(network)[weights.name])
        except (URLError, OSError, RuntimeError) as error:
            folder = Path(torch.hub.get_dir()) / "checkpoints"
            raise machine_error(error, folder) or SettingsError(
                f"{network}'s weights {weights.name} could not be fetched ({error}); fetch {weights.url} elsewhere, "
                f"put it into {folder}, and try again"
            ) from error
        return loaded


LIBRARIES: tuple[ImageLibrary, ...] = (Torchvision(),)


def find_library(network: str) -> ImageLibrary:
    """Return the library that has a network.

    Raises
    ------
    SettingsError
        If none has; the message names the nearest network.
    """
    known: list[str] = []
    for library in LIBRARIES:
        names = library.networks()
        if network in names:
            return library
        known += names
    libraries = " or ".join(library.name for library in LIBRARIES)
    raise SettingsError(f"{libraries} has no classification network {network!r}{nearest(network, known, always=True)}")
