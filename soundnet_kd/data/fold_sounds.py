"""Any labelled sounds under folds: each is tested by a network that learned from the others."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundnet_kd.data.manifest import NO_FOLD, UNLABELED, Manifest, read_manifest
from soundnet_kd.data.splits import Split, SplitSounds, drawn_split
from soundnet_kd.errors import FormatError, SettingsError

SOURCE_COLUMN = "src_file"
"""ESC-50's name of the recording that a clip was cut from."""


@dataclass(frozen=True)
class Folds:
    """A folder in ESC-50's layout, or a CSV file with columns path, label and fold.

    Attributes
    ----------
    validation_share : float
        Of the recordings of the training folds, to choose the best weights by; 0 where the last ones are taken.
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
        manifest = Manifest(clips, found.class_names, found.columns)
        folds = np.array([clip.fold for clip in clips], dtype=np.int64)
        names = sorted({clip.fold for clip in clips})
        if len(names) < 2:
            raise SettingsError(
                f"{place} has labelled sounds of {len(names)} fold; this recipe needs two, in a column fold"
            )
        if NO_FOLD in names:
            raise FormatError(f"{int((folds == NO_FOLD).sum())} labelled clips of {place} have no fold; give all one")
        labels = np.array([clip.label for clip in clips])
        groups = None
        if SOURCE_COLUMN in found.columns:
            groups = np.array([clip.carried[found.columns.index(SOURCE_COLUMN)] for clip in clips])
        splits: dict[int, list[Split]] = {}
        for fold in names:
            learned = folds != fold
            split = np.full(len(clips), "test", dtype=object)
            split[learned] = drawn_split(
                labels[learned],
                {"validation": self.validation_share},
                seed,
                None if groups is None else groups[learned].tolist(),
            )
            splits[fold] = split.tolist()
        unlabelled = {clip.id: "it has no label" for clip in found.clips if clip.label == UNLABELED}
        return SplitSounds(manifest, splits, unusable=unlabelled)
