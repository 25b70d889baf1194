"""Whether the difference between two classifiers on the same clips is more than chance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from soundnet_kd.errors import FormatError
from soundnet_kd.transfer.input_checks import Column, both_correct, groups_of

FEWEST_FOR_CHI2 = 25
"""Discordant clips from which the chi-squared approximation is good enough, by the usual rule of thumb."""

RESAMPLES = 10_000


@dataclass(frozen=True)
class McNemarTest:
    """Result of McNemar's test of two classifiers on the same clips.

    Attributes
    ----------
    only_first, only_second : int
        Number of clips that only the first, or only the second, classifies correctly.
    p_value : float
        Probability of a difference at least as large if both are equally good.
    """

    only_first: int
    only_second: int
    p_value: float

    @property
    def exact(self) -> bool:
        """Whether p comes from the binomial distribution; otherwise it comes from chi-squared."""
        return self.only_first + self.only_second < FEWEST_FOR_CHI2


def mcnemar(first_correct: ArrayLike, second_correct: ArrayLike) -> McNemarTest:
    """Test whether two classifiers are equally good, from the clips that just one of them classifies correctly.

    The test assumes independent clips; clips of one recording are not independent, which makes p too small. Source:
    McNemar, Note on the sampling error of the difference between correlated proportions or percentages,
    Psychometrika 12 (1947), with the continuity correction of Edwards, Psychometrika 13 (1948); exact below 25 clips.

    Parameters
    ----------
    first_correct, second_correct : (clips,) bool

    Returns
    -------
    McNemarTest
    """
    from scipy.stats import binomtest, chi2

    first, second = both_correct(first_correct, second_correct)
    only_first = int((first & ~second).sum())
    only_second = int((second & ~first).sum())
    discordant = only_first + only_second
    if discordant == 0:
        p_value = 1.0
    elif discordant < FEWEST_FOR_CHI2:
        p_value = float(binomtest(only_first, discordant, 0.5).pvalue)
    else:
        p_value = float(chi2.sf(max(abs(only_first - only_second) - 1, 0) ** 2 / discordant, df=1))
    return McNemarTest(only_first, only_second, p_value)


def bootstrap_interval(
    first_correct: ArrayLike,
    second_correct: ArrayLike,
    groups: Column | None = None,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the second classifier's accuracy minus the first one's.

    Whole groups are resampled, since clips of one recording tend to be correct or wrong together. Source: Efron and
    Tibshirani, An introduction to the bootstrap (1993), chapter 13.

    Parameters
    ----------
    first_correct, second_correct : (clips,) bool
    groups : (clips,) int or str, optional
        Clips of one group come from one recording. [default: every clip is a group of its own]
    level : float
        Confidence level of the interval.
    resamples, seed : int

    Returns
    -------
    low, high : float
        From -1 to 1.
    """
    first, second = both_correct(first_correct, second_correct)
    gain = second.astype(np.int64) - first
    members = np.arange(len(gain)) if groups is None else groups_of(groups)
    if len(members) != len(gain):
        raise FormatError(f"there are {len(gain)} clips but {len(members)} groups; expected one per clip")
    clips = np.bincount(members)
    gains = np.bincount(members, weights=gain)
    # Groups with as many clips and the same gain are interchangeable, so drawing the number of each is enough.
    kinds, counts = np.unique(np.stack([gains, clips]), axis=1, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(clips), counts / len(clips), size=resamples)
    low, high = np.quantile(drawn @ kinds[0] / (drawn @ kinds[1]), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
