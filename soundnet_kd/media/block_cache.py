"""Large files under an address, of which parts are read: what was read is kept on this machine, in bounded space.

A file is read in blocks, each fetched once and kept in a file of the cache, at its own place; blocks that were not read
are holes in it. Behind them stands a checksum for each block. A block whose checksum is not right is not there: so
processes share the cache without waiting for each other, whatever else is killed in between. A file of the cache is
named after the address, the size and the version of the object, so that of a changed object nothing old is read.
"""

import io
import logging
import os
import shutil
import struct
import time
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from soundnet_kd.errors import SettingsError
from soundnet_kd.media.remote import describe_object, read_object
from soundnet_kd.media.stored import CHUNK_BYTES, StoredMedia
from soundnet_kd.storage import lock_file
from soundnet_kd.system.cache_folders import cache_folder

BLOCK_BYTES = 2**18
CACHE_GIGABYTES = 50.0
FOLDER = "objects"
LOOKS = 64
"""A process looks whether the cache is full when it has written such a part of the limit."""
FULL = 7 / 8
"""The cache is full before the limit, so that eight processes that have not looked since stay below it."""
ROOM = 0.9
"""So much of what is free on the disk is taken at most."""
BLOCKS_AT_HAND = 8
"""Blocks that an open file keeps in memory; its small entries lie close to each other."""
CHECKSUM = struct.Struct("<I")

log = logging.getLogger(__name__)


class BlockCache:
    """A folder of bounded size for what is read of large files under addresses; of those used last most is kept.

    Parameters
    ----------
    gigabytes : float
        Size of the folder at most, in 10^9 bytes.
    folder : str or Path, optional
        [default: one in the user's cache]

    Raises
    ------
    SettingsError
        If it is to have no size.
    """

    def __init__(self, gigabytes: float = CACHE_GIGABYTES, folder: str | Path | None = None) -> None:
        if not gigabytes > 0:
            raise SettingsError(f"cache_gigabytes is {gigabytes:g}; it has to be above 0")
        self.folder = Path(folder or cache_folder() / FOLDER)
        self.limit = min(int(gigabytes * 1e9), self._room())
        self._since_looked = self.limit
        self._is_told = False

    @property
    def room(self) -> int:
        """How many bytes it keeps, below its limit."""
        return int(self.limit * FULL)

    def fetch(self, source: StoredMedia, first: int, end: int) -> dict[int, bytes]:
        """Return blocks of an object, of which size and version are known, from its store, and keep them.

        Raises
        ------
        GivenUpError, SettingsError
            As `read_object`.
        """
        blocks = self._fetch(source, first, end)
        self._keep(source, blocks)
        return blocks

    def _file(self, source: StoredMedia) -> Path:
        identity = "\n".join((source.container, str(source.size), source.version))
        return self.folder / sha256(identity.encode()).hexdigest()[:32]

    def kept(self, source: StoredMedia, first: int, end: int) -> dict[int, bytes]:
        """Return what is kept of blocks of an object."""
        blocks = {}
        with suppress(OSError), self._file(source).open("rb", buffering=0) as file:
            wanted = (end - first) * CHECKSUM.size
            # The file ends with the last checksum that was written.
            checksums = _read_at(file, source.size + first * CHECKSUM.size, wanted).ljust(wanted, b"\0")
            for number, (checksum,) in enumerate(CHECKSUM.iter_unpack(checksums), start=first):
                if checksum:
                    block = _read_at(file, number * BLOCK_BYTES, _length(source, number))
                    if _checksum(block) == checksum:
                        blocks[number] = block
            # What was used last is removed last.
            os.utime(file.name)
        return blocks

    def _fetch(self, source: StoredMedia, begin: int, stop: int) -> dict[int, bytes]:
        start, end = begin * BLOCK_BYTES, min(stop * BLOCK_BYTES, source.size)
        content = read_object(source.container, start, end - start)
        return {
            number: content[(number - begin) * BLOCK_BYTES : (number + 1 - begin) * BLOCK_BYTES]
            for number in range(begin, stop)
        }

    def _keep(self, source: StoredMedia, blocks: dict[int, bytes]) -> None:
        count = sum(map(len, blocks.values()))
        self._since_looked += count
        try:
            if self._since_looked <= self.limit / LOOKS:
                self._write(source, blocks)
                return
            self.folder.mkdir(parents=True, exist_ok=True)
            with lock_file(self.folder / ".lock", tell=False):
                self._make_room(count)
                self._write(source, blocks)
            self._since_looked = 0
        except OSError as error:
            # What cannot be kept is fetched again.
            if not self._is_told:
                log.warning("%s cannot be written to (%s): what is read is fetched each time", self.folder, error)
            self._is_told = True

    def _write(self, source: StoredMedia, blocks: dict[int, bytes]) -> None:
        with open(self._file(source), "r+b", buffering=0, opener=_open_or_make) as file:
            for number, block in blocks.items():
                _write_at(file, number * BLOCK_BYTES, block)
                _write_at(file, source.size + number * CHECKSUM.size, CHECKSUM.pack(_checksum(block)))

    def _make_room(self, count: int) -> None:
        """Remove the files that have not been used for the longest time, until there is room for so many bytes."""
        files = sorted(_files(self.folder), key=lambda each: each[1].st_mtime_ns)
        total = count + sum(_allocated(status) for _, status in files)
        for path, status in files:
            if total <= self.room:
                break
            path.unlink(missing_ok=True)
            total -= _allocated(status)

    def _room(self) -> int:
        """Return how large the cache can become on its disk."""
        there = next(place for place in (self.folder, *self.folder.absolute().parents) if place.exists())
        used = sum(_allocated(status) for _, status in _files(self.folder))
        return used + int(ROOM * shutil.disk_usage(there).free)


