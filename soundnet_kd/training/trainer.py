"""Lightning's training loop over a run's steps, which leaves the process as it found it."""

import logging
import signal
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any, Literal

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from soundnet_kd.training.callbacks import csv_logger
from soundnet_kd.training.checkpoints import STOPPING_SIGNALS, WholeCheckpoints


def trainer_of(
    run: Path,
    steps: int,
    *,
    validate_every: int,
    precision: Literal["32", "bf16"],
    callbacks: Sequence[lightning.Callback],
    device_options: Mapping[str, Any],
    accumulate: int = 1,
    gradient_clip: float | None = None,
) -> lightning.Trainer:
    """Make the trainer of a run, which logs into its folder, writes whole checkpoints and shows nothing of its own.

    Parameters
    ----------
    run : Path
        Its folder.
    steps : int
        Total number of optimizer steps.
    validate_every : int
        Steps from one validation to the next; 0 if there is none.
    precision : {"32", "bf16"}
    callbacks : sequence of Callback
    device_options : mapping
        What `trainer_options` gives.
    accumulate : int
        Batches of a step.
    gradient_clip : float, optional
        Largest 2-norm of the gradient; larger gradients are scaled down to it.
    """
    options = dict(device_options)
    return lightning.Trainer(
        max_steps=steps,
        accumulate_grad_batches=accumulate,
        gradient_clip_val=gradient_clip,
        precision="bf16-mixed" if precision == "bf16" else "32-true",
        default_root_dir=run,
        logger=[csv_logger(run), TensorBoardLogger(run, "logs", version="tensorboard")],
        callbacks=[*callbacks, *options.pop("callbacks", ())],
        enable_progress_bar=False,
        log_every_n_steps=max(1, min(50, steps // 20)),
        val_check_interval=accumulate * validate_every or None,
        check_val_every_n_epoch=None,
        limit_val_batches=1.0 if validate_every else 0,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        use_distributed_sampler=False,
        plugins=[WholeCheckpoints(), *options.pop("plugins", ())],
        **options,
    )


def fit(
    trainer: lightning.Trainer,
    module: lightning.LightningModule,
    data: lightning.LightningDataModule,
    start: Path | None,
) -> None:
    """Train, from a checkpoint on if there is one.

    `LastCheckpoints` listens for signals meanwhile; afterwards they do again what they did before.

    Raises
    ------
    KeyboardInterrupt
        If the training was told to stop.
    """
    handlers = {number: signal.getsignal(number) for number in STOPPING_SIGNALS}
    try:
        trainer.fit(module, data, ckpt_path=start, weights_only=True)
    except SystemExit as error:
        # Lightning turns Ctrl-C into this.
        raise KeyboardInterrupt from error
    finally:
        if current_thread() is main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)


LOGGERS = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's banners, tips and advice for the time of a training; warnings of others stay."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        with warnings.catch_warnings():
            silence_lightning()
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def silence_lightning() -> None:
    """Do the same for good, in a process that does nothing but train."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    for category in (UserWarning, FutureWarning, DeprecationWarning):
        warnings.filterwarnings("ignore", module="lightning", category=category)


_memory: Any = torch.utils.deterministic


@contextmanager
def deterministic() -> Iterator[None]:
    """Prefer deterministic algorithms for the time of a training, and leave the process as it was."""
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    filled = _memory.fill_uninitialized_memory
    try:
        be_deterministic()
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        _memory.fill_uninitialized_memory = filled


def be_deterministic() -> None:
    """Do the same for good, in a process that does nothing but train."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    # It would fill every new tensor, which costs time and guards only against reading what was never written.
    _memory.fill_uninitialized_memory = False
