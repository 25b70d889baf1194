"""HDF5 files, opened where a disk has no locks too, and handed to other processes by their path."""

import math
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from soundnet_kd.system.machine_errors import NO_LOCKS, errno_of, machine_error

Answer = TypeVar("Answer")

NOBODY = -1
"""No process has this number."""
COPIED_NUMBERS = 2**20
"""Rows that wait go from one file to the other in blocks of about so many numbers."""


def open_hdf5(path: str | Path, mode: str = "r") -> h5py.File:
    """Open a file; on a disk without locks it goes without one.

    Nothing is lost by that: files are read when they are whole, and written where nobody else looks.

    Raises
    ------
    MachineError
        If the machine keeps it from being opened.
    OSError
        If it is no HDF5 file, or damaged.
    """
    path = Path(path)
    try:
        try:
            return h5py.File(path, mode)
        except OSError as error:
            if errno_of(error) not in NO_LOCKS:
                raise
            return h5py.File(path, mode, locking=False)
    except OSError as error:
        translated = machine_error(error, path)
        if translated is None:
            raise
        raise translated from error


class FetchedFile(Protocol):
    """A file of which parts have to be fetched; reading it fails instead of waiting, where it is told to."""

    def wait(self, waits: bool) -> None:
        """Say whether reading waits for what has to be fetched."""

    def is_missing(self) -> bool:
        """Return whether something has to be fetched that was to be read."""

    def fetch_missing(self) -> None:
        """Fetch that; it is at hand then."""

    def drop(self) -> None:
        """Let go of what is at hand."""


class Openable(Protocol):
    """What is opened as a file and is none of this machine; picklable."""

    def open(self) -> FetchedFile:
        """Open it for reading."""


class OpenHdf5:
    """A file that is open for reading in every process that wants it.

    An HDF5 file that is open cannot be handed over: a process that gets this one, by fork or by pickle, opens it anew.

    Parameters
    ----------
    place : str, Path or Openable

    Raises
    ------
    MachineError, OSError
        As `open_hdf5`.
    """

    def __init__(self, place: str | Path | Openable) -> None:
        self.place = Path(place).absolute() if isinstance(place, str | Path) else place
        self._closed = False
        self._open()

    @property
    def file(self) -> h5py.File:
        """The file, of this process."""
        if self._process != os.getpid() and not self._closed:
            self._open()
        return self._file

    def reading(self, action: Callable[[], Answer]) -> Answer:
        """Return what an action reads of `file`; it is done again where something had to be fetched for it.

        h5py lets one thread at a time do anything, so that nothing is waited for while it reads: what is fetched comes
        through other threads, where Python may find something of h5py's to close. Nor is a file read on of which HDF5
        could not read something.
        """
        _ = self.file
        fetched = self._fetched
        if fetched is None:
            return action()
        while True:
            try:
                answer = action()
            except Exception:
                if not fetched.is_missing():
                    raise
            else:
                if not fetched.is_missing():
                    fetched.drop()
                    return answer
            # If it cannot be fetched, whoever reads next opens it anew.
            self._process = NOBODY
            self._close()
            fetched.fetch_missing()
            self._open_fetched(fetched)

    def close(self) -> None:
        """Close it, for good."""
        self._closed = True
        if self._process == os.getpid():
            self._file.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"place": self.place, "_closed": self._closed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()
        if self._closed:
            self._file.close()

    def _open(self) -> None:
        self._fetched: FetchedFile | None = None
        if isinstance(self.place, Path):
            self._file, self._process = open_hdf5(self.place), os.getpid()
        else:
            self._open_fetched(self.place.open())

    def _open_fetched(self, fetched: FetchedFile) -> None:
        fetched.wait(False)
        while True:
            try:
                self._file = h5py.File(fetched, "r")
            except Exception:
                if not fetched.is_missing():
                    raise
                fetched.fetch_missing()
            else:
                break
        # One that is still open when Python ends would be asked for something when nothing can answer any more.
        self._close = weakref.finalize(self, self._file.close)
        self._fetched, self._process = fetched, os.getpid()


class WaitingRows:
    """The rows of an array, which wait on the disk, not in memory, until all of them are there.

    Parameters
    ----------
    file : binary file
        Empty, open for reading and writing, on a disk: where they wait.
    like : (rows, ...) array
        What all rows are like; it is not taken yet.
    """

    def __init__(self, file: IO[bytes], like: NDArray[Any]) -> None:
        self.count = 0
        self.row_shape: tuple[int, ...] = like.shape[1:]
        self._kind = like.dtype
        self._file = file

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows of the same shape."""
        self._file.write(rows.astype(self._kind, copy=False).tobytes())
        self.count += len(rows)

    def store(self, file: h5py.File, name: str) -> None:
        """Write all rows to a file, as an array of this name, and close the one where they waited."""
        array = file.create_dataset(name, (self.count, *self.row_shape), self._kind)
        numbers = math.prod(self.row_shape)
        together = max(1, COPIED_NUMBERS // max(1, numbers))
        self._file.seek(0)
        for first in range(0, self.count, together):
            rows = min(together, self.count - first)
            block = np.fromfile(self._file, self._kind, rows * numbers)
            array[first : first + rows] = block.reshape(rows, *self.row_shape)
        self._file.close()
