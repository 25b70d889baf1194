"""The sounds of a data set divided into training, validation and test."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data.manifest import UNLABELED, Manifest, Split
from soundnet_kd.errors import FormatError, SettingsError

WITHOUT_FOLDS = 1
"""Number of the only fold, where a data set has none."""


@dataclass(frozen=True)
class FileSegment:
    """Where a clip lies that is only a stretch of its file."""

    start_seconds: float
    seconds: float


@dataclass(frozen=True)
class SplitSounds:
    """The sounds of a data set, and what each is for.

    Attributes
    ----------
    manifest : Manifest
    splits : mapping from fold to (clips,) of str
        For each fold, or the only test, what each clip is for: train, validation, test, or None for nothing.
    tags : tuple of tuple of int
        Where clips have several labels: of each clip, as indices into the manifest's class names.
    segments : mapping from id to FileSegment
        Of the clips that are only a stretch of their file.
    unusable : mapping from id to str
        What the data set names but cannot be used, with the reason.
    """

    manifest: Manifest
    splits: Mapping[int, Sequence[Split | None]]
    tags: tuple[tuple[int, ...], ...] = ()
    segments: Mapping[str, FileSegment] = field(default_factory=dict)
    unusable: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for splits in (*self.splits.values(), *([self.tags] if self.tags else [])):
            if len(splits) != len(self.manifest):
                raise FormatError(f"there are {len(self.manifest)} clips, but splits or tags for {len(splits)}")

    @property
    def identity(self) -> dict[str, Any]:
        """What identifies these sounds, without the splits, which the seed draws."""
        segments = {clip: (each.start_seconds, each.seconds) for clip, each in self.segments.items()}
        more = hashlib.sha256(json.dumps([self.tags, segments]).encode()).hexdigest()
        return {**self.manifest.identity, **({"tags_and_parts_sha256": more} if self.tags or segments else {})}

    def only(self, split: Split) -> "SplitSounds":
        """Return those clips alone that are for this in any fold."""
        places = [
            place for place in range(len(self.manifest)) if any(each[place] == split for each in self.splits.values())
        ]
        return replace(
            self,
            manifest=replace(self.manifest, clips=tuple(self.manifest.clips[place] for place in places)),
            splits={fold: [each[place] for place in places] for fold, each in self.splits.items()},
            tags=tuple(self.tags[place] for place in places) if self.tags else (),
        )

    @property
    def targets(self) -> NDArray[np.float32]:
        """(clips, classes) how much each clip is of each class: 1 for its label or each of its tags, if it has one."""
        targets = np.zeros((len(self.manifest), len(self.manifest.class_names)), np.float32)
        for row, clip in enumerate(self.manifest.clips):
            if self.tags:
                targets[row, list(self.tags[row])] = 1
            elif clip.label != UNLABELED:
                targets[row, clip.label] = 1
        return targets


def require_shares(shares: Mapping[Split, float]) -> None:
    """Check that shares of the clips leave some for training.

    Raises
    ------
    SettingsError
        If they do not.
    """
    if min(shares.values(), default=0) < 0 or sum(shares.values()) >= 1:
        listed = ", ".join(f"{split} {share:g}" for split, share in shares.items())
        raise SettingsError(f"the shares of the clips are {listed}; each has to be at least 0, and their sum below 1")


def draw_split(
    labels: NDArray[np.int64],
    shares: Mapping[Split, float],
    seed: int,
    groups: Sequence[str] | None = None,
) -> list[Split]:
    """Draw the split of each clip, class by class; at least one clip of each class is left for training.

    Parameters
    ----------
    labels : (clips,) int
    shares : mapping from split to float
        Such as {"validation": 0.25}; the others are for training.
    seed : int
    groups : sequence of str, optional
        Clips of one group stay together.

    Raises
    ------
    SettingsError
        If the shares leave nothing for training.
    """
    require_shares(shares)
    keys = np.array([str(place) for place in range(len(labels))] if groups is None else groups)
    split_of: dict[str, Split] = {}
    rng = np.random.default_rng(seed)
    for label in np.unique(labels):
        free = [key for key in rng.permutation(np.unique(keys[labels == label])) if key not in split_of]
        counts = {split: round(share * len(free)) for split, share in shares.items()}
        for split, count in counts.items():
            taken, free = free[: min(count, len(free) - 1)], free[min(count, len(free) - 1) :] if free else free
            split_of |= dict.fromkeys(map(str, taken), split)
        split_of |= dict.fromkeys(map(str, free), "train")
    return [split_of[str(key)] for key in keys]
