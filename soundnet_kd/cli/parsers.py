"""A command's parser, made from the signature and the docstring of its function.

It places the words of a command line and explains them; what the words become is said by `soundnet_kd.config.values`.
"""

import argparse
import inspect
import re
from collections.abc import Sequence
from dataclasses import is_dataclass
from typing import Any, Literal, NoReturn, get_args, get_origin

import docstring_parser

from soundnet_kd.cli.table import Command, find
from soundnet_kd.config.values import members_of, takes_mapping, takes_several
from soundnet_kd.errors import SettingsError, nearest

FLAGS = {"as_": "as", "overrides": "set"}
"""Parameters whose flag has another name, which Python keeps for itself."""
NO_SETTINGS = ("config", "print_config", "debug")
"""Flags that every command has, and that are no parameters."""


def flag_of(parameter: str) -> str:
    """Name of the flag of a parameter."""
    return FLAGS.get(parameter, parameter)


class CommandParser(argparse.ArgumentParser):
    """Says in one line what it cannot place."""

    def __init__(self, command: Command, **options: Any) -> None:
        super().__init__(**options)
        self.command = command
        self.needed: list[argparse.Action] = []
        # A number such as -1e-3 is no flag.
        self._negative_number_matcher = re.compile(r"-\.?\d")

    def format_help(self) -> str:
        """Return the help, whose end is made only now: it may need much that the command itself does not."""
        self.epilog = self.command.epilog()
        for action in self.needed:
            # To be shown as such, no more: a file of --config may hold it too.
            action.required = True
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Refuse a command line."""
        raise SettingsError(f"{self.prog.removeprefix('soundnet-kd ')}: {message.removeprefix('argument ')}")

    def refuse_unplaced(self, words: Sequence[str]) -> NoReturn:
        """Refuse words that no flag and no argument takes."""
        command = self.prog.removeprefix("soundnet-kd ")
        words = [word for word in words if word != "--"]
        flag = next((word.partition("=")[0].lstrip("-") for word in words if word.startswith("-")), None)
        if flag is not None:
            known = [action.dest for action in self._actions if action.dest != "help"]
            raise SettingsError(f"{command} has no option {flag!r}{nearest(flag, known)}")
        cure = "it takes no such value"
        for place in (action for action in self._actions if not action.option_strings):
            several = place.nargs == "+"
            cure = f"name all {place.dest} in one place" if several else f"it takes one value for {place.dest}"
        raise SettingsError(f"{command} cannot place {words[0]!r}; {cure}")


def parser_for(name: str) -> CommandParser:
    """Build a command's parser from the signature and the docstring of its function.

    It gives each word as the text that it is, under the name of its flag, and leaves out what is not given.
    """
    command = find(name)
    signature, docstring = command.describe()
    text = docstring_parser.parse(docstring)
    helps = {parameter.arg_name: parameter.description or "" for parameter in text.params}
    about = "\n\n".join(filter(None, (text.short_description, text.long_description)))
    parser = CommandParser(
        command,
        prog=f"soundnet-kd {name}",
        description=about,
        formatter_class=_Help,
        argument_default=argparse.SUPPRESS,
    )
    for parameter in signature.parameters.values():
        _add(parser, parameter, helps[parameter.name], parameter.name in command.positional)
    parser.add_argument("--config", action="append", help="YAML file with values for these options.")
    parser.add_argument("--print_config", action="store_true", help="Print all values as YAML, for --config, and stop.")
    parser.add_argument("--debug", "--no_debug", action=_YesNo, help="Show the traceback of an error.")
    return parser


class _YesNo(argparse.Action):
    """A flag that is true, and false with no_ before its name."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **options)

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Set it."""
        setattr(namespace, self.dest, not (option or "").startswith("--no_"))


class _Help(argparse.HelpFormatter):
    """Plain help: the text of the docstring, as wide as the terminal."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text

        def filled(line: str) -> str:
            inset = "" if line == line.lstrip() else "  "
            parts = fill(line, width - 4, indent).splitlines()
            return "\n".join(f"{inset * (2 if number else 1)}{part}" for number, part in enumerate(parts))

        # Lines that are set in, such as those of a list, stay lines of their own.
        paragraphs = (re.sub(r"\n(?! )", " ", paragraph) for paragraph in text.split("\n\n"))
        return "\n\n".join("\n".join(map(filled, paragraph.split("\n"))) for paragraph in paragraphs)


def _add(parser: CommandParser, parameter: inspect.Parameter, text: str, is_positional: bool) -> None:
    kind, flag = parameter.annotation, flag_of(parameter.name)
    options: dict[str, Any] = {"help": _help(text, parameter.default)}
    if takes_several(kind):
        options |= {"nargs": "+"} if is_positional else {"nargs": "+", "action": "extend"}
    if is_positional:
        action = parser.add_argument(flag, **options)
        action.required = False
    elif kind is bool:
        action = parser.add_argument(f"--{flag}", f"--no_{flag}", action=_YesNo, **options)
    else:
        action = parser.add_argument(f"--{flag}", metavar=_choices(kind), **options)
    if parameter.default is parameter.empty:
        parser.needed.append(action)
    for settings in filter(is_dataclass, members_of(kind) if takes_mapping(kind) else ()):
        _add_parts(parser, flag, settings, parameter.default)


def _add_parts(parser: argparse.ArgumentParser, flag: str, settings: Any, default: object) -> None:
    """Add a flag for each field of what --flag takes, such as --windows.seconds."""
    # The first is its own; what a field means may be said where it is inherited from.
    texts = [docstring_parser.parse(kind.__doc__ or "") for kind in settings.__mro__ if is_dataclass(kind)]
    helps = {each.arg_name: each.description or "" for text in texts for each in text.params}
    group = parser.add_argument_group(f"parts of --{flag}", texts[0].short_description)
    for parameter in inspect.signature(settings, eval_str=True).parameters.values():
        name, choices = f"--{flag}.{parameter.name}", _choices(parameter.annotation) or parameter.name.upper()
        value = getattr(default, parameter.name, parameter.default)
        group.add_argument(name, metavar=choices, help=_help(helps[parameter.name], value))


def _choices(kind: Any) -> str | None:
    """Return the values that the help shows, where there are few."""
    if kind is bool:
        return "{true,false}"
    return f"{{{','.join(map(str, get_args(kind)))}}}" if get_origin(kind) is Literal else None


def _help(text: str, default: object) -> str:
    text = " ".join(text.replace("[default: ", "[otherwise: ").split()).replace("%", "%%")
    is_plain = isinstance(default, int | float | str) and not isinstance(default, bool)
    return f"{text} [default: {default}]" if is_plain else text
