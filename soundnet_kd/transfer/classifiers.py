"""Classifiers of features, each with the settings that are tried for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

ClassifierName = Literal["linear_svm", "logistic_regression", "rbf_svm", "kernel_ridge", "lda", "mlp"]
Setting = Mapping[str, Any]
"""A value for each parameter that is chosen, such as C, and the name of the `features`, where these are chosen too."""
Classifier = Any
"""A scikit-learn estimator."""
Fit = Callable[[NDArray[np.float64], NDArray[np.integer], Sequence[Setting], int], list[Classifier]]

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
    fit : callable
        From features (rows, channels), classes (rows,), settings and a seed it makes a fitted estimator for each
        setting; its `converged_` is false if the solver stopped too early.
    """

    about: str
    grid: Mapping[str, Sequence[float]]
    fit: Fit


def _linear_svm(X: NDArray[np.float64], y: NDArray[np.integer], settings: Sequence[Setting], seed: int) -> list[Any]:
    from soundnet_kd.transfer.svm import linear_svm

    return list(linear_svm.fit_path(X, y, [setting["C"] for setting in settings]))


def _logistic_regression(
    X: NDArray[np.float64], y: NDArray[np.integer], settings: Sequence[Setting], seed: int
) -> list[Any]:
    from sklearn.linear_model import LogisticRegression

    fitted = []
    for setting in settings:
        model = LogisticRegression(C=setting["C"], max_iter=1000).fit(X, y)
        model.converged_ = bool((model.n_iter_ < model.max_iter).all())
        fitted.append(model)
    return fitted


def _rbf_svm(X: NDArray[np.float64], y: NDArray[np.integer], settings: Sequence[Setting], seed: int) -> list[Any]:
    from sklearn.svm import SVC

    from soundnet_kd.transfer.kernel_ridge import mean_squared_distance

    distance = mean_squared_distance(X)
    return [SVC(C=setting["C"], gamma=setting["gamma"] / distance).fit(X, y) for setting in settings]


def _kernel_ridge(X: NDArray[np.float64], y: NDArray[np.integer], settings: Sequence[Setting], seed: int) -> list[Any]:
    from soundnet_kd.transfer.kernel_ridge import KernelRidgeClassifier

    return [KernelRidgeClassifier(setting["alpha"], setting["gamma"]).fit(X, y) for setting in settings]


def _lda(X: NDArray[np.float64], y: NDArray[np.integer], settings: Sequence[Setting], seed: int) -> list[Any]:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    return [LinearDiscriminantAnalysis(solver="lsqr", shrinkage=setting["shrinkage"]).fit(X, y) for setting in settings]


def _mlp(X: NDArray[np.float64], y: NDArray[np.integer], settings: Sequence[Setting], seed: int) -> list[Any]:
    from sklearn.neural_network import MLPClassifier

    # The number of epochs is fixed: early stopping would need clips for validation.
    fixed = {"batch_size": min(100, len(X)), "max_iter": 60, "random_state": seed}
    return [MLPClassifier((256,), alpha=setting["alpha"], **fixed).fit(X, y) for setting in settings]


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
