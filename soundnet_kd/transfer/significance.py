"""Whether one classifier is better than another one on the same clips, or only luckier."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST_FOR_CHI2 = 25
"""Discordant clips from which chi-squared is close enough to the binomial distribution (the usual rule of thumb)."""

RESAMPLES = 10_000


@dataclass(frozen=True)
class McNemarTest:
    """McNemar's test of two classifiers on the same clips.

    Attributes
    ----------
    only_first, only_second : int
        Clips that only one of the two has right.
    p_value : float
        How likely a difference at least as large is, were both equally good.
    exact : bool
        Whether from the binomial distribution; otherwise from chi-squared.
    """

    only_first: int
    only_second: int
    p_value: float
    exact: bool


def mcnemar(first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> McNemarTest:
    """Test whether two classifiers are equally often right, from the clips on which just one of them is.

    The test takes the clips as independent; several cuts of one recording are not, which makes p too small. Source:
    McNemar, Note on the sampling error of the difference between correlated proportions or percentages,
    Psychometrika 12 (1947), with the continuity correction of Edwards, Psychometrika 13 (1948); exact below 25 clips.

    Parameters
    ----------
    first_right, second_right : (clips,) bool

    Returns
    -------
    McNemarTest
    """
    from scipy.stats import binomtest, chi2

    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    discordant = only_first + only_second
    exact = discordant < FEWEST_FOR_CHI2
    if discordant == 0:
        p_value = 1.0
    elif exact:
        p_value = float(binomtest(only_first, discordant, 0.5).pvalue)
    else:
        p_value = float(chi2.sf(max(abs(only_first - only_second) - 1, 0) ** 2 / discordant, df=1))
    return McNemarTest(only_first, only_second, p_value, exact)


def bootstrap_interval(
    first_right: NDArray[np.bool_],
    second_right: NDArray[np.bool_],
    groups: NDArray[np.integer] | None = None,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Give the percentile bootstrap interval of the second classifier's accuracy less the first one's.

    Whole groups are drawn with replacement, since clips of one recording are right or wrong together. Source: Efron and
    Tibshirani, An introduction to the bootstrap (1993), chapter 13.

    Parameters
    ----------
    first_right, second_right : (clips,) bool
    groups : (clips,) int, optional
        Clips with the same number come from one recording; every clip for itself if not given.
    level : float
        Probability that the interval is to hold.
    resamples, seed : int

    Returns
    -------
    low, high : float
        -1 … 1.
    """
    gain = second_right.astype(np.int64) - first_right
    members = np.unique(np.arange(len(gain)) if groups is None else groups, return_inverse=True)[1]
    clips = np.bincount(members)
    gains = np.bincount(members, weights=gain)
    # Groups with as many clips and the same gain are interchangeable, so counting each kind is as good as drawing them.
    kinds, counts = np.unique(np.stack([gains, clips]), axis=1, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(clips), counts / len(clips), size=resamples)
    low, high = np.quantile(drawn @ kinds[0] / (drawn @ kinds[1]), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
