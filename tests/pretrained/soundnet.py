"""SoundNet on its own terms, with no help of the package: the layers that FACTS.md lists, and what they answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layer:
    """A convolution of SoundNet as FACTS.md lists it."""

    filters: int
    kernel: int
    stride: int
    padding: int
    pool: int = 1


LAYERS = {
    8: (
        Layer(16, 64, 2, 32, 8),
        Layer(32, 32, 2, 16, 8),
        Layer(64, 16, 2, 8),
        Layer(128, 8, 2, 4),
        Layer(256, 4, 2, 2, 4),
        Layer(512, 4, 2, 2),
        Layer(1024, 4, 2, 2),
        Layer(0, 8, 2, 0),
    ),
    5: (
        Layer(32, 64, 2, 32, 8),
        Layer(64, 32, 2, 16, 8),
        Layer(128, 16, 2, 8, 8),
        Layer(256, 8, 2, 4),
        Layer(0, 16, 12, 4),
    ),
}

NORM = ("weight", "bias", "running_mean", "running_var")


@cache
def soundnet(depth: int, objects: int = 3, scenes: int = 2) -> dict[str, Tensor]:
    """Draw weights with the names and shapes of `sound8.pth`: 2-D convolutions (out, in, kernel, 1)."""
    generator = torch.Generator().manual_seed(depth)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    state, before = {}, 1
    for number, layer in enumerate(LAYERS[depth], start=1):
        outputs = {"": layer.filters} if number < depth else {"_objs": objects, "_scns": scenes}
        for suffix, filters in outputs.items():
            scale = (before * layer.kernel) ** -0.5
            state[f"conv{number}{suffix}.weight"] = draw(filters, before, layer.kernel, 1) * scale
            state[f"conv{number}{suffix}.bias"] = draw(filters)
        if number < depth:
            values = (
                1 + draw(layer.filters) / 10,
                draw(layer.filters),
                draw(layer.filters),
                1 + draw(layer.filters).abs(),
            )
            state |= {f"batchnorm{number}.{name}": value for name, value in zip(NORM, values, strict=True)}
            state[f"batchnorm{number}.num_batches_tracked"] = torch.tensor(7)
        before = layer.filters
    return state


def hear(state: Mapping[str, Tensor], depth: int, waveform: Tensor) -> dict[str, Tensor]:
    """Compute SoundNet as its ports do, with 2-D convolutions over (batch, 1, samples, 1)."""
    hidden = waveform[..., None]
    for number, layer in enumerate(LAYERS[depth], start=1):
        names = [f"conv{number}"] if number < depth else [f"conv{number}_objs", f"conv{number}_scns"]
        convolved = [
            torch.nn.functional.conv2d(
                hidden, state[f"{name}.weight"], state[f"{name}.bias"], (layer.stride, 1), (layer.padding, 0)
            )
            for name in names
        ]
        if number == depth:
            return dict(zip(("objects", "scenes"), (each[..., 0] for each in convolved), strict=True))
        weight, bias, mean, variance = (state[f"batchnorm{number}.{name}"] for name in NORM)
        normed = torch.nn.functional.batch_norm(convolved[0], mean, variance, weight, bias, eps=1e-5)
        hidden = torch.nn.functional.max_pool2d(normed.relu(), (layer.pool, 1))
    raise AssertionError
