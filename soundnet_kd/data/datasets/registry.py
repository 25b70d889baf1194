"""The data sets that training recipes know by name; each is a class whose fields are the keys of its section."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from soundnet_kd.data.datasets.cats_dogs import CatsDogs
from soundnet_kd.data.datasets.folds import Folds
from soundnet_kd.data.datasets.nsynth import NSynth
from soundnet_kd.data.datasets.speech_commands import SpeechCommands
from soundnet_kd.data.datasets.tagged_tracks import TaggedTracks
from soundnet_kd.data.splits import SplitSounds


class DataSet(Protocol):
    """A kind of data set, known by how its files are laid out."""

    def read(self, place: str | Path, seed: int) -> SplitSounds:
        """Find the sounds of a data set; what it does not fix itself is drawn with `seed`."""


DATA_SETS: Mapping[str, type[DataSet]] = {
    "cats_dogs": CatsDogs,
    "folds": Folds,
    "nsynth": NSynth,
    "speech_commands": SpeechCommands,
    "tagged_tracks": TaggedTracks,
}
