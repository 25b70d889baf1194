"""Pooling over time, checked by NumPy and by hand."""

from typing import get_args

import numpy as np
import pytest
import torch

from soundnet_kd.inference.pool import Pool, Pooling, pool_pieces

STEPS = torch.tensor([[[1.0, 2.0, 3.0, 6.0], [0.0, 0.0, 0.0, 0.0]]])


@pytest.mark.parametrize(("pooling", "expected"), [("mean", 3.0), ("max", 6.0), ("std", 3.5**0.5)])
def test_by_hand(pooling: Pooling, expected: float) -> None:
    """Mean 12 / 4; deviations -2, -1, 0, 3, whose squares' mean is 14 / 4."""
    pool = Pool(pooling)
    pool.add(STEPS)
    assert pool.result().dtype == np.float32
    np.testing.assert_allclose(pool.result(), [[expected, 0.0]], rtol=1e-7)


@pytest.mark.parametrize("pooling", [pooling for pooling in get_args(Pooling) if pooling != "none"])
def test_pieces_give_what_the_whole_gives(pooling: Pooling) -> None:
    """A level a thousand times the deviation, where summing squares in float32 would lose everything."""
    steps = 1000 + torch.randn(2, 3, 5000, generator=torch.Generator().manual_seed(0))
    pool = Pool(pooling)
    for piece in torch.split(steps, [0, 1, 0, 7, 1992, 3000], dim=-1):
        pool.add(piece)
    expected = getattr(np, pooling)(steps.numpy().astype(np.float64), axis=-1)
    np.testing.assert_allclose(pool.result(), expected, rtol=1e-6)


def test_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no steps"):
        Pool("mean").result()


@pytest.mark.parametrize("pooling", get_args(Pooling))
def test_steps_that_occur_several_times_in_any_shape(pooling: Pooling) -> None:
    torch.manual_seed(0)
    often, once = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.randn(2, 3, 7, dtype=torch.float64)
    pieces = [(once, 1), (often, 3)]
    (pooled,) = pool_pieces(pieces, [pooling])
    whole = torch.cat([once, *[often.flatten(2)] * 3], dim=2).numpy()
    wanted = {"mean": whole.mean(2), "max": whole.max(2), "std": whole.std(2)}[pooling]
    np.testing.assert_allclose(pooled, wanted, rtol=1e-6)
