"""The commands: each is a typed function of some room, and its flags are that function's parameters.

The command line and the recipes are both made from the table below. A room is imported only when one of its commands is
wanted, so that `soundnet-kd --help` answers at once.
"""

import argparse
import inspect
import json
import keyword
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import docstring_parser
import yaml
from jsonargparse import ActionYesNo, ArgumentParser

from soundnet_kd.errors import SettingsError, nearest


def _at(home: str) -> Callable[..., object]:
    module, name = home.split(":")
    function: Callable[..., object] = getattr(import_module(f"soundnet_kd.{module}"), name)
    return function


@dataclass(frozen=True)
class Command:
    """Where a command's function lives, which of its parameters go without a flag, and what it does in a few words.

    `more`, if given, is where a function lives that gives what else its help says.
    """

    home: str
    positional: tuple[str, ...]
    about: str
    more: str = ""

    def function(self) -> Callable[..., object]:
        """Import the function."""
        return _at(self.home)

    def more_help(self) -> str:
        """Give what else its help says."""
        return str(_at(self.more)()) if self.more else ""


COMMANDS: Mapping[str, Command] = {
    "quickstart": Command(
        "recipes:quickstart", (), "the whole route on a small demonstration world, or on your videos"
    ),
    "teach": Command("teachers:teach", ("videos",), "label the frames of videos with image networks"),
    "distill": Command("distill:distill", ("targets",), "train a student to hear what the teachers saw"),
    "extract": Command("features:extract", ("sounds",), "keep a student's layers for every sound of a data set"),
    "predict": Command("prediction:predict", ("sounds",), "say which objects and scenes a student hears"),
    "evaluate": Command("analysis:evaluate", ("features",), "cross-validate a classifier on every layer"),
    "finetune": Command(
        "classifiers.finetuning:finetune", ("sounds",), "train a student on labelled sounds, and test it"
    ),
    "train": Command(
        "analysis.training:train",
        ("recipe",),
        "train a recipe's networks from scratch on labelled sounds, and test them",
        "classifiers.recipe_help:explained_keys",
    ),
    "compare": Command("transfer:compare", ("results",), "set two evaluations side by side, layer by layer"),
    "rank": Command(
        "analysis.ranking:rank", ("results",), "set evaluations in a table: parameters, seconds of training, accuracy"
    ),
    "neurons": Command("analysis:neurons", ("features",), "find the classes that each neuron answers to"),
    "project": Command("analysis:project", ("features",), "draw a UMAP map of every layer"),
    "explore": Command("analysis.exploration:explore", ("sounds",), "look at a data set of short labelled sounds"),
    "peel": Command("analysis.peel_report:peel", ("sound",), "show what every layer of a network makes of one sound"),
    "report": Command("report:report", ("run",), "make a page of a run, to look at and to listen to"),
    "run": Command("recipes:run", ("recipe",), "run the steps of a recipe, such as pipelines/quickstart.yaml"),
    "weights list": Command("pretrained:list_weights", (), "show the published and imported weights"),
    "weights fetch": Command("pretrained:fetch_weights", ("name",), "fetch published weights into the cache"),
    "weights verify": Command("pretrained:verify_weights", ("file",), "say which published weights a file is"),
    "weights import": Command("pretrained:import_weights", ("file",), "make a student's file usable by a name"),
    "demo-world": Command("demo:demo_world", (), "make the videos, frames and sounds of the demonstration world"),
    "demo-teacher": Command("demo:demo_teacher", ("frames",), "train a small image network on labelled frames"),
}
"""The table; a name of two words is a command of a group, which the first word names."""


def group(name: str) -> Mapping[str, Command]:
    """Give the commands whose first word, of two, is `name`."""
    return {each: command for each, command in COMMANDS.items() if each.startswith(f"{name} ")}


def find(name: str) -> Command:
    """Give a command.

    Raises
    ------
    SettingsError
        If there is none of this name; the message names the nearest one.
    """
    if name not in COMMANDS:
        first_words = list(dict.fromkeys(each.partition(" ")[0] for each in COMMANDS))
        known = group(name.partition(" ")[0]) or first_words
        raise SettingsError(f"there is no command {name!r}{nearest(name, known)}")
    return COMMANDS[name]


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
    )
    hints = get_type_hints(function)
    for parameter in inspect.signature(function).parameters.values():
        _add(parser, parameter, hints[parameter.name], helps[parameter.name], parameter.name in command.positional)
    parser.add_argument("--config", action="config", help="YAML file with values for these options.")
    (print_config,) = (action for action in parser._actions if action.dest == "print_config")
    print_config.help, print_config.metavar = "Print all values as YAML, for --config, and stop.", ""
    parser.add_argument("--debug", action=ActionYesNo, default=False, help="Show where an error comes from.")
    return parser


