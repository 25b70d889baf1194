"""Which sounds there are, with their labels and folds."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.errors import FormatError
from soundnet_kd.media import MediaSource

UNLABELED = -1
NO_FOLD = 0
"""Fold of a clip without one, in a data set that counts its folds from 1; see `Manifest.no_fold`."""
SPLIT = "split"
"""Name of the column of splits, where folders name them."""

Split = Literal["train", "validation", "test"]

_SPELLINGS: Mapping[Split, str] = {
    "train": "train training trainset train_set",
    "validation": "validation valid val validate dev devel development",
    "test": "test testing testset test_set eval evaluation",
}
_SPLIT_OF: Mapping[str, Split] = {word: split for split, words in _SPELLINGS.items() for word in words.split()}


def parse_split(name: str) -> Split | None:
    """Return which split a name means, such as Training, val or eval; None if it is no name of a split."""
    return _SPLIT_OF.get(name.strip().casefold().replace("-", "_").replace(" ", "_"))


def resolve_splits(splits: Sequence[Split | None]) -> tuple[Split | None, ...]:
    """Return the split of each clip, if these are the splits of a data set, which have to leave something to test.

    What is called validation is tested on where there is no test, and learned from where there is no training part, as
    in data sets that are published as development and evaluation.

    Returns
    -------
    tuple of Split or None
        None where a clip has none; empty if there are not two.
    """
    names = set(splits) - {None}
    if len(names) < 2:
        return ()
    stands_for: Split = "validation"
    if "train" not in names:
        stands_for = "train"
    elif "test" not in names:
        stands_for = "test"
    return tuple(stands_for if split == "validation" else split for split in splits)


@dataclass(frozen=True, slots=True)
class Clip:
    """One sound of a data set.

    Attributes
    ----------
    id : str
        Unique in its manifest, stable when the data set moves.
    path : Path or StoredMedia
        Where the sound lies.
    label : int
        Index into the manifest's class names, -1 if unlabeled.
    fold : int
        Number of the official fold; the manifest's `no_fold` if it has none, which is 0, or -1 where folds are counted
        from 0.
    carried : tuple of str
        The other values of its table, in the order of the manifest's `columns`.
    """

    id: str
    path: MediaSource
    label: int = UNLABELED
    fold: int = NO_FOLD
    carried: tuple[str, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """The sounds of a data set in their order.

    Attributes
    ----------
    clips : tuple of Clip
    class_names : tuple of str
        Empty if the data set is unlabeled.
    columns : tuple of str
        Names of what each clip carries along from its table.
    folds_from : int
        Number of the first fold: 1, or 0 where the data set counts from 0.
    split_column : str
        The one of `columns` that holds the split of each clip, where a data set is split and has no folds.
    skipped : mapping from reason to tuple of str
        Other files that were found and are not among the clips.
    failures : mapping from id to reason
        Sounds that should be there and are not, such as those that nobody could download.
    """

    clips: tuple[Clip, ...]
    class_names: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    folds_from: int = 1
    split_column: str = ""
    skipped: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False)
    failures: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for clip in self.clips:
            if clip.id in seen:
                raise FormatError(f"{clip.id} stands twice in the manifest; each sound may be named once")
            seen.add(clip.id)
            if len(clip.carried) != len(self.columns):
                raise FormatError(f"{clip.id} carries {len(clip.carried)} values for {len(self.columns)} columns")

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def labels(self) -> NDArray[np.int64]:
        """(clips,) class of each, -1 if unlabeled."""
        return np.array([clip.label for clip in self.clips], dtype=np.int64)

    @property
    def folds(self) -> NDArray[np.int64]:
        """(clips,) fold of each, `no_fold` where it has none."""
        return np.array([clip.fold for clip in self.clips], dtype=np.int64)

    @property
    def no_fold(self) -> int:
        """The value of `fold` of a clip that has none."""
        return self.folds_from - 1

    @property
    def splits(self) -> tuple[Split | None, ...]:
        """The split of each clip, None where it has none; empty where the data set is not split."""
        if not self.split_column:
            return ()
        place = self.columns.index(self.split_column)
        return resolve_splits([parse_split(clip.carried[place]) for clip in self.clips])

    @property
    def identity(self) -> dict[str, Any]:
        """What identifies these sounds: how many they are, and a hash of all that is known about them."""
        rows: list[Any] = [[(clip.id, clip.label, clip.fold) for clip in self.clips], self.class_names]
        if self.columns:
            rows += [self.columns, [clip.carried for clip in self.clips]]
        # Only where it is so: the hash of all other data sets stays as it was before these were known.
        if self.folds_from != 1:
            rows.append({"folds_from": self.folds_from})
        if self.split_column:
            rows.append({"split_column": self.split_column})
        return {"count": len(self), "sha256": hashlib.sha256(json.dumps(rows).encode()).hexdigest()}
