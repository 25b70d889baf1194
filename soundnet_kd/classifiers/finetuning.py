"""The command `finetune`: a student with a new head, trained and tested fold by fold."""

import shutil
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from soundnet_kd.classifiers.classifier_file import CLASSIFIER_FILE, write_classifier
from soundnet_kd.classifiers.clip_classifier import ClipClassifier, default_layer
from soundnet_kd.classifiers.clip_evaluation import ClipTable
from soundnet_kd.classifiers.clip_folds import tested_fold
from soundnet_kd.classifiers.clip_training import TrainingRecipe, train
from soundnet_kd.classifiers.decoded import decoded
from soundnet_kd.classifiers.network_training import FIGURES
from soundnet_kd.data import Manifest, read_manifest
from soundnet_kd.distill.augmentation import Augmentation
from soundnet_kd.distill.determinism import deterministic
from soundnet_kd.distill.quiet import quiet_lightning
from soundnet_kd.errors import MediaError, SettingsError
from soundnet_kd.media import SoundStore, StoredSound
from soundnet_kd.models import ARCHITECTURES, Preprocessing, SoundNet, choose_device
from soundnet_kd.pretrained import load_student
from soundnet_kd.storage import FAILURES_FILE, claim, locked, read_json, versions, write_csv, write_failures
from soundnet_kd.transfer.results import RESULTS_FILE, write_evaluation

RUN_FILE = "finetune.json"
SOUNDS = ".sounds"
"""Folder of the decoded sounds, while a run lasts."""
FOLDS = ".folds"
"""Folder of the folds that are done, and of the checkpoints of the one in hand, while a run lasts."""
VARIED = Augmentation(shift=True, mix=0.5, gain_db=6.0)


@dataclass(frozen=True)
class FinetuneResult:
    """What a fine-tuning found, accuracies from 0 to 1, and how many sounds could not be read."""

    out: Path
    protocol: str
    fold_accuracy: Mapping[int, float]
    chance: float
    skipped: int

    @property
    def accuracy(self) -> float:
        """Mean over the folds."""
        return float(np.mean(list(self.fold_accuracy.values())))

    def __str__(self) -> str:
        folds = ", ".join(f"fold {fold} {accuracy:.1%}" for fold, accuracy in self.fold_accuracy.items())
        skipped = f", {self.skipped} sounds skipped (see {self.out / FAILURES_FILE})" if self.skipped else ""
        return (
            f"wrote {self.out}: {self.protocol} {self.accuracy:.1%} ± {np.std(list(self.fold_accuracy.values())):.1%} "
            f"({folds}; chance {self.chance:.1%}){skipped}"
        )


