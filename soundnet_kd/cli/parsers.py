"""A command's parser, made from the signature and the docstring of its function."""

import argparse
import inspect
import keyword
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import docstring_parser
from jsonargparse import ActionYesNo, ArgumentParser, set_loader

from soundnet_kd.cli.table import find
from soundnet_kd.config.values import TRUTH, Written, guessed

AS_WRITTEN = "as written"
"""Name under which jsonargparse knows how the texts of a command line are read."""


def parser_for(name: str) -> ArgumentParser:
    """Build a command's parser from the signature and the docstring of its function."""
    command = find(name)
    function = command.function()
    text = docstring_parser.parse(inspect.getdoc(function) or "")
    helps = {parameter.arg_name: parameter.description or "" for parameter in text.params}
    about = "\n\n".join(filter(None, (text.short_description, text.long_description)))
    parser = ArgumentParser(
        prog=f"soundnet-kd {name}",
        description=about,
        epilog=command.more_help(),
        formatter_class=_Help,
        exit_on_error=False,
        parser_mode=AS_WRITTEN,
    )
    hints = get_type_hints(function)
    for parameter in inspect.signature(function).parameters.values():
        _add(parser, parameter, hints[parameter.name], helps[parameter.name], parameter.name in command.positional)
    parser.add_argument("--config", action="config", help="YAML file with values for these options.")
    (print_config,) = (action for action in parser._actions if action.dest == "print_config")
    print_config.help, print_config.metavar = "Print all values as YAML, for --config, and stop.", ""
    parser.add_argument("--debug", action=ActionYesNo, default=False, help="Show where an error comes from.")
    return parser


def flag_of(parameter: str) -> str:
    """Name the flag of a parameter: Python keeps some words, such as `as`, for itself."""
    word = parameter.removesuffix("_")
    return word if keyword.iskeyword(word) else parameter


def parameter_of(flag: str) -> str:
    """Name the parameter of a flag."""
    return f"{flag}_" if keyword.iskeyword(flag) else flag


def kinds_of(name: str) -> dict[str, Any]:
    """Return the type of each option of a command, as its function's signature has it."""
    return {flag_of(parameter): kind for parameter, kind in get_type_hints(find(name).function()).items()}


def takes_one_bare(action: argparse.Action) -> bool:
    """Return whether one value of an option that takes several stands for itself, such as a CSV file."""
    return getattr(action, "_takes_one_bare", False)


class _Help(argparse.HelpFormatter):
    """Plain help: the text of the docstring, as wide as the terminal, and the default where there is one."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text

        def filled(line: str) -> str:
            inset = "" if line == line.lstrip() else "  "
            return "\n".join(f"{inset * (2 if number else 1)}{part}" for number, part in enumerate(
                fill(line, width - 4, indent).splitlines()
            ))  # fmt: skip

        # Lines that are set in, such as those of a list, stay lines of their own.
        paragraphs = (re.sub(r"\n(?! )", " ", paragraph) for paragraph in text.split("\n\n"))
        return "\n\n".join("\n".join(map(filled, paragraph.split("\n"))) for paragraph in paragraphs)

    def _get_help_string(self, action: argparse.Action) -> str:
        text = " ".join((action.help or "").split()).replace("%", "%%")
        is_told = action.default is None or action.default is argparse.SUPPRESS or isinstance(action.default, bool)
        shown = action.option_strings and not is_told
        return f"{text} [default: %(default)s]" if shown else text


def _read(text: str) -> Any:
    """Read what a command line has for a number, a truth, a list or a mapping."""
    value = guessed(Written(text))
    return TRUTH.get(value.lower(), value) if isinstance(value, str) else value


set_loader(AS_WRITTEN, _read)


def _add(parser: ArgumentParser, parameter: inspect.Parameter, kind: Any, text: str, positional: bool) -> None:
    options: dict[str, Any] = {"help": text.replace("[default: ", "[otherwise: ")}
    if not positional:
        options |= {"required": True} if parameter.default is parameter.empty else {"default": parameter.default}
    members = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    takes_several = any(get_origin(member) in (list, Sequence, Iterable) for member in members)
    if kind is bool:
        options["action"] = ActionYesNo
    elif takes_several:
        options |= {"type": str, "nargs": "+"}
    else:
        options["type"] = _plain(kind)
    flag = flag_of(parameter.name)
    action = parser.add_argument(flag if positional else f"--{flag}", **options)
    action._takes_one_bare = takes_several and (str in members or Path in members)


def _plain(kind: Any) -> Any:
    """Return what a parameter is on a command line: where Python takes an object or its path, the path."""
    members = get_args(kind)
    takes_object = any(getattr(member, "__module__", "").startswith("soundnet_kd") for member in members)
    return str if takes_object and {str, Path} & set(members) else kind
