"""The configuration of `finetune`: a student with a new head, under the folds or the split of a data set."""

from collections.abc import Container, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from soundnet_kd.config.values import require_speeds
from soundnet_kd.data import Manifest, read_manifest
from soundnet_kd.data.checks import announce, require_classes, require_whole_folds
from soundnet_kd.data.splits import SplitSounds, require_shares
from soundnet_kd.errors import SettingsError
from soundnet_kd.models import Student
from soundnet_kd.models.finetuned import FinetunedNetwork, HeadKind, layers_of
from soundnet_kd.models.student import block_number
from soundnet_kd.storage import versions
from soundnet_kd.supervised.clip_folds import ClipFolds
from soundnet_kd.supervised.kept_layers import Versions
from soundnet_kd.supervised.plan import EvaluatedClips, ResultNames, RunLayout
from soundnet_kd.training.optimization import SHARE, TrainingConfig
from soundnet_kd.training.segments import Crops
from soundnet_kd.training.settings_file import FINETUNE_FILE

RANDOM_WEIGHTS = "random weights"
"""What the settings have in place of a student's hash where nothing was kept of it."""


def read_labelled(sounds: str | Path | Manifest, dry_run: bool = False) -> tuple[str, Manifest]:
    """Read a data set whose clips have labels.

    Parameters
    ----------
    sounds : str or Path or Manifest
    dry_run : bool
        Do not log what it is taken for.

    Returns
    -------
    reading : str
        What it is taken for.
    manifest : Manifest

    Raises
    ------
    FormatError, SettingsError
        If it is no data set of two classes or more, or some clips have a fold and others not.
    MediaError
        If not a single sound is there.
    """
    manifest = sounds if isinstance(sounds, Manifest) else read_manifest(sounds)
    reading = announce(sounds, manifest, dry_run=dry_run)
    require_classes(manifest)
    require_whole_folds(manifest)
    return reading, manifest


