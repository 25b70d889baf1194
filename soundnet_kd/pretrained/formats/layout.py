"""What the reader of a format is given, and what it returns for it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

MAX_STUDENT_BYTES = 1 << 29
"""No file of a student is larger, packed or unpacked."""
MAX_CONVOLUTIONS = 16
"""Convolutions of a network at most; each is copied, even if a file names the same numbers many times."""
HEADS = ("objects", "scenes")
"""The order in which the authors' network has them."""

State = dict[str, Tensor]


@dataclass(frozen=True)
class SourceFile:
    """A file of weights that is read.

    Attributes
    ----------
    path : Path
    start : bytes
        Its first bytes, by which its format is recognised.
    member : str or None
        Pattern of the one file to read of a zip archive.
    """

    path: Path
    start: bytes
    member: str | None = None


@dataclass(frozen=True)
class Layout:
    """What a file holds.

    Attributes
    ----------
    name : str
        The format and, where there are several, the layout within it.
    state : dict from name to tensor
        With the names and dimensions of `SoundNet.state_dict`; sizes and values are not checked.
    description : mapping, optional
        What a checkpoint says of its student; not checked either, see `read_description`.
    """

    name: str
    state: State
    description: Any = None


def to_native(array: Any) -> Any:
    """Return an array that torch takes: in memory of its own, in this machine's byte order."""
    return array.astype(array.dtype.newbyteorder("="), order="C", copy=True)
