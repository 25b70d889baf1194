"""How well ESC-50's five major categories are told apart, and the classes within each."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.analysis.categories import ESC50_CATEGORIES, ESC50_CLASSES

CLASSES_EACH = len(ESC50_CLASSES) // len(ESC50_CATEGORIES)


@dataclass(frozen=True, eq=False)
class CategoryScores:
    """Scores of each category over all tested clips, each 0 … 1; NaN where a category has no clips.

    Attributes
    ----------
    accuracy : (5,) float64
        Share of the category's clips whose class is right.
    category_accuracy : (5,) float64
        Share of them whose category is right, whatever the class.
    confusion : (5, 5) int64
        Clips of each true category (row) by the category of the predicted class (column).
    """

    accuracy: NDArray[np.float64] = field(repr=False)
    category_accuracy: NDArray[np.float64] = field(repr=False)
    confusion: NDArray[np.int64] = field(repr=False)


def category_scores(confusion: NDArray[np.int64]) -> CategoryScores:
    """Sum a confusion of ESC-50's classes by category.

    Parameters
    ----------
    confusion : (50, 50) int
        Clips of each true class (row) by predicted class (column), in the official order.
    """
    count = len(ESC50_CATEGORIES)
    by_category = confusion.reshape(count, CLASSES_EACH, count, CLASSES_EACH).sum(axis=(1, 3))
    clips = by_category.sum(axis=1)
    of = np.where(clips > 0, clips, np.nan)
    return CategoryScores(
        accuracy=confusion.diagonal().reshape(count, CLASSES_EACH).sum(axis=1) / of,
        category_accuracy=by_category.diagonal() / of,
        confusion=by_category,
    )
