"""Training a student from a targets folder, from the first step or from where it was."""

import math
import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import joblib
import lightning
from lightning.pytorch.loggers import TensorBoardLogger

from soundnet_kd.data import Targets
from soundnet_kd.distill.augmentation import UNCHANGED, Augmentation
from soundnet_kd.distill.checkpoints import (
    BEST_FILE,
    FOLDER,
    LastCheckpoints,
    WholeCheckpoints,
    best_checkpoint,
    last_checkpoint,
    student_state,
)
from soundnet_kd.distill.data import TargetsDataModule
from soundnet_kd.distill.devices import clips_per_batch, is_first_process, trainer_options
from soundnet_kd.distill.history import StepProgress, csv_logger, read_history, write_history
from soundnet_kd.distill.module import Distillation, Schedule
from soundnet_kd.distill.objective import DistillationLoss, Objective
from soundnet_kd.distill.pace import Pace
from soundnet_kd.distill.pictures import draw_filters, draw_history
from soundnet_kd.distill.quiet import quiet_lightning
from soundnet_kd.errors import SettingsError
from soundnet_kd.models import ARCHITECTURES, STUDENT_FILE, SoundNet, choose_device, write_student
from soundnet_kd.storage import claim, versions

RUN_FILE = "run.json"
UNTRAINED_FILE = "untrained.safetensors"
BEST_STUDENT_FILE = "best.safetensors"
AGREEMENT = "validation/agreement_"
MOST_WORKERS = 8


@dataclass(frozen=True)
class DistillResult:
    """What a distillation left.

    Attributes
    ----------
    out : Path
    steps : int
        Optimizer steps done in all.
    first_loss, last_loss : float
        Training loss where the log starts and where it ends.
    agreement : dict from teacher to float
        Share of held-out steps where the student's first guess is the teacher's; empty if nothing was held out.
    """

    out: Path
    steps: int
    first_loss: float
    last_loss: float
    agreement: dict[str, float]

    def __str__(self) -> str:
        agreement = "".join(f", {share:.0%} agreement on {name}" for name, share in self.agreement.items())
        return (
            f"wrote {self.out / STUDENT_FILE}: {self.steps} steps, "
            f"loss {self.first_loss:.4f} -> {self.last_loss:.4f}{agreement}"
        )


