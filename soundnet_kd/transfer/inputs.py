"""The inputs of a classifier, from a cache: layers pooled over time in one or several ways, or cut into windows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.errors import SettingsError
from soundnet_kd.features import FeatureCache
from soundnet_kd.features.pooling import Pooling, pool_array
from soundnet_kd.transfer.windows import Windows

JOINT = "+"
"""Stands between the names of layers whose features are put side by side."""
MAX_BYTES = 4 * 2**30
"""Size of all windows of a layer at most; training needs several times as much."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """Features of the clips of a cache.

    Attributes
    ----------
    name : str
        Such as pool5, conv5+pool5, pool5 mean+std.
    rows : (rows, features) float32
    clips : (rows,) int64
        The clip of each row: every clip once, or once for each of its windows.
    """

    name: str
    rows: NDArray[np.float32] = field(repr=False)
    clips: NDArray[np.int64] = field(repr=False)


def layer_inputs(
    cache: FeatureCache,
    layers: Sequence[str],
    together: bool = False,
    poolings: Sequence[Pooling] | None = None,
    windows: Windows | None = None,
) -> Iterator[Inputs]:
    """Yield the features of every layer, or of all layers side by side.

    Parameters
    ----------
    cache : FeatureCache
    layers : sequence of str
        Such as pool5, or conv5+pool5 for two side by side.
    together : bool
        Whether the layers of a clip are joined into one long row.
    poolings : sequence of str, optional
        Statistics over time that are put side by side. [default: all that the cache holds]
    windows : Windows, optional
        Cut clips into windows instead of pooling them whole.

    Raises
    ------
    SettingsError
        If the cache lacks the sequences that are needed, or windows are combined with several layers or poolings.
    """
    if windows is not None:
        if together or poolings is not None or any(JOINT in layer for layer in layers):
            raise SettingsError(
                "windows take one layer and have a pooling of their own; leave together and poolings out"
            )
        for layer in layers:
            yield _windowed(cache, layer, windows)
        return
    wanted = cache.poolings if poolings is None else tuple(poolings)
    everyone = np.arange(len(cache.ids))
    suffix = "" if wanted in ((), (cache.pooling,)) else f" {'+'.join(wanted)}"
    for layer in [JOINT.join(layers)] if together else layers:
        rows = [_pooled(cache, each, wanted) for each in layer.split(JOINT)]
        yield Inputs(layer + suffix, np.concatenate(rows, axis=1), everyone)


def _pooled(cache: FeatureCache, layer: str, poolings: Sequence[Pooling]) -> NDArray[np.float32]:
    if tuple(poolings) == cache.poolings[:1]:
        return cache[layer]
    if not poolings or not set(poolings) <= set(get_args(Pooling)):
        raise SettingsError(f"poolings are {list(poolings)}; choose from {', '.join(get_args(Pooling))}")
    if set(poolings) <= set(cache.poolings):
        return np.concatenate([cache.pooled(layer, pooling) for pooling in poolings], axis=1)
    rows = [
        np.concatenate([pool_array(cache.sequence(index, layer), pooling, 0, np.float64) for pooling in poolings])
        for index in range(len(cache.ids))
    ]
    return np.stack(rows).astype(np.float32)


def _windowed(cache: FeatureCache, layer: str, windows: Windows) -> Inputs:
    # Raises SettingsError for a cache without sequences.
    cache.sequence(0, layer)
    step_seconds = cache.step_seconds(layer)
    found: list[NDArray[np.float32]] = []
    for index in range(len(cache.ids)):
        rows = windows.cut(cache.sequence(index, layer), step_seconds)
        expected_bytes = rows.size * rows.itemsize * len(cache.ids)
        if not index and expected_bytes > MAX_BYTES:
            raise SettingsError(
                f"the windows of {layer} would take about {expected_bytes / 2**30:.0f} GiB; take a deeper layer "
                "(--layers), longer hops (--windows.hop_seconds), or their mean (--windows.pooling mean)"
            )
        found.append(np.ascontiguousarray(rows))
    return Inputs(layer, np.concatenate(found), np.repeat(np.arange(len(found)), [len(rows) for rows in found]))
