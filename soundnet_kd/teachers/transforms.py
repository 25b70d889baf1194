"""How a picture becomes a frame as a network takes it."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import transforms
from torchvision.transforms import v2
from torchvision.transforms._presets import ImageClassification

from soundnet_kd.errors import SettingsError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviation of red, green and blue, in 0..1, for torchvision's weights."""

Transform = Callable[[Tensor], Tensor]


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
    return stack_frames([transform(image) for image in images])


def stack_frames(frames: Sequence[Tensor]) -> Tensor:
    """Put frames, (3, height, width) each, into one tensor.

    Raises
    ------
    SettingsError
        If they have several sizes.
    """
    require_one_size(frame.shape for frame in frames)
    return torch.stack(list(frames))


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
