"""McNemar's test by hand, the bootstrap against scipy's."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from soundnet_kd.transfer.significance import bootstrap_interval, mcnemar


def answers(both: int, only_first: int, only_second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    counts = [both, only_first, only_second, neither]
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


def test_few_discordant_clips_are_tested_exactly() -> None:
    found = mcnemar(*answers(50, 1, 5, 4))
    # Of 2^6 ways for six coins to fall 1 + 6 have at most one head; both sides: 14 / 64.
    assert (found.only_first, found.only_second, found.exact) == (1, 5, True)
    assert found.p_value == pytest.approx(14 / 64, rel=1e-12)


def test_many_discordant_clips_are_tested_by_chi_squared() -> None:
    found = mcnemar(*answers(794, 86, 150, 570))
    # Agresti, Categorical data analysis, table 10.1: ratings of 150 and 86 discordant; (64 - 1)^2 / 236 = 16.818.
    assert not found.exact
    assert found.p_value == pytest.approx(4.115e-5, rel=1e-3)


@pytest.mark.parametrize("discordant", [0, 3, 20])
def test_as_many_on_both_sides_are_no_difference(discordant: int) -> None:
    assert mcnemar(*answers(10, discordant, discordant, 10)).p_value == pytest.approx(1)


def test_single_clips_are_resampled_as_scipy_does() -> None:
    first, second = answers(400, 60, 110, 130)
    theirs = bootstrap(
        (second.astype(float) - first,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(5)
    ).confidence_interval
    assert bootstrap_interval(first, second) == pytest.approx(tuple(theirs), abs=0.003)


def test_groups_are_resampled_whole_as_scipy_does() -> None:
    rng = np.random.default_rng(2)
    sizes = rng.integers(1, 8, size=150)
    groups = np.repeat(rng.permutation(150), sizes)
    # All clips of a recording share its luck.
    first, second = (np.repeat(rng.random(150) < share, sizes) for share in (0.5, 0.6))
    gains = np.bincount(groups, weights=second.astype(float) - first)
    clips = np.bincount(groups)
    theirs = bootstrap(
        (gains, clips),
        lambda gain, size, axis: gain.sum(axis=axis) / size.sum(axis=axis),
        paired=True,
        n_resamples=10_000,
        method="percentile",
        rng=rng,
    ).confidence_interval
    low, high = bootstrap_interval(first, second, groups)
    assert (low, high) == pytest.approx(tuple(theirs), abs=0.01)
    alone = bootstrap_interval(first, second)
    assert high - low > 1.5 * (alone[1] - alone[0])


def test_the_same_seed_gives_the_same_interval() -> None:
    first, second = answers(40, 6, 11, 13)
    assert bootstrap_interval(first, second) == bootstrap_interval(first, second)
    assert bootstrap_interval(first, first) == (0, 0)
