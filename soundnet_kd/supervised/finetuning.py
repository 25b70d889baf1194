"""What `finetune` trains and tests: a student with a new head, under the folds or the split of a data set."""

from collections.abc import Container, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data import Manifest
from soundnet_kd.data.datasets.esc50 import SOURCE_COLUMN
from soundnet_kd.data.manifest import UNLABELED, Clip, Split
from soundnet_kd.data.splits import SplitSounds, draw_split, require_shares
from soundnet_kd.errors import SettingsError
from soundnet_kd.models import SoundNet
from soundnet_kd.models.finetuned import FinetunedNetwork
from soundnet_kd.storage import escape_name
from soundnet_kd.training.optimization import TrainingConfig
from soundnet_kd.training.segments import Crops
from soundnet_kd.transfer.folds import plan_folds, recordings


@dataclass(frozen=True)
class FinetuneConfig:
    """A student with a new head, and how both are trained and tested: what a recipe is for networks from scratch.

    Attributes
    ----------
    student : SoundNet
        Its preprocessing is the one that clips are tested with.
    layer : str
        The one that the new head sits on.
    from_layer : str, optional
        The first layer that learns.
    scratch : bool
        Begin with random weights.
    training : TrainingConfig
    sampling : Crops
    seeds : tuple of int
        For each a network is trained and tested without each fold; the first draws folds where there are none.
    validation_share : float
        Of the recordings that are learned from, held out to choose the best weights by.
    final_training : bool
        Train once more, on all folds together.
    """

    student: SoundNet = field(repr=False)
    layer: str
    from_layer: str | None
    scratch: bool
    training: TrainingConfig
    sampling: Crops
    seeds: tuple[int, ...]
    validation_share: float = 0.0
    final_training: bool = True

    voice_activity: ClassVar[None] = None
    keeps_tested_network: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_shares({"validation": self.validation_share})

    @property
    def protocol(self) -> str:
        """Name of the whole in results."""
        return "scratch" if self.scratch else "finetune"

    @property
    def network(self) -> str:
        """Name of the student's architecture."""
        return type(self.student).__name__

    @property
    def measures_validation(self) -> bool:
        """Whether anything is chosen by validation sounds."""
        return self.training.weights == "best" or self.training.patience is not None

    def build(self, class_names: Sequence[str]) -> FinetunedNetwork:
        """Build the network, with a random head.

        Raises
        ------
        SettingsError
            If there is no such layer, or nothing would learn.
        """
        student = deepcopy(self.student)
        if self.scratch:
            student.reset_parameters()
        return FinetunedNetwork(student, self.layer, class_names, self.from_layer)

    def require_long_pieces(self) -> None:
        """Check that pieces are long enough for the layer, and batches for its batch norm.

        Raises
        ------
        SettingsError
            If they are not.
        """
        samples = self.sampling.samples(self.student.preprocessing.sample_rate, 0)
        if self.student.steps(samples, self.layer) * self.training.batch_size < 2:
            raise SettingsError(
                f"pieces of {self.sampling.seconds} s are too short for {self.layer}; give a larger --crop_seconds"
            )

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
        }
        chosen = {**training, "validation_share": self.validation_share, "seeds": list(self.seeds)}
        return {
            "student": {
                "architecture": self.network,
                "sha256": "random weights" if self.scratch else self.student.fingerprint(),
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
        return tuple(escape_name(clip.path.resolve()) for clip in self.clips)

    def split(self, config: FinetuneConfig) -> Mapping[int, SplitSounds]:
        """Split the clips, fold by fold and seed by seed, into those to learn from, to measure by and to test.

        Without a share to hold out, the validation part of a data set that is split is measured by, where something is
        chosen by it, and else learned from.

        Raises
        ------
        SettingsError
            If something is to be chosen by validation sounds, and there are none.
        """
        return {
            seed: SplitSounds(self._manifest, {fold: self._split(fold, seed, config) for fold in self.tested})
            for seed in config.seeds
        }

    def _split(self, fold: int, seed: int, config: FinetuneConfig) -> list[Split | None]:
        split = np.full(len(self.clips), None, dtype=object)
        split[self.labels != UNLABELED] = "train"
        split[(split == "train") & (self.plan.folds == fold)] = "test"
        if config.validation_share:
            learned = np.flatnonzero(split == "train")
            groups = None if self.groups is None else [self.groups[place] for place in learned.tolist()]
            split[learned] = draw_split(self.labels[learned], {"validation": config.validation_share}, seed, groups)
        elif config.measures_validation and self._splits:
            own = np.array([each == "validation" for each in self._splits])
            split[own & (split == "train")] = "validation"
        if config.measures_validation and not (split == "validation").any():
            raise SettingsError(
                "there are no validation sounds to choose the best weights or the end by; set a --validation_share, "
                "such as 0.1, or leave --weights and --patience out"
            )
        split_of = dict(zip(self.ids, split.tolist(), strict=True))
        return [split_of.get(clip.id) for clip in self._manifest.clips]
