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


class WithinClassWhitening(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Whiten features by their covariance within the classes, so that directions in which a class varies count less.

    This is within-class covariance normalisation from speaker recognition (Hatch, Kajarekar and Stolcke, 2006), with
    the covariance W shrunk to (1 - s) W + s (tr W / channels) I.

    Parameters
    ----------
    shrinkage : float
        s, from 0 to 1.

    Attributes
    ----------
    mean_ : (channels,)
    projection_ : (channels, channels)
    """

    def __init__(self, shrinkage: float = 0.5) -> None:
        self.shrinkage = shrinkage

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit to features (rows, channels) and the class of each row."""
        from sklearn.covariance import shrunk_covariance

        features, labels = validate_data(self, X, y, dtype=np.float64)
        classes, index = np.unique(labels, return_inverse=True)
        sums = np.zeros((len(classes), features.shape[1]))
        np.add.at(sums, index, features)
        residuals = features - (sums / np.bincount(index)[:, None])[index]
        within = shrunk_covariance(residuals.T @ residuals / len(features), self.shrinkage)
        energies, axes = np.linalg.eigh(within)
        # A direction without variance would be scaled to infinity.
        min_energy = np.finfo(float).eps * max(energies[-1], np.finfo(float).tiny)
        self.mean_ = features.mean(axis=0)
        self.projection_ = axes / np.sqrt(np.maximum(energies, min_energy))
        return self

    def transform(self, X: ArrayLike) -> Array:
        """Whiten features (rows, channels)."""
        check_is_fitted(self)
        features: Array = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asarray((features - self.mean_) @ self.projection_)
