"""Train a classifier without a fold and test it on that fold; what is done stays done."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.errors import SettingsError
from soundnet_kd.media import RawAudioFile
from soundnet_kd.models.finetuned import FinetunedNetwork
from soundnet_kd.storage import read_own_json, write_json
from soundnet_kd.supervised.evaluation import clip_logits
from soundnet_kd.training.classification import Trained, parameter_count

Learn = Callable[[Sequence[RawAudioFile], NDArray[np.int64], Path, str], tuple[FinetunedNetwork, Trained]]
"""Trains a new classifier: given sounds, labels, a folder for checkpoints and a name; gives it, and how it went."""


@dataclass(frozen=True, eq=False)
class TestedFold:
    """What came of a fold.

    Attributes
    ----------
    answers : (tested clips,) int64
        Classes, in the order of the clips.
    history : list of dict from figure to number
        Of the training.
    parameters : int
        Of the classifier.
    seconds : float
        That the training took, over all its starts.
    """

    answers: NDArray[np.int64]
    history: Sequence[Mapping[str, float]]
    parameters: int
    seconds: float


@dataclass(frozen=True, eq=False)
class LabelledSounds:
    """Clips to learn from and to be tested on.

    Attributes
    ----------
    sounds : sequence of RawAudioFile
    labels : (clips,) int64
        From 0.
    folds : (clips,) int64
        Clips with the same number are tested together.
    tested : tuple of int, optional
        The folds that are tested; all others are only learned from. [default: all]
    """

    sounds: Sequence[RawAudioFile]
    labels: NDArray[np.int64]
    folds: NDArray[np.int64]
    tested: tuple[int, ...] | None = None

    @property
    def fold_names(self) -> tuple[int, ...]:
        """The folds that are tested, in order."""
        return self.tested or tuple(int(fold) for fold in np.unique(self.folds))

    def without(self, fold: int) -> tuple[list[RawAudioFile], NDArray[np.int64]]:
        """Return sounds and labels of all other folds."""
        places = np.flatnonzero(self.folds != fold)
        return [self.sounds[place] for place in places.tolist()], self.labels[places]

    def require_usable_folds(self) -> None:
        """Check that there is something to learn without each of the folds.

        Raises
        ------
        SettingsError
            If there are fewer than two folds, or fewer than two classes left without one.
        """
        for fold in self.fold_names:
            if len(np.unique(self.labels[self.folds != fold])) < 2:
                raise SettingsError(
                    f"without fold {fold} there are not two classes left to train on; spread the classes over folds"
                )


def tested_fold(clips: LabelledSounds, fold: int, learn: Learn, folder: Path) -> TestedFold:
    """Train on all other folds, and answer for this one; or give what an earlier run of it left.

    The answers are written when all of them are there, in place of the training's checkpoints.

    Parameters
    ----------
    clips : LabelledSounds
    fold : int
    learn : callable
    folder : Path
        Of all folds.
    """
    done, work = folder / f"fold-{fold}.json", folder / f"fold-{fold}"
    keys = ("answers", "history", "parameters", "seconds")
    content = read_own_json(done, keys, "its fold is trained again")
    if content is None:
        place = clips.fold_names.index(fold) + 1
        classifier, trained = learn(*clips.without(fold), work, f"fold {place}/{len(clips.fold_names)}")
        tested = [clips.sounds[place] for place in np.flatnonzero(clips.folds == fold).tolist()]
        answers = clip_logits(classifier, tested).argmax(dim=1)
        content = {
            "answers": answers.tolist(),
            "history": trained.history,
            "parameters": parameter_count(classifier),
            "seconds": trained.seconds,
        }
        write_json(done, content)
    shutil.rmtree(work, ignore_errors=True)
    found = np.array(content["answers"], dtype=np.int64)
    return TestedFold(found, content["history"], content["parameters"], content["seconds"])
