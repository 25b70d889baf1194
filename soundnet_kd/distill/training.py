"""Training a student from a targets folder, from the first step or from where it was."""

import math
import signal
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger

from soundnet_kd.data import Targets
from soundnet_kd.distill.data import TargetsDataModule
from soundnet_kd.distill.history import StepProgress, csv_logger, write_history
from soundnet_kd.distill.memory import keep_freed_memory
from soundnet_kd.distill.module import Distillation, Schedule
from soundnet_kd.distill.objective import Objective
from soundnet_kd.distill.quiet import quiet_lightning
from soundnet_kd.errors import SettingsError
from soundnet_kd.models import ARCHITECTURES, STUDENT_FILE, choose_device, write_student
from soundnet_kd.storage import claim, versions

RUN_FILE = "run.json"
UNTRAINED_FILE = "untrained.safetensors"
AGREEMENT = "validation/agreement_"


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
    steps: int = 100_000,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    schedule: Schedule = "constant",
    held_out: float = 0.05,
    seed: int = 0,
    workers: int = 0,
    device: str = "auto",
    checkpoint_minutes: float = 10.0,
) -> DistillResult:
    """Train a student to hear what the teachers saw.

    The defaults are the paper's. Stopped and started again with the same settings, it goes on from its last checkpoint.
    Beside student.safetensors lies untrained.safetensors, the same network before its first step, to compare with.

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
    steps : int
        Optimizer steps in all.
    batch_size : int
        Clips of 20 s in a step; fewer if there are not so many.
    learning_rate : float
        Of Adam.
    schedule : {"constant", "cosine"}
        How the learning rate goes: constant as in the paper, or a warm-up and half a cosine down to 0.
    held_out : float
        Share of the videos that are kept from training, to measure the agreement with the teachers on.
    seed : int
        Of the first weights, the shuffling and the choice of held-out videos.
    workers : int
        Processes that read the targets; 0 reads in the main process.
    device : str
        Where it trains: auto, cpu, cuda, cuda:1, mps.
    checkpoint_minutes : float
        Longest time between two checkpoints.

    Raises
    ------
    RunConflictError
        If `out` holds a run with other settings.
    FormatError
        If `targets` is not a targets folder.
    """
    for name, value in {"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate}.items():
        if value <= 0:
            raise SettingsError(f"{name} is {value}; it has to be above 0")
    where = choose_device(device)
    data_of = Targets(targets)
    lightning.seed_everything(seed, verbose=False)
    student = ARCHITECTURES[architecture](data_of.class_names)
    settings = {
        "targets": data_of.identity(),
        "architecture": architecture,
        "objective": objective,
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "schedule": schedule,
        "held_out": held_out,
        "seed": seed,
        "versions": versions(),
    }
    data = TargetsDataModule(data_of, student.preprocessing, batch_size, steps, held_out, workers, seed)
    claim(out / RUN_FILE, settings)
    if not (out / UNTRAINED_FILE).exists():
        write_student(student, out / UNTRAINED_FILE, {**settings, "steps_done": 0})

    keep_freed_memory()
    last = out / "checkpoints" / "last.ckpt"
    with quiet_lightning():
        trainer = _trainer(out, steps, where, checkpoint_minutes, validate=len(data.validation) > 0)
        module = Distillation(student, objective, learning_rate, schedule, steps)
        _fit(trainer, module, data, last)
        trainer.save_checkpoint(last)
    result = _result(out, trainer.global_step)
    if not math.isfinite(result.last_loss):
        raise SettingsError(
            f"the training diverged (loss {result.last_loss}); remove {out} and try a lower --learning_rate"
        )
    write_student(student, out / STUDENT_FILE, {**settings, "steps_done": result.steps, "loss": result.last_loss})
    return result


def _fit(trainer: lightning.Trainer, module: Distillation, data: TargetsDataModule, last: Path) -> None:
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, data, ckpt_path=last if last.exists() else None, weights_only=True)
    except SystemExit as error:
        # Lightning turns Ctrl-C into this and leaves the signal ignored.
        signal.signal(signal.SIGINT, interrupt)
        raise KeyboardInterrupt from error


def _trainer(
    out: Path, steps: int, device: torch.device, checkpoint_minutes: float, validate: bool
) -> lightning.Trainer:
    checkpoints = ModelCheckpoint(
        out / "checkpoints",
        filename="{step}",
        save_last=True,
        train_time_interval=timedelta(minutes=checkpoint_minutes),
        enable_version_counter=False,
    )
    return lightning.Trainer(
        accelerator=device.type,
        devices=[device.index or 0] if device.type == "cuda" else 1,
        max_steps=steps,
        logger=[csv_logger(out), TensorBoardLogger(out, "logs", version="tensorboard")],
        callbacks=[checkpoints, StepProgress()],
        enable_progress_bar=False,
        log_every_n_steps=max(1, min(50, steps // 20)),
        val_check_interval=max(1, min(1000, steps // 5)) if validate else None,
        check_val_every_n_epoch=None,
        limit_val_batches=1.0 if validate else 0,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        deterministic="warn",
    )


def _result(out: Path, steps: int) -> DistillResult:
    history = write_history(out)
    losses = [row["train/loss"] for row in history if "train/loss" in row]
    agreement: dict[str, float] = {}
    for row in history:
        for column in row:
            if column.startswith(AGREEMENT):
                agreement[column.removeprefix(AGREEMENT)] = row[column]
    return DistillResult(out, steps, losses[0], losses[-1], agreement)
