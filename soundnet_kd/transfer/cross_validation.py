"""How well a linear classifier tells the classes apart by the features of a layer."""

import difflib
import warnings
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

# Measured on 1600 clips, 50 classes: up to 0.01 the primal solver is the faster one; at 0.1 the two are equal for 256
# channels and the dual is faster for 1024; above, the dual is faster by far. Their accuracies agree.
_LARGEST_PRIMAL_C = 0.01
# Fits x clips x channels x classes; below it, starting processes takes longer than they save.
_WORTH_PROCESSES = 1e8


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
        The Cs for which the solver stopped before it had the exact optimum; of no consequence for the accuracy
        on ESC-50.
    """

    protocol: str
    selection: str
    accuracy: float
    folds: tuple[int, ...]
    fold_accuracy: tuple[float, ...]
    best_C: float
    accuracy_by_C: Mapping[float, float]  # noqa: N815
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
    Cs: Sequence[float] = DECADES,  # noqa: N803
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
        Processes that fit; as many as there are cores where it pays if not given. The result does not depend on it.

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

    # The largest C takes longest: started first, it leaves no process waiting at the end.
    tasks = [(C, fold) for C in sorted(set(Cs), reverse=True) for fold in names]
    answers = dict(zip(tasks, _fit_all(data, truth, fold_of, tasks, workers), strict=True))
    fold_accuracy = {task: float((answer == truth[fold_of == task[1]]).mean()) for task, (answer, _) in answers.items()}
    accuracies = {C: float(np.mean([fold_accuracy[C, fold] for fold in names])) for C in sorted(set(Cs))}
    best_C = max(accuracies, key=lambda C: accuracies[C])

    predicted = np.empty_like(truth)
    for fold in names:
        predicted[fold_of == fold] = answers[best_C, fold][0]
    predictions = np.full(len(labels), UNTESTED, dtype=np.int64)
    predictions[labelled] = predicted
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (truth, predicted), 1)
    return CrossValidation(
        protocol=protocol,
        selection=PROTOCOLS[protocol],
        accuracy=accuracies[best_C],
        folds=names,
        fold_accuracy=tuple(fold_accuracy[best_C, fold] for fold in names),
        best_C=best_C,
        accuracy_by_C=accuracies,
        confusion=confusion,
        predictions=predictions,
        classes=classes,
        left_out=int((~labelled).sum()),
        unconverged=tuple(sorted({C for (C, _), (_, converged) in answers.items() if not converged})),
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
    folds: NDArray[np.integer],
    tasks: Sequence[tuple[float, int]],
    workers: int | None,
) -> list[tuple[NDArray[np.integer], bool]]:
    from joblib import Parallel, delayed

    if workers is None:
        work = len(tasks) * features.size * len(np.unique(labels))
        workers = -1 if work > _WORTH_PROCESSES else 1
    # Processes, not threads: liblinear draws from a random state that all threads of a process share.
    answers: list[tuple[NDArray[np.integer], bool]] = Parallel(n_jobs=workers, backend="loky")(
        delayed(_fit)(features, labels, folds == fold, C) for C, fold in tasks
    )
    return answers


def _fit(
    features: NDArray[np.floating], labels: NDArray[np.integer], tested: NDArray[np.bool_], C: float
) -> tuple[NDArray[np.integer], bool]:
    """Give the classes of the tested clips, and whether the solver converged."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    svm = LinearSVC(C=C, dual=C > _LARGEST_PRIMAL_C, max_iter=10_000, random_state=0)
    classifier = make_pipeline(StandardScaler(), svm)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        classifier.fit(features[~tested], labels[~tested])
    converged = not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    return classifier.predict(features[tested]), converged
