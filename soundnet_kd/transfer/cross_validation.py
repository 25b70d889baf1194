"""Cross-validation: how well a classifier tells the classes apart by some features."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundnet_kd.errors import FormatError, SettingsError, nearest
from soundnet_kd.transfer.classifiers import ClassifierName, Setting
from soundnet_kd.transfer.fitting import FEATURES, UNTESTED, FoldFits
from soundnet_kd.transfer.input_checks import (
    Column,
    features_of,
    fold_names_of,
    folds_of,
    labelled_clips,
    labels_of,
    names_of,
    numbers_of,
)
from soundnet_kd.transfer.protocols import ProtocolName, Selection, plan_grid

KERNEL_CLASSIFIERS = ("kernel_ridge", "rbf_svm")
MAX_KERNEL_ROWS = 20_000


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """The outcome of a cross-validation.

    Attributes
    ----------
    protocol, head : str
    selection : str
        How settings were chosen: same folds, nested, or fixed (see `SELECTIONS`).
    accuracy : float
        Mean over the folds, from 0 to 1.
    folds : tuple of int or str
        Their numbers, or their names if these are not numbers.
    fold_accuracy : tuple of float
        In the order of `folds`.
    chosen : tuple of mapping
        The setting chosen for each fold.
    grid : tuple of mapping
        The settings that were tried.
    grid_accuracy : tuple of float
        Their mean accuracies over the folds; empty for nested selection, where only the chosen setting is tested.
    confusion : (classes, classes) int64
        Clips of each true class (row) by predicted class (column), summed over the folds.
    predictions : (clips,) int64
        Predicted class of each clip; -1 if it has no label or was not tested.
    classes : tuple of str
    left_out : int
        Number of clips without a label.
    unconverged : tuple of mapping
        Settings for which a solver stopped before it reached the optimum.
    """

    protocol: str
    head: str
    selection: Selection
    accuracy: float
    folds: tuple[int | str, ...]
    fold_accuracy: tuple[float, ...]
    chosen: tuple[Setting, ...]
    grid: tuple[Setting, ...] = field(repr=False)
    grid_accuracy: tuple[float, ...] = field(repr=False)
    confusion: NDArray[np.int64] = field(repr=False)
    predictions: NDArray[np.int64] = field(repr=False)
    classes: tuple[str, ...] = field(repr=False)
    left_out: int
    unconverged: tuple[Setting, ...]


def cross_validate(
    features: ArrayLike | Mapping[str, ArrayLike],
    labels: Column,
    folds: Column,
    protocol: ProtocolName = "notebook",
    *,
    head: ClassifierName | None = None,
    selection: Selection | None = None,
    grid: Mapping[str, Sequence[float]] | None = None,
    clips: Column | None = None,
    class_names: Sequence[str] | None = None,
    tested: Column | int | str | None = None,
    seed: int = 0,
    workers: int | None = None,
) -> CrossValidation:
    """Test each fold with a classifier trained on all others.

    Arrays may also be lists, tensors or columns of data frames.

    Parameters
    ----------
    features : (rows, channels) float, or a mapping from name to such
        One row per clip, or several if `clips` is given. Of several features of the same rows the best are chosen as
        the best settings are; `chosen` names them as `features`.
    labels : (clips,) int or str
        Numbers from 0, or names. Clips with -1, None, NaN or an empty text have no label and are left out.
    folds : (clips,) int or str
        Clips of the same number or name are tested together.
    protocol : {"notebook", "paper", "power", "best"}
        The transforms of features, the classifier, its settings and how they are chosen; see `PROTOCOLS`.
    head : str, optional
        Classifier to use, with its own settings, instead of the protocol's; see `CLASSIFIERS`.
    selection : {"same folds", "nested"}, optional
        How to choose settings, instead of the protocol's way.
    grid : mapping from parameter to values, optional
        Settings to try instead of those of the protocol or the classifier.
    clips : (rows,) int, optional
        The clip of each row, where clips have several rows, such as windows; the decision values of a clip are then the
        averages over its rows.
    class_names : sequence of str, optional
        Names of all classes, in the order of their numbers, with or without clips. [default: the names among the
        labels, in alphabetical order]
    tested : int or str, or several of them, optional
        The folds to test, such as [test] of a data set that is split into train and test; the others are only trained
        on and, with nested selection, used to choose settings. [default: all]
    seed : int
        Seed of the classifiers that use random numbers.
    workers : int, optional
        Number of threads, which does not change the result. [default: one per core]

    Returns
    -------
    CrossValidation

    Raises
    ------
    FormatError
        If lengths differ, a label or fold is neither a number nor a name, a feature is not finite, or a labelled clip
        has no fold.
    SettingsError
        If there are fewer than two folds or classes (three folds, for nested selection), or a name does not exist.
    """
    alternatives = features if isinstance(features, Mapping) else {"": features}
    if not alternatives:
        raise SettingsError("there are no features to choose among; give one or more by name")
    rows_of = {name: features_of(rows) for name, rows in alternatives.items()}
    (rows, *_) = rows_of.values()
    truths, named = labels_of(labels, class_names)
    fold_of, fold_names, without = folds_of(folds)
    owners = None if clips is None else numbers_of(clips, "clips")
    plan = plan_grid(protocol, head, grid)
    grids: dict[str, Sequence[Any]] = {FEATURES: tuple(rows_of)} if isinstance(features, Mapping) else {}
    grids |= plan.grid
    settings = tuple(dict(zip(grids, values, strict=True)) for values in itertools.product(*grids.values()))
    way: Selection = "fixed" if len(settings) == 1 else selection or plan.selection
    if way not in get_args(Selection) or (way == "fixed" and len(settings) > 1):
        raise SettingsError(f"selection is {selection!r} for {len(settings)} settings; choose 'same folds' or 'nested'")
    if plan.head in KERNEL_CLASSIFIERS and len(rows) > MAX_KERNEL_ROWS:
        raise SettingsError(
            f"{plan.head} compares every two of {len(rows)} rows, which are more than {MAX_KERNEL_ROWS}; take a "
            "linear classifier, or fewer windows"
        )
    for each in rows_of.values():
        labelled = _labelled(each, truths, fold_of, owners)
    if (labelled & without).any():
        raise FormatError(
            f"{(labelled & without).sum()} of {labelled.sum()} labelled clips have no fold, the first is clip "
            f"{np.flatnonzero(labelled & without)[0]}; give every clip one (soundnet_kd.transfer.stratified_folds "
            "makes some)"
        )
    classes = names_of(truths, named)
    numbers = _usable_folds(truths[labelled], fold_of[labelled], classes, fold_names, tested)
    others = [fold for fold in np.unique(fold_of[labelled]).tolist() if fold not in numbers]
    if way == "nested" and len(numbers) + len(others) < 3:
        raise SettingsError("nested selection needs at least three folds: one is tested, and two are left to choose by")

    run = FoldFits(
        plan,
        rows_of,
        np.arange(len(rows)) if owners is None else owners,
        np.where(labelled, truths, UNTESTED),
        fold_of,
        seed,
        workers,
    )
    if way == "nested":
        predictions, chosen, grid_accuracy = _nested(run, numbers, settings, others)
    else:
        predictions, chosen, grid_accuracy = _on_the_same_folds(run, numbers, settings)
    answered = labelled & np.isin(fold_of, numbers)
    truth, answers = truths[answered], predictions[answered]
    fold_accuracy = tuple(float((answers == truth)[fold_of[answered] == fold].mean()) for fold in numbers)
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (truth, answers), 1)
    return CrossValidation(
        protocol=protocol,
        head=plan.head,
        selection=way,
        accuracy=float(np.mean(fold_accuracy)),
        folds=tuple(fold_names[fold] for fold in numbers),
        fold_accuracy=fold_accuracy,
        chosen=chosen,
        grid=settings,
        grid_accuracy=grid_accuracy,
        confusion=confusion,
        predictions=predictions,
        classes=classes,
        left_out=int((~labelled).sum()),
        unconverged=tuple(setting for setting in settings if str(setting) in run.unconverged),
    )


def _on_the_same_folds(
    run: FoldFits, folds: Sequence[int], settings: Sequence[Setting]
) -> tuple[NDArray[np.int64], tuple[Setting, ...], tuple[float, ...]]:
    by_fold = run.predict([((fold,), settings) for fold in folds])
    accuracies = tuple(
        float(np.mean([run.accuracy(answers[place], fold) for answers, fold in zip(by_fold, folds, strict=True)]))
        for place in range(len(settings))
    )
    best = int(np.argmax(accuracies))
    predictions = np.stack([answers[best] for answers in by_fold]).max(axis=0)
    return predictions, (settings[best],) * len(folds), accuracies


def _nested(
    run: FoldFits, folds: Sequence[int], settings: Sequence[Setting], only_learned: Sequence[int]
) -> tuple[NDArray[np.int64], tuple[Setting, ...], tuple[float, ...]]:
    # A classifier trained without two folds serves the choice for either, by its predictions for the other.
    everyone = sorted([*folds, *only_learned])
    pairs = [pair for pair in itertools.combinations(everyone, 2) if not set(pair).isdisjoint(folds)]
    inner = dict(zip(pairs, run.predict([(pair, settings) for pair in pairs]), strict=True))
    chosen = []
    for fold in folds:
        others = {other: inner[min(fold, other), max(fold, other)] for other in everyone if other != fold}
        means = [
            np.mean([run.accuracy(answers[place], other) for other, answers in others.items()])
            for place in range(len(settings))
        ]
        chosen.append(settings[int(np.argmax(means))])
    outer = run.predict([((fold,), [setting]) for fold, setting in zip(folds, chosen, strict=True)])
    return np.stack([answers[0] for answers in outer]).max(axis=0), tuple(chosen), ()


def _labelled(
    features: NDArray[np.floating],
    labels: NDArray[np.integer],
    folds: NDArray[np.integer],
    clips: NDArray[np.integer] | None,
) -> NDArray[np.bool_]:
    """Check that arrays belong together, and return which clips have a label."""
    if clips is None:
        labelled_clips(features, labels)
    else:
        if clips.shape != (len(features),) or (len(clips) and not 0 <= clips.min() <= clips.max() < len(labels)):
            raise FormatError(
                f"clips have shape {clips.shape} for {len(features)} rows of features; expected the number of a clip, "
                f"below {len(labels)}, for each row"
            )
        labelled_clips(features, labels[clips])
        without = np.setdiff1d(np.flatnonzero(labels >= 0), clips)
        if len(without):
            raise FormatError(f"{len(without)} labelled clips have no row of features, the first is clip {without[0]}")
    if folds.shape != labels.shape:
        raise FormatError(f"there are {len(labels)} labels but folds of shape {folds.shape}; expected one per clip")
    return np.asarray(labels >= 0)


def _usable_folds(
    labels: NDArray[np.integer],
    folds: NDArray[np.integer],
    classes: Sequence[str],
    called: Mapping[int, int | str],
    tested: Column | int | str | None,
) -> tuple[int, ...]:
    """Return the numbers of the folds to test."""
    numbers = tuple(int(fold) for fold in np.unique(folds))
    if len(np.unique(labels)) < 2:
        raise SettingsError(
            f"all {len(labels)} labelled clips are {classes[labels[0]]!r}; expected at least two classes"
        )
    if len(numbers) < 2:
        raise SettingsError(
            f"all {len(labels)} labelled clips are in fold {called[numbers[0]]}; expected at least two folds "
            "(soundnet_kd.transfer.stratified_folds makes some)"
        )
    if tested is not None:
        wanted = fold_names_of(tested)
        names = [str(called[number]) for number in numbers]
        for name in wanted:
            if name not in names:
                raise SettingsError(f"there is no labelled clip in a fold {name!r} to test{nearest(name, names)}")
        numbers = tuple(number for number, name in zip(numbers, names, strict=True) if name in wanted)
    if not numbers:
        raise SettingsError("no fold is to be tested; name one, or leave tested out")
    for fold in numbers:
        trained = np.unique(labels[folds != fold])
        if len(trained) < 2:
            raise SettingsError(
                f"without fold {called[fold]} only {classes[trained[0]]!r} is left to train on; spread the classes "
                "over folds"
            )
    return numbers
