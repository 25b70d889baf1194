"""Which clips are tested together."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data.manifest import NO_FOLD, Split
from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.transfer.validation import Column, groups_of, labels_of

SPLIT_TEST = 1
"""Stands for the fold of what is tested, where a data set is split and has no folds."""
MAX_FOLDS = 5


def recordings(ids: Sequence[str], sources: Sequence[str]) -> tuple[str, ...]:
    """Return the recording that each clip was cut from; a clip that names none has one of its own."""
    return tuple(source or clip for source, clip in zip(sources, ids, strict=True))


@dataclass(frozen=True, eq=False)
class FoldPlan:
    """What is tested with what else being learned from.

    Attributes
    ----------
    folds : (clips,) int
    origin : str
        In plain words, where the folds come from.
    tested : tuple of int, optional
        The folds that are tested; the others are only learned from. [default: all]
    """

    folds: NDArray[np.int64] = field(repr=False)
    origin: str
    tested: tuple[int, ...] | None = None

    def tested_of(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return labels with -1 for what is only learned from, which has no answer and does not count."""
        return labels if self.tested is None else np.where(np.isin(self.folds, self.tested), labels, -1)


def plan_folds(
    own: NDArray[np.int64],
    labels: NDArray[np.int64],
    seed: int,
    count: int | None = None,
    groups: Sequence[str] | None = None,
    no_fold: int = NO_FOLD,
    splits: Sequence[Split | None] = (),
) -> FoldPlan:
    """Take a data set's own folds or split, or make folds where it has neither or others are wanted.

    Parameters
    ----------
    own : (clips,) int
        The data set's folds; all `no_fold` where there are none.
    labels : (clips,) int
        -1 where unlabeled.
    seed : int
    count : int, optional
        Make so many folds, whether the data set has some or not.
    groups : sequence of str, optional
        Source recording of each clip; its clips stay in one fold.
    no_fold : int
        What stands for none: 0, or -1 where folds are counted from 0.
    splits : (clips,) sequence
        What each clip is for: train, validation, test, or None of a clip without a label; empty where there is no
        split. Only the test is tested, and the rest learned from; it is dealt out to folds, too, to choose by.

    Raises
    ------
    FormatError
        If some labelled clips have a fold, or a part of the split, and others do not.
    SettingsError
        If `count` is below 2, or folds cannot be made.
    """
    if splits and count is None:
        return _plan_of_split(splits, labels, seed, groups)
    without = int((own[labels >= 0] == no_fold).sum())
    if count is None and without == 0:
        return FoldPlan(own, "the folds of the data set")
    if count is None and without < (labels >= 0).sum():
        raise FormatError(
            f"{without} labelled clips have no fold but others do; give every clip a fold, or none (folds that are "
            "counted from 0 are known as such once features are extracted anew)"
        )
    if count is not None and count < 2:
        raise SettingsError(f"folds is {count}; at least two are needed, to test on one and train on the others")
    made = stratified_folds(labels, seed, count or MAX_FOLDS, groups)
    if count is not None and made.max() < count:
        raise SettingsError(
            f"folds is {count}, but the smallest class has {made.max()} "
            f"{'clips' if groups is None else 'recordings'}; take fewer folds, or add sounds"
        )
    together = "" if groups is None else ", clips of one source together"
    return FoldPlan(made, f"{made.max()} folds, drawn class by class{together} with seed {seed}")


