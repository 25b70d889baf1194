"""Lightning's training loop over a run's steps, which leaves the process as it found it."""

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any, Literal

import lightning
from lightning.pytorch.loggers import TensorBoardLogger

from soundnet_kd.distill.checkpoints import STOPPING_SIGNALS, WholeCheckpoints
from soundnet_kd.distill.history import csv_logger


def trainer_of(
    run: Path,
    steps: int,
    *,
    validate_every: int,
    precision: Literal["32", "bf16"],
    callbacks: Sequence[lightning.Callback],
    where: Mapping[str, Any],
    accumulate: int = 1,
    gradient_clip: float | None = None,
) -> lightning.Trainer:
    """Make the trainer of a run, which logs into its folder, writes whole checkpoints and shows nothing of its own.

    Parameters
    ----------
    run : Path
        Its folder.
    steps : int
        Of the optimizer, in all.
    validate_every : int
        Steps from one validation to the next; 0 if there is none.
    precision : {"32", "bf16"}
    callbacks : sequence of Callback
    where : mapping
        What `trainer_options` gives.
    accumulate : int
        Batches of a step.
    gradient_clip : float, optional
        Longest gradient that a step may follow.
    """
    options = dict(where)
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
