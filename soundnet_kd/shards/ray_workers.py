"""What Ray runs on the machines of a cluster: processes with networks that do shards, tasks that decode, a look around.

Nothing here raises what a sound, a video or a machine is to blame for: it is a value of its own.
"""

import os
import pickle
import platform
import socket
import time
import traceback
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.errors import GivenUpError, MediaError, SoundNetKDError
from soundnet_kd.media.decode_pool import DEADLINE_MINUTES, FILES_AHEAD, MAX_WAITING_BYTES, DecodeProcesses
from soundnet_kd.media.stored import MediaSource
from soundnet_kd.shards.shard import Shard, ShardResult, ShardWorker
from soundnet_kd.storage import name_partials_after, versions
from soundnet_kd.system.machine_errors import explain_error, machine_error

PIECE_BYTES = 32 * 2**20
"""What is decoded travels in pieces of at most this size, for which any object store has room."""
FILES_PER_TASK = 64
"""So many files at most are decoded by one task, and none more than come in one piece: each costs Ray milliseconds."""
WAITING_BYTES = MAX_WAITING_BYTES // 4
"""Beyond this size of what is decoded and not used yet, a process with networks has no more than one file decoded."""
TRIALS = 5
"""A file that was in work so often when a process or a machine was lost is given up."""
CHECK_SECONDS = 5.0
"""How often it is checked how far the files in work are."""
FOLDER_PREFIX = "soundnet-kd-decoded-"
SAME_VERSIONS = ("soundnet-kd", "torch", "torchvision", "av")
"""What has to be the same everywhere for the same file to come out of a shard, beside Python."""


@dataclass(frozen=True)
class Look:
    """What a machine has.

    Attributes
    ----------
    name : str
        Its own name.
    versions : mapping from name to version
    unseen : tuple of Path
        Files of those asked for that it does not see.
    """

    name: str
    versions: Mapping[str, str]
    unseen: tuple[Path, ...]


def look_around(files: Sequence[Path]) -> Look:
    """Return what the machine has on which this runs."""
    return Look(socket.gethostname(), library_versions(), tuple(file for file in files if not file.exists()))


def library_versions() -> dict[str, str]:
    """Return the versions that have to be the same everywhere; of PyTorch's, builds for other devices are."""
    found = versions()
    python = ".".join(platform.python_version_tuple()[:2])
    return {"Python": python} | {name: found[name].partition("+")[0] for name in SAME_VERSIONS}


def as_value(error: Exception) -> SoundNetKDError:
    """Return an error as one that can be handed from machine to machine, in one line; --debug shows where it was."""
    known = error if isinstance(error, SoundNetKDError) else machine_error(error)
    value = type(known)(str(known)) if known is not None else SoundNetKDError(explain_error(error))
    value.add_note("".join(traceback.format_exception(error)))
    return value


Piece = NDArray[np.uint8] | SoundNetKDError | None
"""Some of what is decoded of a file, as bytes; None ends the file, and so does why there is nothing of it."""


def decode_there(
    decode: bytes, sources: Sequence[MediaSource], deadline_minutes: float
) -> Generator[list[Piece], None, None]:
    """Decode files in a process of their own, and return what that wrote: lists of pieces, the files in their order.

    What is not a file's fault ends it.

    Parameters
    ----------
    decode : bytes
        A pickled `Decode`.
    sources : sequence of Path or StoredMedia
    deadline_minutes : float
        For each.
    """
    pieces: list[Piece] = []
    size_bytes = 0
    with TemporaryDirectory(prefix=FOLDER_PREFIX) as folder:
        try:
            for _, decoded in _decode_process(decode, deadline_minutes).decode(sources, Path(folder)):
                for piece in _pieces_of(decoded):
                    if isinstance(piece, np.ndarray):
                        if size_bytes and size_bytes + len(piece) > PIECE_BYTES:
                            yield pieces
                            pieces, size_bytes = [], 0
                        size_bytes += len(piece)
                    pieces.append(piece)
        except Exception as error:
            pieces.append(as_value(error))
        yield pieces


def _pieces_of(decoded: Path | MediaError) -> Iterator[Piece]:
    if isinstance(decoded, MediaError):
        yield as_value(decoded)
        return
    with decoded.open("rb") as handle:
        while len(piece := np.fromfile(handle, np.uint8, PIECE_BYTES)):
            yield piece
    yield None


