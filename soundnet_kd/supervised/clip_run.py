"""A classifier trained and tested under the folds of a data set: a run folder that can be stopped at any moment."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soundnet_kd.data import Manifest
from soundnet_kd.errors import FormatError, MediaError
from soundnet_kd.media import RawAudioDecoder, RawAudioFile
from soundnet_kd.models import CLASSIFIER_FILE, write_network
from soundnet_kd.storage import (
    FAILURES_FILE,
    ensure_same_settings,
    lock_folder,
    read_json,
    versions,
    write_failures,
)
from soundnet_kd.supervised.clip_evaluation import ClipTable, Experiment
from soundnet_kd.supervised.clip_folds import Learn, tested_fold
from soundnet_kd.supervised.trial import is_network
from soundnet_kd.training.classification import FIGURES
from soundnet_kd.training.decoded_sounds import decode_sounds
from soundnet_kd.training.history import write_history
from soundnet_kd.training.trainer import deterministic, quiet_lightning
from soundnet_kd.transfer.results import RESULTS_FILE, write_evaluation

RUN_FILE = "finetune.json"
SOUNDS = ".sounds"
"""Folder of the decoded sounds, while a run lasts."""
FOLDS = ".folds"
"""Folder of the folds that are done, and of the checkpoints of the one in hand, while a run lasts."""
OVER = ".over"
"""Its name when the results are there: where a kill then leaves a part of it, nothing is missed."""


@dataclass(frozen=True)
class ClipRunResult:
    """What a run found, accuracies from 0 to 1, and how many sounds could not be read."""

    out: Path
    protocol: str
    fold_accuracy: Mapping[int, float]
    chance: float
    skipped: int
    reading: str = ""
    """What the sounds are taken for, where nothing but this was asked for."""

    @property
    def accuracy(self) -> float:
        """Mean over the folds."""
        return float(np.mean(list(self.fold_accuracy.values())))

    def __str__(self) -> str:
        if self.reading:
            return self.reading
        folds = ", ".join(f"fold {fold} {accuracy:.1%}" for fold, accuracy in self.fold_accuracy.items())
        skipped = f", {self.skipped} sounds skipped (see {self.out / FAILURES_FILE})" if self.skipped else ""
        return (
            f"wrote {self.out}: {self.protocol} {self.accuracy:.1%} ± {np.std(list(self.fold_accuracy.values())):.1%} "
            f"({folds}; chance {self.chance:.1%}){skipped}"
        )


def run_folds(
    manifest: Manifest,
    store: RawAudioDecoder,
    learn: Learn,
    experiment: Experiment,
    identity: Mapping[str, Any],
    out: Path,
    folds_only: bool = False,
) -> ClipRunResult:
    """Train without each fold and test on it, then train on all of them for the classifier that is kept.

    Stopped and started again with the same settings, it goes on from its last checkpoint, and ends as if it had never
    been stopped; a run that is done stays as it is.

    Parameters
    ----------
    manifest : Manifest
    store : RawAudioDecoder
        How its sounds are decoded.
    learn : callable
    experiment : Experiment
    identity : mapping
        Everything that decides the outcome; a folder takes one.
    out : Path
        Folder.
    folds_only : bool
        Leave the training on all folds out.

    Raises
    ------
    RunConflictError
        If `out` holds a run with another identity.
    MediaError
        If not a single sound could be read.
    SettingsError
        If folds cannot be made, there is too little to learn without one of them, or a training diverged.
    """
    with lock_folder(out), quiet_lightning(), deterministic():
        ensure_same_settings(out / RUN_FILE, identity)
        is_tested = (out / RESULTS_FILE).is_file() and not (out / FOLDS).exists()
        is_learned = folds_only or is_network(out / CLASSIFIER_FILE)
        if is_tested and is_learned:
            return _found(out)
        table = ClipTable(manifest, _decoded(manifest, store, out), experiment.seed)
        clips = table.labelled
        if not is_tested:
            tested = {fold: tested_fold(clips, fold, learn, out / FOLDS) for fold in clips.fold_names}
        if not is_learned:
            work = out / (OVER if is_tested else FOLDS)
            classifier, _ = learn(clips.sounds, clips.labels, work / "all", "all folds")
            write_network(classifier, out / CLASSIFIER_FILE, identity)
        if is_tested:
            return _found(out)
        write_history(out, (({"fold": fold}, found.history) for fold, found in tested.items()), FIGURES)
        source = {
            "student": experiment.student,
            "identity": identity,
            "skipped": len(manifest) - len(table.ids),
            "parameters": next(iter(tested.values())).parameters,
            "training_seconds": round(sum(found.seconds for found in tested.values()), 1),
            "trainings": len(tested),
            "seed": experiment.seed,
            "versions": versions(),
        }
        answers = {fold: found.answers for fold, found in tested.items()}
        write_evaluation(table.evaluation(experiment, answers, source), out)
        shutil.rmtree(out / OVER, ignore_errors=True)
        (out / FOLDS).replace(out / OVER)
        return _found(out)


def _decoded(manifest: Manifest, store: RawAudioDecoder, out: Path) -> Mapping[str, RawAudioFile]:
    sounds, failures = decode_sounds(manifest, store, out / SOUNDS)
    write_failures(out / FAILURES_FILE, failures)
    if not sounds:
        raise MediaError(
            f"none of the {len(manifest)} sounds could be read, such as: {next(iter(failures.values()))} "
            f"(see {out / FAILURES_FILE})"
        )
    return sounds


def _found(out: Path) -> ClipRunResult:
    """Return what a run left, and remove what only it needed."""
    for folder in (SOUNDS, OVER):
        shutil.rmtree(out / folder, ignore_errors=True)
    content = read_json(out / RESULTS_FILE)
    try:
        (result,) = content["results"]
        fold_accuracy = dict(zip(result["folds"], result["fold_accuracy"], strict=True))
        return ClipRunResult(out, result["protocol"], fold_accuracy, content["chance"], content["source"]["skipped"])
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"{out / RESULTS_FILE} does not hold what a run found; delete it and run the same command again"
        ) from error
