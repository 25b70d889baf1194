"""One number for each channel from a layer's steps over time, which come piece by piece.

Nothing here needs PyTorch but who hands tensors in.
"""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Pooling = Literal["mean", "max", "std"]
"""What becomes of steps over time; `std` is their standard deviation, with division by their number."""
Pieces = Iterable[tuple["Tensor", int]]
"""Steps (sounds, channels, ...) in no order, each with how often they occur."""


class Pool:
    """Pool the steps of a layer over time.

    The segments may be cut anywhere: mean and variance are merged in double precision (Chan, Golub and LeVeque, 1979),
    so that a sound of hours gives what it would give at once.

    Parameters
    ----------
    pooling : {"mean", "max", "std"}
        `std` divides by the number of steps.
    """

    def __init__(self, pooling: Pooling) -> None:
        self.pooling = pooling
        self._steps = 0
        self._level: Tensor | None = None
        self._squares: Tensor | None = None

    def add(self, steps: "Tensor", times: int = 1) -> None:
        """Take the next steps of the same sounds in the same order.

        Parameters
        ----------
        steps : (sounds, channels, steps), or of several axes of steps
        times : int
            How often they occur.
        """
        count = math.prod(steps.shape[2:])
        if not count:
            return
        axes = tuple(range(2, steps.ndim))
        # `result` too has to know each pooling.
        if self.pooling == "max":
            highest = steps.amax(dim=axes)
            self._level = highest if self._level is None else self._level.maximum(highest)
            return
        # PyTorch's sums of float32 are cascaded, so that double precision is needed between segments only.
        rounded = steps.mean(dim=axes, keepdim=True)
        mean = _wide(rounded.flatten(1))
        squares = mean.new_zeros(mean.shape)
        if self.pooling == "std":
            # What the rounding of the mean adds to the squares is taken off again.
            distances = steps - rounded
            offset = _wide(distances.mean(dim=axes))
            mean = mean + offset
            squares = times * (_wide(distances.square_().sum(dim=axes)) - count * offset.square())
        count *= times
        total = self._steps + count
        if self._level is None or self._squares is None:
            self._level, self._squares = mean, squares
        else:
            distance = mean - self._level
            self._level = self._level + distance * (count / total)
            self._squares = self._squares + squares + distance.square() * (self._steps * count / total)
        self._steps = total

    def result(self) -> NDArray[np.float32]:
        """Return what was asked for of all steps so far, (sounds, channels) float32."""
        if self._level is None:
            raise ValueError("there are no steps to pool")
        pooled = self._level
        if self.pooling == "std" and self._squares is not None:
            pooled = (self._squares / self._steps).clamp(min=0).sqrt()
        return np.asarray(pooled.cpu().numpy(), dtype=np.float32)


def _wide(values: "Tensor") -> "Tensor":
    """Return double precision, which Apple's GPUs lack."""
    return values.cpu().double()


def pool_pieces(pieces: Pieces, poolings: Sequence[Pooling]) -> list[NDArray[np.float32]]:
    """Return all steps of a layer, pooled in several ways, (sounds, channels) each."""
    pools = [Pool(pooling) for pooling in poolings]
    for steps, times in pieces:
        for pool in pools:
            pool.add(steps, times)
    return [pool.result() for pool in pools]
