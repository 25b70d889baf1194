"""Where a network runs, and how it is built for weights that are there already."""

import ctypes
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from soundnet_kd.errors import SettingsError


def choose_device(name: str) -> torch.device:
    """Return the device of a name.

    Parameters
    ----------
    name : str
        auto (the first accelerator that there is, else the CPU), or a device of torch's: cpu, cuda, cuda:1, mps.

    Raises
    ------
    SettingsError
        If this machine or torch has no such device.
    """
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise SettingsError(
            f"device {name!r} cannot be used here ({reason}); try --device auto or --device cpu"
        ) from error
    return device


@contextmanager
def full_precision() -> Iterator[None]:
    """Compute convolutions in 32 bit within the block.

    On GPUs PyTorch's convolutions use TensorFloat-32 otherwise, with which a sound in segments differs from the same
    sound at once.
    """
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


class Undrawn(TorchFunctionMode):
    """A block in which networks are built without drawing their weights, which a file brings.

    To draw them costs more than to read them; on the device "meta" it also imports PyTorch's compiler, which takes
    longer than all else.
    """

    def __torch_function__(
        self, function: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function of PyTorch, unless it draws."""
        kwargs = kwargs or {}
        if function in _DRAWING or getattr(function, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs)


_DRAWING: Sequence[Callable[..., Tensor]] = (Tensor.normal_, Tensor.uniform_)
"""What those functions of `torch.nn.init` call that cannot be told from others."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names in glibc's malloc.h."""
KEPT_BYTES = 2**31 - 1


def keep_freed_memory() -> None:
    """Set glibc's thresholds so high that big tensors do not go back to the system after every step.

    A step of SoundNet8 on a CPU allocates and frees tensors of more than 100 MB; with glibc's defaults the system has
    to hand out, and wipe, their pages anew each time, which takes a third of the step. It does nothing where the C
    library is another one.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
