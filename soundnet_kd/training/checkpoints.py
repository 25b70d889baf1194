"""A training's checkpoints: whole files, the last ones by the clock and the best one; damaged ones are set aside."""

import math
import pickle
import signal
import zipfile
from collections.abc import Mapping
from pathlib import Path
from threading import current_thread, main_thread
from time import monotonic
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_only

from soundnet_kd.storage import atomic_write, rename_damaged
from soundnet_kd.system.machine_errors import translate_machine_errors

FOLDER = "checkpoints"
BEST_FILE = "best.ckpt"
STUDENT_PREFIX, AVERAGED_PREFIX = "student.", "averaged.module."
"""What the names of the tensors of a distillation begin with in its checkpoints."""
HELD_OUT_LOSSES = "held_out_losses"
"""Key of a distillation's checkpoint: the loss on held-out videos, last measured, of `validation` (the weights of the
step) and of `averaged`; only where there is an average."""
LEAST_LOSS = "least_loss"
"""The figure of the lower one of these two, which is not logged."""
STOPPING_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
ASKED_EVERY_STEPS = 10
"""How often several processes agree on whether to save; each time they wait for each other."""


class WholeCheckpoints(TorchCheckpointIO):
    """Write a checkpoint beside its place and move it there; Lightning's own way crosses file systems by copying."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint, whole or not at all."""
        # Through a file of Python's, which says what the disk says.
        with atomic_write(Path(path)) as partial, partial.open("wb") as file:
            torch.save(checkpoint, file)

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        """Read a checkpoint, which holds nothing but tensors and plain values."""
        return super().load_checkpoint(path, map_location, weights_only=True)


class LastCheckpoints(Checkpoint):
    """Save the state at least every so many minutes, when the run is told to stop, and at the end.

    A state that was saved counts only when all that belongs to its step is done, validation and logs too: until then it
    has another name. A run that is taken up therefore lacks nothing, whenever it was killed. Ctrl-C, SIGHUP and
    SIGTERM, by which clusters announce that they want a machine back, wait for the end of the step; a second one does
    not.

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

    def on_fit_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Remove what a kill left, also where nothing is left to train."""
        if trainer.is_global_zero:
            for file in self.folder.glob(".*.ckpt"):
                file.unlink()
            self._remove_older()

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Start the clock, and listen for signals."""
        self._saved_seconds = monotonic()
        self._saved_step: int | None = None
        self._stops = False
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
            self._remove_older()
        self._saved_step = None

    def _remove_older(self) -> None:
        for _, old in sorted(_by_step(self.folder).items())[: -self.keep]:
            old.unlink()


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
        self._is_done = False

    @property
    def state_key(self) -> str:
        """Its name in checkpoints, the same with an average as without, as before averages were measured."""
        return super().state_key.replace(repr(LEAST_LOSS), repr("validation/loss"))

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Look whether steps are left from there on."""
        self._is_done = checkpoint["global_step"] >= trainer.max_steps

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint, also where the run folder was moved since; without the best state, look for one."""
        then = "no step is left to take its place" if self._is_done else "the best from here on takes its place"
        if best_checkpoint(Path(str(self.dirpath)), then) is not None:
            super().load_state_dict({**state_dict, "dirpath": self.dirpath})


def last_checkpoint(
    out: Path,
    state: Mapping[str, torch.Tensor] | None = None,
    needs_best: bool = False,
    otherwise: str = "the training begins anew",
) -> Path | None:
    """Return the checkpoint of the latest step that can be gone on from; None if there is none.

    Those that cannot are set aside, and told of.

    Parameters
    ----------
    out : Path
        Folder of the run.
    state : mapping from name to tensor, optional
        What it has to fit.
    needs_best : bool
        A checkpoint that knows of a best state is of no use without that.
    otherwise : str
        What is done where there is none.
    """
    flaws: dict[Path, str] = {}
    found = None
    for step, file in sorted(_by_step(out / FOLDER).items(), reverse=True):
        flaws[file] = _flaw(file, step, state, needs_best)
        if not flaws[file]:
            found = file
            break
    then = f"the training goes on from {found.stem.replace('=', ' ')}" if found else otherwise
    for file, flaw in flaws.items():
        if flaw and _is_first():
            rename_damaged(file, then, flaw)
    return found


def best_checkpoint(folder: Path, then: str) -> Path | None:
    """Return the checkpoint of the best state in a folder; None if there is none, or a damaged one, which is set aside.

    Parameters
    ----------
    folder : Path
        Folder of the checkpoints.
    then : str
        What is done without it.
    """
    best = folder / BEST_FILE
    if not best.is_file():
        return None
    flaw = _flaw(best)
    if flaw and _is_first():
        rename_damaged(best, then, flaw)
    return None if flaw else best


def student_state(checkpoint: str | Path, prefix: str = STUDENT_PREFIX) -> tuple[dict[str, torch.Tensor], int]:
    """Return the state dict of the student, or of its average (`AVERAGED_PREFIX`), in a checkpoint, and its step."""
    checkpoint = Path(checkpoint)
    content: Mapping[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    state = {
        name.removeprefix(prefix): value for name, value in content["state_dict"].items() if name.startswith(prefix)
    }
    return state, int(content["global_step"])


def is_average_better(checkpoint: str | Path) -> bool:
    """Whether the average in a distillation's checkpoint has a lower loss on held-out videos than the weights."""
    content: Mapping[str, Any] = torch.load(Path(checkpoint), map_location="cpu", weights_only=True, mmap=True)
    losses = content.get(HELD_OUT_LOSSES, {})
    own, averages = losses.get("validation", -math.inf), losses.get("averaged", math.inf)
    return bool(averages < own or math.isnan(own))


def _is_first() -> bool:
    """Whether this process is the first of those that train together, as Lightning was told."""
    return int(rank_zero_only.rank) == 0  # type: ignore[attr-defined]


def _flaw(
    file: Path,
    step: int | None = None,
    state: Mapping[str, torch.Tensor] | None = None,
    needs_best: bool = False,
) -> str:
    """Say why a checkpoint cannot be gone on from; nothing if it can."""
    try:
        with translate_machine_errors(file):
            with zipfile.ZipFile(file) as archive:
                if archive.testzip() is not None:
                    return "damaged"
            content: Any = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError:
        return "gone"
    except (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError):
        return "damaged"
    if not isinstance(content, dict) or not content.keys() >= {"state_dict", "global_step", "callbacks", "loops"}:
        return "no checkpoint"
    if step is not None and content["global_step"] != step:
        return f"of step {content['global_step']}"
    if state is not None and {name: each.shape for name, each in content["state_dict"].items()} != {
        name: each.shape for name, each in state.items()
    }:
        return "of another network"
    knows_best = any(
        key.startswith(BestCheckpoint.__name__) and each["best_model_path"]
        for key, each in content["callbacks"].items()
    )
    if needs_best and knows_best and ((flaw := _flaw(file.with_name(BEST_FILE))) != ""):
        return f"of no use without {BEST_FILE}, which is {flaw},"
    return ""


def _by_step(folder: Path) -> dict[int, Path]:
    return {int(file.stem.removeprefix("step=")): file for file in folder.glob("step=*.ckpt")}
