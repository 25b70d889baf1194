"""What a training logs at which step, over all starts of a run, and the bar that shows it."""

import csv
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.loggers import CSVLogger
from tqdm import tqdm

KEYS = ("step", "epoch")


def csv_logger(out: Path) -> CSVLogger:
    """Return a logger that writes every figure at once, each start of the run into a file of its own."""
    return CSVLogger(out, "logs", flush_logs_every_n_steps=1)


def read_history(out: str | Path) -> list[dict[str, float]]:
    """Read what all starts of a run logged, one row for each step; a later start has the last word on a step.

    Returns
    -------
    list of dict from column to number
        In the order of the steps; each has `step`, counted from 1.
    """
    out = Path(out)
    rows: dict[int, dict[str, float]] = {}
    starts = sorted((out / "logs").glob("version_*"), key=lambda folder: int(folder.name.removeprefix("version_")))
    for start in starts:
        file = start / "metrics.csv"
        if not file.is_file():
            continue
        with file.open(newline="", encoding="utf-8") as handle:
            for row in csv.DictReader(handle):
                # A kill may cut the last line off.
                with suppress(TypeError, ValueError):
                    step = int(row["step"]) + 1
                    figures = {name: float(value) for name, value in row.items() if value and name not in KEYS}
                    rows.setdefault(step, {"step": step}).update(figures)
    return [rows[step] for step in sorted(rows)]


class Progress(lightning.Callback):
    """Show a progress bar over the optimizer steps, and end a training at its last step or where it diverges.

    Parameters
    ----------
    name : str
        What the bar is of.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Start the bar where the training starts."""
        self._bar = tqdm(
            total=trainer.max_steps,
            initial=trainer.global_step,
            desc=self.name,
            unit="step",
            disable=not trainer.is_global_zero,
        )

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        module: lightning.LightningModule,
        outputs: Mapping[str, Any] | Any,
        batch: Any,
        batch_index: int,
    ) -> None:
        """Move the bar."""
        last = trainer.global_step == trainer.max_steps
        if last or trainer.global_step % getattr(trainer, "log_every_n_steps", 1) == 0:
            # Reading the loss waits for the device, so it is not done at every step.
            loss = float(trainer.callback_metrics.get("train/loss", 0.0))
            self._bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            if last or not math.isfinite(loss):
                # Lightning validates once more where a training is told to stop.
                trainer.should_stop = True
        self._bar.update(trainer.global_step - self._bar.n)

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Close the bar."""
        self._bar.close()


class Columns(lightning.Callback):
    """Name all columns of the CSV before its first row; the logger would rewrite the file for each new one.

    Parameters
    ----------
    names : list of str
    """

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Name them."""
        for logger in trainer.loggers:
            if isinstance(logger, CSVLogger) and trainer.is_global_zero:
                logger.experiment.metrics_keys = sorted({"epoch", "step", *self.names})
