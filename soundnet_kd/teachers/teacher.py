"""A teacher: an image classification network, the transform that it was trained with, and the names of its classes."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor, nn
from torchvision.transforms import v2

from soundnet_kd.errors import FormatError
from soundnet_kd.models.network_file import write_tensors

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

    def label(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Say what is to be seen in pictures.

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
        return self.look(torch.stack([self.transform(torch.from_numpy(image).permute(2, 0, 1)) for image in images]))

    @torch.inference_mode()
    def look(self, frames: Tensor) -> NDArray[np.float32]:
        """Say what is to be seen in frames that have gone through `transform`.

        Parameters
        ----------
        frames : (frames, 3, height, width) float32

        Returns
        -------
        (frames, classes) float32
            Distributions: each row sums to 1.

        Raises
        ------
        FormatError
            As `label`.
        """
        self.network.eval()
        device = next((parameter.device for parameter in self.network.parameters()), torch.device("cpu"))
        distributions = self.network(frames.to(device)).float().softmax(dim=1).cpu().numpy()
        if distributions.shape[1] != len(self.class_names):
            raise FormatError(
                f"the teacher gives {distributions.shape[1]} classes but has {len(self.class_names)} class names"
            )
        if not np.isfinite(distributions).all():
            raise FormatError("the teacher's answers are not finite numbers; its weights are broken")
        return np.asarray(distributions, dtype=np.float32)


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
    write_tensors(network.state_dict(), path, metadata)


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
