"""The commands: each is a typed function of some room, and its flags are that function's parameters.

The command line and the recipes are both made from the table below. A room is imported only when one of its commands is
wanted, so that `soundnet-kd --help` answers at once.
"""

import argparse
import difflib
import inspect
import keyword
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import docstring_parser
from jsonargparse import ActionYesNo, ArgumentParser

from soundnet_kd.errors import SettingsError


@dataclass(frozen=True)
class Command:
    """Where a command's function lives, which of its parameters go without a flag, and what it does in a few words."""

    home: str
    positional: tuple[str, ...]
    about: str

    def function(self) -> Callable[..., object]:
        """Import the function."""
        module, name = self.home.split(":")
        function: Callable[..., object] = getattr(import_module(f"soundnet_kd.{module}"), name)
        return function


COMMANDS: Mapping[str, Command] = {
    "quickstart": Command(
        "recipes:quickstart", (), "the whole route on a small demonstration world, or on your videos"
    ),
    "teach": Command("teachers:teach", ("videos",), "label the frames of videos with image networks"),
    "distill": Command("distill:distill", ("targets",), "train a student to hear what the teachers saw"),
    "extract": Command("features:extract", ("sounds",), "keep a student's layers for every sound of a data set"),
    "predict": Command("prediction:predict", ("sounds",), "say which objects and scenes a student hears"),
    "evaluate": Command("analysis:evaluate", ("features",), "cross-validate a linear SVM on every layer"),
    "compare": Command("transfer:compare", ("results",), "set two evaluations side by side, layer by layer"),
    "neurons": Command("analysis:neurons", ("features",), "find the classes that each neuron answers to"),
    "project": Command("analysis:project", ("features",), "draw a UMAP map of every layer"),
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
    description = "\n\n".join(filter(None, (text.short_description, text.long_description)))
    parser = ArgumentParser(
        prog=f"soundnet-kd {name}", description=description, formatter_class=_Help, exit_on_error=False
    )
    hints = get_type_hints(function)
    for parameter in inspect.signature(function).parameters.values():
        _add(parser, parameter, hints[parameter.name], helps[parameter.name], parameter.name in command.positional)
    parser.add_argument("--config", action="config", help="YAML file with values for these options")
    parser.add_argument("--debug", action=ActionYesNo, default=False, help="show where an error comes from")
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
            parsed = parser.parse_args(_config_first(values))
    except argparse.ArgumentError as error:
        raise SettingsError(_one_line(name, str(error), parser)) from error
    arguments = vars(parser.instantiate(parsed))
    return {_parameter(key): value for key, value in arguments.items() if key not in ("config", "debug")}


def nearest(name: str, known: Mapping[str, Any] | Sequence[str]) -> str:
    """Give the end of an error message: the known name that is most like a wrong one."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {found[0]!r}?" if found else f"; there are {', '.join(known)}"


class _Help(argparse.RawDescriptionHelpFormatter):
    """Plain help: the text of the docstring, and the default where there is one."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = " ".join((action.help or "").split()).replace("%", "%%")
        is_told = action.default is None or action.default is argparse.SUPPRESS or isinstance(action.default, bool)
        shown = action.option_strings and not is_told
        return f"{text} [default: %(default)s]" if shown else text


def _add(parser: ArgumentParser, parameter: inspect.Parameter, kind: Any, text: str, positional: bool) -> None:
    required = parameter.default is parameter.empty
    options: dict[str, Any] = {"help": text.replace("[default: ", "[otherwise: ")}
    if not positional:
        options |= {"required": True} if required else {"default": parameter.default}
    if kind is bool:
        options["action"] = ActionYesNo
    elif any(get_origin(member) in (list, Sequence) for member in (kind, *get_args(kind))):
        options |= {"type": str, "nargs": "+"}
    else:
        options["type"] = _plain(kind)
    flag = _flag(parameter.name)
    action = parser.add_argument(flag if positional else f"--{flag}", **options)
    members = (kind, *get_args(kind))
    action._wants_text = any(member in (str, Path) or isinstance(member, str) for member in members)


def _flag(parameter: str) -> str:
    """Name the flag of a parameter: Python keeps some words, such as `as`, for itself."""
    word = parameter.removesuffix("_")
    return word if keyword.iskeyword(word) else parameter


def _parameter(flag: str) -> str:
    return f"{flag}_" if keyword.iskeyword(flag) else flag


def _plain(kind: Any) -> Any:
    """Give what a parameter is on a command line: where Python takes an object or its path, the path."""
    takes_object = any(getattr(member, "__module__", "").startswith("soundnet_kd") for member in get_args(kind))
    return str if takes_object else kind


def _as_wanted(values: Mapping[str, Any], parser: ArgumentParser) -> dict[str, Any]:
    """Forgive what YAML makes easy to write: 2024 for a folder and 32 for a name, and a list of one, bare."""
    wanted = {action.dest: action for action in parser._actions}
    texts = {name for name, action in wanted.items() if getattr(action, "_wants_text", False)}
    lists = {name for name, action in wanted.items() if action.nargs == "+"}
    numbers_as_texts = {
        name: str(value) if name in texts and isinstance(value, int | float) else value
        for name, value in values.items()
    }
    return {
        name: [value] if name in lists and isinstance(value, str) else value for name, value in numbers_as_texts.items()
    }


def _config_first(arguments: Sequence[str]) -> list[str]:
    """Move --config to the front: what stands on the command line overrides the file, wherever it stands."""
    rest, configs = list(arguments), []
    while "--config" in rest[:-1]:
        place = rest.index("--config")
        configs += rest[place : place + 2]
        del rest[place : place + 2]
    return configs + rest


def _one_line(command: str, message: str, parser: ArgumentParser) -> str:
    """Say in one line, in the words of the command line, what jsonargparse found wrong."""
    flags = {action.dest: (action.option_strings or [action.dest])[0] for action in parser._actions}
    text = " ".join(message.split())
    unknown = re.search(r"unrecognized arguments: (?:--)?([^\s=]+)|Option '([^']+)' is not accepted", text)
    if unknown:
        word = unknown[1] or unknown[2]
        return f"{command} has no option {word!r}{nearest(word, [name for name in flags if name != 'help'])}"
    missing = re.fullmatch(r"the following arguments are required: (.+)", text)
    if missing:
        names = ", ".join(flags.get(name, name) for name in missing[1].split(", "))
        return f"{command} needs {names}; `soundnet-kd {command} --help` explains"
    text = re.sub(r"Parser key \"(\w+)\":", lambda key: f"{flags.get(key[1], key[1])}:", text)
    text = re.sub(r"Expected a typing\.Literal\[([^]]+)\]\.?", r"expected one of \1.", text)
    text = re.sub(r"Expected a <class '(\w+)'>\.?", r"expected \1.", text)
    return f"{command}: {text.replace('. Got value:', ', not')}"
