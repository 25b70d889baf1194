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
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

from soundnet_kd.errors import GivenUpError, MediaError, SoundNetKDError
from soundnet_kd.media.decode_pool import DEADLINE_MINUTES, FILES_AHEAD, MAX_WAITING_BYTES, DecodeProcesses
from soundnet_kd.media.stored import MediaSource
from soundnet_kd.shards.shard import Shard, ShardResult, ShardWorker
from soundnet_kd.storage import name_partials_after, versions
from soundnet_kd.system.machine_errors import explain_error, machine_error

PIECE_BYTES = 32 * 2**20
"""What is decoded travels in pieces of at most this size, for which any object store has room."""
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


def decode_there(
    decode: bytes, source: Path, deadline_minutes: float
) -> Generator[bytes | SoundNetKDError, None, None]:
    """Decode a file, in a process of its own, and return what that wrote, piece by piece, or why it wrote nothing.

    Parameters
    ----------
    decode : bytes
        A pickled `Decode`.
    source : Path or StoredMedia
    deadline_minutes : float
    """
    process = _decode_process(decode, deadline_minutes)
    with TemporaryDirectory(prefix=FOLDER_PREFIX, ignore_cleanup_errors=True) as folder:
        try:
            for _, decoded in process.decode([source], Path(folder)):
                if isinstance(decoded, MediaError):
                    raise decoded
                with decoded.open("rb") as handle:
                    while piece := handle.read(PIECE_BYTES):
                        yield piece
        except Exception as error:
            yield as_value(error)


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
    """The decoding of a file, anywhere in the cluster.

    Attributes
    ----------
    source : Path or StoredMedia
    pieces : ray.ObjectRefGenerator
    trials : int
        How often it was begun.
    """

    source: MediaSource
    pieces: Any
    trials: int = 1


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
        Processes of its own that decode; with 0, Ray's tasks do, anywhere.
    burst : int, optional
        For its own processes, as `decode_in_processes` takes it.
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
                self._own.require_started()
        except Exception as error:
            return as_value(error)
        return None

    def do(self, shard: Shard, following: Shard | None, at_once: int) -> ShardResult | SoundNetKDError:
        """Do a shard, or return why it cannot be done.

        Parameters
        ----------
        shard : Shard
        following : Shard, optional
            The one that comes after it, most likely: Ray's tasks decode its first files while this one ends.
        at_once : int
            So many files at most are decoded at a time by Ray's tasks.
        """
        assert self._worker is not None
        # What an error has left in work may still write there.
        with TemporaryDirectory(prefix=FOLDER_PREFIX, ignore_cleanup_errors=True) as folder:
            decoded = (
                self._decoded(shard, following, at_once, Path(folder))
                if self._own is None
                else self._decoded_here(self._own, shard, Path(folder))
            )
            try:
                return self._worker.do(shard, decoded)
            except Exception as error:
                return as_value(error)
            finally:
                decoded.close()

    def _decoded_here(
        self, own: DecodeProcesses, shard: Shard, folder: Path
    ) -> Generator[Path | MediaError, None, None]:
        """Decode files in processes of this machine, in bursts that end with the shard."""
        with closing(own.decode(shard.sources, folder, self._burst)) as files:
            for _, file in files:
                yield file

    def _decoded(
        self, shard: Shard, following: Shard | None, at_once: int, folder: Path
    ) -> Generator[Path | MediaError, None, None]:
        """Have files decoded, some ahead, and return them in their order; a file is gone when the next is asked for."""
        if self._ahead_for != shard.name:
            _cancel(self._ahead)
            self._ahead.clear()
        begun = self._ahead
        waiting = deque(shard.sources)
        for _ in begun:
            waiting.popleft()
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
            self._begin_some(waiting, begun, at_once)
            if not _is_finished(begun[0]):
                _wait_for_one(begun)
                continue
            try:
                self._fetch(begun[0], file)
            except _LostError:
                begun[0] = self._again(begun[0])
                continue
            except MediaError as error:
                begun.popleft()
                return error
            begun.popleft()
            self._largest = max(self._largest, file.stat().st_size)
            return file

    def _begin_some(self, waiting: deque[MediaSource], begun: deque[_Task], at_once: int) -> None:
        ahead = min(FILES_AHEAD * at_once, max(1, WAITING_BYTES // max(1, self._largest)))
        in_work = sum(not _is_finished(task) for task in begun)
        while waiting and in_work < at_once and len(begun) < ahead:
            source = waiting.popleft()
            begun.append(_Task(source, self._submit(source)))
            in_work += 1

    def _submit(self, source: MediaSource) -> Any:
        return _remote_decode().remote(self._decode, source, self._deadline_minutes)

    def _again(self, task: _Task) -> _Task:
        return _Task(task.source, self._submit(task.source), task.trials + 1)

    def _fetch(self, task: _Task, file: Path) -> None:
        """Write what is decoded to a file of this process.

        Raises
        ------
        SoundNetKDError
            That was returned in its place.
        _LostError
            If it is lost with a process or a machine.
        """
        import ray
        from ray.exceptions import RayError, RayTaskError

        try:
            with file.open("wb") as handle:
                for piece in task.pieces:
                    content = ray.get(piece)
                    if isinstance(content, SoundNetKDError):
                        raise content
                    handle.write(content)
        except RayTaskError as error:
            # Not of the file: this package is not there, or is a wrong one.
            raise as_value(error.as_instanceof_cause()) from error
        except RayError as error:
            if task.trials < TRIALS:
                raise _LostError from error
            raise GivenUpError(
                f"{task.source.name} was decoded {TRIALS} times when the process or the machine for it was lost; "
                "convert it, or give the machines more memory"
            ) from error


class _LostError(Exception):
    """What was decoded is lost with a process or a machine."""


@cache
def _remote_decode() -> Any:
    import ray

    # What is lost is begun again here, where it can be counted; Ray itself would do it without end.
    return ray.remote(decode_there).options(num_cpus=1, max_retries=0, num_returns="streaming")


def _is_finished(task: _Task) -> bool:
    import ray

    return bool(ray.wait([task.pieces.completed()], timeout=0, fetch_local=False)[0])


def _wait_for_one(begun: Sequence[_Task]) -> None:
    """Wait until one of the files in work is decoded, at most for some seconds."""
    import ray

    in_work = [task.pieces.completed() for task in begun if not _is_finished(task)]
    if in_work:
        ray.wait(in_work, timeout=CHECK_SECONDS, fetch_local=False)


def _cancel(tasks: Sequence[_Task]) -> None:
    import ray

    for task in tasks:
        with suppress(Exception):
            ray.cancel(task.pieces, force=True)
