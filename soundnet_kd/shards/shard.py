"""Shards: ordered lists of sounds or videos, named by what is in them, each of which becomes one file.

Whoever does a shard, how often and in which order, writes the same file under the same name, whole or not at all.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from soundnet_kd.errors import MediaError
from soundnet_kd.media.decode_pool import Decode
from soundnet_kd.media.stored import MediaSource, StoredMedia

NAME_DIGITS = 16
"""Of the hash that names a shard: among a million shards two are alike with a chance of 3 in 10^8."""


@dataclass(frozen=True)
class Shard:
    """A run of a list.

    Attributes
    ----------
    first : int
        Place of its first sound or video in the list.
    ids : tuple of str
        What the sounds or videos are called, in order.
    sources : tuple of Path or StoredMedia
        Where they lie.
    """

    first: int
    ids: tuple[str, ...]
    sources: tuple[MediaSource, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def name(self) -> str:
        """What it is called: a hash of the names in it."""
        return hashlib.sha256(json.dumps(self.ids).encode()).hexdigest()[:NAME_DIGITS]


@dataclass(frozen=True)
class ShardResult:
    """What became of a shard.

    Attributes
    ----------
    name : str
    failures : mapping from id to reason
        What could not be used.
    used : int
        How many sounds or videos could.
    clips : int
        What was made of them: clips of videos, rows of sounds.
    """

    name: str
    failures: Mapping[str, str] = field(default_factory=dict)
    used: int = 0
    clips: int = 0


class ShardWorker(Protocol):
    """Does shards in one process, in which its networks are loaded."""

    def do(self, shard: Shard, decoded: Iterator[Path | MediaError]) -> ShardResult:
        """Write the file of a shard.

        Parameters
        ----------
        shard : Shard
        decoded : iterator of Path, or MediaError
            What `ShardWork.decode` made of each of its sources, in order, or why it could not. A file is gone when the
            next one is asked for.
        """


class ShardWork(Protocol):
    """What is to be done with shards; picklable, so that other processes and machines can do it."""

    @property
    def decode(self) -> Decode:
        """How a sound or video is decoded."""

    def start(self) -> AbstractContextManager[ShardWorker]:
        """Load the networks in this process, on the device that it has."""

    def is_done(self, shard: Shard) -> bool:
        """Return whether the file of a shard is there."""


def cut(
    ids: Sequence[str], sources: Sequence[MediaSource], size: int, first: int = 0, most_bytes: int | None = None
) -> list[Shard]:
    """Cut a list into shards.

    Parameters
    ----------
    ids, sources
        As in `Shard`.
    size : int
        Of each shard; the last one may have less.
    first : int
        Place of the first one in the list that this is a stretch of.
    most_bytes : int, optional
        A shard ends with the file that brings its files to this many bytes together.
    """
    shards: list[Shard] = []
    start = sum_bytes = 0
    for end, source in enumerate(sources, start=1):
        if most_bytes is not None:
            sum_bytes += _bytes_of(source)
        if end - start == size or end == len(ids) or (most_bytes is not None and sum_bytes >= most_bytes):
            shards.append(Shard(first + start, tuple(ids[start:end]), tuple(sources[start:end])))
            start, sum_bytes = end, 0
    return shards


def _bytes_of(source: MediaSource) -> int:
    """Return how long a file is; one that is not there is found out by who decodes it."""
    if isinstance(source, StoredMedia):
        return max(0, source.size)
    try:
        return source.stat().st_size
    except OSError:
        return 0
