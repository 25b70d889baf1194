"""Teachers: image classification networks, each with its transform and the names of its classes, and several as one."""

import json
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision import transforms
from torchvision.transforms import v2
from torchvision.transforms._presets import ImageClassification

from soundnet_kd.data.target_clips import LabelledClip
from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.inference.backends import Backend
from soundnet_kd.models.checkpoint import TEACHER, read_metadata, write_tensors
from soundnet_kd.teachers.clips import VideoClip
from soundnet_kd.teachers.network import Look, device_of, prepare_network

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviation of red, green and blue, in 0..1, for torchvision's weights."""


FRAMES_PER_BATCH = 64
"""Frames that go through a network together."""

BLANK = (3, 480, 640)
"""Size of a picture that stands for those of a video, before one is decoded."""

Transform = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Teacher:
    """What a teacher is; build one by hand to use any network.

    Attributes
    ----------
    network : nn.Module
        (frames, 3, height, width) float32 -> (frames, classes) logits.
    transform : callable
        (3, height, width) uint8 -> (3, height', width') float32, the same size for every frame. Torchvision's presets
        (`weights.transforms()`) and compositions of its steps for pictures become steps that give the same pixels of
        tensors as they do of pictures.
    class_names : tuple of str
        In the order of the logits.
    identity : mapping
        What identifies this teacher (network, hash of its weights); goes into the targets.
    """

    network: nn.Module
    transform: Transform
    class_names: tuple[str, ...]
    identity: Mapping[str, str] = field(default_factory=dict)
    given_transform: Transform = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "given_transform", self.transform)
        object.__setattr__(self, "transform", convert_transform(self.transform))

    def as_given(self) -> "Teacher":
        """Return the same teacher with its transform as it was handed over, for targets that were begun so."""
        teacher = copy(self)
        object.__setattr__(teacher, "transform", self.given_transform)
        return teacher

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

    @torch.inference_mode()
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
        if look is None:
            look, frames = self.network.eval(), frames.to(device_of(self.network))
        distributions = look(frames).float().softmax(dim=1).cpu().numpy()
        if distributions.shape[1] != len(self.class_names):
            raise FormatError(
                f"the teacher gives {distributions.shape[1]} classes but has {len(self.class_names)} class names"
            )
        if not np.isfinite(distributions).all():
            raise FormatError("the teacher's answers are not finite numbers; its weights are broken")
        return np.asarray(distributions, dtype=np.float32)


class TeacherEnsemble:
    """Several teachers for the same frames.

    Parameters
    ----------
    teachers : mapping from name to Teacher
    backends : mapping from name to str, optional
        What runs each network. [default: PyTorch]

    Attributes
    ----------
    transforms : tuple of callable
        Those of the teachers; what several have in common is there, and done, once.
    backends : dict from name to str
        What runs each network; where one has turned out not to be able to, it is PyTorch.
    """

    def __init__(self, teachers: Mapping[str, Teacher], backends: Mapping[str, Backend] | None = None) -> None:
        self.teachers = teachers
        usual: Backend = "torch"
        self.backends = dict.fromkeys(teachers, usual) | dict(backends or {})
        self._looks: dict[tuple[str, torch.Size], Look] = {}
        keys = {name: _transform_key(teacher.transform) for name, teacher in teachers.items()}
        by_key = {keys[name]: teacher.transform for name, teacher in teachers.items()}
        order = list(by_key)
        self.transforms = tuple(by_key.values())
        self._transform_of = {name: order.index(key) for name, key in keys.items()}

    def label(self, clips: Iterable[tuple[str, VideoClip]]) -> Iterator[LabelledClip]:
        """Label clips, each with the name of its video, in batches of at least `FRAMES_PER_BATCH` frames.

        Raises
        ------
        SettingsError
            If a transform brings frames to several sizes.
        """
        batch: list[tuple[str, VideoClip]] = []
        frames = 0
        for source, clip in clips:
            batch.append((source, clip))
            frames += len(clip.frame_seconds)
            if frames >= FRAMES_PER_BATCH:
                yield from self._label_batch(batch)
                batch, frames = [], 0
        if batch:
            yield from self._label_batch(batch)

    def _label_batch(self, batch: list[tuple[str, VideoClip]]) -> Iterator[LabelledClip]:
        for index in range(len(self.transforms)):
            require_one_size(clip.frames[index].shape for _, clip in batch)
        frames = [
            torch.from_numpy(np.concatenate([clip.frames[index] for _, clip in batch]))
            for index in range(len(self.transforms))
        ]
        distributions = {
            name: teacher.predict(frames[index := self._transform_of[name]], self._look(name, frames[index]))
            for name, teacher in self.teachers.items()
        }
        first = 0
        for source, clip in batch:
            steps = slice(first, first + len(clip.frame_seconds))
            first = steps.stop
            own = {name: rows[steps] for name, rows in distributions.items()}
            yield LabelledClip(source, clip.start_seconds, clip.sound, clip.frame_seconds, own)

    def compile(self) -> None:
        """Try other engines than PyTorch, on frames of the size that a picture usually comes out in."""
        for name, teacher in self.teachers.items():
            if self.backends[name] != "torch":
                self._look(name, prepare_frames([torch.zeros(BLANK, dtype=torch.uint8)], teacher.transform))

    def _look(self, name: str, frames: Tensor) -> Look:
        """Return a network that is ready for frames of a size; it becomes so once."""
        key = name, frames.shape[1:]
        if key not in self._looks:
            network = self.teachers[name].network
            self.backends[name], self._looks[key] = prepare_network(network, frames, self.backends[name])
        return self._looks[key]


