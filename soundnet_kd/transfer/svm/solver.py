"""Minimise the squared hinge loss of linear classifiers, all classes at once.

P(w) = |w|² / 2 + C Σᵢ max(0, 1 - yᵢ w·xᵢ)² for each class, with y = ±1; the intercept is a column of ones in x.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, eigh, qr

Array = NDArray[np.float64]

_LARGEST_GRAM = 4096
"""Clips up to which the products of all pairs of rows are kept (128 MiB)."""

_BLOCK = 2048
"""Clips that are converted to float64 together."""

_HESSIAN_SPEED = 6
"""About how many times as fast the multiplications for a Hessian of many clips are as those with a few weights."""

_LINE_SEARCH_STEPS = 50
_LINE_SEARCH_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Rows:
    """Features of clips, in at most as many channels as clips, and their principal axes.

    P does not change under a rotation, and the best w lies in the span of the rows. Along the principal axes the
    Hessian of a class with every clip inside the margin is diagonal: I + 2C diag(energies). A few clips are turned to
    these axes. Many, such as windows, stay as they are, also in float32; sums over them are in float64.

    Attributes
    ----------
    features : (clips, channels) float32 or float64
    energies : (channels,)
        Sum of the squares along each principal axis.
    axes : (channels, channels), optional
        The principal axes, orthonormal columns, where the features are not along them.
    basis : (channels as given, channels), optional
        Orthonormal columns; `features` times its transpose are the features as they were given.
    gram : (clips, clips), optional
        Products of every two rows, where these are few.
    """

    features: NDArray[np.floating]
    energies: Array
    axes: Array | None
    basis: Array | None
    gram: NDArray[np.floating] | None

    @classmethod
    def of(cls, features: NDArray[np.floating]) -> "Rows":
        """Find the span and the principal axes of features, (clips, channels)."""
        span, rows = None, features
        if len(rows) < rows.shape[1]:
            span, lower = qr(rows.T.astype(np.float64, copy=False), mode="economic")
            rows = lower.T
        energies, axes = eigh((rows.T @ rows).astype(np.float64, copy=False))
        energies = np.maximum(energies, 0)
        if len(rows) > _LARGEST_GRAM:
            return cls(rows, energies, axes, span, None)
        return cls(rows @ axes, energies, None, axes if span is None else span @ axes, rows @ rows.T)

    def scores(self, weights: Array) -> Array:
        """Return the product of every clip with each row of weights (classes, channels): (classes, clips)."""
        found = np.empty((len(weights), len(self.features)))
        for block in self._blocks():
            np.matmul(weights, self.features[block].astype(np.float64, copy=False).T, out=found[:, block])
        return found

    def sums(self, shares: Array) -> Array:
        """Return the sum of all clips with each row of shares (classes, clips): (classes, channels)."""
        found = np.zeros((len(shares), self.features.shape[1]))
        for block in self._blocks():
            found += shares[:, block] @ self.features[block].astype(np.float64, copy=False)
        return found

    def _blocks(self) -> list[slice]:
        return [slice(first, first + _BLOCK) for first in range(0, len(self.features), _BLOCK)]


def minimise(
    rows: Rows, signs: NDArray[np.int8], C: float, start: Array, tol: float, max_iter: int
) -> tuple[Array, int, bool]:
    """Minimise P for all classes by conjugate gradients with an exact line search.

    The best preconditioner is the Hessian I + 2C Σ xᵢxᵢᵀ over the clips inside the margin of a class (a Newton step).
    Where these are most clips, it is nearly that of all clips, which all classes share. A class gets a Hessian of its
    own when that takes no longer than its two products a step so far. Of few clips it is made anew in each step. Of
    many it serves until a new one takes no longer than the products since the last. (Newton's method with this line
    search ends after finitely many steps: Keerthi and DeCoste, JMLR 6, 2005.)

    Parameters
    ----------
    rows : Rows
    signs : (classes, clips)
        y of every class.
    C : float
    start : (classes, channels)
    tol, max_iter
        As in `SquaredHingeSVC`.

    Returns
    -------
    weights : (classes, channels)
    steps : int
    converged : bool
    """
    result, todo, w = start.copy(), np.arange(len(start)), start.copy()
    slack = 1 - signs * rows.scores(w)
    direction = before = np.zeros_like(w)
    slope = np.full(len(w), np.inf)
    hessians = Hessians(rows, C, len(w))
    for done in range(max_iter + 1):
        loss = np.maximum(slack, 0)
        gradient = w - 2 * C * rows.sums(loss * signs)
        objective = (w**2).sum(axis=1) / 2 + C * (loss**2).sum(axis=1)
        going = ~((gradient**2).sum(axis=1) <= 2 * tol**2 * objective)
        result[todo] = w
        # No name keeps the arrays before: those of many clips are large.
        todo, signs = todo[going], signs[going]
        w, slack, gradient, direction, before, slope = (
            state[going] for state in (w, slack, gradient, direction, before, slope)
        )
        if len(todo) == 0 or done == max_iter:
            break
        step = hessians.solve(gradient, slack > 0, todo, done)
        conjugate = np.maximum(0, (step * (gradient - before)).sum(axis=1) / slope)
        direction = conjugate[:, None] * direction - step
        uphill = (direction * gradient).sum(axis=1) >= 0
        direction[uphill] = -step[uphill]
        before, slope = gradient, (step * gradient).sum(axis=1)
        change = -signs * rows.scores(direction)
        length = _line_search(w, direction, slack, change, C)
        w = w + length * direction
        slack = slack + length * change
    return result, done, len(todo) == 0


class Hessians:
    """Hessians of the classes, or what stands in for them, the preconditioners of `minimise`.

    Parameters
    ----------
    rows : Rows
    C : float
    classes : int
    """

    def __init__(self, rows: Rows, C: float, classes: int) -> None:
        self.rows, self.C = rows, C
        # Those of many clips take long; they are kept if they need hardly more memory than the features.
        self.keeps = rows.gram is None and classes * rows.features.shape[1] ** 2 <= 2 * rows.features.size
        self.kept: dict[int, _Hessian] = {}
        self.renewed = np.zeros(classes, dtype=np.int64)

    def solve(self, gradient: Array, inside: NDArray[np.bool_], todo: NDArray[np.integer], done: int) -> Array:
        """Solve H s = g for each class.

        Parameters
        ----------
        gradient : (classes todo, channels)
        inside : (classes todo, clips)
            Whether a clip is inside the margin.
        todo : (classes todo,)
            Numbers of the classes.
        done : int
            Steps so far.

        Returns
        -------
        (classes todo, channels)
        """
        rows, near = self.rows, inside.sum(axis=1)
        scale = 1 + 2 * self.C * (near / len(rows.features))[:, None] * rows.energies
        step = gradient / scale if rows.axes is None else ((gradient @ rows.axes) / scale) @ rows.axes.T
        cost = np.minimum(near, gradient.shape[1]) ** 2 * near
        since = _HESSIAN_SPEED * (done - self.renewed[todo]) if self.keeps else np.full(len(todo), done)
        renew = cost <= 2 * rows.features.size * since
        products = correction = np.empty(0)
        by_clips: list[int] = []
        for place, number in enumerate(todo.tolist()):
            if renew[place]:
                hessian = _Hessian.of(rows, np.flatnonzero(inside[place]), self.C)
                if self.keeps:
                    self.kept[number], self.renewed[number] = hessian, done
            elif number in self.kept:
                hessian = self.kept[number]
            else:
                continue
            if hessian.near is None:
                step[place] = hessian.solve(gradient[place] / (2 * self.C))
                continue
            if not by_clips:
                products = rows.scores(gradient)
                correction = np.zeros_like(products)
            by_clips.append(place)
            correction[place, hessian.near] = hessian.solve(products[place, hessian.near])
        if by_clips:
            # With fewer clips inside the margin than channels, s = g - Xᵀ (I / 2C + XXᵀ)⁻¹ X g (Woodbury).
            step[by_clips] = gradient[by_clips] - rows.sums(correction[by_clips])
        return np.asarray(step)


@dataclass(frozen=True, eq=False)
class _Hessian:
    """The Hessian of a class, by a Cholesky factor of I / 2C + XᵀX for the rows X inside the margin.

    If X has fewer clips than channels, it is that of I / 2C + XXᵀ, and `near` has the numbers of the clips.
    """

    factor: NDArray[np.floating]
    near: NDArray[np.integer] | None

    @classmethod
    def of(cls, rows: Rows, near: NDArray[np.integer], C: float) -> "_Hessian":
        if len(near) <= rows.features.shape[1] and rows.gram is not None:
            return cls(_factor(rows.gram[np.ix_(near, near)], 1 / (2 * C)), near)
        X = rows.features[near]
        if len(near) > X.shape[1]:
            return cls(_factor(X.T @ X, 1 / (2 * C)), None)
        return cls(_factor(X @ X.T, 1 / (2 * C)), near)

    def solve(self, right: Array) -> Array:
        solution: Array = cho_solve((self.factor, True), right, check_finite=False)
        return solution


def _factor(matrix: NDArray[np.floating], ridge: float) -> NDArray[np.floating]:
    # A ridge smaller than the rounding errors would leave the matrix indefinite; a larger one costs a few more steps.
    matrix.flat[:: len(matrix) + 1] += max(ridge, np.finfo(matrix.dtype).eps * np.trace(matrix))
    # The transpose of a symmetric matrix in C order is in the order of LAPACK, which needs no copy.
    factor, _ = cho_factor(matrix.T, lower=True, overwrite_a=True, check_finite=False)
    return np.asarray(factor)


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
