"""The arguments of a command's function, read from a command line or from a recipe's mapping."""

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from soundnet_kd.commands.parsers import flag_of, parameter_of, parser_for, takes_one_bare, wants_text
from soundnet_kd.errors import SettingsError, nearest


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
            parsed = parser.parse_object(_as_wanted({flag_of(key): value for key, value in values.items()}, parser))
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
            case [one] if takes_one_bare(action):
                arguments[action.dest] = one
    return {parameter_of(key): value for key, value in arguments.items() if key not in ("config", "debug")}


def _as_wanted(values: Mapping[str, Any], parser: ArgumentParser) -> dict[str, Any]:
    """Forgive what YAML makes easy to write: 2024 or a date for a folder, 32 for a name, and a list of one, bare."""
    actions = {action.dest: action for action in parser._actions}

    def as_text(value: Any, action: argparse.Action | None) -> Any:
        return str(value) if wants_text(action) and isinstance(value, int | float | date) else value

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
