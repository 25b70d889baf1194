"""What an experiment is to the runner: its configuration, and the trials that this makes of a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from soundnet_kd.data.voice_activity import VoiceActivity
from soundnet_kd.models import Network
from soundnet_kd.training.optimization import TrainingConfig
from soundnet_kd.training.segments import Sampling


class Experiment(Protocol):
    """A configuration: which network is built, what it learns from, and how it is trained and tested."""

    @property
    def network(self) -> str:
        """Name of the network."""

    @property
    def training(self) -> TrainingConfig:
        """How it is trained."""

    @property
    def sampling(self) -> Sampling:
        """How segments of sound are drawn."""

    @property
    def voice_activity(self) -> VoiceActivity | None:
        """How the silence around each sound's voice is cut off; None cuts nothing."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """For each a network is trained and tested without each fold."""

    @property
    def final_training(self) -> bool:
        """Whether a network is trained once more, on all folds, to be kept."""

    @property
    def keeps_tested_network(self) -> bool:
        """Whether else the network of the first seed and fold is kept."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What tells a run from others on the same sounds, as JSON holds it."""

    def build(self, class_names: Sequence[str]) -> Network:
        """Build the network; raise SettingsError if a setting of it is wrong."""


@dataclass(frozen=True)
class Trial:
    """Which training of an experiment it is.

    Attributes
    ----------
    seed : int
    fold : int or None
        The one that is tested; None learns from all of them, and tests nothing.
    outputs : tuple of int
        The classes that the network has an output for.
    """

    seed: int
    fold: int | None
    outputs: tuple[int, ...]
