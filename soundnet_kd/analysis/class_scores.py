"""How well each class is recognised, and which classes are taken for each other."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

MOST_AT_THE_ENDS = 5
"""How many of the hardest and of the easiest classes are named."""


@dataclass(frozen=True, eq=False)
class ClassScores:
    """Scores of each class over all tested clips, each 0 … 1; NaN where there is nothing to divide by.

    Attributes
    ----------
    classes : tuple of str
    clips : (classes,) int64
        Tested clips of the class.
    precision : (classes,) float64
        Share of the clips that were given the class which are of it.
    recall : (classes,) float64
        Share of the clips of the class that were given it.
    f1 : (classes,) float64
        Harmonic mean of the two.
    recall_std : (classes,) float64
        Standard deviation of the recall over the folds that have clips of the class.
    """

    classes: tuple[str, ...]
    clips: NDArray[np.int64] = field(repr=False)
    precision: NDArray[np.float64] = field(repr=False)
    recall: NDArray[np.float64] = field(repr=False)
    f1: NDArray[np.float64] = field(repr=False)
    recall_std: NDArray[np.float64] = field(repr=False)

    @property
    def easiest_first(self) -> NDArray[np.int64]:
        """The classes that have clips, by recall, and by F1 where recall is equal."""
        order = np.lexsort((-self.f1, -self.recall))
        return np.asarray(order[self.clips[order] > 0])

    @property
    def ends(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The easiest and the hardest classes, up to five, each from the end on; none is both."""
        order = self.easiest_first
        count = min(MOST_AT_THE_ENDS, len(order) // 2)
        return order[:count], order[::-1][:count]


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes that are taken for each other.

    Attributes
    ----------
    first, second : int
        The first is taken for the second at least as often as the other way round.
    first_as_second, second_as_first : int
        Clips.
    clips : int
        Tested clips of both classes together.
    """

    first: int
    second: int
    first_as_second: int
    second_as_first: int
    clips: int

    @property
    def mistakes(self) -> int:
        """Clips of either class that are taken for the other."""
        return self.first_as_second + self.second_as_first

    @property
    def share(self) -> float:
        """Share of the clips of both that are taken for the other class."""
        return self.mistakes / self.clips


def class_scores(
    labels: NDArray[np.integer], predictions: NDArray[np.integer], folds: NDArray[np.integer], classes: Sequence[str]
) -> ClassScores:
    """Score each class.

    Parameters
    ----------
    labels, predictions : (clips,) int
        Classes; clips with -1 in one of them do not count.
    folds : (clips,) int
    classes : sequence of str
    """
    from sklearn.metrics import precision_recall_fscore_support, recall_score

    tested = (labels >= 0) & (predictions >= 0)
    truth, answers, fold_of = labels[tested], predictions[tested], folds[tested]
    numbers = np.arange(len(classes))
    precision, recall, f1, clips = precision_recall_fscore_support(truth, answers, labels=numbers, zero_division=np.nan)
    by_fold = np.array(
        [
            recall_score(
                truth[fold_of == fold], answers[fold_of == fold], labels=numbers, average=None, zero_division=np.nan
            )
            for fold in np.unique(fold_of)
        ]
    )
    held = np.ma.masked_invalid(by_fold)
    return ClassScores(tuple(classes), clips, precision, recall, f1, held.std(axis=0).filled(np.nan))


def confused_pairs(confusion: NDArray[np.int64]) -> list[ConfusedPair]:
    """Give the pairs of classes that are taken for each other at least once, the most mistakes first.

    Parameters
    ----------
    confusion : (classes, classes) int
        Clips of each true class (row) by predicted class (column).
    """
    clips = confusion.sum(axis=1)
    pairs = []
    for one, other in np.argwhere(np.triu(confusion + confusion.T, k=1)):
        first, second = (one, other) if confusion[one, other] >= confusion[other, one] else (other, one)
        pairs.append(
            ConfusedPair(
                first=int(first),
                second=int(second),
                first_as_second=int(confusion[first, second]),
                second_as_first=int(confusion[second, first]),
                clips=int(clips[first] + clips[second]),
            )
        )
    return sorted(pairs, key=lambda pair: (-pair.mistakes, -pair.share, pair.first, pair.second))
