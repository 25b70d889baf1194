"""One number for each channel from a layer's steps over time."""

from collections.abc import Sequence
from typing import Literal, assert_never, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from soundnet_kd.errors import SettingsError
from soundnet_kd.inference.pool import Pooling as Pooling

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
            raise SettingsError(f"pooling is {each!r}; choose one of {', '.join((*get_args(Pooling), 'none'))}")
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
        Type that mean and standard deviation are computed in. [default: that of `steps`]
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
