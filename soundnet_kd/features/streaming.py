"""A student that takes a sound segment by segment, and answers as if it had been given it at once.

Each convolution and each pooling keeps the end of its input that its next steps need too, and no more. So segments may
be cut anywhere, nothing is computed twice, zeros are padded at the true start and the true end of the sound only, and
pooling windows stay where they are in one pass over the whole sound.
"""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from soundnet_kd.models import SoundNet


def stream_layers(student: SoundNet, segments: Iterable[Tensor], layers: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Return a student's layers for a sound of any length in bounded memory.

    Parameters
    ----------
    student : SoundNet
        In evaluation mode.
    segments : iterable of (batch, 1, samples) float32
        The sound, scaled by the student's preprocessing, in segments of any length.
    layers : sequence of str
        The layers wanted; nothing deeper than the deepest of them is computed.

    Yields
    ------
    dict from layer to (batch, channels, steps)
        The steps that a segment completes, none of a deep layer for most segments. Put together they are what
        `student(sound, layers)` gives, as far as the rounding of float32 goes; a sound too short for a layer gives no
        step of it.

    Raises
    ------
    SettingsError
        If a layer does not exist.
    """
    stages = _Stages(student, layers)
    silence: Tensor | None = None
    for segment in segments:
        silence = segment[..., :0]
        yield stages.extract(segment, last=False)
    # What was the last segment shows only when no other follows.
    if silence is not None:
        yield stages.extract(silence, last=True)


class _Window:
    """The input of a convolution or a pooling, as far as its next steps need it."""

    def __init__(self, kernel: int, stride: int, padding: int = 0) -> None:
        if kernel < stride:
            raise ValueError(f"stride {stride} is greater than kernel {kernel}: samples between steps would be kept")
        self.kernel, self.stride, self.padding = kernel, stride, padding
        self._held: Tensor | None = None
        self._samples = 0

    def take(self, new: Tensor, last: bool) -> Tensor:
        """Return the input of the steps that can be computed now, which is empty if none can."""
        joined = functional.pad(new, (self.padding, 0)) if self._held is None else torch.cat([self._held, new], dim=-1)
        self._samples += new.shape[-1]
        # Of padding alone there are no steps.
        if last and self._samples:
            joined = functional.pad(joined, (0, self.padding))
        steps = max(0, (joined.shape[-1] - self.kernel) // self.stride + 1)
        # A view would keep the whole segment in memory.
        self._held = joined[..., steps * self.stride :].clone()
        return joined[..., : (steps - 1) * self.stride + self.kernel if steps else 0]


class _Stages:
    """The blocks of a student, each with what it holds of its input."""

    def __init__(self, student: SoundNet, layers: Sequence[str]) -> None:
        self.student = student
        self.layers = layers
        self.deepest = max(layers, key=student.depth)
        self._windows = {
            f"conv{number}": _Window(block.kernel, block.stride, block.padding)
            for number, block in enumerate((*student.blocks, student.output), start=1)
        } | {
            f"pool{number}": _Window(block.pool, block.pool)
            for number, block in enumerate(student.blocks, start=1)
            if block.pool > 1
        }

    def extract(self, segment: Tensor, last: bool) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        hidden = segment
        for layer in self.student.layers:
            ready = self._windows[layer].take(hidden, last)
            hidden = self._answer(layer, ready) if ready.shape[-1] else self._no_steps(layer, segment)
            if layer in self.layers:
                found[layer] = hidden
            if layer == self.deepest:
                break
        return found

    def _answer(self, layer: str, ready: Tensor) -> Tensor:
        if layer.startswith("pool"):
            return functional.max_pool1d(ready, self._windows[layer].kernel)
        module = self.student.get_submodule(layer)
        if isinstance(module, nn.ModuleDict):
            return torch.cat([_convolve(head, ready) for head in module.values()], dim=1)
        batchnorm = self.student.get_submodule(layer.replace("conv", "batchnorm"))
        return functional.relu(batchnorm(_convolve(module, ready)))

    def _no_steps(self, layer: str, segment: Tensor) -> Tensor:
        return segment.new_zeros(len(segment), self.student.channels(layer), 0)


def _convolve(convolution: nn.Module, ready: Tensor) -> Tensor:
    """Convolve without padding, which the window has done."""
    assert isinstance(convolution, nn.Conv1d)
    return functional.conv1d(ready, convolution.weight, convolution.bias, convolution.stride)
