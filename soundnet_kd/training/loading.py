"""Batches of an endless stream of shuffled clips, and how processes that read hand them over.

Every position of a stream always holds the same clip, whoever reads it, in whatever process; that is what makes a
training repeatable, resumable at any step, and independent of workers and devices. Batches come through shared memory,
or where that is too small through pipes.
"""

import logging
import math
import multiprocessing
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler, default_collate

from soundnet_kd.system.child_processes import work_for_parent

SHARED_MEMORY = Path("/dev/shm")
"""Folder of shared memory under Linux; a docker container has 64 MB of it by default."""
SEMAPHORES_BYTES = 3 * 4096
"""A queue has three, each of a page; a loader has a queue for each process, and about three beside."""
AHEAD = 2
"""Batches that each process reads before they are needed, as PyTorch has it."""

log = logging.getLogger(__name__)


def item_at(position: int, clips: int, seed: int) -> int:
    """Return the number of the clip at a position; clips are shuffled anew for every pass over them."""
    number, place = divmod(position, clips)
    return int(_order(seed, number, clips)[place])


class StreamBatches(Sampler[list[int]]):
    """Positions of a stream, batch by batch: one rank's share of every optimizer step.

    A step always takes the same `batch_size` positions. They are cut into as many equal pieces as there are ranks times
    accumulated batches, so that all ranks have equally many batches of the same size and none waits for ever.

    Parameters
    ----------
    batch_size : int
        Clips of a step, over all ranks.
    steps : int
        Steps of the whole training.
    first_step : int
        The step to start at.
    accumulate : int
        Batches whose gradients make one step.
    rank, ranks : int
        Which of the processes this is, and how many there are.
    """

    def __init__(
        self, batch_size: int, steps: int, first_step: int = 0, accumulate: int = 1, rank: int = 0, ranks: int = 1
    ) -> None:
        self.batch_size = batch_size
        self.steps = steps
        self.first_step = first_step
        self.accumulate = accumulate
        self.rank = rank
        self.ranks = ranks

    def __len__(self) -> int:
        return self.steps * self.accumulate

    def __iter__(self) -> Iterator[list[int]]:
        piece = self.batch_size // (self.accumulate * self.ranks)
        for step in range(self.first_step, self.steps):
            for number in range(self.accumulate):
                first = step * self.batch_size + (number * self.ranks + self.rank) * piece
                yield list(range(first, first + piece))


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
        items = [_mapped(each, kind, function) for each in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
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


@lru_cache(maxsize=2)
def _order(seed: int, number: int, clips: int) -> NDArray[np.int64]:
    """Return the order of one pass over all clips."""
    return np.random.default_rng((seed, number)).permutation(clips)
