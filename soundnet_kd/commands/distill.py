"""The command `distill`: a student trained on a targets folder, from its first step or from where it was."""

import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import lightning
import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data import CLIP_SECONDS, Targets
from soundnet_kd.distill.data import TargetsDataModule, Throughput, feature_moments, held_out_clips
from soundnet_kd.distill.feature_objectives import (
    DEFAULT_CONTRAST,
    DEFAULT_PROJECTION,
    ContrastSettings,
    ProjectionSettings,
)
from soundnet_kd.distill.module import Distillation, Schedule
from soundnet_kd.distill.objectives import Objectives, ObjectiveSettings
from soundnet_kd.distill.results import DistillResult, read_finished, write_results
from soundnet_kd.distill.settings import check_settings, options_of_init
from soundnet_kd.distill.start import ClassNames, Start, require_architecture, start_from
from soundnet_kd.errors import FormatError, SettingsError, counted
from soundnet_kd.media.block_cache import CACHE_GIGABYTES
from soundnet_kd.models import STUDENT_FILE, Student, build_student, choose_device, read_student, write_network
from soundnet_kd.pretrained import load_student
from soundnet_kd.pretrained.conversion import UNTRAINED_FILE
from soundnet_kd.storage import ensure_same_settings, lock_folder, require_same_settings, versions
from soundnet_kd.system.launch import is_first_process
from soundnet_kd.system.workers import batch_readers
from soundnet_kd.training.augmentation import UNCHANGED_CLIPS, ClipAugmentation
from soundnet_kd.training.callbacks import Columns, Progress
from soundnet_kd.training.checkpoints import FOLDER, LEAST_LOSS, BestCheckpoint, LastCheckpoints, last_checkpoint
from soundnet_kd.training.devices import trainer_options
from soundnet_kd.training.settings_file import DISTILL_FILE
from soundnet_kd.training.trainer import deterministic, fit, quiet_lightning, trainer_of

log = logging.getLogger(__name__)


