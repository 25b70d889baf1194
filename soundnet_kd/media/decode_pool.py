"""Decode files in processes beside a network; one that dies takes its file with it, nothing else."""

import multiprocessing
import os
import pickle
import shutil
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from loky.backend import get_context
from pebble import ProcessExpired, ProcessFuture, ProcessPool

from soundnet_kd.errors import GivenUpError, MediaError, SettingsError
from soundnet_kd.media.container import give_up_error, time_limit
from soundnet_kd.media.stored import MediaSource, StoredMedia, as_source, fetched_folder
from soundnet_kd.system.child_processes import work_for_parent

FILES_AHEAD, MOST_FILES_AHEAD = 4, 32
"""Number of files per process that are decoded before they are needed, within `MAX_WAITING_BYTES`; at most, of small
ones."""
MAX_WAITING_BYTES = 4 * 2**30
"""Beyond this size of all decoded files that wait, no more than one for each process is decoded."""
STALLED_SECONDS = 600.0
"""A process that writes nothing for so long hangs."""
DEADLINE_MINUTES = 24 * 60.0
"""A process that is at one file for longer than this is ended, even if it goes on writing."""
CHECK_SECONDS = 10.0
"""How often it is checked whether a process still writes."""
LOST_CHECKS = 3
"""A process that was gone at so many checks has died without that its pool took notice."""
STARTING_SECONDS = 180.0
"""Longer than the slowest machine needs to start a process."""
TRIALS = 2
"""A file that was in work so often when all processes were lost is taken for the cause."""
DECODED_FOLDER = ".decoded"
"""Name of a folder for what is decoded and not used yet."""

Decode = Callable[[MediaSource, Path, int], None]
"""Decodes a source to another one, with so many threads (0: as many as it likes)."""


@contextmanager
def decode_in_processes(
    decode: Decode,
    sources: Iterable[str | Path | StoredMedia],
    folder: str | Path,
    workers: int,
    deadline_minutes: float = DEADLINE_MINUTES,
    burst: int | None = None,
) -> Iterator[Iterator[tuple[MediaSource, Path | MediaError]]]:
    """Decode files, several at a time, and return them in their order; what waits is on disk, not in memory.

    Parameters
    ----------
    decode : callable
        Given a source, the file to write what is decoded to, and a number of threads. With processes it has to be
        picklable; where it is of a script's own making, the script needs its `__main__` guard.
    sources : iterable of str, Path or StoredMedia
    folder : str or Path
        For what is decoded and not used yet; what an earlier run left there is deleted.
    workers : int
        Processes; 0 decodes in this one, when a file is asked for.
    deadline_minutes : float
        How long a process may be at one file before it is ended. Where `workers` is 0 a file is given up after that
        time too, unless a decoder hangs at a single packet: this process cannot end itself.
    burst : int, optional
        How many files are decoded when the first of them is asked for, and none before the last one was: for callers
        that need all cores in between. [default: always some ahead]

    Yields
    ------
    iterator of (source, the file that `decode` wrote or why there is none)
        The file is gone when the next one is asked for.

    Raises
    ------
    SettingsError
        If no processes can be started, or `deadline_minutes` is not above 0.
    """
    if not deadline_minutes > 0:
        raise SettingsError(f"deadline_minutes is {deadline_minutes:g}; it has to be above 0")
    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    jobs = ((readable_by(workers, as_source(source)), folder / f"{number}") for number, source in enumerate(sources))
    try:
        if workers == 0:
            decode_here = partial(_decode_here, decode, deadline_minutes)
            yield _results((source, file, partial(decode_here, source, file)) for source, file in jobs)
        else:
            with _Workers(decode, workers, deadline_minutes).started() as decoders:
                yield _results(_ahead(decoders, jobs, workers, burst))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def readable_by(workers: int, source: MediaSource) -> MediaSource:
    """Return a source that so many other processes can read, 0 for this one.

    Raises
    ------
    SettingsError
        If they cannot.
    """
    if workers and isinstance(source, StoredMedia) and source.container.startswith("memory:"):
        raise SettingsError(
            f"{source} is in the memory of this process, where no other one can read it; give workers=0"
        )
    return source


def _decode_here(decode: Decode, deadline_minutes: float, source: MediaSource, file: Path) -> None:
    with time_limit(deadline_minutes):
        decode(source, file, 0)


