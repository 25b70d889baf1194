"""Moments at which a training stops, each to be handed to `run_command` as what it prepares."""

import signal
from functools import partial
from pathlib import Path

from soundnet_kd.distill.checkpoints import LastCheckpoints
from tests.processes import signal_itself_after
from tests.small_student import make_small


def killed_at_checkpoint(folder: Path, small: bool = False) -> partial[None]:
    """Kill the process as soon as a checkpoint lies in a folder, and another step has begun."""
    return partial(_stop, "_publish", signal.SIGKILL, folder, small)


def killed_before_checkpoint_counts(folder: Path, small: bool = False) -> partial[None]:
    """Kill the process when it has written the second state to a folder, which does not count yet."""
    return partial(_stop, "_save", signal.SIGKILL, folder, small)


def terminated_after_step(folder: Path, small: bool = False) -> partial[None]:
    """Tell the process by SIGTERM to stop when it has done a step."""
    return partial(_stop, "on_train_batch_end", signal.SIGTERM, folder, small)


def _stop(place: str, number: signal.Signals, folder: Path, small: bool) -> None:
    if small:
        make_small()

    def due(callback: LastCheckpoints, *_: object) -> bool:
        return callback.folder == folder and (number == signal.SIGTERM or any(folder.glob("step=*.ckpt")))

    signal_itself_after(LastCheckpoints, place, number, due)
