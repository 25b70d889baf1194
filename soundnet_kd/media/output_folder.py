"""The folder that a command writes its results to: one of this machine, or one under an address.

Nothing is written under an address bit by bit. Files are made in a work folder of this machine and put there whole.
What is there counts, so that the work folder may be lost at any moment. A store has no locks that a killed process
would give back: what several runs write there at the same time has to be the same, or is claimed by the first of them.
"""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from soundnet_kd.errors import GivenUpError, MissingError, RunConflictError, SettingsError, SoundNetKDError
from soundnet_kd.media.remote import WEB, describe_object, ends_the_run, fetch_object, list_objects, protocol_of
from soundnet_kd.media.stored import StoredMedia, address_of, local_path
from soundnet_kd.media.uploading import create_object, put_object, remove_object
from soundnet_kd.storage import LOCK, atomic_write, lock_file, make_folder
from soundnet_kd.system.cache_folders import cache_folder

WORK_FOLDER = "outputs"
"""Name of the folder in the user's cache for work folders, each of which is there as long as its command runs."""

PART_PREFIX = "soundnet_kd-part-"
"""What the names of folders begin with in which single files are made."""
LEFT_SECONDS = 7 * 24 * 3600.0
"""No file takes so long; one that began before was left by a process that was killed."""

PARTS_SUFFIX = ".parts"
"""What the name of a folder ends with that holds the parts of a file."""


class OutputFolder:
    """A folder that results are written to; this one is of this machine, where files need no way to it.

    Attributes
    ----------
    path : Path
        Where files are made.
    index_folder : Path or None
        What is put where it is kept what tars hold; None for the user's cache.
    """

    def __init__(self, path: str | Path, index_folder: str | None = None) -> None:
        self.path = Path(path)
        self.index_folder = None if index_folder is None else self.path / index_folder

    def __str__(self) -> str:
        """Return where the results are in the end."""
        return str(self.path)

    @property
    def place(self) -> Path:
        """Where the results are in the end; an address is understood as a path too."""
        return Path(str(self))

    def names(self, below: str) -> set[str]:
        """Return the names of the files in a folder of it."""
        folder = self.path / below
        return {file.name for file in folder.iterdir()} if folder.is_dir() else set()

    def fetch(self, *names: str) -> None:
        """See that files are in `path` as they are there, and not, where there are none."""

    def publish(self, *names: str) -> None:
        """Put files there as they are in `path`, and remove those that are not."""

    def claim(self, name: str) -> None:
        """Put a file there unless another run has; in `path` is what is there then."""

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Return the path for a file, which is there, if it was written, when the block has ended well."""
        yield self.path / name

    def absolute(self) -> "OutputFolder":
        """Return it as other processes find it."""
        return OutputFolder(self.path.absolute())


class StoredFolder(OutputFolder):
    """A folder under an address, with a work folder of this machine."""

    def __init__(self, address: str, path: str | Path) -> None:
        super().__init__(path)
        self.address = address.rstrip("/")

    def __str__(self) -> str:
        """Return the address."""
        return self.address

    def names(self, below: str) -> set[str]:
        """Return the names of the files in a folder of it."""
        return {name for name in list_objects(f"{self.address}/{below}", may_miss=True) if "/" not in name}

    def has(self, name: str) -> bool:
        """Return whether there is a file of this name."""
        with ends_the_run():
            try:
                describe_object(StoredMedia(f"{self.address}/{name}"))
            except MissingError:
                return False
        return True

    def fetch(self, *names: str) -> None:
        """See that files are in `path` as they are there, and not, where there are none."""
        for name in names:
            try:
                with atomic_write(self.path / name) as copy:
                    fetch_object(StoredMedia(f"{self.address}/{name}"), copy)
            except MissingError:
                (self.path / name).unlink(missing_ok=True)
            except GivenUpError as error:
                raise SettingsError(str(error)) from error

    def publish(self, *names: str) -> None:
        """Put files there as they are in `path`, and remove those that are not."""
        for name in names:
            if (self.path / name).exists():
                put_object(self.path / name, f"{self.address}/{name}")
            else:
                remove_object(f"{self.address}/{name}")

    def claim(self, name: str) -> None:
        """Put a file there unless another run has; in `path` is what is there then."""
        create_object((self.path / name).read_bytes(), f"{self.address}/{name}")
        self.fetch(name)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Return the path for a file, which is there, if it was written, when the block has ended well."""
        # On other machines there is no work folder.
        folder = self.path if self.path.is_dir() else _folder_for_parts()
        with TemporaryDirectory(prefix=PART_PREFIX, dir=folder) as own:
            path = Path(own) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            yield path
            if path.exists():
                put_object(path, f"{self.address}/{name}")

    def absolute(self) -> OutputFolder:
        """Return it as other processes find it."""
        return self


