"""Which clips are tested together."""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.errors import FormatError, SettingsError

NO_FOLD = 0
MOST_FOLDS = 5
SOURCE_COLUMN = "src_file"
"""ESC-50's name for the recording that a clip was cut from."""


def recordings(ids: Sequence[str], sources: Sequence[str]) -> tuple[str, ...]:
    """Give the recording that each clip was cut from; a clip that names none has one of its own."""
    return tuple(source or clip for source, clip in zip(sources, ids, strict=True))


def usable_folds(
    own: NDArray[np.int64],
    labels: NDArray[np.int64],
    seed: int,
    count: int | None = None,
    groups: Sequence[str] | None = None,
) -> tuple[NDArray[np.int64], str]:
    """Keep a data set's own folds, or make some where it has none or others are wanted.

    Parameters
    ----------
    own : (clips,) int
        From 1; all 0 where there are none.
    labels : (clips,) int
        -1 where unlabeled.
    seed : int
    count : int, optional
        Make so many folds, whether the data set has some or not.
    groups : sequence of str, optional
        Source recording of each clip; its clips stay in one fold.

    Returns
    -------
    folds : (clips,) int
    origin : str
        In plain words, where the folds come from.

    Raises
    ------
    FormatError
        If some labelled clips have a fold and others do not.
    SettingsError
        If `count` is below 2, or folds cannot be made.
    """
    without = int((own[labels >= 0] == NO_FOLD).sum())
    if count is None and without == 0:
        return own, "the folds of the data set"
    if count is None and without < (labels >= 0).sum():
        raise FormatError(f"{without} labelled clips have no fold but others do; give every clip a fold, or none")
    if count is not None and count < 2:
        raise SettingsError(f"folds is {count}; at least two are needed, to test on one and train on the others")
    made = stratified_folds(labels, seed, count or MOST_FOLDS, groups)
    if count is not None and made.max() < count:
        raise SettingsError(
            f"folds is {count}, but the smallest class has {made.max()} "
            f"{'clips' if groups is None else 'recordings'}; take fewer folds, or add sounds"
        )
    together = "" if groups is None else ", clips of one source together"
    return made, f"{made.max()} folds, drawn class by class{together} with seed {seed}"


def require_whole_groups(folds: NDArray[np.int64], labels: NDArray[np.int64], groups: Sequence[str]) -> None:
    """Refuse folds that part the clips of one recording.

    Raises
    ------
    SettingsError
        If a group has labelled clips in several folds.
    """
    known = labels >= 0
    _, numbers = np.unique(np.asarray(groups)[known], return_inverse=True)
    pairs = np.unique(np.column_stack([numbers, folds[known]]), axis=0)
    parted = int((np.bincount(pairs[:, 0]) > 1).sum())
    if parted:
        raise SettingsError(
            f"the data set's folds part the clips of {parted} recordings; give --folds to have others made, or leave "
            "--groups out"
        )


def stratified_folds(
    labels: NDArray[np.int64], seed: int, most: int = MOST_FOLDS, groups: Sequence[str] | None = None
) -> NDArray[np.int64]:
    """Deal the clips of every class out to folds, evenly and at random.

    Parameters
    ----------
    labels : (clips,) int
        -1 where unlabeled.
    seed : int
        The same seed gives the same folds.
    most : int
        Number of folds; fewer, but at least 2, where the smallest class has fewer clips, or groups.
    groups : sequence of str, optional
        Clips of one group are not parted; folds are then as even as that allows.

    Returns
    -------
    (clips,) int64 from 1; 0 where unlabeled.

    Raises
    ------
    SettingsError
        If no class has two clips, or all clips are of one group.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    labelled = np.flatnonzero(labels >= 0)
    truth = labels[labelled]
    if groups is None:
        what, splitter, sources = "clips", StratifiedKFold, labelled
    else:
        what, splitter = "sources", StratifiedGroupKFold
        sources = np.unique(np.asarray(groups)[labelled], return_inverse=True)[1]
    sizes = [len(np.unique(sources[truth == label])) for label in np.unique(truth)]
    if not sizes or max(sizes) < 2:
        raise SettingsError(f"no class has two {what}, so none can be tested after training; add sounds")
    count = max(2, min(most, min(sizes)))
    splits = splitter(count, shuffle=True, random_state=seed).split(
        labelled, truth, None if groups is None else sources
    )
    folds = np.full(len(labels), NO_FOLD, dtype=np.int64)
    with warnings.catch_warnings():
        # A class with a single clip is in one fold only, which cross-validation allows.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for fold, (_, tested) in enumerate(splits, start=1):
            folds[labelled[tested]] = fold
    return folds
