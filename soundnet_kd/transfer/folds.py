"""Folds: which clips are tested together."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data.manifest import NO_FOLD, Split
from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.transfer.input_checks import Column, groups_of, labels_of

SPLIT_TEST = 1
"""The fold of the test clips, where a data set has a split and no folds."""
MAX_FOLDS = 5


def recordings(ids: Sequence[str], sources: Sequence[str]) -> tuple[str, ...]:
    """Return the recording that each clip was cut from; a clip without one counts as a recording of its own."""
    return tuple(source or clip for source, clip in zip(sources, ids, strict=True))


@dataclass(frozen=True, eq=False)
class FoldPlan:
    """The fold of each clip, and the folds that are tested.

    Attributes
    ----------
    folds : (clips,) int
    origin : str
        Where the folds come from, in plain words.
    tested : tuple of int, optional
        The folds that are tested; clips of the others are only trained on. [default: all]
    """

    folds: NDArray[np.int64] = field(repr=False)
    origin: str
    tested: tuple[int, ...] | None = None

    def hide_untested(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return labels, with -1 for clips that are only trained on, and so have no prediction."""
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
    """Plan the folds: those of the data set, its split, or new ones where it has neither or `count` is given.

    Parameters
    ----------
    own : (clips,) int
        The data set's folds; all `no_fold` where there are none.
    labels : (clips,) int
        -1 where unlabeled.
    seed : int
        Seed of new folds.
    count : int, optional
        Number of new folds to make, even if the data set has folds.
    groups : sequence of str, optional
        Source recording of each clip; its clips stay in one fold.
    no_fold : int
        Number that stands for no fold: 0, or -1 where folds are counted from 0.
    splits : (clips,) sequence
        The part of the split that each clip is in: train, validation, test, or None for a clip without a label; empty
        where there is no split. Only the test part is tested; the rest is trained on, and dealt out to folds by which
        settings are chosen.

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
            "counted from 0 are recognised once features are extracted again)"
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
    trained = int((labelled & ~tested).sum())
    origin = f"the split of the data set, {trained} clips learned from and {int(tested.sum())} tested"
    return FoldPlan(folds, origin, (SPLIT_TEST,))


def require_whole_groups(folds: NDArray[np.int64], labels: NDArray[np.int64], groups: Sequence[str]) -> None:
    """Refuse folds that separate clips of one recording.

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
            f"the data set's folds split {parted} recordings; give --folds to have others made, or leave --groups out"
        )


def stratified_folds(
    labels: Column, seed: int, max_folds: int = MAX_FOLDS, groups: Column | None = None
) -> NDArray[np.int64]:
    """Distribute the clips of every class over folds, evenly and at random.

    The folds are those of scikit-learn's StratifiedKFold and, with groups, of StratifiedGroupKFold in version 1.8
    (earlier ones made uneven folds); they are computed here so that they do not depend on the installed version.

    Parameters
    ----------
    labels : (clips,) int or str
        As in `cross_validate`; -1, None, NaN or an empty text where unlabeled.
    seed : int
        The same seed gives the same folds, with any version of any library.
    max_folds : int
        Number of folds; fewer, but at least 2, if the smallest class has fewer clips or groups.
    groups : (clips,) int or str, optional
        Clips of one group stay in one fold; folds are as even as that allows.

    Returns
    -------
    (clips,) int64 from 1; 0 where unlabeled.

    Raises
    ------
    SettingsError
        If no class has two clips, or all clips are of one group.
    FormatError
        If labels are neither numbers nor names, or there is not one group per label.
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
    count = max(2, min(max_folds, min(sizes)))
    folds = np.full(len(numbers), NO_FOLD, dtype=np.int64)
    # NumPy guarantees that the numbers of this generator never change; those of newer ones may.
    rng = np.random.RandomState(seed)
    folds[labelled] = 1 + (_deal(truth, count, rng) if groups is None else _deal_groups(truth, sources, count, rng))
    return folds


def _deal(truth: NDArray[np.int64], count: int, rng: np.random.RandomState) -> NDArray[np.int64]:
    """Distribute clips over folds, class by class in order of appearance; return the fold of each, from 0."""
    folds = np.empty(len(truth), dtype=np.int64)
    first_fold = 0
    for label in truth[np.sort(np.unique(truth, return_index=True)[1])]:
        clips = np.flatnonzero(truth == label)
        # Each class continues where the one before it stopped, so that the folds are equally large.
        shares = np.bincount((first_fold + np.arange(len(clips))) % count, minlength=count)
        hands = np.arange(count).repeat(shares)
        rng.shuffle(hands)
        folds[clips] = hands
        first_fold += len(clips)
    return folds


def _deal_groups(
    truth: NDArray[np.int64], sources: NDArray[np.int64], count: int, rng: np.random.RandomState
) -> NDArray[np.int64]:
    """Distribute groups over folds, the most uneven first, each to the fold where it spreads the classes best."""
    held = np.zeros((sources.max() + 1, truth.max() + 1))
    np.add.at(held, (sources, truth), 1)
    sizes = held.sum(axis=0)
    order = np.arange(len(held))
    rng.shuffle(order)
    fold_of = np.empty(len(held), dtype=np.int64)
    dealt = np.zeros((count, held.shape[1]))
    for source in order[np.argsort(-held[order].std(axis=1), kind="stable")]:
        best, min_spread, min_clips = 0, np.inf, np.inf
        for fold in range(count):
            dealt[fold] += held[source]
            spread = float((dealt / sizes).std(axis=0).mean())
            dealt[fold] -= held[source]
            clips = dealt[fold].sum()
            if spread < min_spread or (np.isclose(spread, min_spread) and clips < min_clips):
                best, min_spread, min_clips = fold, spread, clips
        dealt[best] += held[source]
        fold_of[source] = best
    return fold_of[sources]
