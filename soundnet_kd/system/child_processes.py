"""Processes that work for another one: they end with it, and a signal to all of them is for that one to answer."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from threading import Thread
from time import sleep

CHECK_SECONDS = 1.0
"""How often a process checks whether its parent is still there."""


def end_with_parent() -> None:
    """End this process when the one that started it is gone, be it killed, in the middle of whatever this one does.

    That holds under every start method: a process that was forked by a server of Python's has the server as its parent,
    which outlives the process that asked for it.
    """
    _watch(lambda: sleep(CHECK_SECONDS))


def work_for_parent(*_: object) -> None:
    """Do the same, and leave signals to the other process; to be called at the start, with any arguments.

    Ctrl-C reaches all processes of a terminal, and a cluster tells all processes of a job to end. This one goes on
    then, until the other one has ended its own work, and ends this one.
    """
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if not hasattr(signal, "sigtimedwait"):
        end_with_parent()
        return
    # Only a thread that waits for a signal learns who sent it; threads that start from here on block it too.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    # A library's thread that runs already, as ONNX Runtime's does from its import on, would end the process.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    masters = {os.getppid(), getattr(multiprocessing.parent_process(), "pid", None)}

    def wait() -> None:
        received = signal.sigtimedwait({signal.SIGTERM}, CHECK_SECONDS)
        if received is not None and received.si_pid in masters:
            os._exit(0)

    _watch(wait)


def _watch(wait: Callable[[], None]) -> None:
    started_by, parent = os.getppid(), multiprocessing.parent_process()
    # Processes of loky have none to look at; their parent is the one that started them.
    looks = parent is not None and parent.sentinel is not None

    def watch() -> None:
        while os.getppid() == started_by and (parent is None or not looks or parent.is_alive()):
            wait()
        os._exit(1)

    Thread(target=watch, daemon=True).start()
