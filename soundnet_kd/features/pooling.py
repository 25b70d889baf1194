"""One number a channel from a layer's steps over time: of arrays, and of tensors that come in segments.

Nothing here needs PyTorch but who hands tensors in.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, assert_never, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from soundnet_kd.errors import SettingsError

if TYPE_CHECKING:
    from torch import Tensor

Pooling = Literal["mean", "max", "std"]
"""What becomes of steps over time; `std` is their standard deviation, divided by their number."""
PoolingOrNone = Literal[Pooling, "none"]
"""`none` keeps them all."""


def poolings_of(pooling: PoolingOrNone | Sequence[PoolingOrNone]) -> tuple[Pooling, ...]:
    """Return the poolings that are asked for, one or several; none of them for `none`.

    Raises
    ------
    SettingsError
        If one does not exist, is named twice, or `none` stands beside others.
    """
    asked = (pooling,) if isinstance(pooling, str) else tuple(pooling)
    for each in asked:
        if each not in get_args(PoolingOrNone):
            raise SettingsError(f"pooling is {each!r}; it is one of {', '.join((*get_args(Pooling), 'none'))}")
    if not asked or len(set(asked)) < len(asked) or ("none" in asked and len(asked) > 1):
        raise SettingsError(
            f"pooling is {list(asked)}; name some of {', '.join(get_args(Pooling))}, each once, or none alone "
            "(--sequences keeps whole sequences beside what is pooled)"
        )
    return tuple(each for each in asked if each != "none")


def pool_array(
    steps: NDArray[np.floating], pooling: Pooling, axis: int, dtype: DTypeLike | None = None
) -> NDArray[np.floating]:
    """Pool an array over an axis.

    Parameters
    ----------
    steps : (..., steps, ...) float32
    pooling : {"mean", "max", "std"}
    axis : int
        Of the steps.
    dtype : dtype, optional
        What mean and deviation are computed in. [default: that of `steps`]
    """
    match pooling:
        case "max":
            return np.asarray(steps.max(axis=axis))
        case "mean":
            return np.asarray(steps.mean(axis=axis, dtype=dtype))
        case "std":
            return np.asarray(steps.std(axis=axis, dtype=dtype))
        case _:
            assert_never(pooling)


class Pool:
    """Pool the steps of a layer over time.

    The segments may be cut anywhere: mean and deviation are merged in double precision (Chan, Golub and LeVeque, 1979),
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

    def add(self, steps: "Tensor") -> None:
        """Take the next steps, (sounds, channels, steps), of the same sounds in the same order."""
        count = steps.shape[-1]
        if not count:
            return
        # `result` too has to know each pooling.
        if self.pooling == "max":
            highest = steps.amax(dim=-1)
            self._level = highest if self._level is None else self._level.maximum(highest)
            return
        # PyTorch's sums of float32 are cascaded, so that double precision is needed between segments only.
        rounded = steps.mean(dim=-1)
        mean = _wide(rounded)
        squares = mean.new_zeros(mean.shape)
        if self.pooling == "std":
            # What the rounding of the mean adds to the squares is taken off again.
            distances = steps - rounded[..., None]
            offset = _wide(distances.mean(dim=-1))
            mean = mean + offset
            squares = _wide(distances.square_().sum(dim=-1)) - count * offset.square()
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
