"""The clips of a data set that could be read, under its folds, its split, or folds that are drawn."""

from collections.abc import Container, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data import Manifest
from soundnet_kd.data.datasets.esc50 import SOURCE_COLUMN
from soundnet_kd.data.manifest import UNLABELED, Clip, Split
from soundnet_kd.data.splits import SplitSounds, draw_split
from soundnet_kd.errors import SettingsError
from soundnet_kd.media import place_name
from soundnet_kd.transfer.folds import plan_folds, recordings


class ClipFolds:
    """The clips of a data set that could be read, and the folds that they are tested in.

    Parameters
    ----------
    manifest : Manifest
    seed : int
        Draws folds where there is neither fold nor split, by source recording where it is known.
    readable : container of str, optional
        Ids of the clips that could be read. [default: all, for before any is]

    Attributes
    ----------
    clips : tuple of Clip
        With and without a label.
    labels : (clips,) int64
        -1 where unlabeled.
    groups : tuple of str or None
        Source recording of every clip, where it is known.
    plan : FoldPlan
    tested : tuple of int
        The folds that are tested, in order.

    Raises
    ------
    FormatError
        If some labelled clips have a fold, or a part of the split, and others do not.
    SettingsError
        If folds cannot be made, or there is too little to learn without one of them.
    """

    def __init__(self, manifest: Manifest, seed: int, readable: Container[str] | None = None) -> None:
        kept = [place for place, clip in enumerate(manifest.clips) if readable is None or clip.id in readable]
        self._manifest = manifest
        splits = manifest.splits
        self._splits = [splits[place] for place in kept] if splits else []
        self.clips: tuple[Clip, ...] = tuple(manifest.clips[place] for place in kept)
        self.labels: NDArray[np.int64] = np.array([clip.label for clip in self.clips], dtype=np.int64)
        self.groups: tuple[str, ...] | None = None
        if SOURCE_COLUMN in manifest.columns:
            column = manifest.columns.index(SOURCE_COLUMN)
            self.groups = recordings(self.ids, [clip.carried[column] for clip in self.clips])
        own = np.array([clip.fold for clip in self.clips], dtype=np.int64)
        self.plan = plan_folds(own, self.labels, seed, None, self.groups, manifest.no_fold, self._splits)
        labelled = self.labels != UNLABELED
        self.tested = self.plan.tested or tuple(int(fold) for fold in np.unique(self.plan.folds[labelled]))
        for fold in self.tested:
            if len(np.unique(self.labels[labelled & (self.plan.folds != fold)])) < 2:
                raise SettingsError(
                    f"without fold {fold} there are not two classes left to train on; spread the classes over folds"
                )

    @property
    def ids(self) -> tuple[str, ...]:
        """Of all clips."""
        return tuple(clip.id for clip in self.clips)

    @property
    def paths(self) -> tuple[str, ...]:
        """Where all clips lie."""
        return tuple(place_name(clip.path) for clip in self.clips)

    def split(
        self, seeds: Sequence[int], validation_share: float = 0.0, needs_validation: bool = False
    ) -> Mapping[int, SplitSounds]:
        """Split the clips, fold by fold and seed by seed, into those to learn from, to measure by and to test.

        Parameters
        ----------
        seeds : sequence of int
        validation_share : float
            Share of the recordings that are learned from, held out to measure by.
        needs_validation : bool
            Something is chosen by validation sounds. Without a share to hold out, these are the validation part of a
            data set that is split, which else is learned from.

        Raises
        ------
        SettingsError
            If something is to be chosen by validation sounds, and there are none.
        """
        return {
            seed: SplitSounds(
                self._manifest,
                {fold: self._split(fold, seed, validation_share, needs_validation) for fold in self.tested},
            )
            for seed in seeds
        }

    def _split(self, fold: int, seed: int, validation_share: float, needs_validation: bool) -> list[Split | None]:
        split = np.full(len(self.clips), None, dtype=object)
        split[self.labels != UNLABELED] = "train"
        split[(split == "train") & (self.plan.folds == fold)] = "test"
        if validation_share:
            learned = np.flatnonzero(split == "train")
            groups = None if self.groups is None else [self.groups[place] for place in learned.tolist()]
            split[learned] = draw_split(self.labels[learned], {"validation": validation_share}, seed, groups)
        elif needs_validation and self._splits:
            own = np.array([each == "validation" for each in self._splits])
            split[own & (split == "train")] = "validation"
        if needs_validation and not (split == "validation").any():
            raise SettingsError(
                "there are no validation sounds to choose the best weights or the end by; set a --validation_share, "
                "such as 0.1, or leave --weights and --patience out"
            )
        split_of = dict(zip(self.ids, split.tolist(), strict=True))
        return [split_of.get(clip.id) for clip in self._manifest.clips]
