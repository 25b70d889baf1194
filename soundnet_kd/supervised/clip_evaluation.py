"""What is known of the clips of a data set, and what a classifier answered: in the form that all evaluations have."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data import Manifest
from soundnet_kd.data.datasets.esc50 import SOURCE_COLUMN
from soundnet_kd.media import RawAudioFile
from soundnet_kd.storage import escape_name
from soundnet_kd.supervised.clip_folds import LabelledSounds
from soundnet_kd.transfer.classifiers import Setting
from soundnet_kd.transfer.cross_validation import CrossValidation
from soundnet_kd.transfer.fitting import UNTESTED
from soundnet_kd.transfer.folds import plan_folds, recordings
from soundnet_kd.transfer.results import Evaluation


@dataclass(frozen=True)
class Experiment:
    """What is trained and tested, in the words of its results.

    Attributes
    ----------
    protocol : str
        Such as finetune, or scratch.
    layer : str
        That the head sits on.
    channels : int
        Of the layer.
    setting : mapping from name to number
        How all folds are trained.
    student : str
        Whose network it is.
    seed : int
        Draws folds where there are none.
    """

    protocol: str
    layer: str
    channels: int
    setting: Setting
    student: str
    seed: int


class ClipTable:
    """The clips of a data set that could be read, with labels and folds.

    Parameters
    ----------
    manifest : Manifest
    sounds : mapping from id to RawAudioFile
        Of the clips that could be read.
    seed : int
        Draws folds where there is neither fold nor split, by source recording where it is known.

    Raises
    ------
    FormatError
        If some labelled clips have a fold, or a part of the split, and others do not.
    SettingsError
        If folds cannot be made, or there is too little to learn without one of them.
    """

    def __init__(self, manifest: Manifest, sounds: Mapping[str, RawAudioFile], seed: int) -> None:
        clips = [clip for clip in manifest.clips if clip.id in sounds]
        self.class_names = manifest.class_names
        self.ids = tuple(clip.id for clip in clips)
        self.paths = tuple(escape_name(clip.path.resolve()) for clip in clips)
        self.labels = np.array([clip.label for clip in clips], dtype=np.int64)
        self.groups: tuple[str, ...] | None = None
        if SOURCE_COLUMN in manifest.columns:
            column = manifest.columns.index(SOURCE_COLUMN)
            self.groups = recordings(self.ids, [clip.carried[column] for clip in clips])
        own = np.array([clip.fold for clip in clips], dtype=np.int64)
        split_of = dict(zip((clip.id for clip in manifest.clips), manifest.splits, strict=False))
        splits = [split_of[name] for name in self.ids] if split_of else ()
        self._plan = plan = plan_folds(own, self.labels, seed, None, self.groups, manifest.no_fold, splits)
        self.folds, self.origin = plan.folds, plan.origin
        self._labelled = np.flatnonzero(self.labels >= 0)
        self.labelled = LabelledSounds(
            [sounds[self.ids[place]] for place in self._labelled],
            self.labels[self._labelled],
            self.folds[self._labelled],
            plan.tested,
        )
        self.labelled.require_usable_folds()

    def evaluation(
        self, experiment: Experiment, answers: Mapping[int, NDArray[np.int64]], source: Mapping[str, Any]
    ) -> Evaluation:
        """Count how many answers are right.

        Parameters
        ----------
        experiment : Experiment
        answers : mapping from fold to (tested clips,) int64
        source : mapping
            What made them.
        """
        clips, names = self.labelled, self.labelled.fold_names
        predicted = np.full(len(clips.labels), UNTESTED, dtype=np.int64)
        for fold in names:
            predicted[clips.folds == fold] = answers[fold]
        tested = np.isin(clips.folds, names)
        right = predicted == clips.labels
        fold_accuracy = tuple(float(right[clips.folds == fold].mean()) for fold in names)
        confusion = np.zeros((len(self.class_names), len(self.class_names)), dtype=np.int64)
        np.add.at(confusion, (clips.labels[tested], predicted[tested]), 1)
        predictions = np.full(len(self.ids), UNTESTED, dtype=np.int64)
        predictions[self._labelled] = predicted
        result = CrossValidation(
            protocol=experiment.protocol,
            head="linear layer",
            selection="fixed",
            accuracy=float(np.mean(fold_accuracy)),
            folds=names,
            fold_accuracy=fold_accuracy,
            chosen=(experiment.setting,) * len(names),
            grid=(experiment.setting,),
            grid_accuracy=(float(np.mean(fold_accuracy)),),
            confusion=confusion,
            predictions=predictions,
            classes=self.class_names,
            left_out=len(self.ids) - len(clips.labels),
            unconverged=(),
        )
        return Evaluation(
            kind="finetuned",
            results={experiment.layer: result},
            channels={experiment.layer: experiment.channels},
            classes=self.class_names,
            ids=self.ids,
            labels=self._plan.tested_of(self.labels),
            folds=self.folds,
            groups=self.groups,
            paths=self.paths,
            source={**source, "folds": self.origin},
        )
