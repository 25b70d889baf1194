"""How batches come from processes that read: through shared memory, or where that is too small through pipes."""

import logging
import math
import multiprocessing
import shutil
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from soundnet_kd.system.child_processes import work_for_parent

SHARED_MEMORY = Path("/dev/shm")
"""Folder of shared memory under Linux; a docker container has 64 MB of it by default."""
SEMAPHORES_BYTES = 3 * 4096
"""A queue has three, each of a page; a loader has a queue for each process, and about three beside."""
AHEAD = 2
"""Batches that each process reads before they are needed, as PyTorch has it."""

log = logging.getLogger(__name__)


def loader_options(
    workers: int, pinned: bool, example: Callable[[], Any], batch_size: int, ranks: int = 1
) -> dict[str, Any]:
    """Return the options of a loader whose processes read ahead, and end with this one.

    Parameters
    ----------
    workers : int
        Processes; 0 reads in this one.
    pinned : bool
        Into memory from which an accelerator takes them at once.
    example : callable
        Gives one of the examples, of which all have the same size.
    batch_size : int
        Size of the largest batch.
    ranks : int
        How many loaders do the same on this machine.
    """
    free = float(shutil.disk_usage(SHARED_MEMORY).free) if SHARED_MEMORY.is_dir() else math.inf
    # A training has a second loader, to validate.
    if workers and (2 * ranks * (workers + 3) * SEMAPHORES_BYTES > free or not _has_semaphores()):
        _tell(
            f"{SHARED_MEMORY} has no room for what processes that read share: the main process reads (--workers 0); "
            "`docker run --shm-size 2g` gives more"
        )
        workers = 0
    options = {"num_workers": workers, "pin_memory": pinned, "worker_init_fn": work_for_parent}
    if workers:
        needed = (AHEAD * workers + 1) * ranks * batch_size * _bytes_of(example())
        if needed > free:
            _tell(
                f"shared memory ({SHARED_MEMORY}) has {free / 1e6:.3g} MB free, but what {workers} workers read ahead "
                f"takes {needed / 1e6:.3g} MB: it goes through pipes, which is slower; `docker run --shm-size 2g` "
                "gives more, --workers 0 needs none"
            )
            options["collate_fn"] = _Piped
    return options


class _Piped:
    """Examples that leave a process as plain bytes, and arrive as a batch of tensors."""

    def __init__(self, examples: list[Any]) -> None:
        self.examples = examples

    def __reduce__(self) -> tuple[Callable[[Any], Any], tuple[Any]]:
        # PyTorch puts a batch together in shared memory, if that is done in a process that reads.
        return _batch, (_mapped(self.examples, Tensor, Tensor.numpy),)


def _batch(examples: Any) -> Any:
    return default_collate(_mapped(examples, np.ndarray, torch.from_numpy))


def _mapped(value: Any, kind: type, function: Callable[[Any], Any]) -> Any:
    if isinstance(value, kind):
        return function(value)
    if isinstance(value, Mapping):
        return {name: _mapped(each, kind, function) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_mapped(each, kind, function) for each in value)
    return value


def _bytes_of(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.nbytes
    return sum(map(_bytes_of, value.values() if isinstance(value, Mapping) else value))


def _has_semaphores() -> bool:
    try:
        multiprocessing.get_context().Lock()
    except OSError:
        return False
    return True


@lru_cache(maxsize=8)
def _tell(text: str) -> None:
    """Say something once, not for each loader."""
    log.warning("%s", text)