def _results(
    jobs: Iterable[tuple[MediaSource, Path, Callable[[], None]]],
) -> Generator[tuple[MediaSource, Path | MediaError], None, None]:
    for source, file, finish in jobs:
        try:
            finish()
        except MediaError as error:
            yield source, error
        else:
            yield source, file
        file.unlink(missing_ok=True)
        _note(file).unlink(missing_ok=True)
        # A process that was ended left it.
        shutil.rmtree(fetched_folder(file), ignore_errors=True)


def _note(file: Path) -> Path:
    """Where the process that takes a file up says which one it is."""
    return file.with_name(f"{file.name}.process")


def _decode_there(decode: Decode, source: MediaSource, file: Path, note: Path) -> None:
    """Decode in a process, which says first which one it is."""
    note.write_text(str(os.getpid()))
    decode(source, file, 1)


@dataclass
class _Job:
    source: MediaSource
    file: Path
    future: "ProcessFuture[None] | None" = None
    trials: int = 0

    def is_orphaned(self) -> bool:
        """Tell whether the process that took it up is gone.

        A pool that hears of a process's end before it hears what that was at never finds out.
        """
        try:
            process = int(_note(self.file).read_text())
        except (FileNotFoundError, ValueError):
            return False
        return process not in [each.pid for each in multiprocessing.active_children()]


class _Workers:
    """Processes that decode; where all of them are lost, there are new ones."""

    def __init__(self, decode: Decode, workers: int, deadline_minutes: float) -> None:
        self.decode = decode
        self.workers = workers
        self.deadline_minutes = deadline_minutes
        # A fresh interpreter for each: forking a process whose libraries have threads may lock up. It runs the user's
        # script again only where it has to find something there.
        needs_main = b"__main__" in pickle.dumps(decode)
        self._context = get_context("loky_init_main" if needs_main else "loky")
        self._pool = self._opened()

    def _opened(self) -> ProcessPool:
        return ProcessPool(self.workers, initializer=work_for_parent, context=self._context)

    @contextmanager
    def started(self) -> "Iterator[_Workers]":
        """Wait for the first process, and stop all of them at the end."""
        try:
            self.require_started()
            yield self
        finally:
            self.close()

    def require_started(self) -> None:
        """Wait for the first process.

        Raises
        ------
        SettingsError
            If it does not start.
        """
        try:
            self._pool.schedule(os.getpid).result(timeout=STARTING_SECONDS)
        except (TimeoutError, BrokenProcessPool, ProcessExpired) as error:
            raise SettingsError(
                f"no process for decoding could be started ({type(error).__name__}); a script that hands over "
                'something of its own needs `if __name__ == "__main__":` around its calls, or workers=0'
            ) from error

    def close(self) -> None:
        """End the processes."""
        self._pool.stop()
        self._pool.join()

    def begin(self, job: _Job) -> None:
        """Start to decode a file."""
        try:
            # Counted from when a process takes the file up.
            seconds = 60 * self.deadline_minutes
            _note(job.file).unlink(missing_ok=True)
            task = (self.decode, job.source, job.file, _note(job.file))
            job.future = self._pool.schedule(_decode_there, task, timeout=seconds)
        except RuntimeError:
            # The pool is lost; so is whatever was begun, which `finish` finds out.
            job.future = None

    def finish(self, job: _Job, others: Iterable[_Job]) -> None:
        """Wait until a file is decoded; begin it and the others again if all processes are lost.

        Raises
        ------
        MediaError
            If it cannot be decoded, its process died, or it hangs.
        """
        while True:
            try:
                return _wait(job, self.deadline_minutes)
            except BrokenProcessPool as error:
                # A process that dies without saying at what takes the others along.
                job.trials += 1
                if job.trials == TRIALS:
                    raise GivenUpError(
                        f"{job.source.name} was decoded when the process for it died; convert it"
                    ) from error
                self.close()
                self._pool = self._opened()
                for each in (job, *others):
                    self.begin(each)


