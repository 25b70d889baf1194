"""Sounds and videos that are no files of their own on this machine: members of tars, objects under an address."""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from soundnet_kd.errors import GivenUpError, MediaError
from soundnet_kd.storage import escape_name

CHUNK_BYTES = 8 * 2**20
"""So much is asked for at once; less than that is fetched again where a connection breaks off."""
MAX_NAME_BYTES = 200
"""A file's name has at most 255; an object's may have more."""

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(?=[^/])")


@dataclass(frozen=True, slots=True)
class StoredMedia:
    """A sound or video that is opened where it is stored, by `local_file`.

    Attributes
    ----------
    container : str
        The tar that it is a member of, a file's path or an address that fsspec knows; for an object of its own its
        address.
    member : str
        Its name in the tar; empty for an object of its own.
    offset, size : int
        Where its bytes begin, and how many they are; -1 where that is not known before it is opened.
    version : str
        What tells the container from another one that lay there before: an ETag, or when it was changed.
    """

    container: str
    member: str = ""
    offset: int = -1
    size: int = -1
    version: str = ""

    def __str__(self) -> str:
        """Return the address."""
        return self.address

    @property
    def address(self) -> str:
        """Where it lies, as fsspec writes it: tar://clip.mp4::s3://bucket/00001.tar."""
        return f"tar://{self.member}::{self.container}" if self.member else self.container

    @property
    def name(self) -> str:
        """The last part of its address, without what a server is asked for with it."""
        return PurePosixPath(self.member or self.container.partition("?")[0]).name

    @property
    def stem(self) -> str:
        """Its name without the ending."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The ending of its name, such as .mp4."""
        return PurePosixPath(self.name).suffix


MediaSource = Path | StoredMedia
"""Where a sound or video lies."""


def address_of(place: str | Path) -> str | None:
    """Return the address that a text is; None for a path on this machine.

    An address that was made a `Path`, which leaves out a slash, is one too. What follows file:// is a path.
    """
    text = os.fspath(place)
    match = _ADDRESS.match(text)
    if match is None or match[1].lower() in ("file", "local") or os.path.lexists(text):
        return None
    return f"{match[1].lower()}://{text[match.end() :]}"


def local_path(place: str | Path) -> Path:
    """Return a path on this machine, which may be written with file:// in front."""
    text = os.fspath(place)
    match = _ADDRESS.match(text)
    is_address = match is not None and match[1].lower() in ("file", "local") and not os.path.lexists(text)
    return Path("/" + text[match.end() :].lstrip("/")) if match is not None and is_address else Path(place)


def is_member(text: str) -> bool:
    """Return whether a text is the address of a member of a tar."""
    return text.startswith("tar:/") and "::" in text


def as_source(place: str | Path | StoredMedia) -> MediaSource:
    """Return where a sound or video lies: a path stays one, an address becomes a `StoredMedia`."""
    if isinstance(place, StoredMedia):
        return place
    text = os.fspath(place)
    if is_member(text):
        member, _, container = text.removeprefix("tar:").lstrip("/").partition("::")
        return StoredMedia(address_of(container) or str(local_path(container).absolute()), member)
    address = address_of(place)
    return local_path(place) if address is None else StoredMedia(address)


def place_name(source: str | Path | StoredMedia) -> str:
    """Return where a sound or video lies as text that any file can hold, which `as_source` reads."""
    source = as_source(source)
    return escape_name(source.address if isinstance(source, StoredMedia) else source.resolve())


@contextmanager
def local_file(source: str | Path | StoredMedia, folder: str | Path | None = None) -> Iterator[Path]:
    """Return a file that FFmpeg and libsndfile can open: a path itself, else a copy, for as long as the block lasts.

    Parameters
    ----------
    source : str, Path or StoredMedia
        A text is a path or an address.
    folder : str or Path, optional
        One of its own for a copy, which has its own name there; made if need be, and removed with the copy. [default:
        one of the system's temporary folders]

    Raises
    ------
    GivenUpError
        If it could not be fetched whole, which may lie in the network: another try may succeed.
    SettingsError
        If the store does not let this user in.
    """
    source = as_source(source)
    if isinstance(source, Path):
        yield source
        return
    # Two of one name may be in work at the same time.
    own = Path(tempfile.mkdtemp(prefix="soundnet_kd-")) if folder is None else Path(folder)
    own.mkdir(parents=True, exist_ok=True)
    try:
        copy = own / _file_name(source)
        _fetch(source, copy)
        yield copy
    finally:
        shutil.rmtree(own, ignore_errors=True)


def fetched_folder(out: str | Path) -> Path:
    """Return the folder for a copy of what is decoded to a file; beside that, so that a killed process leaves none."""
    out = Path(out)
    return out.with_name(f"{out.name}.fetched")


def _file_name(source: StoredMedia) -> str:
    name = source.name.replace("\0", "_") or "media"
    if len(os.fsencode(name)) <= MAX_NAME_BYTES:
        return name
    return f"{hashlib.sha256(os.fsencode(name)).hexdigest()}{source.suffix[:16]}"


def _fetch(source: StoredMedia, copy: Path) -> None:
    from soundnet_kd.media.container import require_time
    from soundnet_kd.media.remote import fetch_object

    if not source.member:
        fetch_object(source, copy)
        return
    source = located(source)
    with copy.open("wb") as file:
        for start in range(0, source.size, CHUNK_BYTES):
            require_time(source.name)
            file.write(read_bytes(source, start, min(CHUNK_BYTES, source.size - start)))


def located(source: StoredMedia) -> StoredMedia:
    """Return a sound or video with its size, and the place in its tar, which an address alone does not tell.

    Raises
    ------
    GivenUpError
        If it is not there.
    """
    from soundnet_kd.media.remote import describe_object

    if source.size >= 0:
        return source
    if not source.member:
        return describe_object(source)
    from soundnet_kd.media.tar_index import tar_index

    found = tar_index(source.container).find(source.member)
    if found is None:
        raise GivenUpError(f"{source.name} is not (any more) in {source.container}; look where it went")
    return found


def read_bytes(source: StoredMedia, start: int, count: int) -> bytes:
    """Return a part of a sound's or video's file.

    Raises
    ------
    GivenUpError
        If it could not be had whole.
    """
    from soundnet_kd.media.remote import read_object

    source = located(source)
    if not source.member:
        return read_object(source.container, start, count)
    if address_of(source.container) is not None:
        return read_object(source.container, source.offset + start, count)
    try:
        with Path(source.container).open("rb") as file:
            changed = source.version and source.version != file_version(os.fstat(file.fileno()))
            file.seek(source.offset + start)
            content = b"" if changed else file.read(count)
    except OSError as error:
        from soundnet_kd.system.machine_errors import machine_error

        translated = machine_error(error, Path(source.container))
        if translated is not None:
            raise translated from error
        raise GivenUpError(f"{source.name} cannot be read from {source.container}: {error.strerror}") from error
    if changed:
        raise GivenUpError(f"{source.container} has changed since it was listed; run the same command again")
    if len(content) < count:
        raise MediaError(f"{source.container} ends within {source.name}; copy or download it again")
    return content


def file_version(status: os.stat_result) -> str:
    """Return what tells a file from another one that lay there before."""
    return f"{status.st_size}-{status.st_mtime_ns}"
