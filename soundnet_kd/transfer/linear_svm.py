"""Linear support vector machines, all classes and all strengths of regularisation at once."""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve, eigh, qr
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

Array = NDArray[np.float64]

TOLERANCE = 1e-6
MOST_STEPS = 1000

# One product of the rows with a matrix runs about this many times faster per number than a factorisation's small ones.
_LINE_SEARCH_STEPS = 50
_LINE_SEARCH_TOLERANCE = 1e-3


class SquaredHingeSVC(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The linear SVM of `sklearn.svm.LinearSVC`, with a solver for dense features and many classes.

    For each class against all others, with y = ±1, it minimises

        P(w, b) = (|w|² + b²) / 2 + C Σᵢ max(0, 1 - yᵢ (w·xᵢ + b))²

    Parameters
    ----------
    C : float
        Inverse strength of the regularisation.
    tol : float
        It stops where |∇P|² <= 2 tol² P. P is strongly convex, so P is then at most P tol² above its minimum, and the
        coefficients at most tol sqrt(2 P) from the best ones.
    max_iter : int
        Steps per class, after which it stops anyway, with a ConvergenceWarning.

    Attributes
    ----------
    classes_ : (classes,)
    coef_ : (classes, channels) float64; one row where there are two classes, positive towards the second.
    intercept_ : (classes,) float64; or (1,)
    n_iter_ : int
    converged_ : bool
    """

    def __init__(self, C: float = 1.0, *, tol: float = TOLERANCE, max_iter: int = MOST_STEPS) -> None:
        self.C = C
        self.tol = tol
        self.max_iter = max_iter

    def fit(self, X: ArrayLike, y: ArrayLike) -> "SquaredHingeSVC":
        """Learn from features X, (clips, channels), and the class y of each clip, (clips,)."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        fitted = fit_path(X, np.asarray(y), (self.C,), tol=self.tol, max_iter=self.max_iter)[0]
        for name in ("classes_", "coef_", "intercept_", "n_iter_", "converged_"):
            setattr(self, name, getattr(fitted, name))
        if not self.converged_:
            warnings.warn(f"no optimum after {self.max_iter} steps; raise max_iter", ConvergenceWarning, stacklevel=2)
        return self

    def decision_function(self, X: ArrayLike) -> Array:
        """Give w·x + b, (clips, classes); (clips,) where there are two classes."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        scores: Array = X @ self.coef_.T + self.intercept_
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: ArrayLike) -> NDArray[np.generic]:
        """Give the class of each clip, (clips,)."""
        scores = self.decision_function(X)
        best = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        answers: NDArray[np.generic] = self.classes_[best]
        return answers


def fit_path(
    X: Array, y: NDArray[np.generic], Cs: Sequence[float], *, tol: float = TOLERANCE, max_iter: int = MOST_STEPS
) -> list[SquaredHingeSVC]:
    """Fit one classifier for each C; each starts from the coefficients of the one before.

    Parameters
    ----------
    X : (clips, channels) float64
    y : (clips,)
        Class of each clip.
    Cs : sequence of float
        Ascending is fastest.
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
    signs = np.where(y == positive[:, None], 1.0, -1.0)
    rows, energies, basis = _principal(np.column_stack([X, np.ones(len(X))]))
    weights = np.zeros((len(positive), len(energies)))
    path = []
    for C in Cs:
        weights, steps, converged = _minimise(rows, energies, signs, C, weights, tol, max_iter)
        fitted = SquaredHingeSVC(C, tol=tol, max_iter=max_iter)
        coefficients = weights @ basis.T
        fitted.classes_, fitted.n_features_in_ = classes, X.shape[1]
        fitted.coef_, fitted.intercept_ = coefficients[:, :-1], coefficients[:, -1]
        fitted.n_iter_, fitted.converged_ = steps, converged
        path.append(fitted)
    return path


def _principal(rows: Array) -> tuple[Array, Array, Array]:
    """Turn rows to their principal axes, of which there are at most as many as rows.

    P does not change under a rotation, and a best w lies in the span of the rows. Along these axes the Hessian is
    diagonal when every clip is inside the margin: I + 2C diag(energies).

    Returns
    -------
    rows : (clips, axes)
    energies : (axes,)
        Sum of the squares of each column.
    basis : (channels, axes)
        Orthonormal columns; the given rows times it are the rows returned.
    """
    span = None
    if len(rows) < rows.shape[1]:
        span, lower = qr(rows.T, mode="economic")
        rows = lower.T
    energies, axes = eigh(rows.T @ rows)
    return rows @ axes, np.maximum(energies, 0), axes if span is None else span @ axes


def _minimise(
    rows: Array, energies: Array, signs: Array, C: float, start: Array, tol: float, max_iter: int
) -> tuple[Array, int, bool]:
    """Minimise P for all classes by conjugate gradients, then by Newton steps, with an exact line search.

    A Newton step needs the Hessian I + 2C Σ xᵢxᵢᵀ over the clips inside the margin of a class. Where these are most
    clips, the Hessian is nearly that of all clips, shared by all classes, diagonal here, and a good preconditioner.
    Where they are few, it is a small matrix. A class goes over from the one to the other when its own Hessian costs
    no more than the products it took part in so far. (Newton's method with this line search ends after finitely many
    steps: Keerthi and DeCoste, JMLR 6, 2005.)

    Parameters
    ----------
    rows : (clips, axes)
    energies : (axes,)
    signs : (classes, clips)
    start : (classes, axes)

    Returns
    -------
    weights : (classes, axes)
    steps : int
    converged : bool
    """
    result, todo, w = start.copy(), np.arange(len(start)), start.copy()
    slack = 1 - signs * (w @ rows.T)
    gram = rows @ rows.T if len(rows) <= 4096 else None
    direction = before = np.zeros_like(w)
    slope = np.full(len(w), np.inf)
    for done in range(max_iter + 1):
        loss = np.maximum(slack, 0)
        gradient = w - 2 * C * ((signs * loss) @ rows)
        objective = (w**2).sum(axis=1) / 2 + C * (loss**2).sum(axis=1)
        going = ~((gradient**2).sum(axis=1) <= 2 * tol**2 * objective)
        result[todo] = w
        todo, w, slack, signs, gradient, direction, before, slope = (
            state[going] for state in (todo, w, slack, signs, gradient, direction, before, slope)
        )
        if len(todo) == 0 or done == max_iter:
            break
        inside = slack > 0
        step = gradient / (1 + 2 * C * inside.mean(axis=1, keepdims=True) * energies)
        near = inside.sum(axis=1)
        few = np.minimum(near, len(energies)) ** 2 * near <= 2 * rows.size * done
        if few.any():
            step[few] = _newton_steps(rows, gram, inside[few], gradient[few], C)
        conjugate = np.maximum(0, (step * (gradient - before)).sum(axis=1) / slope)
        direction = conjugate[:, None] * direction - step
        uphill = (direction * gradient).sum(axis=1) >= 0
        direction[uphill] = -step[uphill]
        before, slope = gradient, (step * gradient).sum(axis=1)
        change = -signs * (direction @ rows.T)
        length = _line_search(w, direction, slack, change, C)
        w = w + length * direction
        slack = slack + length * change
    return result, done, len(todo) == 0


def _newton_steps(rows: Array, gram: Array | None, inside: NDArray[np.bool_], gradient: Array, C: float) -> Array:
    """Solve (I + 2C XᵀX) s = g for the rows X inside the margin of each class.

    Where X has fewer clips than axes it is the smaller system XXᵀ: s = g - Xᵀ (I / 2C + XXᵀ)⁻¹ X g (Woodbury).
    """
    clips, axes = rows.shape
    products = gradient @ rows.T
    correction = np.zeros_like(products)
    step = gradient.copy()
    for k, near in enumerate(map(np.flatnonzero, inside)):
        if len(near) > axes:
            X = rows[near]
            step[k] = _solve(X.T @ X, 1 / (2 * C), gradient[k] / (2 * C))
        else:
            inner = rows[near] @ rows[near].T if gram is None else gram[np.ix_(near, near)]
            correction[k, near] = _solve(inner, 1 / (2 * C), products[k, near])
    return step - correction @ rows


def _solve(matrix: Array, ridge: float, right: Array) -> Array:
    matrix.flat[:: len(matrix) + 1] += ridge
    factor = cho_factor(matrix, overwrite_a=True, check_finite=False)
    solution: Array = cho_solve(factor, right, check_finite=False)
    return solution


def _line_search(w: Array, direction: Array, slack: Array, change: Array, C: float) -> Array:
    """Find for each class the length t, (classes, 1), that minimises P(w + t direction).

    Its derivative increases and is piecewise linear: Newton's method, inside a bracket.
    """
    flat, curved = (w * direction).sum(axis=1), (direction**2).sum(axis=1)
    low, high = np.zeros(len(w)), np.full(len(w), np.inf)
    length = np.zeros(len(w))
    first = None
    for _ in range(_LINE_SEARCH_STEPS):
        loss = slack + length[:, None] * change
        moving = change * (loss > 0)
        derivative = flat + length * curved + 2 * C * np.einsum("kn,kn->k", moving, loss)
        curvature = curved + 2 * C * np.einsum("kn,kn->k", moving, change)
        first = np.abs(derivative) if first is None else first
        going = np.abs(derivative) > _LINE_SEARCH_TOLERANCE * first
        if not going.any():
            break
        low, high = np.where(derivative < 0, length, low), np.where(derivative > 0, length, high)
        newton = length - derivative / curvature
        inside = (low <= newton) & (newton <= high)
        length = np.where(going, np.where(inside, newton, (low + high) / 2), length)
    return length[:, None]
