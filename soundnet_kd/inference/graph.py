"""A module as a graph of PyTorch's operators, whose batch and length stay free.

`torch.export` takes a fixed length from some operations that the networks of this package are made of: it finds
conditions on the length that hold for the example only. Here these are said in other words, which compute the same
numbers and ask for no such condition. They are replaced while a module is traced; the module itself stays as it is.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

import torch
from packaging.version import Version
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from soundnet_kd.errors import SettingsError, one_line
from soundnet_kd.inference import fourier

Sizes = Mapping[int, tuple[str, int]]
"""Names and least sizes of axes."""
BATCH: Sizes = {0: ("batch", 1)}
FREE_LENGTHS = Version("2.13")
"""The first PyTorch that leaves the length of a pooling free."""
MOST_PHASES = 64
"""Beyond these, segments of a sound are not phases, each of which is a node of the graph."""


def export_graph(module: nn.Module, example: Tensor, free: Sizes = BATCH, transforms: bool = True) -> ExportedProgram:
    """Trace a module that maps a tensor to one tensor, to several in order, or to several by name.

    Parameters
    ----------
    module : Module
        In evaluation mode.
    example : Tensor
        Its input, of any size; what is free may not be 1 in it.
    free : mapping from axis to (name, least size)
        The axes whose size stays free, such as `{0: ("batch", 1), 2: ("samples", 300_000)}`.
    transforms : bool
        Whether who runs it knows Fourier transforms of windows; else these become convolutions.

    Raises
    ------
    SettingsError
        If PyTorch cannot trace it, or fixes an axis that is to be free; the message says at which part.
    """
    sizes = {axis: Dim(name, min=least) for axis, (name, least) in free.items()}
    refusals: list[Exception] = []
    usual: Mapping[Any, Callable[..., Any]] = (
        _OTHER_WORDS if transforms else {**_OTHER_WORDS, torch.stft: fourier.stft_as_convolution}
    )
    for words in (usual, {**usual, functional.max_pool1d: _max_of_phases}):
        # The latter, in which a layer may have a single step, asks for more conditions on the batch.
        for is_oblivious in (False, True):
            try:
                with (
                    _silence(),
                    torch.no_grad(),
                    _InOtherWords(words),
                    _config.patch(backed_size_oblivious=is_oblivious),  # type: ignore[attr-defined]
                ):
                    return torch.export.export(module, (example,), dynamic_shapes=(sizes,), strict=False)
            except Exception as error:
                # Whatever an operator raises where it is given sizes that are no numbers.
                refusals.append(error)
    # Those before fix the length of more.
    cure = "" if Version(torch.__version__) >= FREE_LENGTHS else f"; install PyTorch {FREE_LENGTHS} or newer"
    raise SettingsError(
        f"{type(module).__name__} cannot be exported by PyTorch {torch.__version__}: {one_line(refusals[0], 300)}{cure}"
    ) from refusals[0]


@contextmanager
def _silence() -> Iterator[None]:
    """Keep PyTorch from printing the whole graph where it cannot go on: the error says all."""
    log = logging.getLogger("torch")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)


class _InOtherWords(TorchFunctionMode):
    """Computes some functions by others for the block."""

    def __init__(self, words: Mapping[Any, Callable[..., Any]]) -> None:
        super().__init__()
        self.words = words

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function, or what stands for it."""
        return self.words.get(func, func)(*args, **(kwargs or {}))


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


def _max_of_phases(input: Tensor, kernel_size: int, stride: int | None = None, *others: Any, **settings: Any) -> Tensor:
    """Pool in slices, for PyTorch before 2.13, which knows a pooling of fixed lengths only."""
    if stride not in (None, kernel_size) or any(others) or settings.get("padding"):
        return _max_pool1d(input, kernel_size, stride, *others, **settings)
    return _unfold(input, -1, kernel_size, kernel_size).amax(dim=-1)


def _mean(input: Tensor, dim: int | tuple[int, ...] | None = None, keepdim: bool = False) -> Tensor:
    """Average over time in two passes: other engines add one number after the other, which rounds off 1e-5."""
    if dim not in (-1, input.ndim - 1):
        return torch.mean(input, dim, keepdim)
    rounded = input.mean(-1, keepdim=True)
    exact = rounded + (input - rounded).mean(-1, keepdim=True)
    return exact if keepdim else exact.squeeze(-1)


def _adaptive_average(input: Tensor, output_size: int) -> Tensor:
    return _mean(input, -1, True) if output_size == 1 else functional.adaptive_avg_pool1d(input, output_size)


def _unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Take phases as slices, the samples of a last, incomplete stride left out."""
    if size != step or size > MOST_PHASES or dimension not in (-1, input.ndim - 1):
        return input.unfold(dimension, size, step)
    end = input.shape[-1] - (size - 1)
    return torch.stack([input[..., phase : end + phase : size] for phase in range(size)], dim=-1)


_OTHER_WORDS: Mapping[Any, Callable[..., Any]] = {
    functional.max_pool1d: _max_pool1d,
    torch.Tensor.mean: _mean,
    functional.adaptive_avg_pool1d: _adaptive_average,
    torch.Tensor.unfold: _unfold,
    torch.fft.rfft: fourier.rfft,
    torch.fft.irfft: fourier.irfft,
    torch.stft: fourier.stft,
}
