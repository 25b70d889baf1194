"""What an experiment is to its runner: a configuration, the trials that it makes of a data set, and their names."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data.splits import SplitSounds
from soundnet_kd.data.voice_activity import VoiceActivity
from soundnet_kd.errors import SettingsError
from soundnet_kd.models import Network
from soundnet_kd.models.checkpoint import CLASSIFIER_FILE
from soundnet_kd.storage import unique_file_stems
from soundnet_kd.supervised.kept_layers import Versions
from soundnet_kd.training.optimization import TrainingConfig
from soundnet_kd.training.segments import Sampling
from soundnet_kd.transfer.results import Kind

TAG_NETWORKS_FOLDER = "classifiers"
"""Folder of the networks of single tags."""


@dataclass(frozen=True)
class RunLayout:
    """How the files of a run are called.

    Attributes
    ----------
    settings : str
        The file that tells the run from others.
    trials : str
        The folder of what each training left.
    named_by : tuple of str
        What a trial's name always says, seed or fold; it says whatever else tells trials apart, too.
    keeps_trials : bool
        The folder stays, and so do the logs for TensorBoard; else both are gone once the results are there.
    keeps_tested_network : bool
        Where no network is trained on all folds, that of the first seed and fold is kept.
    """

    settings: str
    trials: str
    named_by: tuple[str, ...]
    keeps_trials: bool
    keeps_tested_network: bool


@dataclass(frozen=True, eq=False)
class EvaluatedClips:
    """The clips that an evaluation is about.

    Attributes
    ----------
    ids : tuple of str
    labels : (clips,) int64
        -1 where unlabeled.
    folds : (clips,) int64
        In which each is tested.
    paths : tuple of str
    groups : tuple of str, optional
        Source recording of each, where it is known.
    origin : str
        Where the folds are from.
    """

    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    folds: NDArray[np.int64]
    paths: tuple[str, ...]
    groups: tuple[str, ...] | None
    origin: str


@dataclass(frozen=True)
class ResultNames:
    """How results call what was evaluated: the attributes of `Evaluation` and `CrossValidation` of these names."""

    kind: Kind
    layer: str
    channels: int
    protocol: str
    head: str


class Experiment(Protocol):
    """A configuration: which network is built, what it learns from, and how it is trained and tested."""

    @property
    def layout(self) -> RunLayout:
        """How the files of its run are called."""

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
    def given(self) -> Network | None:
        """A network that is tested as it is; None trains one for each trial."""

    @property
    def voice_activity(self) -> VoiceActivity | None:
        """How the silence around each sound's voice is cut off; None cuts nothing."""

    @property
    def versions(self) -> Versions | None:
        """What is heard of each sound where the layers that stay as they are are computed once; None where not."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """For each a network is trained and tested without each fold."""

    @property
    def final_training(self) -> bool:
        """Whether a network is trained once more, on all folds, to be kept."""

    def build(self, class_names: Sequence[str]) -> Network:
        """Build the network; raise SettingsError if a setting of it is wrong."""

    def select_readable(
        self, sets: Mapping[int, SplitSounds], readable: Container[str] | None = None
    ) -> Mapping[int, SplitSounds]:
        """Return the data set of each seed as it is split where only some clips can be read; None stands for all.

        Raises SettingsError where there is not enough to learn from.
        """

    def run_identity(self, sets: Mapping[int, SplitSounds]) -> dict[str, Any]:
        """Return what made the networks of a run, and tells it from others, as JSON holds it."""

    def evaluated_clips(self, sets: Mapping[int, SplitSounds], failures: Container[str]) -> EvaluatedClips:
        """Return the clips that the results are about, without those that could not be used."""

    def result_names(self, class_names: Sequence[str]) -> ResultNames:
        """Return how results call what was evaluated."""


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


class TrialPlan:
    """The trials of an experiment on a data set, called by what tells each from the others.

    Parameters
    ----------
    config : Experiment
    sets : mapping from seed to SplitSounds

    Attributes
    ----------
    tested : tuple of Trial
        Those that are tested: seed by seed, fold by fold and, where each tag has a network, tag by tag.
    final : tuple of Trial
        Those on all folds, which are kept.

    Raises
    ------
    SettingsError
        If the loss does not go with the data set's labels.
    """

    def __init__(self, config: Experiment, sets: Mapping[int, SplitSounds]) -> None:
        first = next(iter(sets.values()))
        self._layout = config.layout
        self._class_names = first.manifest.class_names
        self._folds = list(first.splits)
        outputs = outputs_of(config.training, first)
        self.tested = tuple(
            Trial(seed, fold, each) for seed, data in sets.items() for fold in data.splits for each in outputs
        )
        seed, fold = self.tested[0].seed, self.tested[0].fold
        self.final = tuple(Trial(seed, None, each) for each in outputs) if config.final_training else ()
        self._kept = self.final
        if not self.final and self._layout.keeps_tested_network:
            self._kept = tuple(Trial(seed, fold, each) for each in outputs)
        self._differing = {
            what for what in ("seed", "fold", "outputs") if len({getattr(trial, what) for trial in self.tested}) > 1
        }

    def name(self, trial: Trial) -> str:
        """Return what the files of a trial are called."""
        told = {*self._differing, *self._layout.named_by}
        parts = [f"{what}-{getattr(trial, what)}" for what in ("seed", "fold") if what in told]
        if trial.fold is None:
            parts = ["all"]
        if "outputs" in self._differing:
            parts.append(f"output-{trial.outputs[0]}")
        return "-".join(parts)

    def title(self, trial: Trial) -> str:
        """Return what tells a trial from others in its progress bar; nothing where it is the only one."""
        parts = []
        if trial.fold is None:
            parts.append("all folds")
        else:
            if "seed" in self._differing:
                parts.append(f"seed {trial.seed}")
            if "fold" in self._differing:
                parts.append(f"fold {self._folds.index(trial.fold) + 1}/{len(self._folds)}")
        if "outputs" in self._differing:
            parts.append(self._class_names[trial.outputs[0]])
        return ", ".join(parts)

    def kept_networks(self, out: Path) -> dict[Trial, Path]:
        """Return where the networks that stay are looked for: those of all folds, or of the first seed and fold."""
        if len(self._kept) == 1:
            return {self._kept[0]: out / CLASSIFIER_FILE}
        stems = unique_file_stems(self._class_names)
        return {trial: out / TAG_NETWORKS_FOLDER / f"{stems[trial.outputs[0]]}.safetensors" for trial in self._kept}


def outputs_of(training: TrainingConfig, data: SplitSounds) -> list[tuple[int, ...]]:
    """Return which classes each network has outputs for.

    Raises
    ------
    SettingsError
        If the loss does not go with the data set's labels.
    """
    count = len(data.manifest.class_names)
    everything = tuple(range(count))
    if data.tags:
        if training.loss == "cross_entropy":
            raise SettingsError(
                "the sounds have several tags each; set training.loss to binary_cross_entropy or squared_error"
            )
        return [(output,) for output in everything] if training.one_network_per_tag else [everything]
    if training.one_network_per_tag:
        raise SettingsError("training.one_network_per_tag is for sounds with several tags each; set it to false")
    if training.loss != "cross_entropy" and count == 2:
        # One logit says which of two classes it is.
        return [(1,)]
    return [everything]