@dataclass(frozen=True)
class CachedObject:
    """An object under an address that is read through a cache; it may be handed to other processes.

    Attributes
    ----------
    source : StoredMedia
        With its size and version.
    cache : BlockCache
    """

    source: StoredMedia
    cache: BlockCache = field(repr=False, compare=False)

    @classmethod
    def of(cls, source: StoredMedia, cache: BlockCache) -> "CachedObject":
        """Return an object whose size and version may be asked for first.

        Raises
        ------
        GivenUpError, SettingsError
            As `describe_object`.
        """
        known = source.size >= 0 and source.version
        described = source if known else describe_object(source)
        if described.size < 0:
            raise SettingsError(f"{source} cannot be read in parts, since its server does not say how long it is")
        if not described.version:
            # Nobody knows whether it changes: what is read now is not read again by another run.
            described = StoredMedia(described.container, size=described.size, version=f"seen at {time.time_ns()}")
        return cls(described, cache)

    def __str__(self) -> str:
        """Return the address."""
        return str(self.source)

    @property
    def name(self) -> str:
        """The last part of its address."""
        return self.source.name

    def open(self) -> "OpenObject":
        """Open it for reading."""
        return OpenObject(self)


class OpenObject(io.RawIOBase):
    """An object as a file.

    Parameters
    ----------
    stored : CachedObject
    """

    def __init__(self, stored: CachedObject) -> None:
        self._stored = stored
        self._at = 0
        self._at_hand: OrderedDict[int, bytes] = OrderedDict()
        self._waits = True
        self._missing: list[tuple[int, int]] = []

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return where it is read next."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Read on from another place."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._stored.source.size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read what comes next.

        Raises
        ------
        GivenUpError, SettingsError
            As `read_object`.
        BlockingIOError
            If something has to be fetched, and nobody is to wait for it.
        """
        count = max(0, min(len(buffer), self._stored.source.size - self._at))
        if not count:
            return 0
        first, end = self._at // BLOCK_BYTES, -(-(self._at + count) // BLOCK_BYTES)
        if any(number not in self._at_hand for number in range(first, end)):
            self._at_hand |= self._stored.cache.kept(self._stored.source, first, end)
        if missing := list(_gaps(self._at_hand, first, end)):
            self._missing = missing
            if not self._waits:
                raise BlockingIOError
            self.fetch_missing()
        blocks = b"".join(self._at_hand[number] for number in range(first, end))
        start = self._at - first * BLOCK_BYTES
        buffer[:count] = blocks[start : start + count]
        self._at += count
        if self._waits:
            self.drop()
        return count

    def wait(self, waits: bool) -> None:
        """Say whether reading waits for what has to be fetched."""
        self._waits = waits

    def is_missing(self) -> bool:
        """Return whether something has to be fetched that was to be read."""
        return bool(self._missing)

    def fetch_missing(self) -> None:
        """Fetch that; it is at hand then."""
        for first, end in self._missing:
            self._at_hand |= self._stored.cache.fetch(self._stored.source, first, end)
        self._missing = []

    def drop(self) -> None:
        """Let go of what is at hand, but for what was read last."""
        while len(self._at_hand) > BLOCKS_AT_HAND:
            self._at_hand.popitem(last=False)


def _gaps(blocks: dict[int, bytes], first: int, end: int) -> Iterator[tuple[int, int]]:
    """Return the stretches of blocks that are not there, each no longer than what is asked for at once."""
    begin = None
    for number in range(first, end + 1):
        is_gap = number < end and number not in blocks
        if begin is not None and (not is_gap or number - begin == CHUNK_BYTES // BLOCK_BYTES):
            yield begin, number
            begin = None
        if is_gap and begin is None:
            begin = number


def _length(source: StoredMedia, number: int) -> int:
    return min(BLOCK_BYTES, source.size - number * BLOCK_BYTES)


def _checksum(block: bytes) -> int:
    """Return a checksum other than 0, which stands where nothing was written."""
    return zlib.crc32(block) or 1


def _read_at(file: IO[bytes], start: int, count: int) -> bytes:
    """Return what a file has from a place on; fewer bytes where it ends."""
    file.seek(start)
    content = bytearray()
    while len(content) < count and (piece := file.read(count - len(content))):
        content += piece
    return bytes(content)


def _write_at(file: IO[bytes], start: int, content: bytes) -> None:
    file.seek(start)
    view = memoryview(content)
    while view:
        view = view[file.write(view) :]


def _open_or_make(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o666)


def _files(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """Return the files of a cache; one that is gone meanwhile is none."""
    found = []
    with suppress(OSError):
        for entry in os.scandir(folder):
            with suppress(OSError):
                if entry.is_file(follow_symlinks=False) and not entry.name.startswith("."):
                    found.append((Path(entry.path), entry.stat()))
    return found


def _allocated(status: os.stat_result) -> int:
    """Return what a file takes on its disk, which holes do not."""
    return status.st_blocks * 512 if hasattr(status, "st_blocks") else status.st_size
