"""The names that data sets give to what is learned from, what decides when to stop, and what is tested on."""

from collections.abc import Mapping, Sequence
from typing import Literal

Split = Literal["train", "validation", "test"]

_SPELLINGS: Mapping[Split, str] = {
    "train": "train training trainset train_set",
    "validation": "validation valid val validate dev devel development",
    "test": "test testing testset test_set eval evaluation",
}
_SPLIT_OF: Mapping[str, Split] = {word: split for split, words in _SPELLINGS.items() for word in words.split()}


def split_of(name: str) -> Split | None:
    """Say which split a name means, such as Training, val or eval; None if it is no split's name."""
    return _SPLIT_OF.get(name.strip().casefold().replace("-", "_").replace(" ", "_"))


def resolved(splits: Sequence[Split | None]) -> tuple[Split | None, ...]:
    """Give what each clip is for, if these are the splits of a data set, which have to leave something to test.

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