class DecodeProcesses:
    """Processes that decode, for callers that come again with other files; one that dies is replaced.

    Parameters
    ----------
    decode : callable
        As `decode_in_processes` takes it.
    workers : int
        How many; at least 1.
    deadline_minutes : float
        How long one may be at one file.
    """

    def __init__(self, decode: Decode, workers: int, deadline_minutes: float = DEADLINE_MINUTES) -> None:
        self._workers = _Workers(decode, workers, deadline_minutes)

    def require_started(self) -> None:
        """Wait for the first one.

        Raises
        ------
        SettingsError
            If it does not start.
        """
        self._workers.require_started()

    def decode(
        self, sources: Iterable[MediaSource], folder: Path, burst: int | None = None
    ) -> Generator[tuple[MediaSource, Path | MediaError], None, None]:
        """Decode files, and return them in their order as `decode_in_processes` does; one caller at a time.

        The folder is the caller's. Who closes this half-way ends what is in work.
        """
        jobs = ((source, folder / f"{number}") for number, source in enumerate(sources))
        return _results(_ahead(self._workers, jobs, self._workers.workers, burst))

    def close(self) -> None:
        """End the processes."""
        self._workers.close()


def _ahead(
    decoders: _Workers, jobs: Iterator[tuple[MediaSource, Path]], workers: int, burst: int | None
) -> Iterator[tuple[MediaSource, Path, Callable[[], None]]]:
    """Keep some files in work, and return them in the order in which they were begun."""
    begun: deque[_Job] = deque()
    taken = largest = 0
    try:
        while True:
            ahead = FILES_AHEAD * workers
            if largest:
                # Of small files many may wait, so that a network that is busy with a batch finds the next one ready.
                ahead = max(ahead, min(MOST_FILES_AHEAD * workers, MAX_WAITING_BYTES // largest))
            if burst:
                ahead = 0 if begun else min(ahead, burst - taken % burst)
            while len(begun) < ahead and (len(begun) < workers or _count_bytes(begun) < MAX_WAITING_BYTES):
                source, file = next(jobs, (None, None))
                if source is None or file is None:
                    break
                begun.append(_Job(source, file))
                decoders.begin(begun[-1])
            if not begun:
                return
            job = begun.popleft()
            taken += 1
            largest = max(largest, _size(job))
            yield job.source, job.file, partial(decoders.finish, job, begun)
    finally:
        for job in begun:
            if job.future is not None:
                job.future.cancel()


def _count_bytes(begun: Iterable[_Job]) -> int:
    return sum(map(_size, begun))


def _size(job: _Job) -> int:
    """Return how many bytes are decoded of a file so far."""
    try:
        return job.file.stat().st_size
    except FileNotFoundError:
        return 0


def _wait(job: _Job, deadline_minutes: float) -> None:
    """Wait until a file is decoded.

    Raises
    ------
    MediaError
        If it cannot be, its process died, or it hangs.
    BrokenProcessPool
        If there are no processes any more.
    """
    if job.future is None:
        raise BrokenProcessPool
    # Counted in checks, as the clock also runs while the machine sleeps.
    size_bytes, checks, lost = -1, 0, 0
    while True:
        try:
            return job.future.result(timeout=CHECK_SECONDS)
        except TimeoutError as error:
            if job.future.done():
                if error.args[:1] != ("Task timeout",):
                    raise
                raise give_up_error(job.source.name, deadline_minutes) from None
            before, size_bytes = size_bytes, job.file.stat().st_size if job.file.exists() else -1
            checks = checks + 1 if size_bytes == before >= 0 else 0
            lost = lost + 1 if job.is_orphaned() else 0
            if lost == LOST_CHECKS:
                job.future.cancel()
                raise _died(job, "of what, is not known") from None
            if checks * CHECK_SECONDS > STALLED_SECONDS:
                job.future.cancel()
                raise GivenUpError(
                    f"{job.source.name} gave nothing for {STALLED_SECONDS / 60:g} minutes while it was decoded; "
                    "convert it"
                ) from None
        except BrokenProcessPool:
            raise
        except ProcessExpired as error:
            raise _died(job, _cause(error.exitcode)) from error
        except RuntimeError as error:
            # That is how a pool says that it cannot go on; an error of `decode` itself has its own type or words.
            if "Unexpected error within the Pool" in str(error):
                raise BrokenProcessPool from error
            raise


def _died(job: _Job, cause: str) -> GivenUpError:
    return GivenUpError(
        f"{job.source.name} made the process that decoded it die ({cause}); convert it, or give the machine more memory"
    )


def _cause(exit_code: int) -> str:
    return signal.Signals(-exit_code).name if exit_code < 0 else f"exit code {exit_code}"