@dataclass(frozen=True)
class Pickled:
    """A `Decode` that is unpickled, with all that it imports, only in the process that decodes."""

    decode: bytes

    def __call__(self, source: MediaSource, file: Path, threads: int) -> None:
        """Decode a file."""
        _unpickled(self.decode)(source, file, threads)


@cache
def _unpickled(decode: bytes) -> Any:
    return pickle.loads(decode)


_processes: dict[tuple[bytes, float], DecodeProcesses] = {}


def _decode_process(decode: bytes, deadline_minutes: float) -> DecodeProcesses:
    """Return the process that decodes for this one, which Ray uses for one file after the other."""
    key = decode, deadline_minutes
    if key not in _processes:
        while _processes:
            _processes.popitem()[1].close()
        _remove_left_folders()
        _processes[key] = DecodeProcesses(Pickled(decode), 1, deadline_minutes)
    return _processes[key]


def _remove_left_folders() -> None:
    """Remove what processes that were killed left here, long ago."""
    for folder in Path(gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > 2 * 60 * DEADLINE_MINUTES:
                rmtree(folder)


@dataclass
class _Task:
    """The decoding of some files, one after the other, anywhere in the cluster.

    Attributes
    ----------
    sources : deque of Path or StoredMedia
        Those of which the pieces are not taken yet.
    answers : ray.ObjectRefGenerator
    trials : int
        How often it was begun.
    pieces : deque of Piece
        That have come, and are not taken yet.
    """

    sources: deque[MediaSource]
    answers: Any
    trials: int = 1
    pieces: deque[Piece] = field(default_factory=deque)

    def take(self) -> Piece:
        """Return the next piece."""
        import ray

        while not self.pieces:
            self.pieces.extend(ray.get(next(self.answers)))
        return self.pieces.popleft()


class NetworkProcess:
    """A process in which networks are loaded and shards are done; an actor of Ray's.

    Parameters
    ----------
    work : bytes
        A pickled `ShardWork`.
    threads : int
        That the networks compute with.
    deadline_minutes : float
        For decoding one file.
    decoders : int
        Processes of its own that decode in bursts, for networks on all CPUs of its machine; with 0, Ray's tasks decode
        anywhere.
    burst : int, optional
        As in `decode_in_processes`, for these.
    """

    def __init__(
        self, work: bytes, threads: int, deadline_minutes: float, decoders: int = 0, burst: int | None = None
    ) -> None:
        # Before anything imports PyTorch, since Ray takes 1 for a process that asks for no CPU.
        os.environ["OMP_NUM_THREADS"] = str(threads)
        # One that is cut off from the others may still write what another one has been given since.
        name_partials_after(f"{socket.gethostname()}-{os.getpid()}")
        self._work = work
        self._deadline_minutes = deadline_minutes
        self._decoders = decoders
        self._burst = burst
        self._own: DecodeProcesses | None = None
        self._held = ExitStack()
        self._worker: ShardWorker | None = None
        self._decode = b""
        self._largest = 0
        self._ahead_for = ""
        self._ahead: deque[_Task] = deque()

    def start(self) -> SoundNetKDError | None:
        """Load the networks, or return why they cannot be."""
        try:
            work = pickle.loads(self._work)
            self._decode = pickle.dumps(work.decode)
            self._worker = self._held.enter_context(work.start())
            if self._decoders:
                _remove_left_folders()
                self._own = DecodeProcesses(Pickled(self._decode), self._decoders, self._deadline_minutes)
        except Exception as error:
            return as_value(error)
        return None

    def do(self, shard: Shard, following: Shard | None, at_once: int) -> ShardResult | SoundNetKDError:
        """Do a shard, or return why it cannot be done.

        Parameters
        ----------
        shard : Shard
        following : Shard, optional
            The one that comes after it, most likely: its first files are decoded while this one ends.
        at_once : int
            So many files at most are decoded at a time.
        """
        assert self._worker is not None
        with TemporaryDirectory(prefix=FOLDER_PREFIX) as folder:
            decoded = (
                self._decoded(shard, following, at_once, Path(folder))
                if self._own is None
                else (file for _, file in self._own.decode(shard.sources, Path(folder), self._burst))
            )
            try:
                return self._worker.do(shard, decoded)
            except Exception as error:
                return as_value(error)
            finally:
                decoded.close()

    def _decoded(
        self, shard: Shard, following: Shard | None, at_once: int, folder: Path
    ) -> Generator[Path | MediaError, None, None]:
        """Have files decoded, some ahead, and return them in their order; a file is gone when the next is asked for."""
        if self._ahead_for != shard.name:
            _cancel(self._ahead)
            self._ahead.clear()
        begun = self._ahead
        waiting = deque(shard.sources[sum(len(task.sources) for task in begun) :])
        if following is not None:
            waiting += following.sources
        self._ahead_for = "" if following is None else following.name
        asked = 0
        try:
            for number in range(len(shard)):
                asked += 1
                file = folder / f"{number}"
                yield self._next(waiting, begun, at_once, file)
                file.unlink(missing_ok=True)
        finally:
            if asked < len(shard):
                _cancel(begun)
                begun.clear()

    def _next(self, waiting: deque[MediaSource], begun: deque[_Task], at_once: int, file: Path) -> Path | MediaError:
        """Wait for the next file, write what is decoded of it, and keep others in work meanwhile."""
        while True:
            if not begun or not begun[0].pieces:
                self._begin_some(waiting, begun, at_once)
                if not _is_finished(begun[0]):
                    _wait_for_one(begun)
                    continue
            try:
                self._fetch(begun[0], file)
            except _LostError:
                self._begin_again(begun)
                continue
            except MediaError as error:
                _drop_first(begun)
                return error
            _drop_first(begun)
            self._largest = max(self._largest, file.stat().st_size)
            return file

    def _begin_some(self, waiting: deque[MediaSource], begun: deque[_Task], at_once: int) -> None:
        # Of the size of the first files, nothing is known.
        count = max(1, min(FILES_PER_TASK, PIECE_BYTES // self._largest)) if self._largest else 1
        ahead = max(1, FILES_AHEAD // count) * at_once
        ahead = min(ahead, max(1, WAITING_BYTES // max(1, count * self._largest)))
        in_work = sum(not _is_finished(task) for task in begun)
        while waiting and in_work < at_once and len(begun) < ahead:
            sources = [waiting.popleft() for _ in range(min(count, len(waiting)))]
            begun.append(self._begun(sources))
            in_work += 1

    def _begun(self, sources: Sequence[MediaSource], trials: int = 1) -> _Task:
        answers = _remote_decode().remote(self._decode, sources, self._deadline_minutes)
        return _Task(deque(sources), answers, trials)

    def _begin_again(self, begun: deque[_Task]) -> None:
        """Begin again what is left of the first task, one by one, since one of its files may be the cause."""
        lost = begun.popleft()
        begun.extendleft([self._begun([source], lost.trials + 1) for source in lost.sources][::-1])

    def _fetch(self, task: _Task, file: Path) -> None:
        """Write what is decoded of a task's next file to a file of this process.

        Raises
        ------
        SoundNetKDError
            That was returned in its place.
        _LostError
            If it is lost with a process or a machine.
        """
        from ray.exceptions import RayError, RayTaskError

        try:
            with file.open("wb") as handle:
                while (piece := task.take()) is not None:
                    if isinstance(piece, SoundNetKDError):
                        raise piece
                    handle.write(piece.data)
        except RayTaskError as error:
            # Not of the file: this package is not there, or is a wrong one.
            raise as_value(error.as_instanceof_cause()) from error
        except RayError as error:
            if task.trials < TRIALS:
                raise _LostError from error
            raise GivenUpError(
                f"{task.sources[0].name} was decoded {TRIALS} times when the process or the machine for it was lost; "
                "convert it, or give the machines more memory"
            ) from error


class _LostError(Exception):
    """What was decoded is lost with a process or a machine."""


@cache
def _remote_decode() -> Any:
    import ray

    # What is lost is begun again here, where it can be counted; Ray itself would do it without end.
    return ray.remote(decode_there).options(num_cpus=1, max_retries=0, num_returns="streaming")


def _drop_first(begun: deque[_Task]) -> None:
    """Take a file from the first task, of which it was the next, and the task after its last one."""
    begun[0].sources.popleft()
    if not begun[0].sources:
        begun.popleft()


def _is_finished(task: _Task) -> bool:
    import ray

    return bool(ray.wait([task.answers.completed()], timeout=0, fetch_local=False)[0])


def _wait_for_one(begun: Sequence[_Task]) -> None:
    """Wait until one of the tasks in work is done, at most for some seconds."""
    import ray

    in_work = [task.answers.completed() for task in begun if not _is_finished(task)]
    if in_work:
        ray.wait(in_work, timeout=CHECK_SECONDS, fetch_local=False)


def _cancel(tasks: Sequence[_Task]) -> None:
    import ray

    for task in tasks:
        with suppress(Exception):
            ray.cancel(task.answers, force=True)
