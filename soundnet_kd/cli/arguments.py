"""The arguments of a command's function, read from a command line or from a recipe's mapping."""

import argparse
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from jsonargparse import ActionYesNo, ArgumentParser

from soundnet_kd.cli.parsers import flag_of, kinds_of, parameter_of, parser_for, takes_one_bare
from soundnet_kd.cli.table import find
from soundnet_kd.config.values import NOTHING, Written, as_text, of_type, read_yaml
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
            flags = {flag_of(key): value for key, value in values.items()}
            parsed = parser.parse_object(_as_wanted(name, flags, kinds_of(name)))
        else:
            parsed = parser.parse_args(_config_first(name, _checked(name, values, parser)))
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
            case [str(one)] if not isinstance(values, Mapping) and _is_list(action, one):
                # On a command line too a list may be written as in a file.
                arguments |= _as_wanted(name, {action.dest: Written(one)}, kinds_of(name))
    return {parameter_of(key): value for key, value in arguments.items() if key not in ("config", "debug")}


def _as_wanted(command: str, values: Mapping[str, Any], kinds: Mapping[str, Any]) -> dict[str, Any]:
    """Turn what was written in a recipe or a file into what each option takes."""
    found = {}
    positional = find(command).positional
    for name, value in values.items():
        try:
            kind = kinds.get(name, Any)
            found[name] = of_type(_from_file(value) if _takes_mapping(kind) else value, kind)
        except SettingsError as error:
            raise SettingsError(f"{command}: {name if name in positional else f'--{name}'}: {error}") from error
    return found


def _checked(command: str, words: Sequence[str], parser: ArgumentParser) -> list[str]:
    """Read the numbers and truths of a command line as those of a file are read.

    Also refuses an empty text where a path belongs, such as "$UNSET".
    """
    kinds = kinds_of(command) | {"config": Path}
    options = {option: action for action in parser._actions for option in action.option_strings}
    several = {action.dest for action in parser._actions if action.nargs == "+"}
    places = find(command).positional
    flags, owner = [], ""
    for word in words:
        flag, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        action = options.get(flag)
        name = flag[2:] if flag else owner
        kind = _inner(kinds, name) if name else None
        if isinstance(action, ActionYesNo):
            yes, no = action.option_strings[0], action.option_strings[-1]
            if equals and kind is bool:
                word = yes if _as_wanted(command, {name: Written(value)}, {name: bool})[name] else no
        elif (equals or not flag) and kind is not None and not _takes_text(kind):
            typed = _as_wanted(command, {name: Written(value)}, {name: kind})[name]
            text = json.dumps(typed) if isinstance(typed, Mapping) else as_text(typed)
            word = f"{flag}={text}" if equals else text
        elif not value and (equals or not flag):
            place = name or (places[0] if places else "")
            _as_wanted(command, {place: ""}, {place: kind or kinds.get(place, Any)})
        flags.append(word)
        if flag:
            owner = "" if equals or isinstance(action, ActionYesNo) else name
        elif owner not in several:
            owner = ""
    return _gathered(flags, [f"--{name}" for name in several])


def _gathered(words: Sequence[str], several: Sequence[str]) -> list[str]:
    """Join what a flag that takes several values is given in several places, such as --set a=1 --set b=2."""
    given: dict[str, list[str]] = {}
    rest: list[str] = []
    place = rest
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in several:
            place = given.setdefault(flag, [])
            if equals:
                place.append(value)
                place = rest
        else:
            place = rest if word.startswith("--") else place
            place.append(word)
    if all(words.count(flag) + sum(word.startswith(f"{flag}=") for word in words) < 2 for flag in given):
        return list(words)
    return rest + [word for flag, values in given.items() for word in (flag, *values)]


def _inner(kinds: Mapping[str, Any], name: str) -> Any:
    """Return the type of an option, or of a part of one, such as windows.seconds; None for one that is not known."""
    first, *parts = name.split(".")
    kind = kinds.get(first)
    for part in parts:
        found = None
        for member in _members(kind):
            if is_dataclass(member):
                found = get_type_hints(member).get(part)
            elif get_origin(member) is dict:
                found = get_args(member)[1]
        kind = found
    return kind


def _members(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _takes_text(kind: Any) -> bool:
    """Return whether an option takes a text or a path, by itself or in a list."""
    return bool({str, Path, list, Sequence, Iterable} & {get_origin(member) or member for member in _members(kind)})


def _takes_mapping(kind: Any) -> bool:
    """Return whether an option takes names with values and nothing else."""
    members = _members(kind)
    return not _takes_text(kind) and any(is_dataclass(each) or get_origin(each) is dict for each in members)


def _from_file(value: Any) -> Any:
    """Return the names and values of a YAML file, for its path, or else the value itself."""
    if not isinstance(value, str) or value.lstrip().startswith("{"):
        return value
    return _values_of(value) if value.endswith((".yaml", ".yml", ".json")) or Path(value).is_file() else value


def _is_list(action: argparse.Action, text: str) -> bool:
    """Return whether an option's one text is a list as in a file; an argument without a flag is a path as it stands."""
    return bool(action.option_strings) and (text in NOTHING or text.startswith("["))


def _config_first(command: str, arguments: Sequence[str]) -> list[str]:
    """Put what a --config file holds to the front: the command line overrides it, wherever --config stands."""
    rest, configs = list(arguments), []
    while place := next((at for at, word in enumerate(rest, 1) if re.match("--config(=|$)", word)), 0):
        _, equals, file = rest.pop(place - 1).partition("=")
        if not equals and place > len(rest):
            raise SettingsError(f"{command}: --config takes a file")
        configs.append(f"--config={_content(command, file if equals else rest.pop(place - 1))}")
    return configs + rest


def _content(command: str, file: str) -> str:
    """Return the values of a file, which may be written as in a recipe, in the way that jsonargparse takes them."""
    try:
        values = _values_of(file)
    except SettingsError as error:
        raise SettingsError(f"--config: {error}") from error
    return json.dumps(_as_wanted(command, values, kinds_of(command)), default=str)


def _values_of(file: str) -> dict[str, Any]:
    try:
        values = read_yaml(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{file} cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:
        raise SettingsError(f"{file} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise SettingsError(f"{file} holds no options as name: value")
    return values


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
    text = re.sub(r"Group '([^']+)' does not accept option '([^']+)'", r"Option '\1.\2' is not accepted", text)
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
