"""What features go through: scikit-learn's own checks, and small cases by hand."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.covariance import ShrunkCovariance
from sklearn.kernel_ridge import KernelRidge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from soundnet_kd.transfer.kernel_ridge import decide, mean_squared_distance
from soundnet_kd.transfer.transforms import SignedPower, WithinClassRotation, WithinClassScaling


def whitening(shrinkage: float) -> Pipeline:
    return make_pipeline(WithinClassRotation(), WithinClassScaling(shrinkage))


@parametrize_with_checks([SignedPower(), WithinClassRotation(), WithinClassScaling()])
def test_scikit_learns_own_checks(estimator: object, check: Callable[[object], None]) -> None:
    check(estimator)


def test_a_power_keeps_the_sign() -> None:
    np.testing.assert_allclose(SignedPower(1 / 3).fit_transform([[8.0, -27.0, 0.0]]), [[2.0, -3.0, 0.0]])


def test_whitened_classes_have_the_identity_as_their_covariance() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 50)
    features = 3 * rng.normal(size=(4, 5))[labels] + rng.normal(size=(200, 5)) @ rng.normal(size=(5, 5))
    whitened = whitening(0.0).fit(features, labels).transform(features)
    residuals = whitened - np.stack([whitened[labels == label].mean(axis=0) for label in range(4)])[labels]
    np.testing.assert_allclose(residuals.T @ residuals / 200, np.eye(5), atol=1e-10)


def test_shrinkage_is_scikit_learns() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 30)
    features = rng.normal(size=(60, 4)) * [1, 2, 3, 4]
    residuals = features - np.stack([features[labels == label].mean(axis=0) for label in (0, 1)])[labels]
    shrunk = ShrunkCovariance(assume_centered=True, shrinkage=0.3).fit(residuals).covariance_
    rotation, scaling = whitening(0.3).fit(features, labels)
    projection = rotation.axes_ / scaling.scale_
    np.testing.assert_allclose(projection @ projection.T, np.linalg.inv(shrunk), rtol=1e-8)


def test_a_constant_feature_stays_finite() -> None:
    features = np.column_stack([np.arange(6.0), np.ones(6)])
    assert np.isfinite(whitening(0.0).fit(features, [0, 0, 0, 1, 1, 1]).transform(features)).all()


def test_the_mean_squared_distance_is_that_of_all_pairs() -> None:
    rows = np.random.default_rng(2).normal(size=(7, 3))
    pairs = np.square(rows[:, None] - rows[None]).sum(axis=-1)
    assert mean_squared_distance(rows) == pytest.approx(pairs.mean())


def test_kernel_ridge_solves_its_equations() -> None:
    """Two points of two classes, worked out by hand: K = [[1, k], [k, 1]], targets ±1/2."""
    points, setting = np.array([[0.0], [2.0]]), {"alpha": 0.1, "gamma": 1.0}
    k = np.exp(-4 / 2.0)
    value = (1 - k) * 0.5 / (1 + 0.1 - k)
    (values,) = decide(points, np.array([0, 1]), points, [setting])
    np.testing.assert_allclose(values, [[0.5 + value, 0.5 - value], [0.5 - value, 0.5 + value]])


def test_kernel_ridge_over_a_grid_is_scikit_learns_for_each_setting() -> None:
    rng = np.random.default_rng(3)
    labels = np.repeat([2, 5, 7], 20)
    known, unseen = (rng.normal(size=(3, 4)).repeat(20, axis=0) + rng.normal(size=(60, 4)) for _ in range(2))
    settings = [{"gamma": gamma, "alpha": alpha} for alpha in (0.3, 0.01) for gamma in (2.0, 0.5)]
    targets = (labels[:, None] == [2, 5, 7]).astype(float)
    for setting, values in zip(settings, decide(known, labels, unseen, settings), strict=True):
        gamma = setting["gamma"] / np.square(known[:, None] - known[None]).sum(axis=-1).mean()
        model = KernelRidge(kernel="rbf", alpha=setting["alpha"], gamma=gamma).fit(
            known, targets - targets.mean(axis=0)
        )
        np.testing.assert_allclose(values, model.predict(unseen) + targets.mean(axis=0), atol=1e-10)
