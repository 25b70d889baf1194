"""Any labelled sounds under folds: each is tested by a network that learned from the others."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from soundnet_kd.data.datasets.esc50 import SOURCE_COLUMN
from soundnet_kd.data.manifest import UNLABELED, Split
from soundnet_kd.data.sources.detect import read_manifest
from soundnet_kd.data.splits import WITHOUT_FOLDS, SplitSounds, draw_split
from soundnet_kd.errors import FormatError, SettingsError


@dataclass(frozen=True)
class Folds:
    """A folder in the layout of ESC-50 or UrbanSound8K, or a CSV file with columns path, label and fold.

    A data set that is split into train, validation and test instead, in folders or by a column split, is taken so.

    Attributes
    ----------
    validation_share : float
        Share of the recordings of the training folds to choose the best weights by; 0 where the last ones are taken.
    """

    validation_share: float = 0.0

    def read(self, place: str | Path, seed: int) -> SplitSounds:
        """Find the sounds.

        Raises
        ------
        SettingsError
            If there are no labels, or not two folds.
        FormatError
            If some labelled clips have no fold.
        """
        place = Path(place)
        found = read_manifest(place)
        clips = tuple(clip for clip in found.clips if clip.label != UNLABELED)
        manifest = replace(found, clips=clips)
        unlabeled = {clip.id: "it has no label" for clip in found.clips if clip.label == UNLABELED}
        named = [split for split in manifest.splits if split is not None]
        if named and len(named) == len(clips):
            return SplitSounds(manifest, {WITHOUT_FOLDS: named}, unusable=unlabeled)
        folds = manifest.folds
        names = sorted({clip.fold for clip in clips})
        if len(names) < 2:
            raise SettingsError(
                f"{place} has labelled sounds of {len(names)} fold; this recipe needs two, in a column fold"
            )
        without = int((folds == found.no_fold).sum())
        if without:
            raise FormatError(f"{without} labelled clips of {place} have no fold; give all one")
        labels = manifest.labels
        groups = None
        if SOURCE_COLUMN in found.columns:
            groups = np.array([clip.carried[found.columns.index(SOURCE_COLUMN)] for clip in clips])
        splits: dict[int, list[Split]] = {}
        for fold in names:
            untested = folds != fold
            split = np.full(len(clips), "test", dtype=object)
            split[untested] = draw_split(
                labels[untested],
                {"validation": self.validation_share},
                seed,
                None if groups is None else groups[untested].tolist(),
            )
            splits[fold] = split.tolist()
        return SplitSounds(manifest, splits, unusable=unlabeled)
