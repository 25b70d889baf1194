"""Classifiers of features, each with the settings that are tried for it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

ClassifierName = Literal["linear_svm", "logistic_regression", "rbf_svm", "kernel_ridge", "lda", "mlp"]
Setting = Mapping[str, Any]
"""A value for each parameter that is chosen, such as C, and the name of the `features`, where these are chosen too."""
Decision = tuple[NDArray[np.float64], bool]
"""The values of every class for some rows, (rows, classes), and whether the solver reached the optimum."""
Decide = Callable[
    [NDArray[np.floating], NDArray[np.integer], NDArray[np.floating], Sequence[Setting], int], Iterable[Decision]
]

DECADES = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)
"""The values of C that the ESC-50 notebook tries."""


@dataclass(frozen=True)
class ClassifierKind:
    """A kind of classifier.

    Attributes
    ----------
    about : str
        A description in plain words.
    grid : mapping from parameter to the values that are tried
    decide : callable
        Fits to features (rows, channels) and classes (rows,), and gives, for each setting, a `Decision` on other
        features; the last argument is a seed. Only linear SVMs are given float32, and only untransformed features.
    """

    about: str
    grid: Mapping[str, Sequence[float]]
    decide: Decide


def _linear_svm(
    X: NDArray[np.floating], y: NDArray[np.integer], unseen: NDArray[np.floating], settings: Sequence[Setting], _: int
) -> Iterable[Decision]:
    from soundnet_kd.transfer.svm import linear_svm

    for model in linear_svm.fit_path(X, y, [setting["C"] for setting in settings]):
        yield _values(model, unseen), model.converged_


def _logistic_regression(
    X: NDArray[np.floating], y: NDArray[np.integer], unseen: NDArray[np.floating], settings: Sequence[Setting], _: int
) -> Iterable[Decision]:
    from sklearn.linear_model import LogisticRegression

    for setting in settings:
        model = LogisticRegression(C=setting["C"], max_iter=1000).fit(X, y)
        yield _values(model, unseen), bool((model.n_iter_ < model.max_iter).all())


def _rbf_svm(
    X: NDArray[np.floating], y: NDArray[np.integer], unseen: NDArray[np.floating], settings: Sequence[Setting], _: int
) -> Iterable[Decision]:
    from sklearn.svm import SVC

    from soundnet_kd.transfer.kernel_ridge import mean_squared_distance

    distance = mean_squared_distance(X)
    for setting in settings:
        model = SVC(C=setting["C"], gamma=setting["gamma"] / distance).fit(X, y)
        yield _values(model, unseen), True


def _kernel_ridge(
    X: NDArray[np.floating], y: NDArray[np.integer], unseen: NDArray[np.floating], settings: Sequence[Setting], _: int
) -> Iterable[Decision]:
    from soundnet_kd.transfer.kernel_ridge import decide

    return ((values, True) for values in decide(X, y, unseen, settings))


def _lda(
    X: NDArray[np.floating], y: NDArray[np.integer], unseen: NDArray[np.floating], settings: Sequence[Setting], _: int
) -> Iterable[Decision]:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    for setting in settings:
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=setting["shrinkage"]).fit(X, y)
        yield _values(model, unseen), True


def _mlp(
    X: NDArray[np.floating],
    y: NDArray[np.integer],
    unseen: NDArray[np.floating],
    settings: Sequence[Setting],
    seed: int,
) -> Iterable[Decision]:
    from sklearn.neural_network import MLPClassifier

    # The number of epochs is fixed: early stopping would need clips for validation.
    fixed = {"batch_size": min(100, len(X)), "max_iter": 60, "random_state": seed}
    for setting in settings:
        yield _values(MLPClassifier((256,), alpha=setting["alpha"], **fixed).fit(X, y), unseen), True


def _values(model: Any, rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return a value for every class, also of two, where scikit-learn's estimators give a single one."""
    values = model.decision_function(rows) if hasattr(model, "decision_function") else model.predict_proba(rows)
    return np.stack([-values, values], axis=1) if values.ndim == 1 else np.asarray(values)


CLASSIFIERS: Mapping[ClassifierName, ClassifierKind] = {
    "linear_svm": ClassifierKind(
        "linear SVM, squared hinge, one class against the others", {"C": DECADES}, _linear_svm
    ),
    "logistic_regression": ClassifierKind(
        "multinomial logistic regression", {"C": (0.01, 0.1, 1.0, 10.0)}, _logistic_regression
    ),
    "rbf_svm": ClassifierKind("SVM with an RBF kernel", {"C": (1.0, 10.0, 100.0), "gamma": (0.3, 1.0, 3.0)}, _rbf_svm),
    "kernel_ridge": ClassifierKind(
        "kernel ridge regression on the classes, RBF kernel",
        {"gamma": (0.5, 1.0, 2.0), "alpha": (0.01, 0.03, 0.1, 0.3)},
        _kernel_ridge,
    ),
    "lda": ClassifierKind("linear discriminant analysis, shrunk", {"shrinkage": (0.05, 0.1, 0.2)}, _lda),
    "mlp": ClassifierKind("a hidden layer of 256, 60 epochs", {"alpha": (0.01, 1.0)}, _mlp),
}
"""Kinds of classifiers by name. Each `gamma` is relative to the mean squared distance of two training rows."""
