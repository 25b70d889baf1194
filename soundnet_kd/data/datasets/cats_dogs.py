"""Cats and dogs: a folder of clips whose names begin with their class, ten of them for the test."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundnet_kd.data.manifest import Clip, Manifest
from soundnet_kd.data.splits import WITHOUT_FOLDS, SplitSounds, draw_split
from soundnet_kd.errors import FormatError, nearest
from soundnet_kd.media import find_media
from soundnet_kd.storage import escape_name


@dataclass(frozen=True)
class CatsDogs:
    """A folder of clips called CLASS_N or CLASS_SOMETHING_N, in any format; the folder's own sub-folders count too.

    The defaults are those of the system as it was published.

    Attributes
    ----------
    test : tuple of str
        Names, without their ending, of the clips that are tested on.
    validation_share : float
        Of the other clips, class by class.
    """

    test: tuple[str, ...] = (*(f"cat_{number}" for number in range(163, 168)), *(f"dog_barking_{n}" for n in range(5)))
    validation_share: float = 0.25

    def read(self, place: str | Path, seed: int) -> SplitSounds:
        """Find the clips.

        Raises
        ------
        FormatError
            If a name has no underscore, or a clip of the test is missing.
        """
        place = Path(place)
        files = find_media(place)
        nameless = next((file for file in files if "_" not in file.stem), None)
        if nameless is not None:
            raise FormatError(f"{nameless} does not say its class; call it CLASS_N, such as cat_1{nameless.suffix}")
        stems = {file.stem: file for file in files}
        for name in self.test:
            if name not in stems:
                raise FormatError(f"{place} lacks {name}, which is to be tested on{nearest(name, list(stems), 3)}")
        names = tuple(sorted({file.stem.partition("_")[0] for file in files}))
        clips = tuple(
            Clip(escape_name(file.relative_to(place).as_posix()), file, names.index(file.stem.partition("_")[0]))
            for file in files
        )
        tested = np.array([file.stem in self.test for file in files])
        splits = np.full(len(clips), "test", dtype=object)
        labels = np.array([clip.label for clip in clips])
        splits[~tested] = draw_split(labels[~tested], {"validation": self.validation_share}, seed)
        return SplitSounds(Manifest(clips, names), {WITHOUT_FOLDS: splits.tolist()})
