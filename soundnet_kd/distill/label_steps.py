"""What a student says at the steps of labels, however many steps its layers have."""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool1d, interpolate

from soundnet_kd.data.target_clips import CLIP_SECONDS
from soundnet_kd.models.network import Network


def interpolated(logits: Tensor, steps: int) -> Tensor:
    """Resample (batch, classes, steps_in) to other steps over the same time: linearly between the middles of its own.

    Before the first middle and behind the last one it stays as it is there.
    """
    return logits if logits.shape[2] == steps else _times(logits, _interpolation(logits.shape[2], steps))


def averaged(layer: Tensor, steps: int) -> Tensor:
    """Return a layer averaged over equal stretches, in 32 bit.

    Parameters
    ----------
    layer : (batch, channels, steps_in) or (batch, channels, rows, steps_in)
        Of a spectrum's rows of frequencies the mean is taken, too.

    Returns
    -------
    (batch, channels, steps) float32
    """
    layer = layer.float()
    if layer.ndim > 3:
        layer = layer.mean(dim=2)
    return _times(layer, _averaging(layer.shape[2], steps))


def parameters_behind(student: Network, layer: str) -> list[str]:
    """Name the parameters of a student that a layer does not depend on."""
    training = student.training
    waveform = torch.zeros(1, 1, round(CLIP_SECONDS * (student.preprocessing.sample_rate or 0)))
    # In evaluation mode, so that no batch norm takes the silence into its averages.
    answer = student.eval()(waveform, [layer])[layer]
    student.train(training)
    learning = {name: each for name, each in student.named_parameters() if each.requires_grad}
    if not answer.requires_grad:
        return list(learning)
    slopes = torch.autograd.grad(answer.sum(), list(learning.values()), allow_unused=True)
    return [name for name, slope in zip(learning, slopes, strict=True) if slope is None]


def _times(values: Tensor, matrix: Tensor) -> Tensor:
    """Multiply in 32 bit; torch's own pooling and interpolation are not deterministic on a GPU."""
    with torch.autocast(values.device.type, enabled=False):
        return values.float() @ matrix.to(values.device)


@lru_cache(maxsize=16)
def _averaging(steps_in: int, steps: int) -> Tensor:
    return adaptive_avg_pool1d(torch.eye(steps_in)[None], steps)[0]


@lru_cache(maxsize=16)
def _interpolation(steps_in: int, steps: int) -> Tensor:
    return interpolate(torch.eye(steps_in)[None], size=steps, mode="linear")[0]
