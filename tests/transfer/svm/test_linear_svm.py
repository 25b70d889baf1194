"""Expected coefficients: scikit-learn's LinearSVC (liblinear) at a tight tolerance, or the gradient written out."""

from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import estimator_checks_generator

from soundnet_kd.transfer.svm import solver as squared_hinge
from soundnet_kd.transfer.svm.linear_svm import SquaredHingeSVC, fit_path

Floats = NDArray[np.float64]
Problem = tuple[Floats, NDArray[np.int64]]


def problem(clips: int, channels: int, classes: int) -> Problem:
    rng = np.random.default_rng(clips + channels)
    y = np.arange(clips) % classes
    return rng.normal(size=(clips, channels)) + rng.normal(size=(classes, channels))[y], y


def with_constant() -> Problem:
    X, y = problem(60, 4, 3)
    X[:, 2] = 7.0
    return X, y


PROBLEMS = {
    "binary": problem(60, 5, 2),
    "multi-class": problem(60, 5, 4),
    "binary, more channels than clips": problem(20, 50, 2),
    "multi-class, more channels than clips": problem(20, 50, 3),
    "a constant feature": with_constant(),
    "one feature": problem(40, 1, 2),
    "one feature, three classes": problem(40, 1, 3),
}


def objective_and_gradient(svm: SquaredHingeSVC | LinearSVC, X: Floats, y: NDArray[np.int64]) -> tuple[float, float]:
    """Sum of P over the classes, and the largest |∇P|, one class and one clip after the other."""
    total, largest = 0.0, 0.0
    positive = svm.classes_[1:] if len(svm.classes_) == 2 else svm.classes_
    for name, w, b in zip(positive, svm.coef_, svm.intercept_, strict=True):
        gradient, value = np.append(w, b), (w @ w + b * b) / 2
        for x, label in zip(X, y, strict=True):
            sign = 1 if label == name else -1
            loss = max(0.0, 1 - sign * (w @ x + b))
            value += svm.C * loss**2
            gradient = gradient - 2 * svm.C * loss * sign * np.append(x, 1.0)
        total, largest = total + value, max(largest, float(np.linalg.norm(gradient)))
    return total, largest


@pytest.mark.parametrize("C", [1e-3, 0.1, 1.0, 30.0])
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_coefficients_are_those_of_liblinear(name: str, C: float) -> None:
    X, y = PROBLEMS[name]
    theirs = LinearSVC(C=C, dual=False, tol=1e-8, max_iter=100_000).fit(X, y)
    ours = SquaredHingeSVC(C).fit(X, y)
    assert ours.converged_
    assert ours.coef_.shape == theirs.coef_.shape
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-4)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-4)
    np.testing.assert_allclose(ours.decision_function(X), theirs.decision_function(X), atol=1e-3)
    assert objective_and_gradient(ours, X, y)[0] <= objective_and_gradient(theirs, X, y)[0] * (1 + 1e-10)


@pytest.mark.parametrize("C", [1e-4, 0.1, 10.0, 1e4])
@pytest.mark.parametrize("shape", [(300, 40, 6), (80, 200, 5)])
def test_it_stops_at_the_optimum(shape: tuple[int, int, int], C: float) -> None:
    X, y = problem(*shape)
    svm = SquaredHingeSVC(C, tol=1e-7).fit(X, y)
    objective, gradient = objective_and_gradient(svm, X, y)
    assert gradient <= 1.01e-7 * np.sqrt(2 * objective)


def test_classes_that_overlap_take_the_larger_hessian() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_t(2, size=(600, 12)) * np.logspace(0, -3, 12), rng.integers(0, 4, 600)
    theirs = LinearSVC(C=1e3, dual=False, tol=1e-10, max_iter=100_000).fit(X, y)
    ours = SquaredHingeSVC(1e3).fit(X, y)
    assert ours.converged_
    assert objective_and_gradient(ours, X, y)[0] <= objective_and_gradient(theirs, X, y)[0] * (1 + 1e-10)


