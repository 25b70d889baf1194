"""The layouts of data sets that the training recipes know; each is a class whose fields are a recipe's keys."""

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
    """How a data set lies in its folder."""

    def read(self, place: str | Path, seed: int) -> SplitSounds:
        """Find the sounds of a data set; `seed` draws what the data set does not say."""


DATA_SETS: Mapping[str, type[DataSet]] = {
    "cats_dogs": CatsDogs,
    "folds": Folds,
    "nsynth": NSynth,
    "speech_commands": SpeechCommands,
    "tagged_tracks": TaggedTracks,
}
