"""What the steps of a layer hear of a network's input, read off the modules that it goes through."""

from typing import Protocol, runtime_checkable

from torch import nn

from soundnet_kd.models.blocks import ReceptiveField

_WINDOWS = (nn.Conv1d, nn.Conv2d, nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d)
_SINGLE_STEPS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.ReLU, nn.LeakyReLU, nn.Dropout)
_EVERYTHING = (nn.Linear, nn.Flatten, nn.AdaptiveAvgPool1d)


@runtime_checkable
class Windowed(Protocol):
    """A module that knows itself what its steps hear."""

    def field_after(self, field: ReceptiveField) -> ReceptiveField | None:
        """Give what its steps hear, if its input's steps hear `field`; None if each hears everything."""


def field_after(module: nn.Module, field: ReceptiveField | None) -> ReceptiveField | None:
    """Give what a module's steps over time hear of a network's input.

    Parameters
    ----------
    module : Module
        Time is the last dimension of what it takes and gives.
    field : ReceptiveField, optional
        What the steps of its input hear; None if each hears everything.
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
    assert isinstance(module, _WINDOWS), f"what the steps of {type(module).__name__} hear is not known"
    kernel, stride, padding = (_last(size) for size in (module.kernel_size, module.stride, module.padding))
    return field.after(kernel, stride, padding)


def _last(size: object) -> int:
    last = size[-1] if isinstance(size, tuple) else size
    assert isinstance(last, int)
    return last
