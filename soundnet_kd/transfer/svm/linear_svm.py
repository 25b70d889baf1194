"""Linear support vector machines for all classes and all strengths of regularisation at once."""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from soundnet_kd.transfer.svm.solver import Array, Rows, minimise

TOLERANCE = 1e-6
MAX_STEPS = 1000


class SquaredHingeSVC(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The linear SVM of `sklearn.svm.LinearSVC`, with a solver for dense features and many classes.

    For each class against all others, with y = ±1, it minimises

        P(w, b) = (|w|² + b²) / 2 + C Σᵢ max(0, 1 - yᵢ (w·xᵢ + b))²

    Parameters
    ----------
    C : float
        Inverse strength of the regularisation.
    tol : float
        The solver stops when |∇P|² <= 2 tol² P. P is strongly convex, so it is then at most P tol² above its minimum,
        and the coefficients are at most tol sqrt(2 P) from the optimum.
    max_iter : int
        Steps per class after which the solver stops with a ConvergenceWarning.

    Attributes
    ----------
    classes_ : (classes,)
    coef_ : (classes, channels) float64; one row where there are two classes, positive towards the second.
    intercept_ : (classes,) float64; or (1,)
    n_iter_ : int
    converged_ : bool
    """

    def __init__(self, C: float = 1.0, *, tol: float = TOLERANCE, max_iter: int = MAX_STEPS) -> None:
        self.C = C
        self.tol = tol
        self.max_iter = max_iter

    def fit(self, X: ArrayLike, y: ArrayLike) -> "SquaredHingeSVC":
        """Fit to features X, (clips, channels), and the class y of each clip, (clips,)."""
        features, classes = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(classes)
        fitted = fit_path(features, classes, (self.C,), tol=self.tol, max_iter=self.max_iter)[0]
        for name in ("classes_", "coef_", "intercept_", "n_iter_", "converged_"):
            setattr(self, name, getattr(fitted, name))
        if not self.converged_:
            warnings.warn(f"no optimum after {self.max_iter} steps; raise max_iter", ConvergenceWarning, stacklevel=2)
        return self

    def decision_function(self, X: ArrayLike) -> Array:
        """Return w·x + b, (clips, classes); (clips,) where there are two classes."""
        check_is_fitted(self)
        features = validate_data(self, X, dtype=np.float64, reset=False)
        scores: Array = features @ self.coef_.T + self.intercept_
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: ArrayLike) -> NDArray[np.generic]:
        """Return the class of each clip, (clips,)."""
        scores = self.decision_function(X)
        best = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        answers: NDArray[np.generic] = self.classes_[best]
        return answers


def fit_path(
    X: NDArray[np.floating],
    y: NDArray[np.generic],
    Cs: Sequence[float],
    *,
    tol: float = TOLERANCE,
    max_iter: int = MAX_STEPS,
) -> list[SquaredHingeSVC]:
    """Fit one classifier for each C, starting from the coefficients of the one before.

    Parameters
    ----------
    X : (clips, channels) float32 or float64
    y : (clips,)
        Class of each clip.
    Cs : sequence of float
        Fastest in ascending order.
    tol, max_iter
        As in `SquaredHingeSVC`.

    Raises
    ------
    ValueError
        If there are fewer than two classes or a C is not above 0.
    """
    classes = np.unique(y)
    if len(classes) < 2:
        raise ValueError(f"y has {len(classes)} class; expected at least two")
    if min(Cs) <= 0:
        raise ValueError(f"C is {min(Cs)}; expected a number above 0")
    positive = classes[1:] if len(classes) == 2 else classes
    signs = np.where(y == positive[:, None], 1, -1).astype(np.int8)
    rows = Rows.of(np.column_stack([X, np.ones(len(X), X.dtype)]))
    weights = np.zeros((len(positive), len(rows.energies)))
    path = []
    for C in Cs:
        weights, steps, converged = minimise(rows, signs, C, weights, tol, max_iter)
        fitted = SquaredHingeSVC(C, tol=tol, max_iter=max_iter)
        coefficients = weights if rows.basis is None else weights @ rows.basis.T
        fitted.classes_, fitted.n_features_in_ = classes, X.shape[1]
        fitted.coef_, fitted.intercept_ = coefficients[:, :-1], coefficients[:, -1]
        fitted.n_iter_, fitted.converged_ = steps, converged
        path.append(fitted)
    return path
