"""Layers that PyTorch does not have, and the receptive field of any layer."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from soundnet_kd.models.receptive_field import ReceptiveField


class FirstConv1d(nn.Conv1d):
    """A convolution of one channel, computed as one of stride 1 over as many channels as the stride has phases.

    Even samples become one channel and odd ones another (the polyphase form of a decimating filter), with the kernel
    split in the same way: the same sums, for which CPUs need about 0.6 of the time forward
    and 0.9 backward. Weights are those of an `nn.Conv1d` of the same arguments.

    Parameters
    ----------
    filters, kernel, stride, padding : int
        The kernel is a multiple of the stride.
    """

    def __init__(self, filters: int, kernel: int, stride: int, padding: int) -> None:
        if kernel % stride:
            raise ValueError(f"kernel {kernel} is no multiple of stride {stride}")
        super().__init__(1, filters, kernel, stride, padding)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (batch, 1, samples) to (batch, filters, steps)."""
        stride, padding = self.stride[0], int(self.padding[0])
        padded = functional.pad(input, (padding, padding))
        # The samples of a last, incomplete stride are left out: no step depends on them.
        phases = padded.squeeze(1).unfold(1, stride, stride).transpose(1, 2)
        kernel = self.weight.reshape(self.out_channels, -1, stride).transpose(1, 2)
        return functional.conv1d(phases, kernel, self.bias)


class SameConv1d(nn.Conv1d):
    """A convolution with TensorFlow's "same" padding: `ceil(samples / stride)` steps, the odd zero at the end.

    Parameters
    ----------
    channels, filters, kernel, stride : int
        The kernel is at least as long as the stride.
    """

    def __init__(self, channels: int, filters: int, kernel: int, stride: int = 1) -> None:
        if kernel < stride:
            raise ValueError(f"kernel {kernel} is shorter than stride {stride}")
        super().__init__(channels, filters, kernel, stride)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (batch, channels, samples) to (batch, filters, ceil(samples / stride))."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        before, least_before = (kernel - 1) // 2, (kernel - stride) // 2
        padding = kernel - 1
        if before > least_before:
            padding -= (input.shape[-1] - 1) % stride
            before = padding // 2
        # Else the same zeros come before a sound of any length, and one too many behind it makes no step more.
        return super().forward(functional.pad(input, (before, padding - before)))

    def field_after(self, field: ReceptiveField) -> ReceptiveField:
        """Return the receptive field of its steps, for an input that is a whole number of strides."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        return field.after(kernel, stride, (kernel - stride) // 2)


def convolve(convolution: nn.Module, hidden: Tensor) -> Tensor:
    """Call a convolution over time, in the way that is fastest where it learns on a CPU.

    Where there are more steps than channels, oneDNN computes a strided convolution and its gradients about twice as
    fast with the channels of a step beside each other, for which PyTorch has a layout in two dimensions only.

    Parameters
    ----------
    convolution : Module
    hidden : (batch, channels, steps)

    Returns
    -------
    (batch, filters, steps)
    """
    if (
        type(convolution) is not nn.Conv1d
        or not (convolution.training and torch.is_grad_enabled())
        or hidden.device.type != "cpu"
        or hidden.shape[1] >= hidden.shape[2]
        or torch.compiler.is_compiling()
    ):
        return convolution(hidden)  # type: ignore[no-any-return]
    assert not isinstance(convolution.padding, str)
    rows, weight = (
        tensor.unsqueeze(2).contiguous(memory_format=torch.channels_last) for tensor in (hidden, convolution.weight)
    )
    stride, padding = (1, *convolution.stride), (0, *convolution.padding)
    return functional.conv2d(rows, weight, convolution.bias, stride, padding).squeeze(2).contiguous()


def over_rows(steps: Tensor) -> Tensor:
    """Return a layer over time, (batch, channels, steps): its means over the rows of frequencies, if it has some."""
    return steps.mean(dim=2) if steps.ndim == 4 else steps


def batch_norm_1d(channels: int) -> nn.BatchNorm1d:
    """Return batch norm with Keras's defaults: eps 1e-3 and momentum 0.99, which PyTorch calls 0.01."""
    return nn.BatchNorm1d(channels, eps=1e-3, momentum=0.01)


def batch_norm_2d(channels: int) -> nn.BatchNorm2d:
    """Return batch norm with Keras's defaults over rows and steps."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


_WINDOWS = (nn.Conv1d, nn.Conv2d, nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d)
_SINGLE_STEPS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.ReLU, nn.LeakyReLU, nn.Dropout)
_EVERYTHING = (nn.Linear, nn.Flatten, nn.AdaptiveAvgPool1d)


@runtime_checkable
class Windowed(Protocol):
    """A module that knows the receptive field of its steps itself."""

    def field_after(self, field: ReceptiveField) -> ReceptiveField | None:
        """Return the receptive field of its steps, given that of its input's; None if each depends on everything."""


def field_after(module: nn.Module, field: ReceptiveField | None) -> ReceptiveField | None:
    """Return the receptive field of a module's steps over time.

    Parameters
    ----------
    module : Module
        Time is the last dimension of what it takes and gives.
    field : ReceptiveField, optional
        That of the steps of its input; None if each depends on everything.
    """
    if field is None or isinstance(module, _EVERYTHING):
        return None
    if isinstance(module, Windowed):
        return module.field_after(field)
    if isinstance(module, nn.Sequential):
        for part in module:
            field = field_after(part, field)
        return field
    if isinstance(module, _SINGLE_STEPS):
        return field
    assert isinstance(module, _WINDOWS), f"the receptive field of {type(module).__name__} is not known"
    kernel, stride, padding = (_last(size) for size in (module.kernel_size, module.stride, module.padding))
    return field.after(kernel, stride, padding)


def _last(size: object) -> int:
    last = size[-1] if isinstance(size, tuple) else size
    assert isinstance(last, int)
    return last
