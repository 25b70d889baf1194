"""What can go wrong, each with its cure in the message."""

import difflib
from collections.abc import Mapping, Sequence
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


class SettingsError(SoundNetKDError):
    """Settings contradict each other or name something that does not exist."""


class FormatError(SoundNetKDError):
    """A file is not what it should be: wrong layout, wrong version, wrong shape."""


class RunConflictError(SoundNetKDError):
    """An output already holds something that was made differently."""


def nearest(name: str, known: Mapping[str, Any] | Sequence[str], most: int = 40) -> str:
    """Return the end of an error message: the known name that is most like a wrong one, or else the first of them."""
    if not known:
        return "; there are none"
    found = difflib.get_close_matches(name, list(known), n=1)
    if found:
        return f"; did you mean {found[0]!r}?"
    return f"; there are {', '.join(list(known)[:most])}{' …' if len(known) > most else ''}"


def one_line(error: BaseException, length: int = 200) -> str:
    """Return an error's text in one line of at most `length` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= length else f"{text[:length]}…"
