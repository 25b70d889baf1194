"""The command `distill`: a student trained on a targets folder, from its first step or from where it was."""

import math
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import lightning

from soundnet_kd.data import Targets
from soundnet_kd.distill.data import TargetsDataModule, Throughput
from soundnet_kd.distill.module import Distillation, Schedule
from soundnet_kd.distill.objective import DistillationLoss, Objective
from soundnet_kd.distill.results import DistillResult, read_finished, write_results
from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.models import ARCHITECTURES, STUDENT_FILE, choose_device, read_student, write_network
from soundnet_kd.models.soundnet import Architecture
from soundnet_kd.pretrained.conversion import UNTRAINED_FILE
from soundnet_kd.storage import ensure_same_settings, lock_folder, require_same_settings, versions
from soundnet_kd.system.launch import is_first_process
from soundnet_kd.system.workers import batch_readers
from soundnet_kd.training.augmentation import UNCHANGED, Augmentation
from soundnet_kd.training.callbacks import Columns, Progress
from soundnet_kd.training.checkpoints import FOLDER, BestCheckpoint, LastCheckpoints, last_checkpoint
from soundnet_kd.training.devices import clips_per_batch, trainer_options
from soundnet_kd.training.settings_file import DISTILL_FILE
from soundnet_kd.training.trainer import deterministic, fit, quiet_lightning, trainer_of


def distill(
    targets: Path | str,
    out: Path | str,
    architecture: Architecture = "SoundNet8",
    objective: Objective = "soundnet",
    temperature: float = 1.0,
    teacher_weights: dict[str, float] | None = None,
    steps: int = 100_000,
    batch_size: int = 64,
    accumulate: int = 1,
    learning_rate: float = 1e-3,
    schedule: Schedule = "constant",
    gradient_clip: float | None = None,
    precision: Literal["32", "bf16"] = "32",
    augmentation: Augmentation = UNCHANGED,
    held_out: float = 0.05,
    seed: int = 0,
    workers: int | None = None,
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    checkpoint_minutes: float = 10.0,
    keep_checkpoints: int = 2,
) -> DistillResult:
    """Train a student to hear what the teachers saw.

    The defaults are the paper's. If it is stopped, the same command continues from the last checkpoint, even on another
    number of devices, and ends as if it had never been stopped; Ctrl-C, SIGTERM and SIGHUP save a checkpoint first.
    It writes student.safetensors, the network after the last step, untrained.safetensors, the network before the first
    step, and best.safetensors, the network with the lowest loss on held-out videos.

    Parameters
    ----------
    targets : str or Path
        Folder that `soundnet-kd teach` wrote.
    out : str or Path
        Run folder to write.
    architecture : str
        Network to train.
    objective : {"soundnet", "kl", "l2"}
        soundnet: KL divergence as the paper's code computed it; kl: summed over classes; l2: squared distance.
    temperature : float
        Above 1 softens the teachers' and the student's distributions before they are compared.
    teacher_weights : dict from teacher to float, optional
        Weight of each teacher in the loss, such as --teacher_weights.scenes 2. [default: 1 each]
    steps : int
        Total number of optimizer steps.
    batch_size : int
        Clips of 20 s per optimizer step, on all devices together.
    accumulate : int
        Split the clips of a step into this many batches, one after the other, if they do not fit into memory together.
        Batch norm then sees one of them at a time.
    learning_rate : float
        Learning rate of Adam.
    schedule : {"constant", "cosine"}
        Learning rate over the steps: constant, as in the paper, or a warm-up and then half a cosine down to 0.
    gradient_clip : float, optional
        Largest 2-norm of the gradient; larger gradients are scaled down to it. [default: no limit]
    precision : {"32", "bf16"}
        bf16 computes most layers in bfloat16, which is faster on devices that support it; weights stay in 32 bit.
    augmentation : Augmentation
        How training clips are varied (by default they are not)
    held_out : float
        Fraction of the videos that are not trained on, but used to measure the agreement with the teachers.
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

    Raises
    ------
    RunConflictError
        If `out` holds a run with other settings.
    FormatError
        If `targets` is not a targets folder.
    """
    targets = Path(targets)
    out = Path(out)
    positive = {"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate}
    for name, value in {**positive, "gradient_clip": gradient_clip, "keep_checkpoints": keep_checkpoints}.items():
        if value is not None and value <= 0:
            raise SettingsError(f"{name} is {value}; it has to be above 0")
    chosen_device = choose_device(device)
    options = trainer_options(chosen_device, devices, nodes)
    clips_per_batch(batch_size, accumulate, devices * nodes)
    labelled = Targets(targets)
    loss = DistillationLoss(objective, temperature, teacher_weights)
    loss.require_heads(labelled.class_names)
    lightning.seed_everything(seed, verbose=False)
    student = ARCHITECTURES[architecture](labelled.class_names)
    if labelled.sample_rate != student.preprocessing.sample_rate:
        raise SettingsError(
            f"{targets} holds sound at {labelled.sample_rate} Hz, the student hears {student.preprocessing.sample_rate}"
        )
    settings = {
        "targets": labelled.identity(),
        "architecture": architecture,
        "objective": objective,
        "temperature": temperature,
        "teacher_weights": loss.weights,
        "steps": steps,
        "batch_size": batch_size,
        "accumulate": accumulate,
        "learning_rate": learning_rate,
        "schedule": schedule,
        "gradient_clip": gradient_clip,
        "precision": precision,
        "augmentation": asdict(augmentation),
        "held_out": held_out,
        "seed": seed,
        "versions": versions(),
    }
    if workers is None:
        workers = batch_readers(chosen_device.type, devices)
    data = TargetsDataModule(labelled, batch_size, steps, held_out, accumulate, augmentation, workers, seed)
    measured = len(data.validation) > 0
    validate_every = max(1, min(1000, steps // 5)) if measured else 0
    module = Distillation(student, loss, learning_rate, schedule, steps, accumulate)
    callbacks = [
        Columns(module.figures()),
        Throughput(batch_size),
        Progress("distill"),
        *([BestCheckpoint(out / FOLDER)] if measured else []),
        LastCheckpoints(out / FOLDER, checkpoint_minutes, keep_checkpoints, validate_every),
    ]
    require_same_settings(out / DISTILL_FILE, settings)
    with lock_folder(out) if is_first_process() else nullcontext(), quiet_lightning(), deterministic():
        if is_first_process():
            ensure_same_settings(out / DISTILL_FILE, settings)
            if not _readable(out / UNTRAINED_FILE):
                write_network(student, out / UNTRAINED_FILE, {**settings, "steps_done": 0})
        done = read_finished(out, steps)
        otherwise = "the training begins anew" if done is None else f"{STUDENT_FILE} is whole, and stays"
        start = last_checkpoint(out, module.state_dict(), otherwise=otherwise)
        if start is None and done is not None:
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
        fit(trainer, module, data, start)
        if is_first_process():
            return write_results(out, student, settings)
    # The first process still writes, so the others know no more than this.
    return DistillResult(out, steps, math.nan, math.nan, {})


def _readable(student: Path) -> bool:
    try:
        read_student(student)
    except FormatError:
        return False
    return True
