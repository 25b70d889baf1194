"""A teacher's network, made ready to look at many frames; what it sees in them stays the same."""

import re
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.inference.backends import Backend, compile_module

FRAMES_AT_A_TIME = 16
"""Frames that go through a network together on a CPU, whose caches hold little of what lies between its layers."""
LARGEST_ERROR = 1e-5
"""Of logits with batch norm folded, against those without, relative to their 2-norm."""
OVER_POSITIONS = re.compile(r"[123]d(?![a-z])")
"""What PyTorch, torchvision and timm call a module whose channels come before its positions: Conv2d, LayerNorm2d."""

Look = Callable[[Tensor], tuple[Tensor, ...]]
"""A network as a function on its device: (frames, 3, height, width) float32 -> (frames, numbers) float32, its answer,
and after that, where the input of a layer is kept, what the layer is given."""


class WithInput(nn.Module):
    """A network that gives, beside its own answer, what one of its layers is given, averaged over positions.

    Parameters
    ----------
    network : nn.Module
    layer : str
        As the network names it, such as `classifier.1`.
    """

    def __init__(self, network: nn.Module, layer: str) -> None:
        super().__init__()
        self.network = network
        self.layer = layer
        self._channel_axis = channel_axis(network.get_submodule(layer))

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Return the answer, if it is a tensor, and what the layer was given, the last time if several, (frames, dims).

        Raises
        ------
        FormatError
            If the layer is not used, not given a tensor, or given one of which nobody knows what its positions are.
        """
        given: list[Any] = []
        module = self.network.get_submodule(self.layer)
        hook = module.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0] if inputs else None))
        try:
            answer = self.network(frames)
        finally:
            hook.remove()
        if not given or not isinstance(given[-1], Tensor):
            how = "does not use it" if not given else "hands it no tensor first"
            raise FormatError(f"there are no features before {self.layer!r}: {type(self.network).__name__} {how}")
        values = given[-1]
        if values.ndim > 2 and self._channel_axis is None:
            raise FormatError(self._refusal(values, frames))
        features = average_positions(values, has_channels_last=self._channel_axis == -1)
        return (answer, features) if isinstance(answer, Tensor) else (features,)

    def _refusal(self, values: Tensor, frames: Tensor) -> str:
        network, module = type(self.network).__name__, type(self.network.get_submodule(self.layer)).__name__
        used = _used_layers(
            self.network, frames, lambda name, module: name == self.layer or channel_axis(module) is not None
        )
        behind = used[used.index(self.layer) + 1 :]
        hint = f", such as {behind[0]}" if behind else ""
        return (
            f"{network} hands {self.layer!r}, a {module}, {' x '.join(map(str, values.shape))} numbers, and which of "
            f"these axes are positions is unknown; name a convolution, norm, pooling or linear layer{hint}"
        )


def channel_axis(module: nn.Module) -> int | None:
    """Return which axis of what a module is given are the channels, where there are positions too; None if unknown."""
    if isinstance(module, nn.GroupNorm) or any(OVER_POSITIONS.search(kind.__name__) for kind in type(module).__mro__):
        return 1
    if isinstance(module, nn.Linear) or (isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1):
        return -1
    return None


def average_positions(values: Tensor, has_channels_last: bool) -> Tensor:
    """Average over what lies between or behind the batch and the channels: (batch, …) -> (batch, channels)."""
    if values.ndim <= 2:
        return values
    return values.flatten(1, -2).mean(dim=1) if has_channels_last else values.flatten(2).mean(dim=2)


@torch.inference_mode()
def last_layer(network: nn.Module, frames: Tensor) -> str:
    """Return the name of the last layer with parameters that a network goes through.

    Raises
    ------
    SettingsError
        If it goes through none.
    """
    used = _used_layers(
        network.eval(),
        frames.to(device_of(network)),
        lambda name, module: bool(name) and next(module.parameters(recurse=False), None) is not None,
    )
    if not used:
        raise SettingsError(
            f"{type(network).__name__} shows no layer with parameters whose input could be kept; give a module that "
            "ends before its last layer, without class names"
        )
    return used[-1]


def _used_layers(network: nn.Module, frames: Tensor, is_meant: Callable[[str, nn.Module], bool]) -> list[str]:
    """Return the names of the layers that are meant in the order that a network goes through them."""
    used: list[str] = []
    hooks = [
        module.register_forward_pre_hook(partial(lambda name, *_: used.append(name), name))
        for name, module in network.named_modules()
        if is_meant(name, module)
    ]
    try:
        network(frames)
    finally:
        for hook in hooks:
            hook.remove()
    return used


def prepare_network(
    network: nn.Module, frames: Tensor, backend: Backend = "torch", layer: str | None = None
) -> tuple[Backend, Look]:
    """Make a network ready for frames of one size, any number of them.

    Parameters
    ----------
    network : nn.Module
        It stays as it is; what it becomes has its own weights.
    frames : (frames, 3, height, width) float32
        Examples.
    backend : {"torch", "openvino", "onnxruntime"}
    layer : str, optional
        The layer whose input is given beside the answer.

    Returns
    -------
    backend : str
        What runs it: PyTorch, with a warning, where the one asked for cannot.
    look : callable
    """
    network.eval()
    device = device_of(network)
    example = frames[[0, -1]].to(device)

    def seen(network: nn.Module) -> nn.Module:
        return network if layer is None else WithInput(network, layer)

    backend, run = compile_module(seen(network), example, backend)
    if backend == "torch":
        # The others do it themselves.
        _, run = compile_module(_fold(network, example, seen), example, backend)

    def look(frames: Tensor) -> tuple[Tensor, ...]:
        at_a_time = FRAMES_AT_A_TIME if device.type == "cpu" else len(frames)
        answers = zip(*(run(some) for some in torch.split(frames, at_a_time)), strict=True)
        return tuple(map(torch.cat, answers))

    return backend, look


def device_of(network: nn.Module) -> torch.device:
    """Return where a network's weights are; the CPU if it has none."""
    return next((parameter.device for parameter in network.parameters()), torch.device("cpu"))


@torch.no_grad()
def _fold(network: nn.Module, example: Tensor, seen: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """Return what is seen of a copy whose batch norm is part of its convolutions; channels of a pixel lie side by side.

    Of a network that has no convolutions, that cannot be traced, or that is then seen otherwise, there is no copy.
    """
    whole = seen(network)
    kinds = {type(module) for module in network.modules()}
    if nn.Conv2d not in kinds:
        return whole
    try:
        folded = fuse(network) if nn.BatchNorm2d in kinds else deepcopy(network)
        folded = seen(folded.to(memory_format=torch.channels_last))
        is_same = all(map(_is_same, _each(folded(example)), _each(whole(example))))
    except Exception:
        # Code of anybody's may do anything that tracing and copying cannot follow.
        return whole
    return folded if is_same else whole


def _each(answer: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (answer,) if isinstance(answer, Tensor) else answer


def _is_same(found: Tensor, wanted: Tensor) -> bool:
    return float((found - wanted).norm()) <= LARGEST_ERROR * float(wanted.norm())
