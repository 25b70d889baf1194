"""What can go wrong, each with its cure in the message."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


class SoundNetKDError(Exception):
    """Base of every error that this package raises on purpose; its message is one line and names the cure."""


class MediaError(SoundNetKDError):
    """A media file cannot be used; the message says why."""


class EmptyAudioError(MediaError):
    """A sound has no samples."""


class TooShortError(MediaError):
    """A sound has too few samples for what is asked of it."""


class GivenUpError(MediaError):
    """Decoding a file was given up, which may lie in the machine: another try may succeed."""


class MissingError(GivenUpError):
    """There is nothing at an address."""


class SettingsError(SoundNetKDError):
    """Settings contradict each other or name something that does not exist."""


class FormatError(SoundNetKDError):
    """A file is not what it should be: wrong layout, wrong version, wrong shape."""


class RunConflictError(SoundNetKDError):
    """An output already holds something that was made differently."""


def nearest(name: str, known: Mapping[str, Any] | Sequence[str], max_listed: int = 40, *, always: bool = False) -> str:
    """Return the end of an error message about an unknown name: the known name most like it, or a list of known names.

    Parameters
    ----------
    name : str
    known : mapping from str, or sequence of str
    max_listed : int
        Names in the list, which is given where no known name is like the unknown one.
    always : bool
        Name the most similar one, however little it is like the unknown one.
    """
    if not known:
        return "; there are none"
    found = closest(name, known, always=always)
    if found is not None:
        return f"; did you mean {found!r}?"
    return f"; there are {', '.join(list(known)[:max_listed])}{' …' if len(known) > max_listed else ''}"


def counted(number: int, noun: str) -> str:
    """Return how many there are of something, such as `1 clip` or `2 clips`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def closest(name: str, known: Iterable[str], *, always: bool = False) -> str | None:
    """Return the known name most like another, whatever its case; None if none is like it, unless `always` is set."""
    by_lower = {each.lower(): each for each in known}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.0 if always else 0.6)
    return by_lower[found[0]] if found else None


def one_line(error: BaseException, length: int = 200) -> str:
    """Return an error's text in one line of at most `length` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= length else f"{text[:length]}…"


def none_readable(
    what: str, failures: Mapping[str, str], file: str | Path | None = None, *, done: str = "read", cure: str = ""
) -> MediaError:
    """Return the error of a command all of whose files have failed.

    Parameters
    ----------
    what : str
        How many they are and of what, such as 3 sounds.
    failures : mapping from name to reason
    file : str or Path, optional
        Where all reasons are written.
    done : str
        What could be done to none of them.
    cure : str
        What to do with the file of reasons, to follow its name.
    """
    more = "" if file is None else f" (see {file}{cure})"
    return MediaError(f"none of the {what} could be {done}, such as: {next(iter(failures.values()))}{more}")
