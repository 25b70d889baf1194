"""How well a linear classifier tells the classes apart by the features of a layer."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.transfer.clips import labelled_clips, names_of

PROTOCOLS: Mapping[str, str] = {
    "notebook": (
        "C is the one with the best mean accuracy on the same folds that are reported, so the accuracy is a little "
        "too good"
    ),
}
"""Each protocol, and how it selects C."""

DECADES = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)
"""The grid of the `notebook` protocol (FACTS.md, section 1)."""

UNTESTED = -1

# By C: the classes of the tested clips, and whether the solver converged.
_Answers = dict[float, tuple[NDArray[np.generic], bool]]


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """The outcome of a cross-validation.

    Attributes
    ----------
    protocol : str
    selection : str
        In plain words, how C was chosen.
    accuracy : float
        Mean over the folds, 0 … 1, at `best_C`.
    folds : tuple of int
    fold_accuracy : tuple of float
        In the order of `folds`.
    best_C : float
        The smaller one where two are equally good.
    accuracy_by_C : mapping from C to the mean accuracy over the folds
    confusion : (classes, classes) int64
        Clips of each true class (row) by predicted class (column), summed over the folds.
    predictions : (clips,) int64
        The class that each clip was given while its fold was tested; -1 where it has no label.
    classes : tuple of str
    left_out : int
        Clips without a label.
    unconverged : tuple of float
        The Cs for which the solver stopped before it had the optimum.
    """

    protocol: str
    selection: str
    accuracy: float
    folds: tuple[int, ...]
    fold_accuracy: tuple[float, ...]
    best_C: float
    accuracy_by_C: Mapping[float, float]
    confusion: NDArray[np.int64] = field(repr=False)
    predictions: NDArray[np.int64] = field(repr=False)
    classes: tuple[str, ...] = field(repr=False)
    left_out: int
    unconverged: tuple[float, ...]


def cross_validate(
    features: NDArray[np.floating],
    labels: NDArray[np.integer],
    folds: NDArray[np.integer],
    protocol: str = "notebook",
    *,
    class_names: tuple[str, ...] | None = None,
    Cs: Sequence[float] = DECADES,
    workers: int | None = None,
) -> CrossValidation:
    """Test each fold with a linear SVM trained on all others, for a grid of C.

    Parameters
    ----------
    features : (clips, channels) float
    labels : (clips,) int
        From 0; clips with -1 have no label and are left out.
    folds : (clips,) int
        Clips with the same number are tested together.
    protocol : {"notebook"}
        `notebook`: features scaled to mean 0 and standard deviation 1 over the training folds, linear SVM, best C by
        the mean accuracy.
    class_names : tuple of str, optional
        Of every class, also of those without a clip.
    Cs : sequence of float
        The inverse strengths of the regularisation.
    workers : int, optional
        Threads, each with a fold; as many as there are cores if not given. The result does not depend on it.

    Returns
    -------
    CrossValidation

    Raises
    ------
    FormatError
        If the lengths differ or a feature is not finite.
    SettingsError
        If there are fewer than two folds or classes, or the protocol does not exist.
    """
    _require_protocol(protocol)
    labelled = labelled_clips(features, labels)
    if folds.shape != labels.shape:
        raise FormatError(f"there are {len(labels)} labels but folds of shape {folds.shape}; expected one per clip")
    if not Cs or min(Cs) <= 0:
        raise SettingsError(f"Cs are {tuple(Cs)}; expected at least one, each above 0")
    classes = names_of(labels, class_names)
    data, truth, fold_of = features[labelled], labels[labelled], folds[labelled]
    names = _usable_folds(truth, fold_of, classes)

    grid = tuple(sorted(set(Cs)))
    tests = [fold_of == fold for fold in names]
    answers = _fit_all(data, truth, tests, grid, workers)
    predicted = {C: np.empty_like(truth) for C in grid}
    for tested, fold in zip(tests, answers, strict=True):
        for C, (answer, _) in fold.items():
            predicted[C][tested] = answer
    fold_accuracy = {C: tuple(float((predicted[C] == truth)[tested].mean()) for tested in tests) for C in grid}
    accuracies = {C: float(np.mean(fold_accuracy[C])) for C in grid}
    best_C = max(accuracies, key=lambda C: accuracies[C])

    predictions = np.full(len(labels), UNTESTED, dtype=np.int64)
    predictions[labelled] = predicted[best_C]
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (truth, predicted[best_C]), 1)
    return CrossValidation(
        protocol=protocol,
        selection=PROTOCOLS[protocol],
        accuracy=accuracies[best_C],
        folds=names,
        fold_accuracy=fold_accuracy[best_C],
        best_C=best_C,
        accuracy_by_C=accuracies,
        confusion=confusion,
        predictions=predictions,
        classes=classes,
        left_out=int((~labelled).sum()),
        unconverged=tuple(C for C in grid if not all(fold[C][1] for fold in answers)),
    )


def _require_protocol(protocol: str) -> None:
    if protocol not in PROTOCOLS:
        nearest = difflib.get_close_matches(protocol, PROTOCOLS, n=1, cutoff=0.0)[0]
        raise SettingsError(
            f"there is no protocol {protocol!r}, did you mean {nearest!r}? There are: {', '.join(PROTOCOLS)}"
        )


def _usable_folds(labels: NDArray[np.integer], folds: NDArray[np.integer], classes: Sequence[str]) -> tuple[int, ...]:
    names = tuple(int(fold) for fold in np.unique(folds))
    if len(np.unique(labels)) < 2:
        raise SettingsError(
            f"all {len(labels)} labelled clips are {classes[labels[0]]!r}; expected at least two classes"
        )
    if len(names) < 2:
        raise SettingsError(
            f"all {len(labels)} labelled clips are in fold {names[0]}; expected at least two folds "
            "(soundnet_kd.transfer.stratified_folds makes some)"
        )
    for fold in names:
        trained = np.unique(labels[folds != fold])
        if len(trained) < 2:
            raise SettingsError(
                f"without fold {fold} only {classes[trained[0]]!r} is left to train on; spread the classes over folds"
            )
    return names


def _fit_all(
    features: NDArray[np.floating],
    labels: NDArray[np.integer],
    tests: Sequence[NDArray[np.bool_]],
    Cs: Sequence[float],
    workers: int | None,
) -> list[_Answers]:
    from joblib import Parallel, delayed
    from threadpoolctl import threadpool_limits

    from soundnet_kd.transfer import linear_svm  # noqa: F401  (the limit holds for the libraries already loaded)

    # BLAS's own threads slow the many small systems down, and their number would change the rounding.
    with threadpool_limits(1, user_api="blas"):
        answers: list[_Answers] = Parallel(n_jobs=workers or -1, prefer="threads")(
            delayed(_fit)(features, labels, tested, Cs) for tested in tests
        )
    return answers


def _fit(
    features: NDArray[np.floating], labels: NDArray[np.integer], tested: NDArray[np.bool_], Cs: Sequence[float]
) -> _Answers:
    """Train on all clips but the tested ones."""
    from sklearn.preprocessing import StandardScaler

    from soundnet_kd.transfer.linear_svm import fit_path

    features = features.astype(np.float64)
    scaler = StandardScaler().fit(features[~tested])
    unheard = scaler.transform(features[tested])
    path = fit_path(scaler.transform(features[~tested]), labels[~tested], Cs)
    return {svm.C: (svm.predict(unheard), svm.converged_) for svm in path}
