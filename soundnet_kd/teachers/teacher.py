"""A teacher: an image classification network, the transform that it was trained with, and the names of its classes."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torchvision import models
from torchvision.transforms import v2

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.pretrained import PretrainedWeights, fetch, registry
from soundnet_kd.pretrained.fetching import sha256_of
from soundnet_kd.storage import whole
from soundnet_kd.teachers.weights import nearest, network_from_file, network_from_torchvision

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of red, green, blue in 0..1, as torchvision's weights have them."""


@dataclass(frozen=True)
class Teacher:
    """What a teacher is; build one by hand to use any network.

    Attributes
    ----------
    network : nn.Module
        (frames, 3, height, width) float32 -> (frames, classes) logits.
    transform : callable
        (3, height, width) uint8 -> (3, height', width') float32, the same size for every frame.
    class_names : tuple of str
        In the order of the logits.
    identity : mapping
        What tells this teacher from others (network, hash of its weights); goes into the targets.
    """

    network: nn.Module
    transform: Callable[[Tensor], Tensor]
    class_names: tuple[str, ...]
    identity: Mapping[str, str] = field(default_factory=dict)

    @torch.inference_mode()
    def label(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Say what is to be seen.

        Parameters
        ----------
        images : sequence of (height, width, 3) uint8
            RGB; sizes may differ.

        Returns
        -------
        (images, classes) float32
            Distributions: each row sums to 1.

        Raises
        ------
        FormatError
            If the network's answer does not fit its class names, or is not a number.
        """
        self.network.eval()
        device = next((parameter.device for parameter in self.network.parameters()), torch.device("cpu"))
        frames = torch.stack([self.transform(torch.from_numpy(image).permute(2, 0, 1)) for image in images])
        distributions = self.network(frames.to(device)).float().softmax(dim=1).cpu().numpy()
        if distributions.shape[1] != len(self.class_names):
            raise FormatError(
                f"the teacher gives {distributions.shape[1]} classes but has {len(self.class_names)} class names"
            )
        if not np.isfinite(distributions).all():
            raise FormatError("the teacher's answers are not finite numbers; its weights are broken")
        return np.asarray(distributions, dtype=np.float32)


def load_teacher(spec: str, class_names: Path | None = None) -> Teacher:
    """Load a torchvision classification network as a teacher.

    Parameters
    ----------
    spec : str
        `NETWORK:WEIGHTS`, where WEIGHTS is a file with the network's state dict (`mobilenet_v2:weights.pth`), a set of
        weights in this package's registry (`resnet18:PLACES365`, fetched once into the user's cache) or a member of
        torchvision's weights enum (`resnet50:IMAGENET1K_V2`, fetched once into torch's cache); or a file alone that
        `write_teacher` wrote and that describes itself. Frames are prepared as the weights ask; for a file of weights
        as for the network's first set of torchvision weights.
    class_names : Path, optional
        A text file with a class a line, for a file of weights; without it the network must have ImageNet's 1000.
        Other weights bring their own.

    Raises
    ------
    SettingsError
        If there is no such network, weights or file, or the weights cannot be fetched.
    FormatError
        If the weights do not fit the network, or the class names the weights.
    """
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


def write_teacher(
    path: Path,
    network: nn.Module,
    name: str,
    class_names: Sequence[str],
    input_size: int,
    training: Mapping[str, Any] | None = None,
) -> None:
    """Write a torchvision network so that the file alone is a teacher.

    Parameters
    ----------
    path : Path
        A `.safetensors` file.
    network : nn.Module
    name : str
        Its torchvision name.
    class_names : sequence of str
    input_size : int
        Side of the square, in pixels, that frames are resized and cropped to; the usual ImageNet normalisation follows.
    training : mapping, optional
        How it came about; anything that JSON can hold.
    """
    metadata = {
        "network": name,
        "class_names": json.dumps(list(class_names)),
        "input_size": str(input_size),
        "training": json.dumps(training or {}),
    }
    with whole(path) as partial:
        safetensors.torch.save_file(network.state_dict(), partial, metadata)


def require_network(name: str) -> None:
    """Raise SettingsError, with the nearest name, if torchvision has no classification network `name`."""
    known = models.list_models(module=models)
    if name not in known:
        raise SettingsError(
            f"torchvision has no classification network {name!r}; did you mean {nearest(name, known)!r}?"
        )


def read_training(path: Path) -> dict[str, Any]:
    """Give how a teacher came about, as `write_teacher` was told."""
    with safe_open(path, framework="pt") as file:
        training: dict[str, Any] = json.loads(file.metadata()["training"])
    return training


def frame_transform(
    input_size: int,
    resize: int | None = None,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Callable[[Tensor], Tensor]:
    """Give the usual preprocessing of ImageNet networks.

    Parameters
    ----------
    input_size : int
        Side in pixels of the square that the network sees, cut from the centre.
    resize : int, optional
        What the shorter side is resized to before that, in pixels. [default: `input_size`]
    mean, std : sequence of float
        Of red, green, blue in 0..1.
    """
    transform: Callable[[Tensor], Tensor] = v2.Compose(
        [
            v2.Resize(resize or input_size, antialias=True),
            v2.CenterCrop(input_size),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean=mean, std=std),
        ]
    )
    return transform


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
