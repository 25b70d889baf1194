"""A teacher's network, made ready to look at many frames; what it sees in them stays the same."""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from soundnet_kd.inference.backends import Backend, compile_module

FRAMES_AT_A_TIME = 16
"""Frames that go through a network together on a CPU, whose caches hold little of what lies between its layers."""
LARGEST_ERROR = 1e-5
"""Of logits with batch norm folded, against those without, relative to their 2-norm."""

Look = Callable[[Tensor], Tensor]
"""A network as a function: (frames, 3, height, width) float32 -> (frames, classes) float32 logits, on its device."""


def prepare_network(network: nn.Module, frames: Tensor, backend: Backend = "torch") -> tuple[Backend, Look]:
    """Make a network ready for frames of one size, any number of them.

    Parameters
    ----------
    network : nn.Module
        It stays as it is; what it becomes has its own weights.
    frames : (frames, 3, height, width) float32
        Examples.
    backend : {"torch", "openvino", "onnxruntime"}

    Returns
    -------
    backend : str
        What runs it: PyTorch, with a warning, where the one asked for cannot.
    look : callable
    """
    network.eval()
    device = device_of(network)
    example = frames[[0, -1]].to(device)
    backend, run = compile_module(network, example, backend)
    if backend == "torch":
        # The others do it themselves.
        _, run = compile_module(_fold(network, example), example, backend)

    def look(frames: Tensor) -> Tensor:
        at_a_time = FRAMES_AT_A_TIME if device.type == "cpu" else len(frames)
        return torch.cat([run(some)[0] for some in torch.split(frames, at_a_time)])

    return backend, look


def device_of(network: nn.Module) -> torch.device:
    """Return where a network's weights are; the CPU if it has none."""
    return next((parameter.device for parameter in network.parameters()), torch.device("cpu"))


@torch.no_grad()
def _fold(network: nn.Module, example: Tensor) -> nn.Module:
    """Return a copy whose batch norm is part of its convolutions, and whose pixels' channels lie side by side.

    A network that has no convolutions, that cannot be traced, or that then answers otherwise is returned as it is.
    """
    kinds = {type(module) for module in network.modules()}
    if nn.Conv2d not in kinds:
        return network
    try:
        folded = fuse(network) if nn.BatchNorm2d in kinds else deepcopy(network)
        folded = folded.to(memory_format=torch.channels_last)
        wanted = network(example)
        error = (folded(example) - wanted).norm() / wanted.norm()
    except Exception:
        # Code of anybody's may do anything that tracing and copying cannot follow.
        return network
    return folded if float(error) <= LARGEST_ERROR else network