def distill(
    targets: Path,
    out: Path,
    architecture: Literal["SoundNet8", "SoundNet5"] = "SoundNet8",
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

    The defaults are the paper's. Stopped and started again with the same settings, it goes on from its last checkpoint,
    also on another number of devices, and ends as if it had never been stopped. Beside student.safetensors, the
    network after the last step, lie untrained.safetensors, the same before its first step, and best.safetensors, the
    one of the lowest loss on held-out videos.

    Parameters
    ----------
    targets : Path
        Folder that `soundnet-kd teach` wrote.
    out : Path
        Run folder to write.
    architecture : {"SoundNet8", "SoundNet5"}
        The student.
    objective : {"soundnet", "kl", "l2"}
        soundnet: KL divergence as the paper's code computed it; kl: summed over classes; l2: squared distance.
    temperature : float
        Above 1 softens the teachers' and the student's distributions before they are compared.
    teacher_weights : dict from teacher to float, optional
        What each teacher counts, such as --teacher_weights.scenes 2. [default: 1 each]
    steps : int
        Optimizer steps in all.
    batch_size : int
        Clips of 20 s in a step, over all devices.
    accumulate : int
        Take a step's clips in so many batches, one after the other, where they do not fit into memory together.
    learning_rate : float
        Of Adam.
    schedule : {"constant", "cosine"}
        How the learning rate goes: constant as in the paper, or a warm-up and half a cosine down to 0.
    gradient_clip : float, optional
        Longest gradient (2-norm) that a step may follow; longer ones are shortened. [default: no limit]
    precision : {"32", "bf16"}
        bf16 computes most layers in bfloat16, faster where the device has it; weights stay in 32 bit.
    augmentation : Augmentation
        How training clips are varied, by default not at all
    held_out : float
        Share of the videos that are kept from training, to measure the agreement with the teachers on.
    seed : int
        Of the first weights, the shuffling, the augmentation and the choice of held-out videos.
    workers : int, optional
        Processes that read the targets, for each device; 0 reads in the main process. [default: 0 on a CPU, which the
        network needs itself, else one for each core but one, at most 8]
    device : str
        Where it trains: auto, cpu, cuda, cuda:1, mps.
    devices : int
        How many of them, on each machine; they share every step's clips.
    nodes : int
        Machines; start the command on each of them with torchrun or srun.
    checkpoint_minutes : float
        Longest time between two checkpoints.
    keep_checkpoints : int
        How many of the last checkpoints stay.

    Raises
    ------
    RunConflictError
        If `out` holds a run with other settings.
    FormatError
        If `targets` is not a targets folder.
    """
    positive = {"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate}
    for name, value in {**positive, "gradient_clip": gradient_clip, "keep_checkpoints": keep_checkpoints}.items():
        if value is not None and value <= 0:
            raise SettingsError(f"{name} is {value}; it has to be above 0")
    where = choose_device(device)
    options = trainer_options(where, devices, nodes)
    clips_per_batch(batch_size, accumulate, devices * nodes)
    data_of = Targets(targets)
    loss = DistillationLoss(objective, temperature, teacher_weights)
    loss.require_heads(data_of.class_names)
    lightning.seed_everything(seed, verbose=False)
    student = ARCHITECTURES[architecture](data_of.class_names)
    if data_of.sample_rate != student.preprocessing.sample_rate:
        raise SettingsError(
            f"{targets} holds sound at {data_of.sample_rate} Hz, the student hears {student.preprocessing.sample_rate}"
        )
    settings = {
        "targets": data_of.identity(),
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
        workers = 0 if where.type == "cpu" else min(MOST_WORKERS, max(1, joblib.cpu_count() // devices - 1))
    data = TargetsDataModule(data_of, batch_size, steps, held_out, accumulate, augmentation, workers, seed)
    if is_first_process():
        claim(out / RUN_FILE, settings)
        if not (out / UNTRAINED_FILE).exists():
            write_student(student, out / UNTRAINED_FILE, {**settings, "steps_done": 0})

    measured = len(data.validation) > 0
    validate_every = max(1, min(1000, steps // 5)) if measured else 0
    callbacks = [
        Pace(batch_size),
        StepProgress(),
        *([best_checkpoint(out / FOLDER)] if measured else []),
        LastCheckpoints(out / FOLDER, checkpoint_minutes, keep_checkpoints, validate_every),
        *options.pop("callbacks", ()),
    ]
    plugins = [WholeCheckpoints(), *options.pop("plugins", ())]
    with quiet_lightning():
        trainer = lightning.Trainer(
            max_steps=steps,
            accumulate_grad_batches=accumulate,
            gradient_clip_val=gradient_clip,
            precision="bf16-mixed" if precision == "bf16" else "32-true",
            default_root_dir=out,
            logger=[csv_logger(out), TensorBoardLogger(out, "logs", version="tensorboard")],
            callbacks=callbacks,
            enable_progress_bar=False,
            log_every_n_steps=max(1, min(50, steps // 20)),
            val_check_interval=accumulate * validate_every if measured else None,
            check_val_every_n_epoch=None,
            limit_val_batches=1.0 if measured else 0,
            num_sanity_val_steps=0,
            enable_model_summary=False,
            use_distributed_sampler=False,
            deterministic="warn",
            plugins=plugins,
            **options,
        )
        module = Distillation(student, loss, learning_rate, schedule, steps, accumulate)
        _fit(trainer, module, data, last_checkpoint(out))
    return _finish(out, student, settings)


def _fit(trainer: lightning.Trainer, module: Distillation, data: TargetsDataModule, start: Path | None) -> None:
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, data, ckpt_path=start, weights_only=True)
    except SystemExit as error:
        # Lightning turns Ctrl-C into this and leaves the signal ignored.
        signal.signal(signal.SIGINT, interrupt)
        raise KeyboardInterrupt from error


def _finish(out: Path, student: SoundNet, settings: Mapping[str, Any]) -> DistillResult:
    """Write the students, the history and the figures of a training that has done all its steps."""
    last, best = last_checkpoint(out), out / FOLDER / BEST_FILE
    assert last is not None
    state, steps = student_state(last)
    history = write_history(out) if is_first_process() else read_history(out)
    result = _result(out, steps, history)
    if not math.isfinite(result.last_loss):
        raise SettingsError(
            f"the training diverged (loss {result.last_loss}); remove {out} and try a lower --learning_rate"
        )
    if not is_first_process():
        return result
    if best.exists():
        best_state, best_step = student_state(best)
        student.load_state_dict(best_state)
        write_student(student, out / BEST_STUDENT_FILE, {**settings, "steps_done": best_step})
    student.load_state_dict(state)
    draw_filters(student, out / "conv1.png")
    draw_history(history, out / "history.png")
    write_student(student, out / STUDENT_FILE, {**settings, "steps_done": steps, "loss": result.last_loss})
    return result


def _result(out: Path, steps: int, history: list[dict[str, float]]) -> DistillResult:
    losses = [row["train/loss"] for row in history if "train/loss" in row]
    agreement: dict[str, float] = {}
    for row in history:
        for column, value in row.items():
            if column.startswith(AGREEMENT) and not column.startswith(f"{AGREEMENT}top"):
                agreement[column.removeprefix(AGREEMENT)] = value
    return DistillResult(out, steps, losses[0], losses[-1], agreement)