def distill(
    targets: Path | str,
    out: Path | str,
    architecture: str | None = None,
    width: float | None = None,
    init: str | Path | None = None,
    freeze: str | None = None,
    objective: str = "soundnet",
    objectives: Sequence[str] | Mapping[str, float] | None = None,
    temperature: float = 1.0,
    teacher_weights: dict[str, float] | None = None,
    projection: ProjectionSettings = DEFAULT_PROJECTION,
    contrast: ContrastSettings = DEFAULT_CONTRAST,
    steps: int = 100_000,
    batch_size: int = 64,
    accumulate: int = 1,
    learning_rate: float = 1e-3,
    kept_learning_rate: float | None = None,
    keep_statistics: bool = False,
    schedule: Schedule = "constant",
    weight_decay: float = 0.0,
    average: float | None = None,
    gradient_clip: float | None = None,
    precision: Literal["32", "bf16"] = "32",
    augmentation: ClipAugmentation = UNCHANGED_CLIPS,
    held_out: float = 0.05,
    seed: int = 0,
    workers: int | None = None,
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    checkpoint_minutes: float = 10.0,
    keep_checkpoints: int = 2,
    cache_gigabytes: float = CACHE_GIGABYTES,
) -> DistillResult:
    """Train a student to hear what the teachers saw.

    The defaults are the paper's. If it is stopped, the same command continues from the last checkpoint, even on another
    number of devices, and ends as if it had never been stopped; Ctrl-C, SIGTERM and SIGHUP save a checkpoint first.
    It writes student.safetensors (the network after the last step), untrained.safetensors (before its first step here)
    and best.safetensors (with the lowest loss on held-out videos). With --average there is also averaged.safetensors,
    the running average of the weights after the last step; both are measured on held-out videos, and best.safetensors
    is whichever had the lowest loss (of the average, its metadata say "weights": "averaged").

    A student need not start from nothing: --init takes its weights, architecture and preprocessing from another one.

    Parameters
    ----------
    targets : str or Path
        Folder that `soundnet-kd teach` wrote, also under an address such as s3://bucket/targets.
    out : str or Path
        Run folder to write.
    architecture : str, optional
        SoundNet8, SoundNet5, or LogMelCNN, which hears log-mel spectrograms; also one of another width, such as
        SoundNet8x0.25. [default: SoundNet8, or that of --init]
    width : float, optional
        Factor by which each layer's number of filters is multiplied, such as 0.25 for small devices. [default: as
        --architecture or --init says, else 1]
    init : str or Path, optional
        Student to start from: a name such as soundnet8 (`soundnet-kd weights list`), a student.safetensors, or the run
        folder that holds one. A head with the same class names, in any order or spelled more or less fully, keeps its
        weights; others start anew, and are named. [default: random weights]
    freeze : str, optional
        First layer that learns, such as conv6: what lies before it stays as --init brought it, with the running
        statistics of its batch norm; conv8 (of SoundNet8) trains the heads only. [default: all layers learn]
    objective : {"soundnet", "kl", "l2"}
        soundnet: KL divergence as the paper's code computed it; kl: summed over classes; l2: squared distance.
    objectives : sequence of str, or mapping from str to float, optional
        Several objectives instead of one, each with its weight: kl:1 contrast:0.5. Besides the three above there are
        some that compare a layer of the student with the teachers' features, for which the targets need `teach
        --keep_features`. match: a projection of the layer is brought close to the feature. contrast: a sound and the
        picture of its own step are told apart from the others of the batch (InfoNCE). relation: the distances between
        sounds become like those between their pictures. Without one of the first three the heads do not learn.
    temperature : float
        Above 1 softens the teachers' and the student's distributions before they are compared.
    teacher_weights : dict from teacher to float, optional
        Weight of each teacher in each objective, such as --teacher_weights.scenes 2. [default: 1 each]
    projection : ProjectionSettings
        Which layer is compared with features, and how; projections are thrown away after the last step
    contrast : ContrastSettings
        What the objective "contrast" tells a picture apart from
    steps : int
        Total number of optimizer steps.
    batch_size : int
        Clips of 20 s per optimizer step, on all devices together.
    accumulate : int
        Split the clips of a step into this many batches, one after the other, if they do not fit into memory together.
        Batch norm, contrast and relation then see one of them at a time.
    learning_rate : float
        Learning rate of Adam.
    kept_learning_rate : float, optional
        Learning rate of the layers and heads that keep the weights of --init; the schedule applies to both rates.
        [default: learning_rate]
    keep_statistics : bool
        Keep the running statistics of batch norm that --init brought, also in layers that learn. For few videos and
        small batches, whose own statistics would replace them.
    schedule : {"constant", "cosine"}
        Learning rates over the steps: constant, as in the paper, or a warm-up and then half a cosine down to 0.
    weight_decay : float
        Above 0 the optimizer is AdamW: each step shrinks the weights by this fraction times the learning rate, but not
        biases and batch norm. 0.05 is common.
    average : float, optional
        Keep an exponential moving average of the weights too, with this decay per step, such as 0.999.
        It is measured on held-out videos too (averaged/loss and more in history.csv), and written as
        averaged.safetensors. [default: none]
    gradient_clip : float, optional
        Largest 2-norm of the gradient; larger gradients are scaled down to it. [default: no limit]
    precision : {"32", "bf16"}
        bf16 computes most layers in bfloat16, which is faster on devices that support it; weights stay in 32 bit.
    augmentation : ClipAugmentation
        How training clips are varied (by default they are not)
    held_out : float
        Fraction of the videos that is held out of training, to measure the agreement with the teachers.
    seed : int
        Seed of the initial weights, the shuffling, the augmentation and the choice of held-out videos.
    workers : int, optional
        Processes that read the targets, per device; 0 reads in the main process. [default: 0 on a CPU, which the
        network itself needs, else one per core but one, at most 8]
    device : str
        Where it trains: auto, cpu, cuda, cuda:1, mps.
    devices : int
        Number of devices on each machine; they share the clips of every step.
    nodes : int
        Number of machines; start the command on each with torchrun or srun. All must see TARGETS and --out.
    checkpoint_minutes : float
        Longest time between two checkpoints.
    keep_checkpoints : int
        Number of checkpoints to keep; older ones are deleted.
    cache_gigabytes : float
        Disk space in GB, in the user's cache, for what is read of TARGETS under an address. What fits is fetched once;
        all other clips are fetched again in each pass, one by one. The student is the same however much it is.

    Raises
    ------
    RunConflictError
        If `out` holds a run with other settings.
    FormatError
        If `targets` is not a targets folder, or `init` not a student.
    SettingsError
        If settings are out of range or contradict each other, such as another architecture than that of `init`.

    Examples
    --------
    The released network goes on learning from one's own videos, its layers up to pool5 as they are:

    >>> distill("run/targets", "run/student", init="soundnet8", freeze="conv6", steps=1000)  # doctest: +SKIP

    Targets that `teach(..., keep_features=True)` made can teach more than what the pictures show:

    >>> distill("run/targets", "run/student", objectives={"kl": 1, "contrast": 0.5})  # doctest: +SKIP
    """
    out = Path(out)
    chosen = check_settings(
        steps=steps,
        batch_size=batch_size,
        accumulate=accumulate,
        architecture=architecture,
        init=init,
        freeze=freeze,
        objective=objective,
        objectives=objectives,
        temperature=temperature,
        teacher_weights=teacher_weights,
        projection=projection,
        contrast=contrast,
        learning_rate=learning_rate,
        kept_learning_rate=kept_learning_rate,
        keep_statistics=keep_statistics,
        weight_decay=weight_decay,
        average=average,
        gradient_clip=gradient_clip,
        devices=devices,
        nodes=nodes,
        keep_checkpoints=keep_checkpoints,
    )
    # From Python also the augmentation that other trainings take.
    augmentation = ClipAugmentation(**asdict(augmentation))
    chosen_device = choose_device(device)
    options = trainer_options(chosen_device, devices, nodes)
    labelled = Targets(targets, cache_gigabytes)
    if is_first_process():
        _tell_cache(labelled)
    training, measured = held_out_clips(labelled.videos, held_out, seed)
    videos, label_steps = len(np.unique(labelled.videos[training])), int(labelled.step_counts[training].sum())
    chosen.require_served(
        labelled.class_names, labelled.feature_sizes, videos, label_steps, batch_size // accumulate, labelled.folder
    )
    start = _start(labelled.class_names, architecture, width, init, freeze, seed)
    student = start.student
    if labelled.sample_rate != student.preprocessing.sample_rate:
        raise SettingsError(
            f"{labelled.folder} holds sound at {labelled.sample_rate} Hz, but the student hears "
            f"{student.preprocessing.sample_rate} Hz; give another --init"
        )
    layer = _compared_layer(student, chosen, labelled.steps_per_clip)
    taught = chosen.taught_heads(student.class_names)
    student.untaught_heads = tuple(head for head in student.untaught_heads if head not in taught)
    settings: dict[str, Any] = {
        "targets": labelled.identity(),
        "architecture": student.architecture,
        "objective": objective,
        "temperature": temperature,
        "teacher_weights": dict(chosen.teacher_weights),
        "steps": steps,
        "batch_size": batch_size,
        "accumulate": accumulate,
        "learning_rate": learning_rate,
        "schedule": schedule,
        "gradient_clip": gradient_clip,
        "precision": precision,
        "augmentation": _without_defaults(asdict(augmentation), {"join": False}),
        "held_out": held_out,
        "seed": seed,
        "versions": versions(),
    }
    # Named only where it is asked for: a run without it is the one that it was before there was such an option.
    more = {"weight_decay": weight_decay, "average": average}
    settings |= _without_defaults(more, {"weight_decay": 0, "average": None})
    if objectives is not None:
        del settings["objective"]
        settings["objectives"] = dict(chosen.weights)
    if layer is not None:
        settings["projection"] = {**asdict(projection), "layer": layer}
    if "contrast" in chosen.weights:
        settings["contrast"] = asdict(contrast)
    if init is not None:
        settings |= {"init": str(init), "init_sha256": start.sha256, "kept_heads": list(start.kept_heads)}
        of_init = options_of_init(freeze, kept_learning_rate, keep_statistics)
        settings |= {name: option for name, option in of_init.items() if option is not None}
    # The student that it starts from may have another name now.
    require_same_settings(out / DISTILL_FILE, settings, ("init",))
    if workers is None:
        workers = batch_readers(chosen_device.type, devices)
    data = TargetsDataModule(
        labelled, batch_size, steps, held_out, accumulate, augmentation, workers, seed, with_features=layer is not None
    )
    validate_every = max(1, min(1000, steps // 5)) if len(measured) else 0
    batch_norms = [name for name, _ in student.named_children() if name.startswith("batchnorm")]
    moments = {} if layer is None else feature_moments(labelled, training)
    module = Distillation(
        student,
        Objectives(
            chosen,
            labelled.class_names,
            moments,
            0 if layer is None else student.channels(layer),
            by_name=objectives is not None,
        ),
        layer,
        learning_rate,
        schedule,
        steps,
        accumulate,
        held=start.held,
        kept=start.kept,
        kept_learning_rate=kept_learning_rate,
        fixed_statistics=batch_norms if keep_statistics else (),
        weight_decay=weight_decay,
        average=average,
    )
    if is_first_process():
        _tell_clips(labelled, training, measured)
        _tell_what_rests(student, chosen, layer)
    callbacks = [
        Columns(module.figures()),
        Throughput(batch_size),
        Progress("distill"),
        *([BestCheckpoint(out / FOLDER, LEAST_LOSS if average else "validation/loss")] if len(measured) else []),
        LastCheckpoints(out / FOLDER, checkpoint_minutes, keep_checkpoints, validate_every),
    ]
    with lock_folder(out) if is_first_process() else nullcontext(), quiet_lightning(), deterministic():
        if is_first_process():
            ensure_same_settings(out / DISTILL_FILE, settings, ("init",))
            if not _readable(out / UNTRAINED_FILE):
                write_network(student, out / UNTRAINED_FILE, {**settings, "steps_done": 0})
        done = read_finished(out, steps)
        otherwise = "the training begins anew" if done is None else f"{STUDENT_FILE} is whole, and stays"
        checkpoint = last_checkpoint(out, module.state_dict(), otherwise=otherwise)
        if checkpoint is None and done is not None:
            return done
        trainer = trainer_of(
            out,
            steps,
            validate_every=validate_every,
            precision=precision,
            callbacks=callbacks,
            device_options=options,
            accumulate=accumulate,
            gradient_clip=gradient_clip,
        )
        fit(trainer, module, data, checkpoint)
        if is_first_process():
            return write_results(out, student, settings, len(data.validation))
    # The first process still writes, so the others know no more than this.
    return DistillResult(out, steps, math.nan, math.nan, {})


def _tell_cache(targets: Targets) -> None:
    """Say what is kept on this machine of targets under an address."""
    if targets.cache is None:
        return
    size, room = targets.bytes / 1e9, targets.cache.room / 1e9
    kept = f"what is read of {targets.folder} ({size:.3g} GB) is kept in {targets.cache.folder}"
    if size <= room:
        log.info("%s", kept)
    else:
        log.info("%s as far as %.3g GB go; the rest is fetched in every pass (see --cache_gigabytes)", kept, room)


def _tell_clips(targets: Targets, training: NDArray[np.intp], measured: NDArray[np.intp]) -> None:
    """Say what is learned from, and what is held out."""
    learned, held_out = (
        f"{counted(len(clips), 'clip')} of {counted(len(np.unique(targets.videos[clips])), 'video')}"
        for clips in (training, measured)
    )
    log.info("learns from %s; %s", learned, f"{held_out} held out" if len(measured) else "nothing is held out")


def _tell_what_rests(student: Student, chosen: ObjectiveSettings, layer: str | None) -> None:
    """Say which layers and heads no objective teaches."""
    heads = [head for head in student.class_names if head not in chosen.taught_heads(student.class_names)]
    if not heads:
        return
    if chosen.losses(student.class_names):
        said, reason = "", "the weight of its teacher is 0" if len(heads) == 1 else "the weight of their teachers is 0"
    else:
        behind = student.layers[student.depth(str(layer)) + 1 : -1]
        said, reason = f"{', '.join(behind)} and " if behind else "", "no objective compares distributions"
    of_heads = f"the head {heads[0]}" if len(heads) == 1 else f"the heads {', '.join(heads)}"
    log.info("%s%s %s not learn, since %s", said, of_heads, "does" if len(heads) == 1 and not said else "do", reason)


def _compared_layer(student: Student, chosen: ObjectiveSettings, label_steps: int) -> str | None:
    """Return the student's layer that is compared with features of so many label steps in 20 s; None if none is."""
    if not chosen.of_features:
        return None
    if chosen.projection.layer is None:
        samples = round(CLIP_SECONDS * (student.preprocessing.sample_rate or 0))
        # A layer of fewer steps is the same for several pictures.
        fine = [name for name in student.layers[:-1] if student.steps(samples, name) >= label_steps]
        return fine[-1]
    layer = chosen.projection.layer
    student.depth(layer)
    if layer == student.output_layer:
        raise SettingsError(f"projection.layer is {layer}, the heads themselves; give a layer before them")
    return layer


def _without_defaults(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in defaults or value != defaults[name]}


def _start(
    class_names: ClassNames,
    architecture: str | None,
    width: float | None,
    init: str | Path | None,
    freeze: str | None,
    seed: int,
) -> Start:
    if init is None:
        lightning.seed_everything(seed, verbose=False)
        student = build_student(architecture or "SoundNet8", class_names, width=width)
        student.untaught_heads = tuple(student.class_names)
        return Start(student)
    source = load_student(init)
    require_architecture(source, str(init), architecture, width)
    lightning.seed_everything(seed, verbose=False)
    start = start_from(source, class_names, freeze)
    if is_first_process():
        log.info("the student starts from %s: %s", init, start)
    return start


def _readable(student: Path) -> bool:
    try:
        read_student(student)
    except FormatError:
        return False
    return True
