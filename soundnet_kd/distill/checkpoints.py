"""A training's checkpoints: whole files, the last ones by the clock and the best one."""

import signal
from collections.abc import Mapping
from pathlib import Path
from threading import current_thread, main_thread
from time import monotonic
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from soundnet_kd.storage import whole

FOLDER = "checkpoints"
BEST_FILE = "best.ckpt"
STOPPING_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
ASKED_EVERY_STEPS = 10
"""How often several processes agree on whether to save; each time they wait for each other."""


class WholeCheckpoints(TorchCheckpointIO):
    """Write a checkpoint beside its place and move it there; Lightning's own way crosses file systems by copying."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint, whole or not at all."""
        # Through a file of Python's, which says what the disk says.
        with whole(Path(path)) as partial, partial.open("wb") as file:
            torch.save(checkpoint, file)

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        """Read a checkpoint, which holds nothing but tensors and plain values."""
        return super().load_checkpoint(path, map_location, weights_only=True)


class LastCheckpoints(Checkpoint):
    """Save the state at least every so many minutes, when the run is told to stop, and at the end.

    A state that was saved counts only when all that belongs to its step is done, validation and logs too: until then it
    has another name. A run that is taken up therefore lacks nothing, whenever it was killed. Ctrl-C and SIGTERM, by
    which clusters announce that they want a machine back, wait for the end of the step; a second one does not.

    Parameters
    ----------
    folder : Path
    minutes : float
        Longest time between two checkpoints.
    keep : int
        How many of the last ones stay.
    validate_every : int
        Steps from one validation to the next; 0 if there is none.
    """

    def __init__(self, folder: Path, minutes: float, keep: int, validate_every: int) -> None:
        self.folder = folder
        self.minutes = minutes
        self.keep = keep
        self.validate_every = validate_every
        self._asked_to_stop = False

    @property
    def _pending(self) -> Path:
        return self.folder / ".pending.ckpt"

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Start the clock, and listen for signals."""
        self._saved_seconds = monotonic()
        self._saved_step: int | None = None
        self._stops = False
        if trainer.is_global_zero:
            self._pending.unlink(missing_ok=True)
        if current_thread() is main_thread():
            for number in STOPPING_SIGNALS:
                # What `nohup` has ignored stays so.
                if signal.getsignal(number) != signal.SIG_IGN:
                    signal.signal(number, self._ask_to_stop)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_index: int,
    ) -> None:
        """Save after a step, if it is time and no validation follows."""
        last = trainer.global_step == trainer.max_steps
        validation_follows = self.validate_every and (last or trainer.global_step % self.validate_every == 0)
        if (batch_index + 1) % trainer.accumulate_grad_batches == 0 and not validation_follows:
            self._save_if_due(trainer)

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Save after a validation, if it is time."""
        self._save_if_due(trainer)

    def on_train_batch_start(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, batch: Any, batch_index: int
    ) -> None:
        """Let the saved state count, as the next step begins, or stop before it."""
        self._publish(trainer)
        if self._stops:
            raise KeyboardInterrupt

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Save the end, so that the same command finds it done."""
        self._save(trainer)
        self._publish(trainer)

    def _ask_to_stop(self, *signal_and_frame: object) -> None:
        if self._asked_to_stop:
            raise KeyboardInterrupt
        self._asked_to_stop = True

    def _save_if_due(self, trainer: lightning.Trainer) -> None:
        if trainer.world_size > 1 and trainer.global_step % ASKED_EVERY_STEPS:
            return
        elapsed = monotonic() - self._saved_seconds >= 60 * self.minutes
        # The first process decides, as all of them take part in saving.
        due, self._stops = trainer.strategy.broadcast((elapsed or self._asked_to_stop, self._asked_to_stop))
        if due:
            self._save(trainer)

    def _save(self, trainer: lightning.Trainer) -> None:
        trainer.save_checkpoint(self._pending)
        self._saved_seconds, self._saved_step = monotonic(), trainer.global_step

    def _publish(self, trainer: lightning.Trainer) -> None:
        if self._saved_step is not None and trainer.is_global_zero:
            self._pending.replace(self.folder / f"step={self._saved_step}.ckpt")
            for _, old in sorted(_by_step(self.folder).items())[: -self.keep]:
                old.unlink()
        self._saved_step = None


class BestCheckpoint(ModelCheckpoint):
    """Keep the state of the best figure on what is held out, by default of the lowest loss.

    Parameters
    ----------
    folder : Path
    monitor : str
        The figure.
    mode : {"min", "max"}
    """

    def __init__(self, folder: Path, monitor: str = "validation/loss", mode: str = "min") -> None:
        super().__init__(
            folder,
            filename=Path(BEST_FILE).stem,
            monitor=monitor,
            mode=mode,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint, also where the run folder was moved since."""
        super().load_state_dict({**state_dict, "dirpath": self.dirpath})


def last_checkpoint(out: Path) -> Path | None:
    """Give the checkpoint of the latest step; None if the run has not saved one yet."""
    found = _by_step(out / FOLDER)
    return found[max(found)] if found else None


def student_state(checkpoint: str | Path) -> tuple[dict[str, torch.Tensor], int]:
    """Give the student's state dict that a checkpoint holds, and its step."""
    checkpoint = Path(checkpoint)
    content: Mapping[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    state = {
        name.removeprefix("student."): value
        for name, value in content["state_dict"].items()
        if name.startswith("student.")
    }
    return state, int(content["global_step"])


def _by_step(folder: Path) -> dict[int, Path]:
    return {int(file.stem.removeprefix("step=")): file for file in folder.glob("step=*.ckpt")}
