"""A module as a graph of PyTorch's operators, whose batch and length stay free.

`torch.export` takes a fixed length from some operations that the networks of this package are made of: it finds
conditions on the length that hold for the example only. Here these are said in other words, which compute the same
numbers and ask for no such condition. They are replaced while a module is traced; the module itself stays as it is.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from soundnet_kd.errors import SettingsError, one_line

BATCH: Mapping[int, tuple[str, int]] = {0: ("batch", 1)}
MOST_PHASES = 64
"""Beyond these, segments of a sound are not phases, each of which is a node of the graph."""


def export_graph(module: nn.Module, example: Tensor, free: Mapping[int, tuple[str, int]] = BATCH) -> ExportedProgram:
    """Trace a module that maps a tensor to one tensor, to several in order, or to several by name.

    Parameters
    ----------
    module : Module
        In evaluation mode.
    example : Tensor
        Its input, of any size; what is free may not be 1 in it.
    free : mapping from axis to (name, least size)
        The axes whose size stays free, such as `{0: ("batch", 1), 2: ("samples", 300_000)}`.

    Raises
    ------
    SettingsError
        If PyTorch cannot trace it, or fixes an axis that is to be free; the message says at which part.
    """
    sizes = {axis: Dim(name, min=least) for axis, (name, least) in free.items()}
    try:
        # Else a layer that has a single step of the least length would fix it.
        with torch.no_grad(), _FreeLength(), _config.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
            return torch.export.export(module, (example,), dynamic_shapes=(sizes,), strict=False)
    except Exception as error:
        # Whatever an operator raises where it is given sizes that are no numbers.
        raise SettingsError(
            f"{type(module).__name__} cannot be exported by PyTorch {torch.__version__}: {one_line(error, 400)}"
        ) from error


class _FreeLength(TorchFunctionMode):
    """Computes some functions in other words for the block."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function, or what stands for it."""
        return _OTHER_WORDS.get(func, func)(*args, **(kwargs or {}))


def _max_pool1d(
    input: Tensor,
    kernel_size: int,
    stride: int | None = None,
    padding: int = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """Pool over a second axis of a single row, which leaves the length free."""
    assert not return_indices
    sizes = ((1, kernel_size), (1, stride or kernel_size), (0, padding), (1, dilation))
    return functional.max_pool2d(input.unsqueeze(2), *sizes, ceil_mode=ceil_mode).squeeze(2)


def _unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Take phases as slices, the samples of a last, incomplete stride left out."""
    if size != step or size > MOST_PHASES or dimension not in (-1, input.ndim - 1):
        return input.unfold(dimension, size, step)
    end = input.shape[-1] - (size - 1)
    return torch.stack([input[..., phase : end + phase : size] for phase in range(size)], dim=-1)


_OTHER_WORDS: Mapping[Any, Callable[..., Any]] = {
    functional.max_pool1d: _max_pool1d,
    torch.max_pool1d: _max_pool1d,
    torch.Tensor.unfold: _unfold,
}
