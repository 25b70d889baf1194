"""HDF5 files, opened where a disk has no locks too, and handed to other processes by their path."""

import os
from pathlib import Path
from typing import Any

import h5py

from soundnet_kd.system.machine_errors import NO_LOCKS, errno_of, machine_error


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


class OpenHdf5:
    """A file that is open for reading in every process that wants it.

    An HDF5 file that is open cannot be handed over: a process that gets this one, by fork or by pickle, opens it anew.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    MachineError, OSError
        As `open_hdf5`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self._closed = False
        self._open()

    @property
    def file(self) -> h5py.File:
        """The file, of this process."""
        if self._process != os.getpid() and not self._closed:
            self._open()
        return self._file

    def close(self) -> None:
        """Close it, for good."""
        self._closed = True
        if self._process == os.getpid():
            self._file.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_closed": self._closed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()
        if self._closed:
            self._file.close()

    def _open(self) -> None:
        self._file, self._process = open_hdf5(self.path), os.getpid()
