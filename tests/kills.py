"""Every moment at which a kill leaves another state on the disk, found by listening to what a process does to files.

Python announces each file that is made, moved or removed before that is done (`sys.addaudithook`). What libraries in C
write lies between two such moments, in files that are moved to their places later.
"""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

DIR_FD = {"os.mkdir": 2, "os.remove": 1, "os.rename": 2, "os.rmdir": 1}
"""Which argument of an event names the folder that a path is relative to; -1 is the working directory."""


def told_changes(folder: Path, log: Path) -> partial[None]:
    """Note each change that a process makes below a folder, a line for each; to be handed to `run_command`."""
    return partial(_tell, folder, log)


def killed_before_change(folder: Path, number: int) -> partial[None]:
    """Kill the process before its change number 0, 1, … below a folder; to be handed to `run_command`."""
    return partial(_die, folder, number)


def killed_before(folder: Path, change: str) -> partial[None]:
    """Kill the process before a change below a folder, in the words of `told_changes`."""
    return partial(_die_before, folder, change)


def _tell(folder: Path, log: Path) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    _listen(folder, lambda change, path: os.write(file, f"{change} {path}\n".encode()))


def _die(folder: Path, number: int) -> None:
    numbers = count()

    def die(change: str, path: str) -> None:
        if next(numbers) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    _listen(folder, die)


def _die_before(folder: Path, wanted: str) -> None:
    def die(change: str, path: str) -> None:
        if f"{change} {path}" == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    _listen(folder, die)


def _listen(folder: Path, hear: Callable[[str, str], object]) -> None:
    process, above = os.getpid(), f"{folder.resolve()}{os.sep}"

    def listen(event: str, arguments: tuple[Any, ...]) -> None:
        # Processes that are forked from this one inherit the hook.
        if (event != "open" and event not in DIR_FD) or os.getpid() != process:
            return
        path = _path_of(event, arguments)
        if path.startswith(above) and _changes(event, arguments, path):
            hear(event.removeprefix("os."), os.path.relpath(path, above))

    sys.addaudithook(listen)


def _path_of(event: str, arguments: tuple[Any, ...]) -> str:
    if isinstance(arguments[0], int):
        return ""
    path = os.fsdecode(arguments[0])
    place = arguments[DIR_FD[event]] if event in DIR_FD else -1
    if place >= 0:
        with suppress(OSError):
            path = os.path.join(os.readlink(f"/proc/self/fd/{place}"), path)  # noqa: PTH115, PTH118
    return os.path.abspath(path)  # noqa: PTH100 - a Path would ask the disk


def _changes(event: str, arguments: tuple[Any, ...], path: str) -> bool:
    """Tell what leaves another state from what does not: opening what is there, making a folder that is there."""
    if event == "open":
        return bool(isinstance(arguments[2], int) and arguments[2] & (os.O_CREAT | os.O_TRUNC))
    there = os.path.lexists(path)
    return not there if event == "os.mkdir" else there
