"""The command line."""

import logging
import sys
import traceback
from collections.abc import Mapping, Sequence
from signal import Signals as Signal

from soundnet_kd.cli.arguments import parse
from soundnet_kd.cli.console import (
    Arriving,
    Signals,
    close_progress_bars,
    discard_output,
    escape_unprintable,
    print_line,
)
from soundnet_kd.cli.parsers import parser_for
from soundnet_kd.cli.table import COMMANDS, Command, find, group
from soundnet_kd.errors import SoundNetKDError
from soundnet_kd.system.launch import is_first_process, running
from soundnet_kd.system.machine_errors import explain_error

INTERRUPTED = 130
NO_HELP = "the help could not be printed"
NO_RESULT = "all is done, but the result could not be printed"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; `soundnet-kd COMMAND --help` explains each.

    Returns
    -------
    int
        Exit status: 0 if it ended well, 1 if it failed, 2 if it was asked for wrongly, 130 if it was interrupted, 128
        and the signal's number if a signal stopped it.
    """
    escape_unprintable()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        return _print_answer(overview(), NO_HELP)
    if given[0] == "--version":
        from soundnet_kd.cli.about import describe_installation, version_line

        if given[1:] not in ([], ["--verbose"]):
            _print_error(f"soundnet-kd: --version stands alone or with --verbose, not with {' '.join(given[1:])}")
            return 2
        answer = describe_installation() if given[1:] else version_line()
        return _print_answer(answer, "the version could not be printed")
    _show_log()
    name, *rest = given
    if group(name):
        if not rest or rest[0] in ("-h", "--help"):
            return _print_answer(overview_of(name), NO_HELP)
        name, rest = f"{name} {rest[0]}", rest[1:]
    debug = "--debug" in rest
    signals = Signals()
    arriving = False
    try:
        with signals.handling():
            if "-h" in rest or "--help" in rest:
                return _print_answer(parser_for(name).format_help().rstrip(), NO_HELP)
            values = parse(name, rest)
            command = find(name)
            with running(given):
                result = command.function()(**values)
            arriving = isinstance(result, Arriving)
            if isinstance(result, Arriving):
                _print_arriving(result)
                return 0
    except SoundNetKDError as error:
        return _fail(str(error), debug)
    except KeyboardInterrupt:
        close_progress_bars()
        why = f" by {Signal(signals.received).name}" if signals.received else ""
        _print_error(f"\nstopped{why}" + ("" if arriving else "; the same command goes on from what it has written"))
        return 128 + signals.received if signals.received else INTERRUPTED
    except BrokenPipeError:
        discard_output(sys.stdout)
        return 1
    except Exception as error:
        return _fail(explain_error(error), debug)
    return 0 if command.is_distributed and not is_first_process() else _print_answer(str(result), NO_RESULT)


def overview() -> str:
    """Return the help of the program as a whole."""
    return (
        "usage: soundnet-kd COMMAND ...\n\n"
        "Distil a sound network from unlabeled video, and use its layers as features for any sound task.\n\n"
        f"commands:\n{_format_commands(COMMANDS)}\n\n"
        "`soundnet-kd COMMAND --help` explains a command; start with quickstart.\n"
        "`soundnet-kd --version --verbose` says what is installed here."
    )


def overview_of(name: str) -> str:
    """Return the help of a group of commands."""
    return (
        f"usage: soundnet-kd {name} COMMAND ...\n\n"
        f"commands:\n{_format_commands(group(name))}\n\n`soundnet-kd {name} COMMAND --help` explains a command."
    )


def _format_commands(commands: Mapping[str, Command]) -> str:
    width = max(map(len, commands))
    return "\n".join(f"  {name:<{width}}  {command.summary}" for name, command in commands.items())


def _print_answer(answer: str, otherwise: str) -> int:
    """Print what was asked for; `otherwise` says what is amiss if there is no room for it."""
    try:
        print_line(answer, sys.stdout)
    except BrokenPipeError:
        discard_output(sys.stdout)
        return 1
    except OSError as error:
        discard_output(sys.stdout)
        _print_error(f"soundnet-kd: {otherwise} ({error.strerror})")
        return 1
    return 0


def _print_arriving(result: Arriving) -> None:
    """Print lines until there are no more, or nobody reads them any longer."""
    try:
        for line in result.lines():
            print_line(line, sys.stdout)
    except OSError as error:
        discard_output(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            raise


class _StderrHandler(logging.Handler):
    """Shows a log on what is standard error at the moment, which whoever calls `main` may have exchanged."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a line."""
        _print_error(self.format(record))


def _show_log() -> None:
    root = logging.getLogger()
    if not any(isinstance(handler, _StderrHandler) for handler in root.handlers):
        root.addHandler(_StderrHandler())
    logging.getLogger("soundnet_kd").setLevel(logging.INFO)


def _fail(message: str, debug: bool) -> int:
    close_progress_bars()
    if debug:
        traceback.print_exc()
    _print_error(f"soundnet-kd: {message}")
    return 1


def _print_error(text: str) -> None:
    try:
        print_line(text, sys.stderr)
    except OSError:
        discard_output(sys.stderr)