@dataclass(frozen=True)
class FinetuneTraining(TrainingConfig):
    """How a student with a new head is trained.

    Attributes
    ----------
    kept_learning_rate : float, optional
        Highest learning rate of the student's layers; learning_rate is then the head's.
    """

    kept_learning_rate: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kept_learning_rate is not None and not self.kept_learning_rate > 0:
            raise SettingsError(f"kept_learning_rate is {self.kept_learning_rate}; it has to be above 0")

    def optimizer_for(self, network: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer, in which the student's layers are a group of their own if their rate is another."""
        if self.kept_learning_rate is None:
            return super().optimizer_for(network)
        assert isinstance(network, FinetunedNetwork)
        trunk = [each for each in network.trunk.parameters() if each.requires_grad]
        known = {id(each) for each in network.trunk.parameters()}
        head = [each for each in network.parameters() if id(each) not in known]
        share = self.kept_learning_rate / self.learning_rate
        return self.optimizer_of([{"params": head}, {"params": trunk, SHARE: share}])


@dataclass(frozen=True)
class FinetuneConfig:
    """A student with a new head, and how both are trained and tested: what a recipe is for networks from scratch.

    Attributes
    ----------
    student : Student
        Its preprocessing is the one that clips are tested with.
    layer : str
        The one that the new head sits on.
    from_layer : str, optional
        The first layer that learns.
    scratch : bool
        Begin with random weights.
    training : FinetuneTraining
    sampling : Crops
    seeds : tuple of int
        For each a network is trained and tested without each fold; the first draws folds where there are none.
    validation_share : float
        Of the recordings that are learned from, held out to choose the best weights by.
    final_training : bool
        Train once more, on all folds together.
    head : {"linear", "roots"}
    keep_statistics : bool
        As in `FinetunedNetwork`.
    draws : int
        In how many versions each sound is heard at each speed, once, as far as the first layer that learns; 0 hears
        it anew at each pass.
    """

    student: Student = field(repr=False)
    layer: str
    from_layer: str | None
    scratch: bool
    training: FinetuneTraining
    sampling: Crops
    seeds: tuple[int, ...]
    validation_share: float = 0.0
    final_training: bool = True
    head: HeadKind = "linear"
    keep_statistics: bool = False
    draws: int = 0

    given: ClassVar[None] = None
    voice_activity: ClassVar[None] = None
    layout: ClassVar[RunLayout] = RunLayout(
        FINETUNE_FILE, ".folds", named_by=("fold",), keeps_trials=False, keeps_tested_network=False
    )

    def __post_init__(self) -> None:
        require_shares({"validation": self.validation_share})
        require_speeds(self.sampling.speeds)
        augmentation = self.training.augmentation
        kept = {"keep_statistics": self.keep_statistics, "kept_learning_rate": self.training.kept_learning_rate}
        if self.scratch and any(kept.values()):
            given = next(name for name, value in kept.items() if value)
            raise SettingsError(
                f"{given} is for what a student has learned, which scratch forgets; leave one of the two out"
            )
        if self.draws < 0:
            raise SettingsError(f"variants is {self.draws}; it has to be at least 0, which hears each sound anew")
        if self.draws and (self.from_layer is None or self.scratch or self.student.depth(self.from_layer) == 0):
            raise SettingsError(
                "variants keeps what the layers before from_layer give, and there are none that stay as they are; give "
                "a --from_layer such as conv4 and no --scratch, or leave --variants out"
            )
        if self.draws:
            self._require_kept_layers()
        if self.draws == 1 and (augmentation.gain_db or augmentation.noise):
            raise SettingsError(
                "of one variant level and noise stay as they are; set --augmentation.gain_db 0 and "
                "--augmentation.noise 0, or more --variants"
            )

    def _require_kept_layers(self) -> None:
        """Check that the head sits on no layer before the one that is kept, which is all that there is of a sound."""
        assert self.from_layer is not None
        kept = self.student.last_layer(block_number(self.from_layer) - 1)
        first = layers_of(self.student, self.layer)[0]
        if self.student.depth(first) < self.student.depth(kept):
            raise SettingsError(
                f"variants keeps {kept}, and the head sits on {first}, too, which comes before it; give an earlier "
                "--from_layer, or leave --variants out"
            )

    @property
    def protocol(self) -> str:
        """Name of the whole in results."""
        return "scratch" if self.scratch else "finetune"

    @property
    def network(self) -> str:
        """Name of the student's architecture."""
        return self.student.architecture

    @property
    def versions(self) -> Versions | None:
        """What is heard of each sound, where the layers before the first that learns are computed once."""
        if not self.draws:
            return None
        samples = self.sampling.samples(self.student.preprocessing.sample_rate, 0)
        return Versions(self.sampling.speeds, self.draws, samples, self.training.augmentation, self.seeds[0])

    @property
    def measures_validation(self) -> bool:
        """Whether anything is chosen by validation sounds."""
        return self.training.weights == "best" or self.training.patience is not None

    def build(self, class_names: Sequence[str]) -> FinetunedNetwork:
        """Build the network, with a random head.

        Raises
        ------
        SettingsError
            If there is no such layer, or nothing would learn, or segments are too short for the layer.
        """
        student = deepcopy(self.student)
        if self.scratch:
            student.reset_parameters()
        network = FinetunedNetwork(student, self.layer, class_names, self.from_layer, self.head, self.keep_statistics)
        self._require_long_segments()
        return network

    def _require_long_segments(self) -> None:
        """Check that segments are long enough for the layer, and batches for its batch norm."""
        samples = self.sampling.samples(self.student.preprocessing.sample_rate, 0)
        deepest = layers_of(self.student, self.layer)[-1]
        if self.student.steps(samples, deepest) * self.training.batch_size < 2:
            raise SettingsError(
                f"pieces of {self.sampling.seconds} s are too short for {self.layer}; give a larger --crop_seconds"
            )

    def split(self, manifest: Manifest) -> Mapping[int, SplitSounds]:
        """Split a data set for each seed, in its own folds or drawn ones.

        Raises
        ------
        FormatError, SettingsError
            If folds cannot be made of it, or there is too little to learn, or to choose by.
        """
        return self._split(ClipFolds(manifest, self.seeds[0]))

    def select_readable(
        self, sets: Mapping[int, SplitSounds], readable: Container[str] | None = None
    ) -> Mapping[int, SplitSounds]:
        """Return the data sets in the folds that the readable clips make.

        Raises
        ------
        SettingsError
            If there is too little to learn, or to choose by.
        """
        return self._split(ClipFolds(_manifest_of(sets), self.seeds[0], readable))

    def _split(self, folds: ClipFolds) -> Mapping[int, SplitSounds]:
        return folds.split(self.seeds, self.validation_share, self.measures_validation)

    def evaluated_clips(self, sets: Mapping[int, SplitSounds], failures: Container[str]) -> EvaluatedClips:
        """Return all clips, also those without a label, and those that are only learned from."""
        manifest = _manifest_of(sets)
        readable = {clip.id for clip in manifest.clips if clip.id not in failures}
        folds = ClipFolds(manifest, self.seeds[0], readable)
        return EvaluatedClips(folds.ids, folds.labels, folds.plan.folds, folds.paths, folds.groups, folds.plan.origin)

    def result_names(self, class_names: Sequence[str]) -> ResultNames:
        """Return how results call the network."""
        channels = sum(self.student.channels(each) for each in layers_of(self.student, self.layer))
        head = "linear layer" if self.head == "linear" else "linear layer on roots"
        return ResultNames("finetuned", self.layer, channels, self.protocol, head)

    def run_identity(self, sets: Mapping[int, SplitSounds]) -> dict[str, Any]:
        """Return what made the networks of a run."""
        own = self.identity
        return {
            "student": own["student"],
            "sounds": _manifest_of(sets).identity,
            "settings": own["settings"],
            "versions": versions(),
        }

    @property
    def identity(self) -> dict[str, Any]:
        """What tells a run from others on the same sounds, as JSON holds it."""
        training = asdict(self.training)
        settings = ("epochs", "batch_size", "learning_rate", "weight_decay")
        # Named only where it is not as it always was in version 0.1.0, which had no choice of these.
        usual = {
            "schedule": "cosine",
            "final_learning_rate": None,
            "weights": "last",
            "best_by": "accuracy",
            "patience": None,
            "validation_share": 0.0,
            "seeds": [self.seeds[0]],
            "kept_learning_rate": None,
            "head": "linear",
            "keep_statistics": False,
            "speeds": [1.0],
            "variants": 0,
        }
        chosen = {
            "kept_learning_rate": None,
            **training,
            "validation_share": self.validation_share,
            "seeds": list(self.seeds),
            "head": self.head,
            "keep_statistics": self.keep_statistics,
            "speeds": list(self.sampling.speeds),
            "variants": self.draws,
        }
        return {
            "student": {
                "architecture": self.network,
                "sha256": RANDOM_WEIGHTS if self.scratch else self.student.fingerprint(),
            },
            "settings": {
                "protocol": self.protocol,
                "layer": self.layer,
                "from_layer": self.from_layer,
                **{name: training[name] for name in settings},
                "crop_seconds": self.sampling.seconds,
                "augmentation": training["augmentation"],
                "precision": training["precision"],
                "seed": self.seeds[0],
                "folds_only": not self.final_training,
                "preprocessing": asdict(self.student.preprocessing),
                **{name: chosen[name] for name, value in usual.items() if chosen[name] != value},
            },
        }


def _manifest_of(sets: Mapping[int, SplitSounds]) -> Manifest:
    return next(iter(sets.values())).manifest
