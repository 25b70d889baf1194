"""Minimise the squared hinge loss of linear classifiers, all classes at once.

P(w) = |w|² / 2 + C Σᵢ max(0, 1 - yᵢ w·xᵢ)² for each class, with y = ±1; the intercept is a column of ones in x.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, eigh, qr

Array = NDArray[np.float64]

_LARGEST_GRAM = 4096
"""Clips up to which the products of all pairs of rows are kept (128 MiB)."""

_LINE_SEARCH_STEPS = 50
_LINE_SEARCH_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Rows:
    """Features of clips along their principal axes, of which there are at most as many as clips.

    P does not change under a rotation, and the best w lies in the span of the rows. Along these axes the Hessian of a
    class with every clip inside the margin is diagonal: I + 2C diag(energies).

    Attributes
    ----------
    along : (clips, axes)
    energies : (axes,)
        Sum of the squares of each column.
    basis : (channels, axes)
        Orthonormal columns; the features times it are `along`.
    gram : (clips, clips), optional
        Products of every two rows, where it is small enough to keep.
    """

    along: Array
    energies: Array
    basis: Array
    gram: Array | None

    @classmethod
    def rotate(cls, features: Array) -> "Rows":
        """Rotate features, (clips, channels)."""
        span, rows = None, features
        if len(rows) < rows.shape[1]:
            span, lower = qr(rows.T, mode="economic")
            rows = lower.T
        energies, axes = eigh(rows.T @ rows)
        return cls(
            along=rows @ axes,
            energies=np.maximum(energies, 0),
            basis=axes if span is None else span @ axes,
            gram=rows @ rows.T if len(rows) <= _LARGEST_GRAM else None,
        )


def minimise(rows: Rows, signs: Array, C: float, start: Array, tol: float, max_iter: int) -> tuple[Array, int, bool]:
    """Minimise P for all classes by conjugate gradients, then by Newton steps, with an exact line search.

    A Newton step needs the Hessian I + 2C Σ xᵢxᵢᵀ over the clips inside the margin of a class. Where these are most
    clips, the Hessian is nearly that of all clips, shared by all classes, diagonal here, and a good preconditioner.
    Where they are few, it is a small matrix. A class changes from the one to the other when its own Hessian costs no
    more multiplications than its products so far. (Newton's method with this line search ends after finitely many
    steps: Keerthi and DeCoste, JMLR 6, 2005.)

    Parameters
    ----------
    rows : Rows
    signs : (classes, clips)
        y of every class.
    C : float
    start : (classes, axes)
    tol, max_iter
        As in `SquaredHingeSVC`.

    Returns
    -------
    weights : (classes, axes)
    steps : int
    converged : bool
    """
    X = rows.along
    result, todo, w = start.copy(), np.arange(len(start)), start.copy()
    slack = 1 - signs * (w @ X.T)
    direction = before = np.zeros_like(w)
    slope = np.full(len(w), np.inf)
    for done in range(max_iter + 1):
        loss = np.maximum(slack, 0)
        gradient = w - 2 * C * ((signs * loss) @ X)
        objective = (w**2).sum(axis=1) / 2 + C * (loss**2).sum(axis=1)
        going = ~((gradient**2).sum(axis=1) <= 2 * tol**2 * objective)
        result[todo] = w
        states: tuple[Any, ...] = (todo, w, slack, signs, gradient, direction, before, slope)
        todo, w, slack, signs, gradient, direction, before, slope = (state[going] for state in states)
        if len(todo) == 0 or done == max_iter:
            break
        inside = slack > 0
        step = gradient / (1 + 2 * C * inside.mean(axis=1, keepdims=True) * rows.energies)
        near = inside.sum(axis=1)
        few = np.minimum(near, X.shape[1]) ** 2 * near <= 2 * X.size * done
        if few.any():
            step[few] = _newton_steps(rows, inside[few], gradient[few], C)
        conjugate = np.maximum(0, (step * (gradient - before)).sum(axis=1) / slope)
        direction = conjugate[:, None] * direction - step
        uphill = (direction * gradient).sum(axis=1) >= 0
        direction[uphill] = -step[uphill]
        before, slope = gradient, (step * gradient).sum(axis=1)
        change = -signs * (direction @ X.T)
        length = _line_search(w, direction, slack, change, C)
        w = w + length * direction
        slack = slack + length * change
    return result, done, len(todo) == 0


def _newton_steps(rows: Rows, inside: NDArray[np.bool_], gradient: Array, C: float) -> Array:
    """Solve (I + 2C XᵀX) s = g for the rows X inside the margin of each class.

    If X has fewer clips than axes, the smaller system XXᵀ is solved: s = g - Xᵀ (I / 2C + XXᵀ)⁻¹ X g (Woodbury).
    """
    products = gradient @ rows.along.T
    correction = np.zeros_like(products)
    step = gradient.copy()
    for k, near in enumerate(map(np.flatnonzero, inside)):
        if len(near) > rows.along.shape[1]:
            X = rows.along[near]
            step[k] = _solve(X.T @ X, 1 / (2 * C), gradient[k] / (2 * C))
        else:
            inner = rows.along[near] @ rows.along[near].T if rows.gram is None else rows.gram[np.ix_(near, near)]
            correction[k, near] = _solve(inner, 1 / (2 * C), products[k, near])
    return step - correction @ rows.along


def _solve(matrix: Array, ridge: float, right: Array) -> Array:
    # A ridge smaller than the rounding errors would leave the matrix indefinite; a larger one costs a few more steps.
    matrix.flat[:: len(matrix) + 1] += max(ridge, np.finfo(float).eps * np.trace(matrix))
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
