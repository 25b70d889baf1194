"""Least-squares classification with an RBF kernel."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

Array = NDArray[np.float64]


def mean_squared_distance(features: NDArray[np.floating]) -> float:
    """Return the mean squared distance of two rows of (rows, channels), the unit of kernel widths."""
    return float(2 * features.var(axis=0).sum()) or 1.0


def decide(
    known: NDArray[np.floating],
    labels: NDArray[np.generic],
    unseen: NDArray[np.floating],
    settings: Sequence[Mapping[str, Any]],
) -> list[Array]:
    """Fit kernel ridge regression to one-hot classes, and return its values for other rows.

    Distances are computed once, and kernels once for each width.

    Parameters
    ----------
    known : (rows, channels)
    labels : (rows,)
        The class of each row.
    unseen : (other rows, channels)
    settings : sequence of mappings
        `alpha`, the strength of the regularisation, and `gamma` each. The kernel is exp(-gamma |a - b|² / d), where d
        is the mean squared distance of two known rows.

    Returns
    -------
    list of (other rows, classes)
        For each setting; the largest value is that of the predicted class, of `np.unique(labels)`.
    """
    classes, index = np.unique(labels, return_inverse=True)
    targets = np.eye(len(classes))[index]
    shares = targets.mean(axis=0)
    unit = mean_squared_distance(known)
    among, across = _squared_distances(known, known) / -unit, _squared_distances(unseen, known) / -unit
    found: list[Array] = [across] * len(settings)
    for gamma in {setting["gamma"]: None for setting in settings}:
        kernel, of_unseen = np.exp(gamma * among), np.exp(gamma * across)
        for place, setting in enumerate(settings):
            if setting["gamma"] == gamma:
                ridge = kernel.copy()
                ridge.flat[:: len(ridge) + 1] += setting["alpha"]
                # The transpose of a symmetric matrix in C order is in the order of LAPACK, which needs no copy.
                factor = cho_factor(ridge.T, overwrite_a=True, check_finite=False)
                weights = cho_solve(factor, targets - shares, check_finite=False)
                found[place] = of_unseen @ weights + shares
    return found


def _squared_distances(rows: NDArray[np.floating], others: NDArray[np.floating]) -> Array:
    # In place: these arrays are large, and reading memory takes longer than the arithmetic.
    found = rows @ others.T
    found *= -2
    found += np.einsum("ij,ij->i", rows, rows)[:, None]
    found += np.einsum("ij,ij->i", others, others)
    np.maximum(found, 0, out=found)
    if rows is others:
        np.fill_diagonal(found, 0)
    return np.asarray(found)