def parse(name: str, values: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    """Turn a command line, or a recipe's mapping, into the arguments of a command's function.

    Raises
    ------
    SettingsError
        If a name or a value is wrong, in one line that names the nearest known one.
    """
    parser = parser_for(name)
    try:
        if isinstance(values, Mapping):
            parsed = parser.parse_object(_as_wanted({_flag(key): value for key, value in values.items()}, parser))
        else:
            parsed = parser.parse_args(_config_first(values, parser))
    except argparse.ArgumentError as error:
        raise SettingsError(_one_line(name, str(error), parser)) from error
    try:
        arguments = vars(parser.instantiate(parsed))
    except ValueError as error:
        # What settings say of their own values comes as the first of several reasons.
        reason = re.search(r"^\s+- (.+)$", str(error), re.MULTILINE)
        raise SettingsError(reason[1] if reason else " ".join(str(error).split())) from error
    for action in parser._actions:
        match arguments.get(action.dest):
            case [one] if getattr(action, "_takes_one_bare", False):
                arguments[action.dest] = one
    return {_parameter(key): value for key, value in arguments.items() if key not in ("config", "debug")}


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
    flag = _flag(parameter.name)
    action = parser.add_argument(flag if positional else f"--{flag}", **options)
    taken = (kind, *get_args(kind))
    action._wants_text = takes_several or any(each in (str, Path) or isinstance(each, str) for each in taken)
    # One value on the command line is then one path, such as a CSV file, and not a list of one.
    action._takes_one_bare = takes_several and (str in members or Path in members)


def _flag(parameter: str) -> str:
    """Name the flag of a parameter: Python keeps some words, such as `as`, for itself."""
    word = parameter.removesuffix("_")
    return word if keyword.iskeyword(word) else parameter


def _parameter(flag: str) -> str:
    return f"{flag}_" if keyword.iskeyword(flag) else flag


def _plain(kind: Any) -> Any:
    """Give what a parameter is on a command line: where Python takes an object or its path, the path."""
    members = get_args(kind)
    takes_object = any(getattr(member, "__module__", "").startswith("soundnet_kd") for member in members)
    return str if takes_object and {str, Path} & set(members) else kind


def _as_wanted(values: Mapping[str, Any], parser: ArgumentParser) -> dict[str, Any]:
    """Forgive what YAML makes easy to write: 2024 or a date for a folder, 32 for a name, and a list of one, bare."""
    actions = {action.dest: action for action in parser._actions}

    def as_text(value: Any, action: argparse.Action | None) -> Any:
        return str(value) if getattr(action, "_wants_text", False) and isinstance(value, int | float | date) else value

    found: dict[str, Any] = {}
    for name, value in values.items():
        action = actions.get(name)
        if action is not None and action.nargs == "+" and value is not None:
            found[name] = [as_text(each, action) for each in (value if isinstance(value, list) else [value])]
        else:
            found[name] = as_text(value, action)
    return found


def _config_first(arguments: Sequence[str], parser: ArgumentParser) -> list[str]:
    """Put what a --config file holds to the front: the command line overrides it, wherever --config stands."""
    rest, configs = list(arguments), []
    while "--config" in rest[:-1]:
        place = rest.index("--config")
        configs.append(f"--config={_content(rest[place + 1], parser)}")
        del rest[place : place + 2]
    return configs + rest


def _content(file: str, parser: ArgumentParser) -> str:
    """Give the values of a file, which may be written as in a recipe, in the way that jsonargparse takes them."""
    try:
        values = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"--config: {file} cannot be read ({error.strerror}); check the path") from error
    except (ValueError, yaml.YAMLError) as error:
        raise SettingsError(f"--config: {file} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise SettingsError(f"--config: {file} holds no options as name: value; --print_config writes such a file")
    return json.dumps(_as_wanted(values, parser), default=str)


def _one_line(command: str, message: str, parser: ArgumentParser) -> str:
    """Say in one line, in the words of the command line, what jsonargparse found wrong."""
    flags = {action.dest: (action.option_strings or [action.dest])[0] for action in parser._actions}
    text = " ".join(message.split())
    loose = re.search(r"unrecognized arguments: ([^-]\S*)", text)
    if loose:
        cure = "it takes no such value"
        for place in (action for action in parser._actions if not action.option_strings):
            cure = (
                f"name all {place.dest} in one place" if place.nargs == "+" else f"it takes one value for {place.dest}"
            )
        return f"{command} cannot place {loose[1]!r}; {cure}"
    unknown = re.search(r"unrecognized arguments: (?:--)?([^\s=]+)|Option '([^']+)' is not accepted", text)
    if unknown:
        word = unknown[1] or unknown[2]
        known = [action.dest for action in parser._actions if action.help is not argparse.SUPPRESS]
        return f"{command} has no option {word!r}{nearest(word, [name for name in known if name != 'help'])}"
    missing = re.fullmatch(r"the following arguments are required: (.+)", text)
    if missing:
        names = ", ".join(flags.get(name, name) for name in missing[1].split(", "))
        return f"{command} needs {names}; `soundnet-kd {command} --help` explains"
    text = re.sub(r"Parser key \"(\w+)\"(?: element \d+)?:", lambda key: f"{flags.get(key[1], key[1])}:", text)
    text = re.sub(r"Expected a typing\.Literal\[([^]]+)\]\.?", r"expected one of \1.", text)
    text = re.sub(r"Expected a <class '(\w+)'>\.?", r"expected \1.", text)
    return f"{command}: {text.replace('. Got value:', ', not')}"
