"""Decode files in processes beside a network; one that dies takes its file with it, nothing else."""

import os
import shutil
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from time import time

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from soundnet_kd.errors import MediaError, SettingsError

AHEAD = 4
"""Files for each process that are decoded before they are needed,"""
SPOOL_BYTES = 4 * 2**30
"""unless those that wait are larger than this together."""
STALLED_SECONDS = 600.0
"""A decoder that writes nothing for so long hangs."""
LOOK_SECONDS = 10.0
"""How often that is looked at."""
STARTING_SECONDS = 180.0
"""Longer than the slowest machine needs to start a process."""

Decode = Callable[[Path, Path, int], None]
"""Decodes a file to another one, with so many threads (0: as many as it likes)."""


@contextmanager
def spooled(
    decode: Decode, sources: Iterable[Path], folder: Path, workers: int
) -> Iterator[Iterator[tuple[Path, Path | MediaError]]]:
    """Decode files, several at a time, and give them in their order; what waits lies on disk, not in memory.

    Parameters
    ----------
    decode : callable
        Given a source, the file to write what is decoded to, and a number of threads. With processes it has to be
        picklable, and a script needs its `__main__` guard.
    sources : iterable of Path
    folder : Path
        For what is decoded and not used yet; what an earlier run left there is deleted.
    workers : int
        Processes; 0 decodes in this one, when a file is asked for.

    Yields
    ------
    iterator of (source, the file that `decode` wrote or why there is none)
        The file is gone when the next one is asked for.

    Raises
    ------
    SettingsError
        If no processes can be started.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    jobs = ((source, folder / f"{number}") for number, source in enumerate(sources))
    try:
        if workers == 0:
            yield _results((source, file, partial(decode, source, file, 0)) for source, file in jobs)
        else:
            with _pool(workers) as pool:
                yield _results(_ahead(pool, decode, jobs, workers))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _results(jobs: Iterable[tuple[Path, Path, Callable[[], None]]]) -> Iterator[tuple[Path, Path | MediaError]]:
    for source, file, finish in jobs:
        try:
            finish()
        except MediaError as error:
            yield source, error
        else:
            yield source, file
        file.unlink(missing_ok=True)


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPool]:
    # A fresh interpreter for each worker: forking a process whose libraries have threads may lock up.
    with ProcessPool(workers, context=get_context("spawn")) as pool:
        try:
            try:
                pool.schedule(os.getpid).result(timeout=STARTING_SECONDS)
            except TimeoutError as error:
                raise SettingsError(
                    f"no process for decoding could be started within {STARTING_SECONDS:g} s; a script that starts "
                    'some needs `if __name__ == "__main__":` around its calls, or workers=0'
                ) from error
            yield pool
        finally:
            pool.stop()


def _ahead(
    pool: ProcessPool, decode: Decode, jobs: Iterator[tuple[Path, Path]], workers: int
) -> Iterator[tuple[Path, Path, Callable[[], None]]]:
    """Keep some files in work, and give the one that was begun first."""
    begun: deque[tuple[Path, Path, ProcessFuture[None]]] = deque()
    ahead = AHEAD * workers
    while True:
        while len(begun) < ahead and (len(begun) < workers or _bytes_of(begun) < SPOOL_BYTES):
            source, file = next(jobs, (None, None))
            if source is None or file is None:
                break
            begun.append((source, file, pool.schedule(decode, (source, file, 1))))
        if not begun:
            return
        source, file, future = begun.popleft()
        yield source, file, partial(_wait, future, source, file)


def _bytes_of(begun: Iterable[tuple[Path, Path, object]]) -> int:
    return sum(file.stat().st_size for _, file, _ in begun if file.exists())


def _wait(future: "ProcessFuture[None]", source: Path, file: Path) -> None:
    """Wait until a file is decoded.

    Raises
    ------
    MediaError
        If it cannot be, its process died, or it hangs.
    """
    while True:
        try:
            return future.result(timeout=LOOK_SECONDS)
        except TimeoutError:
            if file.exists() and time() - file.stat().st_mtime > STALLED_SECONDS:
                future.cancel()
                raise MediaError(
                    f"{source.name} gave nothing for {STALLED_SECONDS / 60:g} minutes while it was decoded; convert it"
                ) from None
        except ProcessExpired as error:
            raise MediaError(
                f"{source.name} made the process that decoded it die ({_cause(error.exitcode)}); convert it, or give "
                "the machine more memory"
            ) from error


def _cause(exit_code: int) -> str:
    return signal.Signals(-exit_code).name if exit_code < 0 else f"exit code {exit_code}"
