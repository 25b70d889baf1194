"""A teacher: an image network with its transform and the names of its classes, and its file."""

import json
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from soundnet_kd.errors import FormatError, SettingsError, nearest
from soundnet_kd.inference.backends import as_tensors
from soundnet_kd.models.checkpoint import TEACHER, read_metadata, write_tensors
from soundnet_kd.teachers.network import Look, WithInput, average_positions, device_of, last_layer
from soundnet_kd.teachers.transforms import Transform, convert_transform, prepare_frames

BLANK = (3, 480, 640)
"""Size of a picture that stands for those of a video, before one is decoded."""


class Seen(NamedTuple):
    """What a teacher sees in frames.

    Attributes
    ----------
    distributions : (frames, classes) float32, optional
        None of a teacher without classes. A row that is not finite is a frame that the network cannot answer.
    features : (frames, dims) float32, optional
        None of a teacher whose features are not kept.
    """

    distributions: NDArray[np.float32] | None
    features: NDArray[np.float32] | None


@dataclass(frozen=True)
class Teacher:
    """What a teacher is; build one by hand to use any network.

    Attributes
    ----------
    network : nn.Module
        (frames, 3, height, width) float32 -> (frames, classes) logits; without class names and `features`,
        (frames, dims), which are the features themselves.
    transform : callable
        (3, height, width) uint8 -> (3, height', width') float32, the same size for every frame. Torchvision's presets
        (`weights.transforms()`) and compositions of its steps for pictures become steps that give the same pixels of
        tensors as they do of pictures.
    class_names : tuple of str
        In the order of the logits; empty for a network that embeds pictures, such as CLIP's.
    identity : mapping
        What identifies this teacher (network, hash of its weights); goes into the targets.
    features : str, optional
        The layer, as `network.named_modules()` names it, whose input is kept beside the distributions, averaged over
        positions where it has some: those of a convolution, norm, pooling or linear layer are known. [default: none; of
        a network without classes, its answer]

    Raises
    ------
    SettingsError
        If the network has no such layer.
    """

    network: nn.Module
    transform: Transform
    class_names: tuple[str, ...] = ()
    identity: Mapping[str, str] = field(default_factory=dict)
    features: str | None = None
    given_transform: Transform = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        layers = dict(self.network.named_modules())
        if self.features is not None and self.features not in layers:
            hint = nearest(self.features, [name for name in layers if name])
            raise SettingsError(f"{type(self.network).__name__} has no layer {self.features!r}{hint}")
        object.__setattr__(self, "given_transform", self.transform)
        object.__setattr__(self, "transform", convert_transform(self.transform))

    def as_given(self) -> "Teacher":
        """Return the same teacher with its transform as it was handed over, for targets that were begun so."""
        teacher = copy(self)
        object.__setattr__(teacher, "transform", self.given_transform)
        return teacher

    @property
    def has_features(self) -> bool:
        """Whether features are kept of it."""
        return self.features is not None or not self.class_names

    def keep_features(self) -> "Teacher":
        """Return the same teacher with the input of its last layer with parameters as its features.

        Raises
        ------
        SettingsError
            If its network shows no such layer.
        """
        blank = prepare_frames([torch.zeros(BLANK, dtype=torch.uint8)], self.transform)
        return replace(self, transform=self.given_transform, features=last_layer(self.network, blank))

    def label(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Classify pictures.

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
        SettingsError
            If `transform` brings them to several sizes.
        """
        return self.predict(
            prepare_frames([torch.from_numpy(image).permute(2, 0, 1) for image in images], self.transform)
        )

    def predict(self, frames: Tensor, look: Look | None = None) -> NDArray[np.float32]:
        """Classify frames that have gone through `transform`.

        Parameters
        ----------
        frames : (frames, 3, height, width) float32
        look : callable, optional
            What `network` became for many frames (see `prepare_network`). [default: the network itself]

        Returns
        -------
        (frames, classes) float32
            Distributions: each row sums to 1.

        Raises
        ------
        FormatError
            As `label`.
        """
        distributions = self.see(frames, look).distributions
        if distributions is None:
            raise FormatError("the teacher knows no classes; `see` gives its features")
        if not np.isfinite(distributions).all():
            raise FormatError("the teacher's answers are not finite numbers; its weights are broken")
        return distributions

    @torch.inference_mode()
    def see(self, frames: Tensor, look: Look | None = None) -> Seen:
        """Return what the network sees in frames that have gone through `transform`, be it finite or not.

        Parameters
        ----------
        frames : (frames, 3, height, width) float32
        look : callable, optional
            What `network` became for many frames (see `prepare_network`). [default: the network itself]

        Raises
        ------
        FormatError
            If the network's answer is no tensor or does not fit its class names, or its features are no row for each
            frame.
        """
        if look is None:
            network = self.network.eval()
            whole = network if self.features is None else WithInput(network, self.features)
            answers = as_tensors(whole(frames.to(device_of(network))), network)
        else:
            answers = look(frames)
        distributions = features = None
        if self.class_names:
            distributions = self._distributions(answers)
        if self.has_features:
            kept = answers[-1].float()
            if kept.ndim == 4:
                kept = average_positions(kept, has_channels_last=False)
            if kept.ndim != 2 or len(kept) != len(frames):
                raise FormatError(
                    f"the teacher's features of {len(frames)} frames are {tuple(kept.shape)}; let its network give "
                    "(frames, dims)"
                )
            features = np.asarray(kept.cpu().numpy(), dtype=np.float32)
        return Seen(distributions, features)

    def _distributions(self, answers: Sequence[Tensor]) -> NDArray[np.float32]:
        logits = answers[0]
        if len(answers) == 1 and self.features is not None:
            raise FormatError("the teacher has class names, but its network gives no tensor of logits")
        if logits.shape[1:] != (len(self.class_names),):
            given = " x ".join(map(str, logits.shape[1:]))
            raise FormatError(f"the teacher gives {given} classes but has {len(self.class_names)} class names")
        return np.asarray(logits.float().softmax(dim=1).cpu().numpy(), dtype=np.float32)


def write_teacher(
    path: str | Path,
    network: nn.Module,
    name: str,
    class_names: Sequence[str],
    input_size: int,
    training: Mapping[str, Any] | None = None,
) -> None:
    """Write a torchvision network so that the file alone is a teacher.

    Parameters
    ----------
    path : str or Path
        A `.safetensors` file.
    network : nn.Module
    name : str
        Its torchvision name.
    class_names : sequence of str
    input_size : int
        Side of the square, in pixels, that frames are resized and cropped to; the usual ImageNet normalisation follows.
    training : mapping, optional
        How it was trained; anything that JSON can hold.
    """
    path = Path(path)
    metadata = {
        "network": name,
        "class_names": json.dumps(list(class_names)),
        "input_size": str(input_size),
        "training": json.dumps(training or {}),
    }
    write_tensors(network.state_dict(), path, metadata)


@dataclass(frozen=True)
class TeacherDescription:
    """What a file that `write_teacher` wrote says of its network; see there."""

    name: str
    class_names: tuple[str, ...]
    input_size: int
    training: Mapping[str, Any]


def read_teacher_description(path: str | Path) -> TeacherDescription:
    """Read what the file of a teacher says of itself.

    Raises
    ------
    FormatError
        If it is not what `write_teacher` wrote.
    """
    metadata = read_metadata(path)
    try:
        if metadata.get("kind", TEACHER) != TEACHER:
            raise ValueError(f"it holds a {metadata['kind']:.40}")
        return TeacherDescription(
            name=metadata["network"],
            class_names=tuple(json.loads(metadata["class_names"])),
            input_size=int(metadata["input_size"]),
            training=json.loads(metadata.get("training", "{}")),
        )
    except (KeyError, TypeError, ValueError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise FormatError(f"{path} is no teacher that describes itself ({what}); see write_teacher") from error
