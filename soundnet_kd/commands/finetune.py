"""The command `finetune`: a student with a new head, trained and tested fold by fold."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from soundnet_kd.config.values import require_seeds
from soundnet_kd.data import Manifest
from soundnet_kd.errors import FormatError, SettingsError, counted
from soundnet_kd.models import Student, build_student, choose_device
from soundnet_kd.models.architectures import is_architecture
from soundnet_kd.models.finetuned import HeadKind, default_layer, layers_of
from soundnet_kd.pretrained import load_student
from soundnet_kd.storage import FAILURES_FILE, versions
from soundnet_kd.supervised.evaluation import describe_run, evaluate_classes
from soundnet_kd.supervised.experiment import ExperimentRun, run_experiment
from soundnet_kd.supervised.finetuning import FinetuneConfig, FinetuneTraining, read_labelled
from soundnet_kd.supervised.writing import write_class_evaluation, write_trainings
from soundnet_kd.training.augmentation import Augmentation
from soundnet_kd.training.optimization import Schedule
from soundnet_kd.training.segments import Crops
from soundnet_kd.transfer.results import RESULTS_FILE, read_evaluation

DEFAULT_AUGMENTATION = Augmentation(shift=True, mix=0.5, gain_db=6.0)


@dataclass(frozen=True)
class FinetuneResult:
    """What a run found, and how many sounds could not be read.

    Attributes
    ----------
    out : Path
    protocol : str
        finetune, or scratch.
    accuracies : mapping from seed to mapping from fold to float
        From 0 to 1.
    chance : float
        Accuracy of always answering the commonest class.
    skipped : int
        Sounds that could not be read.
    reading : str
        What the sounds are taken for, where nothing but this was asked for.
    """

    out: Path
    protocol: str
    accuracies: Mapping[int, Mapping[int, float]] = field(default_factory=dict)
    chance: float = float("nan")
    skipped: int = 0
    reading: str = ""

    @property
    def fold_accuracy(self) -> dict[int, float]:
        """Of each fold, the mean over the seeds."""
        first = next(iter(self.accuracies.values()))
        return {fold: float(np.mean([each[fold] for each in self.accuracies.values()])) for fold in first}

    @property
    def accuracy(self) -> float:
        """Mean over the folds, and over the seeds."""
        return float(np.mean(list(self.fold_accuracy.values())))

    def __str__(self) -> str:
        if self.reading:
            return self.reading
        found, what = self.fold_accuracy, "fold"
        if len(self.accuracies) > 1:
            found, what = {seed: float(np.mean(list(each.values()))) for seed, each in self.accuracies.items()}, "seed"
        each = ", ".join(f"{what} {name} {accuracy:.1%}" for name, accuracy in found.items())
        skipped = f", {counted(self.skipped, 'sound')} skipped (see {self.out / FAILURES_FILE})" if self.skipped else ""
        return (
            f"wrote {self.out}: {self.protocol} {self.accuracy:.1%} ± {np.std(list(found.values())):.1%} "
            f"({each}; chance {self.chance:.1%}){skipped}"
        )


def finetune(
    sounds: str | Path | Manifest,
    student: str | Path | Student,
    out: str | Path,
    layer: str | None = None,
    from_layer: str | None = None,
    head: HeadKind = "linear",
    scratch: bool = False,
    epochs: int = 40,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    kept_learning_rate: float | None = None,
    weight_decay: float = 0.01,
    keep_statistics: bool = False,
    crop_seconds: float = 5.0,
    speeds: Sequence[float] = (1.0,),
    variants: int = 0,
    augmentation: Augmentation = DEFAULT_AUGMENTATION,
    schedule: Schedule = "cosine",
    final_learning_rate: float | None = None,
    validation_share: float = 0.0,
    weights: Literal["last", "best"] = "last",
    best_by: Literal["accuracy", "loss"] = "accuracy",
    patience: int | None = None,
    precision: Literal["32", "bf16"] = "32",
    folds_only: bool = False,
    seed: int = 0,
    seeds: list[int] | None = None,
    workers: int | None = None,
    device: str = "auto",
    checkpoint_minutes: float = 10.0,
    dry_run: bool = False,
) -> FinetuneResult:
    """Train a student with a new head for the classes of a data set, and test it fold by fold.

    For each fold a new classifier is trained on all others, for a fixed number of epochs, and tested once, after its
    last step, or with the weights that were best on sounds held out of the others: nothing is chosen by what the tested
    fold says. It trains on segments of the clips, augmented and mixed, and tests on whole clips, tiled as the student
    learned. Stopped and started again with the same settings, it goes on from its last checkpoint, and ends as if it
    had never been stopped.

    Parameters
    ----------
    sounds : str or Path or Manifest
        Folder in the layout of ESC-50 or UrbanSound8K, CSV file with columns "path", "label" and optionally "fold" or
        "split", or a folder with a sub-folder for each class. Where there is no fold and no split (train, validation,
        test), folds are drawn, class by class; of a split the test is tested on, and all else learned from.
    student : str or Path or Student
        A student.safetensors, the run folder that holds one, or a name such as soundnet8 (`soundnet-kd weights list`);
        with --scratch also an architecture: SoundNet8, SoundNet5, LogMelCNN, or one of another width, such as
        SoundNet8x0.25.
    out : str or Path
        Folder for the results, and the classifier.
    layer : str, optional
        The layer that the new head sits on, averaged over time, or several joined by a +, such as pool5+conv6.
        [default: pool5, or in SoundNet5 conv4]
    from_layer : str, optional
        The first layer that learns, such as conv5; those before it stay as they are, with their batch norm.
        [default: all learn]
    head : {"linear", "roots"}
        linear: a linear layer on the averages. roots: on the square roots of the averages and of the standard
        deviations over time, standardised, with half of them dropped out at each step.
    scratch : bool
        Forget what the student has learned and begin with random weights, for comparison.
    epochs : int
        Passes over the clips.
    batch_size : int
        Clips per optimizer step.
    learning_rate : float
        Highest learning rate of AdamW.
    kept_learning_rate : float, optional
        Highest learning rate of the student's own layers, if it is to differ from the head's. [default: learning_rate]
    weight_decay : float
        Weight decay of AdamW: each step shrinks the weights by this fraction times the learning rate.
    keep_statistics : bool
        Keep the running statistics of batch norm that the student brought, also in layers that learn.
    crop_seconds : float
        Length of the segment of a clip that is heard each time; shorter clips are repeated.
    speeds : sequence of float
        Learn from each clip at several speeds, such as [0.8, 1, 1.25], pitch and all, and test it at all of them, the
        answers averaged. The classifier that is kept answers to a sound as it is. [default: 1, as it is]
    variants : int
        Compute the outputs of the layers before from_layer only once, for this many variants of each clip at each
        speed: the first is the clip as it is, the others have a level and noise of their own. An epoch then costs only
        the layers that learn. The outputs lie in the run folder until the run ends (conv3 of 5 s takes 55 kB); segments
        of them are cut and mixed. With augmentation.shift a segment keeps its surroundings, a clip being heard over and
        over, and clips are tested so, too. 0: compute them anew for each segment.
    augmentation : Augmentation
        How the segments are varied; shift: they begin anywhere in their clip
    schedule : {"constant", "linear", "cosine"}
        cosine: the learning rate warms up over a tenth of the steps and goes down to 0 on half a cosine. linear: epoch
        by epoch from learning_rate to final_learning_rate.
    final_learning_rate : float, optional
        Learning rate of the last epoch, for schedule linear.
    validation_share : float
        Share of the training recordings, class by class, that is held out and measured after each epoch.
        A data set that is split into train, validation and test is measured on its own validation part, where something
        is chosen by it.
    weights : {"last", "best"}
        Keep the weights of the last step, or those that were best on the validation sounds.
    best_by : {"accuracy", "loss"}
        What "best" is measured by, on the validation sounds.
    patience : int, optional
        Stop after this many epochs without a better result.
    precision : {"32", "bf16"}
        bf16 computes most layers in bfloat16, faster where the device has it; tests are in 32 bit.
    folds_only : bool
        Do not train once more, on all folds together, for classifier.safetensors.
    seed : int
        Seed of the new weights, the order, the augmentation, what is held out, and folds where there are none.
    seeds : list of int, optional
        In place of seed: for each, everything is trained and tested, with a result of its own; the first draws folds
        where there are none, and trains the classifier on all folds.
    workers : int, optional
        Processes that prepare segments; 0 prepares them in the main process. [default: 0 on a CPU, which the network
        needs itself, else one for each core but one, at most 8]
    device : str
        Where it trains: auto, cpu, cuda, cuda:1, mps.
    checkpoint_minutes : float
        Longest time between two checkpoints.
    dry_run : bool
        Say how the data set is read, and stop: nothing is decoded or written.

    Raises
    ------
    RunConflictError
        If `out` holds a run with other settings.
    SettingsError
        If a layer does not exist or nothing can be learned, options contradict each other, or a training diverged.
    MediaError
        If not a single sound could be read.
    """
    out = Path(out)
    if seed and seeds is not None:
        raise SettingsError(f"seed is {seed} and seeds is {seeds}; give one of the two")
    all_seeds = require_seeds([seed] if seeds is None else seeds)
    choose_device(device)
    # Before the student, which may have to be fetched.
    reading, manifest = read_labelled(sounds, dry_run)
    network = _network(student, scratch)
    training = FinetuneTraining(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        optimizer="adamw",
        schedule=schedule,
        final_learning_rate=final_learning_rate,
        weight_decay=weight_decay,
        weights=weights,
        best_by=best_by,
        patience=patience,
        augmentation=augmentation,
        precision=precision,
        kept_learning_rate=kept_learning_rate,
    )
    sampling = Crops(crop_seconds, tuple(speeds))
    # A clip that is tested is no shorter than the pieces that were learned from.
    preprocessing = network.preprocessing
    samples = sampling.samples(preprocessing.sample_rate, preprocessing.least_samples)
    network.preprocessing = replace(preprocessing, least_samples=max(samples, preprocessing.least_samples))
    config = FinetuneConfig(
        student=network,
        layer=default_layer(network) if layer is None else "+".join(layers_of(network, layer)),
        from_layer=from_layer,
        scratch=scratch,
        training=training,
        sampling=sampling,
        seeds=all_seeds,
        validation_share=validation_share,
        final_training=not folds_only,
        head=head,
        keep_statistics=keep_statistics,
        draws=variants,
    )
    sets = config.split(manifest)
    name = student.architecture if isinstance(student, Student) else str(student)
    run_experiment(config, sets, out, partial(_write, name), device, workers, checkpoint_minutes, dry_run)
    return FinetuneResult(out, config.protocol, reading=reading) if dry_run else _read_result(out, config)


def _write(student: str, run: ExperimentRun) -> None:
    """Write the results of the fine-tuning of a student."""
    write_trainings(run)
    seeds = run.config.seeds
    source = {
        "student": student,
        "identity": run.identity,
        **describe_run(run),
        "seed": seeds[0],
        **({"seeds": list(seeds)} if len(seeds) > 1 else {}),
        "versions": versions(),
        "folds": run.clips.origin,
    }
    write_class_evaluation(run, evaluate_classes(run, source))


def _read_result(out: Path, config: FinetuneConfig) -> FinetuneResult:
    """Return what a run has written."""
    try:
        evaluation = read_evaluation(out)
        accuracies = {
            seed: {int(fold): accuracy for fold, accuracy in zip(result.folds, result.fold_accuracy, strict=True)}
            for seed, result in zip(config.seeds, evaluation.results.values(), strict=True)
        }
        return FinetuneResult(out, config.protocol, accuracies, evaluation.chance, evaluation.skipped)
    except (FormatError, SettingsError, KeyError, ValueError) as error:
        raise FormatError(
            f"{out / RESULTS_FILE} does not hold the results of a run; delete it and run the same command again"
        ) from error


def _network(student: str | Path | Student, scratch: bool) -> Student:
    if isinstance(student, Student):
        return deepcopy(student)
    if scratch and is_architecture(str(student)):
        return build_student(str(student))
    return load_student(student)
