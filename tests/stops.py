"""Moments at which a training stops, each to be handed to `run_command` as what it prepares.

All lie behind the fourth step: where every third one is validated, best state and curves have to be found again.
"""

import signal
from functools import partial
from pathlib import Path

import lightning
import torch

from soundnet_kd.training.checkpoints import LastCheckpoints
from tests.processes import signal_itself_after
from tests.small_student import make_small

FIRST_STEP = 4


def killed_at_checkpoint(folder: Path, small: bool = False) -> partial[None]:
    """Kill the process when a checkpoint lies in a folder and another step begins."""
    return partial(_at_checkpoint, folder, small)


def killed_while_saving(folder: Path, small: bool = False) -> partial[None]:
    """Kill the process when it has written another state, but not put it in its place."""
    return partial(_while_saving, folder, small)


def killed_at_the_end(folder: Path, small: bool = False) -> partial[None]:
    """Kill the process when the last state of a training lies in a folder, and nothing has been made of it."""
    return partial(_at_the_end, folder, small)


def terminated_after_step(folder: Path, small: bool = False) -> partial[None]:
    """Tell the process by SIGTERM to stop when it has done a step."""
    return partial(_after_step, folder, small)


def _saved(folder: Path) -> bool:
    return any(int(file.stem.removeprefix("step=")) >= FIRST_STEP for file in folder.glob("step=*.ckpt"))


def _at_checkpoint(folder: Path, small: bool) -> None:
    _prepare(small)
    signal_itself_after(
        LastCheckpoints, "_publish", signal.SIGKILL, lambda mine, _: mine.folder == folder and _saved(folder)
    )


def _while_saving(folder: Path, small: bool) -> None:
    _prepare(small)
    signal_itself_after(torch, "save", signal.SIGKILL, lambda *_: _saved(folder))


def _at_the_end(folder: Path, small: bool) -> None:
    _prepare(small)
    signal_itself_after(LastCheckpoints, "on_train_end", signal.SIGKILL, lambda mine, *_: mine.folder == folder)


def _after_step(folder: Path, small: bool) -> None:
    def due(mine: LastCheckpoints, trainer: lightning.Trainer, *_: object) -> bool:
        return mine.folder == folder and trainer.global_step >= FIRST_STEP

    _prepare(small)
    signal_itself_after(LastCheckpoints, "on_train_batch_end", signal.SIGTERM, due)


def _prepare(small: bool) -> None:
    if small:
        make_small()