def _plan_of_split(
    splits: Sequence[Split | None], labels: NDArray[np.int64], seed: int, groups: Sequence[str] | None
) -> FoldPlan:
    labelled = labels >= 0
    without = int(sum(split is None for split, counts in zip(splits, labelled, strict=True) if counts))
    if without:
        raise FormatError(f"{without} labelled clips are in no part of the split; give every clip one")
    tested = np.array([split == "test" for split in splits]) & labelled
    if not tested.any() or tested[labelled].all():
        what = "test" if not tested.any() else "learn from"
        raise SettingsError(f"the split leaves no labelled clip to {what}; put some there, or give folds in its place")
    rest = np.where(tested, -1, labels)
    sizes = np.bincount(rest[rest >= 0])
    dealt = stratified_folds(rest, seed, MAX_FOLDS, groups) if sizes.max() > 1 else np.ones(len(labels), np.int64)
    folds = np.where(tested, SPLIT_TEST, np.where(labelled, SPLIT_TEST + dealt, NO_FOLD))
    learned = int((labelled & ~tested).sum())
    origin = f"the split of the data set, {learned} clips learned from and {int(tested.sum())} tested"
    return FoldPlan(folds, origin, (SPLIT_TEST,))


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
    labels: Column, seed: int, most: int = MAX_FOLDS, groups: Column | None = None
) -> NDArray[np.int64]:
    """Deal the clips of every class out to folds, evenly and at random.

    The folds are those of scikit-learn's StratifiedKFold and, with groups, StratifiedGroupKFold as of its version 1.8
    (before it, the latter's were uneven), dealt out here so that they hang on no version of it.

    Parameters
    ----------
    labels : (clips,) int or str
        As in `cross_validate`; -1, None, NaN or an empty text where unlabeled.
    seed : int
        The same seed gives the same folds, whatever version of any library is installed.
    most : int
        Number of folds; fewer, but at least 2, where the smallest class has fewer clips, or groups.
    groups : (clips,) int or str, optional
        Clips of one group are not parted; folds are then as even as that allows.

    Returns
    -------
    (clips,) int64 from 1; 0 where unlabeled.

    Raises
    ------
    SettingsError
        If no class has two clips, or all clips are of one group.
    FormatError
        If labels are neither numbers nor names, or groups are not as many.
    """
    numbers = labels_of(labels)[0]
    labelled = np.flatnonzero(numbers >= 0)
    truth = np.unique(numbers[labelled], return_inverse=True)[1]
    what = "clips" if groups is None else "sources"
    group_of = np.arange(len(numbers)) if groups is None else groups_of(groups)
    if group_of.shape != numbers.shape:
        raise FormatError(f"there are {len(numbers)} labels but {len(group_of)} groups; expected one per clip")
    sources = np.unique(group_of[labelled], return_inverse=True)[1]
    sizes = [len(np.unique(sources[truth == label])) for label in range(len(np.unique(truth)))]
    if not sizes or max(sizes) < 2:
        raise SettingsError(f"no class has two {what}, so none can be tested after training; add sounds")
    count = max(2, min(most, min(sizes)))
    folds = np.full(len(numbers), NO_FOLD, dtype=np.int64)
    # NumPy promises that this generator's numbers stay as they are; those of the newer ones may change.
    rng = np.random.RandomState(seed)
    folds[labelled] = 1 + (_dealt(truth, count, rng) if groups is None else _dealt_whole(truth, sources, count, rng))
    return folds


def _dealt(truth: NDArray[np.int64], count: int, rng: np.random.RandomState) -> NDArray[np.int64]:
    """Deal clips out, class by class in the order in which they appear; give the fold, from 0, of each."""
    folds = np.empty(len(truth), dtype=np.int64)
    first_fold = 0
    for label in truth[np.sort(np.unique(truth, return_index=True)[1])]:
        clips = np.flatnonzero(truth == label)
        # Each class goes on where the one before it stopped, so that the folds are equally large in all.
        shares = np.bincount((first_fold + np.arange(len(clips))) % count, minlength=count)
        hands = np.arange(count).repeat(shares)
        rng.shuffle(hands)
        folds[clips] = hands
        first_fold += len(clips)
    return folds


def _dealt_whole(
    truth: NDArray[np.int64], sources: NDArray[np.int64], count: int, rng: np.random.RandomState
) -> NDArray[np.int64]:
    """Deal sources out, the most one-sided first, each to where it leaves the classes spread best."""
    held = np.zeros((sources.max() + 1, truth.max() + 1))
    np.add.at(held, (sources, truth), 1)
    sizes = held.sum(axis=0)
    order = np.arange(len(held))
    rng.shuffle(order)
    fold_of = np.empty(len(held), dtype=np.int64)
    dealt = np.zeros((count, held.shape[1]))
    for source in order[np.argsort(-held[order].std(axis=1), kind="stable")]:
        best, least_spread, least_clips = 0, np.inf, np.inf
        for fold in range(count):
            dealt[fold] += held[source]
            spread = float((dealt / sizes).std(axis=0).mean())
            dealt[fold] -= held[source]
            clips = dealt[fold].sum()
            if spread < least_spread or (np.isclose(spread, least_spread) and clips < least_clips):
                best, least_spread, least_clips = fold, spread, clips
        dealt[best] += held[source]
        fold_of[source] = best
    return fold_of[sources]