@pytest.mark.parametrize("largest_gram", [0, 4096])
@pytest.mark.parametrize("near", [0, 4, 30])
def test_a_newton_step_solves_the_system_of_the_clips_inside_the_margin(
    near: int, largest_gram: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(squared_hinge, "_LARGEST_GRAM", largest_gram)
    rng = np.random.default_rng(near)
    rows = squared_hinge.Rows.of(rng.normal(size=(40, 9)))
    inside, gradient = np.arange(40)[None] < near, rng.normal(size=(1, 9))
    X = rows.features[:near]
    expected = np.linalg.solve(np.eye(9) + 2 * 0.3 * X.T @ X, gradient[0])
    step = squared_hinge.Hessians(rows, 0.3, 1).solve(gradient, inside, np.array([0]), 1000)
    np.testing.assert_allclose(step[0], expected, atol=1e-12)


@pytest.mark.parametrize("largest_gram", [0, 4096])
@pytest.mark.parametrize("shape", [(30, 8), (8, 30)])
def test_all_clips_inside_the_margin_make_a_newton_step_of_the_shared_hessian(
    shape: tuple[int, int], largest_gram: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(squared_hinge, "_LARGEST_GRAM", largest_gram)
    rng = np.random.default_rng(0)
    features = rng.normal(size=shape)
    rows = squared_hinge.Rows.of(features)
    assert rows.features.shape == (shape[0], 8)
    gradient, basis = rng.normal(size=(1, 8)), np.eye(8) if rows.basis is None else rows.basis
    np.testing.assert_allclose(rows.features @ basis.T, features, atol=1e-12)
    step = squared_hinge.Hessians(rows, 0.3, 1).solve(gradient, np.ones((1, shape[0]), dtype=bool), np.array([0]), 0)
    expected = np.linalg.solve(np.eye(shape[1]) + 2 * 0.3 * features.T @ features, basis @ gradient[0])
    np.testing.assert_allclose(basis @ step[0], expected, atol=1e-12)


def test_many_rows_of_float32_have_the_optimum_of_liblinear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks, without the products of all rows, with few and with many of them inside the margin."""
    monkeypatch.setattr(squared_hinge, "_LARGEST_GRAM", 0)
    monkeypatch.setattr(squared_hinge, "_BLOCK", 70)
    X, y = problem(600, 30, 8)
    few = X.astype(np.float32)
    for C in (1e-3, 0.1, 10.0):
        (ours,) = fit_path(few, y, [C])
        theirs = LinearSVC(C=C, dual=False, tol=1e-10, max_iter=100_000).fit(few.astype(np.float64), y)
        assert ours.converged_
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)


def test_a_path_gives_what_each_strength_gives_alone() -> None:
    X, y = PROBLEMS["multi-class"]
    for svm in fit_path(X, y, (1e-3, 0.1, 10.0)):
        np.testing.assert_allclose(svm.coef_, SquaredHingeSVC(svm.C).fit(X, y).coef_, atol=1e-5)


def test_too_few_steps_are_recorded_and_warned_of() -> None:
    X, y = problem(200, 20, 5)
    with pytest.warns(ConvergenceWarning, match="no optimum after 2 steps"):
        svm = SquaredHingeSVC(1.0, max_iter=2).fit(X, y)
    assert not svm.converged_
    assert svm.n_iter_ == 2


@pytest.mark.parametrize("names", [("cat", "dog"), ("rain", "cat", "dog")])
def test_it_answers_with_the_names_of_the_classes(names: tuple[str, ...]) -> None:
    X, y = make_classification(90, n_informative=6, n_classes=len(names), class_sep=3, random_state=0)
    labels = np.array(names)[y]
    svm = clone(SquaredHingeSVC(0.5, max_iter=300)).fit(X, labels)
    assert svm.get_params() == {"C": 0.5, "tol": 1e-6, "max_iter": 300}
    assert svm.classes_.tolist() == sorted(names)
    assert svm.predict(X).tolist() == LinearSVC(C=0.5, dual=False).fit(X, labels).predict(X).tolist()


@pytest.mark.parametrize(("y", "C", "message"), [([1, 1], 1.0, "1 class"), ([0, 1], 0.0, "expected a number above 0")])
def test_what_cannot_be_fitted_is_refused(y: list[int], C: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SquaredHingeSVC(C).fit([[0.0], [1.0]], y)


# All of scikit-learn's checks but the one for arrays of other libraries, which skips itself without array-api-compat.
CHECKS = [check for _, check in estimator_checks_generator(SquaredHingeSVC()) if "array_api" not in str(check)]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.func.__name__)
def test_it_keeps_the_contract_of_scikit_learn(check: partial[None]) -> None:
    check(SquaredHingeSVC())
