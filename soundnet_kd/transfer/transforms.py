"""Transforms of features before classification, fitted to the training clips alone."""

from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

Array = NDArray[np.float64]


class SignedPower(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Raise every feature to a power and keep its sign: sign(x) |x|^exponent.

    Averages of ReLU layers are heavy-tailed; a root makes them more nearly normal. On SoundNet's pool5 the cube root
    alone raises the accuracy of the ESC-50 notebook from 0.7195 to 0.7675 (protocol `power`).

    Parameters
    ----------
    exponent : float
    """

    def __init__(self, exponent: float = 0.5) -> None:
        self.exponent = exponent

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Check the features; nothing is fitted."""
        validate_data(self, X, dtype=np.float64)
        return self

    def transform(self, X: ArrayLike) -> Array:
        """Raise features (rows, channels) to the power."""
        check_is_fitted(self)
        features: Array = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asarray(np.sign(features) * np.abs(features) ** self.exponent)


class WithinClassRotation(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn features to the principal axes of their covariance within the classes, W.

    Attributes
    ----------
    mean_ : (channels,)
    axes_ : (channels, channels)
        Columns of unit length.
    """

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit to features (rows, channels) and the class of each row."""
        features, labels = validate_data(self, X, y, dtype=np.float64)
        residuals = _within_classes(features, labels)
        self.axes_ = np.linalg.eigh(residuals.T @ residuals / len(features))[1]
        self.mean_ = features.mean(axis=0)
        return self

    def transform(self, X: ArrayLike) -> Array:
        """Turn features (rows, channels)."""
        check_is_fitted(self)
        features: Array = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asarray((features - self.mean_) @ self.axes_)


class WithinClassScaling(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Divide every feature by its standard deviation within the classes: those in which a class varies count less.

    Of features along the axes of `WithinClassRotation` this is within-class covariance normalisation from speaker
    recognition (Hatch, Kajarekar and Stolcke, 2006), with the covariance W shrunk to (1 - s) W + s (tr W / channels) I.

    Parameters
    ----------
    shrinkage : float
        s, from 0 to 1: the variances are shrunk this far to their mean.

    Attributes
    ----------
    scale_ : (channels,)
    """

    def __init__(self, shrinkage: float = 0.5) -> None:
        self.shrinkage = shrinkage

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit to features (rows, channels) and the class of each row."""
        features, labels = validate_data(self, X, y, dtype=np.float64)
        variances = (_within_classes(features, labels) ** 2).mean(axis=0)
        shrunk = (1 - self.shrinkage) * variances + self.shrinkage * variances.mean()
        # A direction without variance would be scaled to infinity.
        self.scale_ = np.sqrt(np.maximum(shrunk, np.finfo(float).eps * max(shrunk.max(), np.finfo(float).tiny)))
        return self

    def transform(self, X: ArrayLike) -> Array:
        """Scale features (rows, channels)."""
        check_is_fitted(self)
        features: Array = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asarray(features / self.scale_)


def _within_classes(features: Array, labels: NDArray[np.generic]) -> Array:
    """Return the differences of rows from the mean of their class."""
    classes, index = np.unique(labels, return_inverse=True)
    sums = np.zeros((len(classes), features.shape[1]))
    np.add.at(sums, index, features)
    return np.asarray(features - (sums / np.bincount(index)[:, None])[index])