def finetune(
    sounds: str | Path | Manifest,
    student: str | Path | SoundNet,
    out: str | Path,
    layer: str | None = None,
    from_layer: str | None = None,
    scratch: bool = False,
    epochs: int = 40,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.01,
    crop_seconds: float = 5.0,
    augmentation: Augmentation = VARIED,
    precision: Literal["32", "bf16"] = "32",
    folds_only: bool = False,
    seed: int = 0,
    workers: int | None = None,
    device: str = "auto",
    checkpoint_minutes: float = 10.0,
) -> FinetuneResult:
    """Give a student a new head for the classes of a data set, train both, and test them fold by fold.

    For each fold a new classifier is trained on all others, for a fixed number of epochs, and tested once, after its
    last step: nothing is chosen by what the tested fold says. Training hears pieces of the clips, varied and mixed;
    tested are whole clips, tiled as the student learned. Stopped and started again with the same settings, it goes on
    from its last checkpoint, and ends as if it had never been stopped.

    Parameters
    ----------
    sounds : str or Path or Manifest
        Folder in ESC-50's layout, CSV file with columns "path", "label" and optionally "fold", or a folder with a
        sub-folder for each class. Where there are no folds, some are drawn, class by class.
    student : str or Path or SoundNet
        A student.safetensors, the run folder that holds one, or a name such as soundnet8 (`soundnet-kd weights list`);
        with --scratch also SoundNet8 or SoundNet5.
    out : str or Path
        Folder for the results, and the classifier.
    layer : str, optional
        The layer that the new head sits on, averaged over time. [default: pool5, or in SoundNet5 conv4]
    from_layer : str, optional
        The first layer that learns, such as conv5; those before it stay as they are, with their batch norm.
        [default: all learn]
    scratch : bool
        Forget what the student has learned and begin with random weights, for comparison.
    epochs : int
        Passes over the clips.
    batch_size : int
        Clips of a step.
    learning_rate : float
        Highest one, of AdamW; it warms up over a tenth of the steps and goes down to 0 on half a cosine.
    weight_decay : float
        Of AdamW.
    crop_seconds : float
        Length of the piece of a clip that is heard each time; shorter clips are repeated.
    augmentation : Augmentation
        How the pieces are varied; shift: they begin anywhere in their clip
    precision : {"32", "bf16"}
        bf16 computes most layers in bfloat16, faster where the device has it; tests are in 32 bit.
    folds_only : bool
        Do not train once more, on all folds together, for classifier.safetensors.
    seed : int
        Of the new weights, the shuffling, the augmentation, and of folds where there are none.
    workers : int, optional
        Processes that prepare pieces; 0 prepares them in the main process. [default: 0 on a CPU, which the network
        needs itself, else one for each core but one, at most 8]
    device : str
        Where it trains: auto, cpu, cuda, cuda:1, mps.
    checkpoint_minutes : float
        Longest time between two checkpoints.

    Raises
    ------
    RunConflictError
        If `out` holds a run with other settings.
    SettingsError
        If a layer does not exist or nothing can be learned, or a training diverged.
    MediaError
        If not a single sound could be read.
    """
    out = Path(out)
    choose_device(device)
    manifest = sounds if isinstance(sounds, Manifest) else read_manifest(sounds)
    if not manifest.class_names:
        raise SettingsError(
            "none of the sounds has a label; give a folder with a sub-folder per class, or a table with a column label"
        )
    network = _network(student, scratch)
    layer = layer or default_layer(network)
    recipe = TrainingRecipe(
        epochs, batch_size, learning_rate, weight_decay, crop_seconds, augmentation, precision, seed
    )
    preprocessing = network.preprocessing
    samples = round(crop_seconds * preprocessing.sample_rate)
    # A clip that is tested is no shorter than what was heard in training.
    network.preprocessing = replace(preprocessing, least_samples=max(samples, preprocessing.least_samples))

    def new_classifier() -> ClipClassifier:
        torch.manual_seed(seed)
        fresh = deepcopy(network)
        if scratch:
            fresh.reset_parameters()
        return ClipClassifier(fresh, layer, manifest.class_names, from_layer)

    def learn(
        chosen: Sequence[StoredSound], labels: NDArray[np.int64], folder: Path, name: str
    ) -> tuple[ClipClassifier, list[dict[str, float]]]:
        classifier = new_classifier()
        return classifier, train(classifier, chosen, labels, recipe, folder, name, device, workers, checkpoint_minutes)

    new_classifier()  # What cannot be built is to be said before anything is decoded.
    if network.steps(samples, layer) * batch_size < 2:
        raise SettingsError(f"pieces of {crop_seconds} s are too short for {layer}; give a larger --crop_seconds")
    protocol = "scratch" if scratch else "finetune"
    identity = {
        "student": {
            "architecture": type(network).__name__,
            "sha256": "random weights" if scratch else network.fingerprint(),
        },
        "sounds": manifest.identity,
        "settings": {
            "protocol": protocol,
            "layer": layer,
            "from_layer": from_layer,
            **asdict(recipe),
            "folds_only": folds_only,
            "preprocessing": asdict(network.preprocessing),
        },
        "versions": versions(),
    }
    with locked(out), quiet_lightning(), deterministic():
        claim(out / RUN_FILE, identity)
        if (out / RESULTS_FILE).is_file() and not (out / FOLDS).exists():
            return _found(out)
        table = ClipTable(manifest, _decoded(manifest, preprocessing, out), seed)
        clips = table.labelled
        tested = {fold: tested_fold(clips, fold, learn, out / FOLDS) for fold in clips.fold_names}
        if not folds_only and not (out / CLASSIFIER_FILE).exists():
            classifier, _ = learn(clips.sounds, clips.labels, out / FOLDS / "all", "all folds")
            write_classifier(classifier, out / CLASSIFIER_FILE, identity)
        write_csv(
            out / "history.csv",
            ("fold", "step", *FIGURES),
            (
                (fold, row["step"], *(row.get(figure, "") for figure in FIGURES))
                for fold, (_, history) in tested.items()
                for row in history
            ),
        )
        setting = {"epochs": float(epochs), "learning_rate": learning_rate}
        answers = {fold: answers for fold, (answers, _) in tested.items()}
        source = {
            "student": type(student).__name__ if isinstance(student, SoundNet) else str(student),
            "identity": identity,
            "skipped": len(manifest) - len(table.ids),
            "seed": seed,
            "versions": versions(),
        }
        evaluation = table.evaluation(protocol, layer, network.channels(layer), setting, answers, source)
        write_evaluation(evaluation, out)
        shutil.rmtree(out / FOLDS)
        return _found(out)


def _network(student: str | Path | SoundNet, scratch: bool) -> SoundNet:
    if isinstance(student, SoundNet):
        return deepcopy(student)
    if scratch and str(student) in ARCHITECTURES:
        return ARCHITECTURES[str(student)]()
    return load_student(student)


def _decoded(manifest: Manifest, preprocessing: Preprocessing, out: Path) -> Mapping[str, StoredSound]:
    store = SoundStore(preprocessing.sample_rate, preprocessing.channel)
    sounds, failures = decoded(manifest, store, out / SOUNDS)
    write_failures(out / FAILURES_FILE, failures)
    if not sounds:
        raise MediaError(
            f"none of the {len(manifest)} sounds could be read, such as: {next(iter(failures.values()))} "
            f"(see {out / FAILURES_FILE})"
        )
    return sounds


def _found(out: Path) -> FinetuneResult:
    """Give what a run left, and remove what only it needed."""
    shutil.rmtree(out / SOUNDS, ignore_errors=True)
    content = read_json(out / RESULTS_FILE)
    (result,) = content["results"]
    fold_accuracy = dict(zip(result["folds"], result["fold_accuracy"], strict=True))
    return FinetuneResult(out, result["protocol"], fold_accuracy, content["chance"], content["source"]["skipped"])
