"""Functions and commands in processes of their own, to be stopped at a given moment.

A server imports PyTorch and Lightning once and forks every process from there: a start takes a tenth of a second, where
a new interpreter takes several. The server keeps the environment variables of its own start.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import wraps
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

PRELOADED = [
    "soundnet_kd.commands.train",
    "soundnet_kd.commands.finetune",
    "soundnet_kd.cli",
    "soundnet_kd.distill",
    "soundnet_kd.features",
    "soundnet_kd.teachers",
]


def forks() -> ForkServerContext:
    """Give the context in which processes are forked from the server."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def start(function: Callable[..., Any], *arguments: Any) -> BaseProcess:
    """Call a function of a module in a process of its own."""
    process = forks().Process(target=function, args=arguments)
    process.start()
    return process


def finish(process: BaseProcess) -> int | None:
    """Wait for the end of a process and give its exit status; minus the signal's number where one ended it."""
    try:
        process.join()
    except BaseException:
        process.kill()
        raise
    return process.exitcode


def wait_for(condition: Callable[[], object], process: BaseProcess) -> None:
    """Wait until something has happened in a process that is still running."""
    try:
        while not condition():
            assert process.is_alive(), f"the process ended with {process.exitcode}"
            time.sleep(0.002)
    except BaseException:
        process.kill()
        raise


def run_command(arguments: list[str], log: Path, prepare: Callable[[], None] | None = None) -> int | None:
    """Run a command in a process of its own.

    Parameters
    ----------
    arguments : list of str
        Of `soundnet-kd`.
    log : Path
        For what it says.
    prepare : function, optional
        Called in the process, first of all.

    Returns
    -------
    int
        The exit status, as `finish` gives it.
    """
    return finish(start_command(arguments, log, prepare))


def start_command(arguments: list[str], log: Path, prepare: Callable[[], None] | None = None) -> BaseProcess:
    """Do the same without waiting for its end."""
    return start(_run, arguments, log, prepare)


def signal_itself_after(owner: Any, name: str, number: signal.Signals, when: Callable[..., object]) -> None:
    """Let this process send itself a signal when a function returns, the first time that a condition holds.

    Nothing depends then on how fast the machine is.

    Parameters
    ----------
    owner, name
        Class or module, and the name of its function.
    number : signal.Signals
    when : function
        The condition; takes the same arguments as the function.
    """
    function = getattr(owner, name)
    sent: list[signal.Signals] = []

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        result = function(*arguments, **options)
        if not sent and when(*arguments, **options):
            sent.append(number)
            os.kill(os.getpid(), number)
        return result

    setattr(owner, name, call)


def _run(arguments: list[str], log: Path, prepare: Callable[[], None] | None) -> None:
    from soundnet_kd.cli import main

    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    if prepare is not None:
        prepare()
    sys.exit(main(arguments))
