"""How well each class is recognised, and which classes are taken for each other."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data.datasets.esc50 import CLASSES_PER_CATEGORY, ESC50_CATEGORIES
from soundnet_kd.errors import FormatError
from soundnet_kd.transfer.results import read_evaluation

MAX_AT_THE_ENDS = 5
"""Number of the hardest, and of the easiest, classes that are named."""


@dataclass(frozen=True, eq=False)
class ClassScores:
    """Scores of each class over all tested clips, from 0 to 1; NaN where a score is not defined.

    Attributes
    ----------
    classes : tuple of str
    clips : (classes,) int64
        Tested clips of the class.
    precision : (classes,) float64
        Fraction of the clips predicted to be of the class that are of it.
    recall : (classes,) float64
        Fraction of the clips of the class that are predicted to be of it.
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
        """The classes that have clips, sorted by recall, then by F1."""
        order = np.lexsort((-self.f1, -self.recall))
        return np.asarray(order[self.clips[order] > 0])

    @property
    def ends(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The easiest classes, easiest first, and the hardest, hardest first: up to five each, none in both."""
        order = self.easiest_first
        count = min(MAX_AT_THE_ENDS, len(order) // 2)
        return order[:count], order[::-1][:count]


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes that are confused with each other.

    Attributes
    ----------
    first, second : int
        The first is taken for the second at least as often as the other way round.
    first_as_second, second_as_first : int
        Number of clips.
    clips : int
        Number of tested clips of the two classes together.
    """

    first: int
    second: int
    first_as_second: int
    second_as_first: int
    clips: int

    @property
    def mistakes(self) -> int:
        """Number of clips of either class that are taken for the other."""
        return self.first_as_second + self.second_as_first

    @property
    def fraction(self) -> float:
        """Fraction of the clips of both that are taken for the other class."""
        return self.mistakes / self.clips


def class_scores(
    labels: NDArray[np.integer], predictions: NDArray[np.integer], folds: NDArray[np.integer], classes: Sequence[str]
) -> ClassScores:
    """Precision, recall and F1 of each class.

    Parameters
    ----------
    labels, predictions : (clips,) int
        Classes; a clip that is -1 in either does not count.
    folds : (clips,) int
    classes : sequence of str
    """
    from sklearn.metrics import precision_recall_fscore_support, recall_score

    tested = (labels >= 0) & (predictions >= 0)
    truth, given, fold_of = labels[tested], predictions[tested], folds[tested]
    numbers = np.arange(len(classes))
    precision, recall, f1, clips = precision_recall_fscore_support(truth, given, labels=numbers, zero_division=np.nan)
    by_fold = np.array(
        [
            recall_score(
                truth[fold_of == fold], given[fold_of == fold], labels=numbers, average=None, zero_division=np.nan
            )
            for fold in np.unique(fold_of)
        ]
    )
    held = np.ma.masked_invalid(by_fold)
    return ClassScores(tuple(classes), clips, precision, recall, f1, held.std(axis=0).filled(np.nan))


def confused_pairs(confusion: NDArray[np.int64]) -> list[ConfusedPair]:
    """Pairs of classes that are confused at least once, most mistakes first.

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
    return sorted(pairs, key=lambda pair: (-pair.mistakes, -pair.fraction, pair.first, pair.second))


@dataclass(frozen=True, eq=False)
class CategoryScores:
    """Scores of each category over all tested clips, from 0 to 1; NaN where a category has no clips.

    Attributes
    ----------
    accuracy : (5,) float64
        Fraction of the category's clips whose predicted class is correct.
    category_accuracy : (5,) float64
        Fraction of them whose predicted class is of the correct category.
    confusion : (5, 5) int64
        Clips of each true category (row) by the category of the predicted class (column).
    """

    accuracy: NDArray[np.float64] = field(repr=False)
    category_accuracy: NDArray[np.float64] = field(repr=False)
    confusion: NDArray[np.int64] = field(repr=False)


def category_scores(confusion: NDArray[np.int64]) -> CategoryScores:
    """Accuracies and confusion of ESC-50's categories, from the confusion of its classes.

    Parameters
    ----------
    confusion : (50, 50) int
        Clips of each true class (row) by predicted class (column), in the official order.
    """
    count = len(ESC50_CATEGORIES)
    by_category = confusion.reshape(count, CLASSES_PER_CATEGORY, count, CLASSES_PER_CATEGORY).sum(axis=(1, 3))
    clips = by_category.sum(axis=1)
    divisor = np.where(clips > 0, clips, np.nan)
    return CategoryScores(
        accuracy=confusion.diagonal().reshape(count, CLASSES_PER_CATEGORY).sum(axis=1) / divisor,
        category_accuracy=by_category.diagonal() / divisor,
        confusion=by_category,
    )


@dataclass(frozen=True)
class Extremes:
    """The classes that the classifier of an evaluation's best layer recognises best and worst.

    Attributes
    ----------
    layer : str
        The best layer.
    hardest, easiest : mapping from class to recall
        Up to five classes each, the hardest and the easiest first.
    """

    layer: str
    hardest: dict[int, float]
    easiest: dict[int, float]


def read_extremes(results: str | Path, class_names: Sequence[str]) -> Extremes:
    """Read the hardest and the easiest classes from the results of `soundnet-kd evaluate`.

    Parameters
    ----------
    results : str or Path
        The folder, or its results.json.
    class_names : sequence of str
        The classes that the evaluation must be of.

    Raises
    ------
    SettingsError
        If there are no results there.
    FormatError
        If they are none of classes, or of other classes.
    """
    evaluation = read_evaluation(results)
    if evaluation.classes != tuple(class_names):
        raise FormatError(f"{results} is of other classes than the features; name the evaluation of these features")
    layer = evaluation.best_layer
    confusion = evaluation.results[layer].confusion
    # A row for each clip, as the confusion counts them.
    truth, predicted = np.repeat(np.indices(confusion.shape).reshape(2, -1), confusion.ravel(), axis=1)
    scores = class_scores(truth, predicted, np.ones(len(truth), dtype=np.int64), evaluation.classes)
    easiest, hardest = ({int(each): float(scores.recall[each]) for each in end} for end in scores.ends)
    return Extremes(layer, hardest, easiest)
