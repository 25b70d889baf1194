"""Which clips are tested together."""

import warnings

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.errors import FormatError, SettingsError

NO_FOLD = 0
MOST_FOLDS = 5


def folds_or_stratified(
    folds: NDArray[np.int64], labels: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.int64], str]:
    """Keep a data set's own folds, or make some where it has none.

    Parameters
    ----------
    folds : (clips,) int
        From 1; all 0 where there are none.
    labels : (clips,) int
        -1 where unlabeled.
    seed : int

    Returns
    -------
    folds : (clips,) int
    origin : str
        In plain words, where the folds come from.

    Raises
    ------
    FormatError
        If some labelled clips have a fold and others do not.
    """
    without = int((folds[labels >= 0] == NO_FOLD).sum())
    if without == 0:
        return folds, "the folds of the data set"
    if without < (labels >= 0).sum():
        raise FormatError(f"{without} labelled clips have no fold but others do; give every clip a fold, or none")
    made = stratified_folds(labels, seed)
    return made, f"{made.max()} folds, drawn class by class with seed {seed}"


def stratified_folds(labels: NDArray[np.int64], seed: int, most: int = MOST_FOLDS) -> NDArray[np.int64]:
    """Deal the clips of every class out to folds, evenly and at random.

    Parameters
    ----------
    labels : (clips,) int
        -1 where unlabeled.
    seed : int
        The same seed gives the same folds.
    most : int
        Number of folds; fewer, but at least 2, where the smallest class has fewer clips.

    Returns
    -------
    (clips,) int64 from 1; 0 where unlabeled.

    Raises
    ------
    SettingsError
        If no class has two clips.
    """
    from sklearn.model_selection import StratifiedKFold

    labelled = np.flatnonzero(labels >= 0)
    sizes = np.unique(labels[labelled], return_counts=True)[1]
    if not len(sizes) or sizes.max() < 2:
        raise SettingsError("no class has two clips, so none can be tested after training; add sounds")
    count = max(2, min(most, int(sizes.min())))
    folds = np.full(len(labels), NO_FOLD, dtype=np.int64)
    with warnings.catch_warnings():
        # A class with a single clip is in one fold only, which cross-validation allows.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        splits = StratifiedKFold(count, shuffle=True, random_state=seed).split(labelled, labels[labelled])
        for fold, (_, tested) in enumerate(splits, start=1):
            folds[labelled[tested]] = fold
    return folds