def _transform_key(transform: Transform) -> bytes | int:
    """Return a key that is equal for transforms that do the same: all their settings, if they can be pickled."""
    try:
        return pickle.dumps(transform)
    except (pickle.PicklingError, AttributeError, TypeError):
        return id(transform)


def prepare_frames(images: Sequence[Tensor], transform: Transform) -> Tensor:
    """Apply a transform to pictures.

    Parameters
    ----------
    images : sequence of (3, height, width) uint8
    transform : callable

    Returns
    -------
    (images, 3, height', width') float32

    Raises
    ------
    SettingsError
        If they come out in several sizes.
    """
    frames = [transform(image) for image in images]
    require_one_size(frame.shape for frame in frames)
    return torch.stack(frames)


def require_one_size(shapes: Iterable[tuple[int, ...]]) -> None:
    """Check that frames have one size, as in a batch they must.

    Parameters
    ----------
    shapes : iterable of (..., height, width)

    Raises
    ------
    SettingsError
        If their sizes differ.
    """
    sizes = sorted({tuple(shape[-2:]) for shape in shapes})
    if len(sizes) > 1:
        named = " and ".join(f"{width} x {height}" for height, width in sizes[:2])
        raise SettingsError(
            f"a teacher's transform gives frames of several sizes, such as {named}, which a network cannot see "
            "together; let it bring all to one, such as by torchvision's Resize(256) and CenterCrop(224)"
        )


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


def frame_transform(
    input_size: int,
    resize: int | None = None,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Transform:
    """Return the usual preprocessing of ImageNet networks.

    Parameters
    ----------
    input_size : int
        Side in pixels of the square that the network sees, cut from the centre.
    resize : int, optional
        What the shorter side is resized to before that, in pixels. [default: `input_size`]
    mean, std : sequence of float
        Mean and standard deviation of red, green and blue, in 0..1.
    """
    return _compose_transform(v2.Resize(resize or input_size, antialias=True), input_size, mean, std)


def convert_transform(transform: Transform) -> Transform:
    """Return torchvision's own preparations of pictures as steps that do the same to tensors.

    A preset of torchvision's weights, or its older steps, resizes a uint8 tensor in floats, but a picture, which the
    weights were trained and measured on, in whole numbers: with bicubic filters pixels differ by up to 25 of 255. The
    newer steps do it in whole numbers too (at most 2 of 255 away, measured), several times faster. Steps that only take
    pictures, such as ToTensor, become possible.

    Parameters
    ----------
    transform : callable
        Anything else is returned as it is.
    """
    if isinstance(transform, ImageClassification):
        size, interpolation, antialias = transform.resize_size, transform.interpolation, transform.antialias
        resize = v2.Resize(size, interpolation=interpolation, antialias=antialias)
        return _compose_transform(resize, transform.crop_size, transform.mean, transform.std)
    if isinstance(transform, transforms.Compose) and all(type(step) in _NEWER for step in transform.transforms):
        composed: Transform = v2.Compose([_NEWER[type(step)](step) for step in transform.transforms])
        return composed
    return transform


def _compose_transform(resize: v2.Resize, crop: int, mean: Sequence[float], std: Sequence[float]) -> Transform:
    steps = [resize, v2.CenterCrop(crop), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean=mean, std=std)]
    transform: Transform = v2.Compose(steps)
    return transform


_NEWER: dict[type, Callable[[Any], nn.Module]] = {
    transforms.Resize: lambda step: v2.Resize(step.size, step.interpolation, step.max_size, step.antialias),
    transforms.CenterCrop: lambda step: v2.CenterCrop(step.size),
    transforms.PILToTensor: lambda step: nn.Identity(),
    transforms.ToTensor: lambda step: v2.ToDtype(torch.float32, scale=True),
    transforms.ConvertImageDtype: lambda step: v2.ToDtype(step.dtype, scale=True),
    transforms.Normalize: lambda step: v2.Normalize(step.mean, step.std),
}
"""Torchvision's older steps, as the newer ones that give of tensors what those give of pictures."""
