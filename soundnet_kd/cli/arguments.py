"""The arguments of a command's function, read from a command line, files of --config, or a recipe's mapping."""

import argparse
import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from soundnet_kd.cli.parsers import NO_SETTINGS, flag_of, parser_for
from soundnet_kd.cli.table import find
from soundnet_kd.config.raw_yaml import RawText, read_yaml_file
from soundnet_kd.config.values import convert, parse_mapping, takes_mapping
from soundnet_kd.errors import SettingsError, nearest


def parse(name: str, values: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    """Turn a command line, or a recipe's mapping, into the arguments of a command's function.

    Raises
    ------
    SettingsError
        If a name or a value is wrong, in one line that names the nearest known one.
    """
    if isinstance(values, Mapping):
        return _arguments(name, [values])
    given = _read_words(name, values)
    configs = [_read_config(file) for file in given.pop("config", ())]
    prints = given.pop("print_config", False)
    arguments = _arguments(name, [*configs, given], is_partial=prints, typed=given)
    if prints:
        print(_as_yaml(arguments), end="")
        raise SystemExit(0)
    return arguments


def _read_words(command: str, words: Sequence[str]) -> dict[str, Any]:
    """Return what each flag of a command line is given, as it was typed."""
    parameters = _described_parameters(command)
    parser = parser_for(command)
    given: dict[str, Any] = {}
    rest = []
    for word in words:
        flag, equals, value = word.partition("=")
        option, _, part = flag.removeprefix("--").partition(".")
        kind = parameters[option].annotation if flag.startswith("--") and option in parameters else None
        if equals and kind is bool and not part:
            given[option] = RawText(value)
            continue
        if part and takes_mapping(kind) and flag not in parser._option_string_actions:
            # Such as --teacher_weights.scenes, whose names are not known before.
            parser.add_argument(flag, help=argparse.SUPPRESS)
        rest.append(word)
    found, unplaced = parser.parse_known_args(rest)
    if unplaced:
        parser.refuse_unplaced(unplaced)
    for name, value in vars(found).items():
        if name in find(command).positional or isinstance(value, bool) or name in NO_SETTINGS:
            # What stands without a flag is a path, as it is.
            given[name] = value
        elif isinstance(value, list):
            # One word may be a list as a file has it.
            given[name] = RawText(value[0]) if len(value) == 1 else [RawText(each) for each in value]
        else:
            given[name] = RawText(value)
    return given


def _arguments(
    command: str,
    layers: Iterable[Mapping[str, Any]],
    is_partial: bool = False,
    typed: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Turn what was written, of which later layers win, into a function's arguments; `typed` is a command line's."""
    parameters = _described_parameters(command)
    values: dict[str, Any] = {}
    for layer in layers:
        for name, value in sorted(layer.items(), key=lambda item: str(item[0]).count(".")):
            _set_option(values, flag_of(str(name)), value, command, parameters)
    missing = [name for name, each in parameters.items() if name not in values and each.default is each.empty]
    # First of all: what is missing may stand among the values of an option, and be refused as one of these.
    if missing and not is_partial:
        raise SettingsError(f"{_missing(command, missing, typed)}; `soundnet-kd {command} --help` explains")
    arguments = {}
    signature = inspect.signature(find(command).function(), eval_str=True)
    for name, parameter in _by_flag(signature).items():
        where = f"{command}: {_flag(command, name)}"
        if name in values:
            arguments[parameter.name] = convert(values[name], parameter.annotation, where, parameter.default)
        elif parameter.default is not parameter.empty:
            arguments[parameter.name] = parameter.default
    return arguments


def _missing(command: str, names: Sequence[str], typed: Mapping[str, Any]) -> str:
    """Name what a command lacks, and the option that has taken it where a command line has it in the wrong place."""
    needs = f"{command} needs {', '.join(_flag(command, name) for name in names)}"
    positional = [name for name in names if name in find(command).positional]
    taken = [(name, value[-1]) for name, value in typed.items() if isinstance(value, list)]
    if not positional or not taken:
        return needs
    (option, word), *_ = taken
    return f"{needs}; {', '.join(positional)} come before the options, of which --{option} has taken {word}"


def _set_option(
    values: dict[str, Any], name: str, value: Any, command: str, parameters: Mapping[str, inspect.Parameter]
) -> None:
    """Lay the value of an option, or of a part of one such as windows.seconds, over what there is."""
    option, _, part = name.partition(".")
    if name == "debug":
        return
    if option not in parameters or (part and not takes_mapping(parameters[option].annotation)):
        raise SettingsError(f"{command} has no option {name!r}{nearest(name, list(parameters))}")
    if takes_mapping(parameters[option].annotation):
        value = {part: value} if part else parse_mapping(value, f"{command}: {_flag(command, option)}")
        before = values.get(option)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            value = {**before, **value}
    values[option] = value


def _described_parameters(command: str) -> dict[str, inspect.Parameter]:
    """Return the parameters of a command's function by the names of their flags, without importing it."""
    signature, _ = find(command).describe()
    return _by_flag(signature)


def _by_flag(signature: inspect.Signature) -> dict[str, inspect.Parameter]:
    return {flag_of(name): parameter for name, parameter in signature.parameters.items()}


def _flag(command: str, name: str) -> str:
    return name if name in find(command).positional else f"--{name}"


def _read_config(file: str) -> dict[str, Any]:
    values = read_yaml_file(file)
    if not isinstance(values, dict):
        raise SettingsError(f"{file} holds no options as name: value")
    return values


def _as_yaml(arguments: Mapping[str, Any]) -> str:
    """Return arguments as a file of --config has them."""
    plain = {
        flag_of(name): asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
        for name, value in arguments.items()
    }
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in plain.items()}
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
