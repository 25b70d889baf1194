"""An endless stream of shuffled clips: every position of it always holds the same clip.

Whoever reads a position, in whatever process, gets the same; that is what makes a training repeatable, resumable at any
step, and independent of workers and devices.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler


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


@lru_cache(maxsize=2)
def _order(seed: int, number: int, clips: int) -> NDArray[np.int64]:
    """Return the order of one pass over all clips."""
    return np.random.default_rng((seed, number)).permutation(clips)
