"""Least-squares classification with an RBF kernel."""

from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.kernel_ridge import KernelRidge
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data


def mean_squared_distance(features: NDArray[np.float64]) -> float:
    """Return the mean squared distance of two rows of (rows, channels), the unit of kernel widths."""
    return float(2 * features.var(axis=0).sum()) or 1.0


class KernelRidgeClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Kernel ridge regression on one-hot classes; it predicts the class with the largest value.

    Parameters
    ----------
    alpha : float
        Strength of the regularisation.
    gamma : float
        The kernel is exp(-gamma |a - b|² / d), where d is the mean squared distance of two training rows.

    Attributes
    ----------
    classes_ : (classes,)
    """

    def __init__(self, alpha: float = 0.1, gamma: float = 1.0) -> None:
        self.alpha = alpha
        self.gamma = gamma

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit to features (rows, channels) and the class of each row."""
        features, labels = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(labels)
        self.classes_, index = np.unique(labels, return_inverse=True)
        targets = np.eye(len(self.classes_))[index]
        self.shares_ = targets.mean(axis=0)
        gamma = self.gamma / mean_squared_distance(features)
        self.regression_ = KernelRidge(alpha=self.alpha, kernel="rbf", gamma=gamma).fit(
            features, targets - self.shares_
        )
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the value of every class, (rows, classes); if there are two, of the second only, (rows,)."""
        check_is_fitted(self)
        features = validate_data(self, X, dtype=np.float64, reset=False)
        values = np.asarray(self.regression_.predict(features) + self.shares_)
        return values[:, 1] - values[:, 0] if len(self.classes_) == 2 else values

    def predict(self, X: ArrayLike) -> NDArray[np.generic]:
        """Return the class of each row."""
        values = self.decision_function(X)
        best = (values > 0).astype(int) if values.ndim == 1 else values.argmax(axis=1)
        answers: NDArray[np.generic] = self.classes_[best]
        return answers
