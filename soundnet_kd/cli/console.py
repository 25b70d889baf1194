"""What a command owes to a console: any character can be printed, progress bars are closed, signals are handled."""

import codecs
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import current_thread, main_thread
from types import FrameType
from typing import Protocol, TextIO, runtime_checkable

_ESCAPED = "soundnet_kd.escaped"


def escape_unprintable() -> None:
    r"""Let output take every character, whatever the console or the file that it goes to can hold.

    A character that has no place there is written as JSON writes it (犬 as \u72ac), so that nothing is lost and JSON
    stays JSON.
    """
    codecs.register_error(_ESCAPED, _escaped)
    for stream in (sys.stdout, sys.stderr):
        # Names of files that are not UTF-8 go out as they came in.
        as_they_came = getattr(stream, "errors", "") == "surrogateescape" and _is_utf8(stream)
        if hasattr(stream, "reconfigure") and not as_they_came:
            stream.reconfigure(errors=_ESCAPED)


def print_line(text: str, stream: TextIO | None) -> None:
    """Print a line at once; BrokenPipeError and OSError say that nobody reads it, or that it has no room."""
    if stream is not None:
        print(text, file=stream, flush=True)


def discard_output(stream: TextIO | None) -> None:
    """Let what is left to write to a stream go, so that Python does not fail over it at its end."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # type: ignore[union-attr]


@runtime_checkable
class Arriving(Protocol):
    """What a command gives bit by bit, each line printed when it is there."""

    def lines(self) -> Iterator[str]:
        """Return the lines."""


def close_progress_bars() -> None:
    """End progress bars that a failure left open, so that what is said next has a line of its own."""
    if "tqdm" in sys.modules:
        from tqdm import tqdm

        for bar in list(getattr(tqdm, "_instances", ())):
            bar.close()


class Signals:
    """Signals that told the program to stop.

    Attributes
    ----------
    received : int
        The first one's number; 0 for none.
    """

    def __init__(self) -> None:
        self.received = 0

    @contextmanager
    def handling(self) -> Iterator[None]:
        """Let SIGTERM and SIGHUP end what is done as Ctrl-C does; a second one ends it at once.

        A signal that is ignored, as `nohup` has it, stays so.
        """
        if current_thread() is not main_thread():
            yield
            return
        numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
        before = {number: signal.getsignal(number) for number in numbers}
        handled = [number for number, handler in before.items() if handler == signal.SIG_DFL]
        for number in handled:
            signal.signal(number, self._receive)
        try:
            yield
        finally:
            for number in handled:
                signal.signal(number, before[number])

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or number
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2)), error.end


def _is_utf8(stream: TextIO) -> bool:
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "").replace("_", "") == "utf8"