def _folder_for_parts() -> Path | None:
    """Return where a machine without a work folder makes files; None for the system's, where nothing can be kept.

    What processes that were killed left there long ago is removed.
    """
    folder = cache_folder() / WORK_FOLDER
    try:
        make_folder(folder)
    except SettingsError:
        return None
    for left in folder.glob(f"{PART_PREFIX}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > LEFT_SECONDS:
                shutil.rmtree(left)
    return folder


@contextmanager
def output_folder(
    out: str | Path, job: str = "", names: tuple[str, ...] = (), index_folder: str | None = None
) -> Iterator[OutputFolder]:
    """Return the folder that results are written to.

    Parameters
    ----------
    out : str or Path
        A path, or an address.
    job : str, optional
        One of several that write there at the same time, each with a work folder of its own.
    names : tuple of str
        Files that are read: they are fetched.
    index_folder : str, optional
        Name of the folder in it that keeps what tars hold; under an address the user's cache does.

    Raises
    ------
    SettingsError
        If nothing can be written there.
    RunConflictError
        If the same run is at work on this machine.
    """
    address = address_of(out)
    if address is None:
        yield OutputFolder(local_path(out), index_folder)
        return
    with _held(address, address, job or "all") as folder:
        folder.fetch(*names)
        yield folder


@contextmanager
def output_file(address: str, beside: str) -> Iterator[Path]:
    """Return the path for a file that is put under an address when the block has ended well, with one beside it.

    What a command that is killed has written on this machine, or fails, is found there when it is started again.

    Parameters
    ----------
    address : str
    beside : str
        What the other one's name has behind that of the file; there may be none.

    Raises
    ------
    SettingsError
        If nothing can be written there.
    RunConflictError
        If the same run is at work on this machine.
    """
    above, _, name = address.rpartition("/")
    if not name:
        raise SettingsError(f"{address} is a folder; --out names the file to write, such as {address}features.h5")
    with _held(above, address, "file", keep=True) as folder:
        there = folder.has(name)
        if there:
            folder.fetch(name, f"{name}{beside}")
        try:
            yield folder.path / name
        finally:
            # It says why there may be no file.
            if not there and (folder.path / f"{name}{beside}").exists():
                folder.publish(f"{name}{beside}")
        if not there:
            folder.publish(name)


@contextmanager
def _held(address: str, what: str, job: str, keep: bool = False) -> Iterator[StoredFolder]:
    """Hold a work folder, which is empty at first, unless its run is to `keep` what it has, and gone in the end."""
    from filelock import Timeout

    if protocol_of(address) in WEB:
        raise SettingsError(f"{what} is on a web server, which takes no files; give --out a path, or s3://, gs:// …")
    own = sha256(what.encode()).hexdigest()[:16]
    folder = StoredFolder(address, cache_folder() / WORK_FOLDER / f"{own}-{job}")
    make_folder(folder.path.parent)
    try:
        with lock_file(folder.path.with_name(f"{LOCK}-{folder.path.name}"), wait=False):
            if not keep:
                shutil.rmtree(folder.path, ignore_errors=True)
            make_folder(folder.path)
            try:
                yield folder
            except BaseException:
                if not keep:
                    shutil.rmtree(folder.path, ignore_errors=True)
                raise
            shutil.rmtree(folder.path, ignore_errors=True)
    except Timeout as error:
        raise RunConflictError(f"another run on this machine writes to {what}; wait for its end, or stop it") from error
    except SoundNetKDError as error:
        told = str(error).replace(str(folder.path), folder.address)
        # What is kept lies here, where it can be removed.
        if told == str(error) or (keep and PARTS_SUFFIX in told):
            raise
        raise type(error)(told) from error
