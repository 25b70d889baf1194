"""Values as somebody wrote them, turned into what the parameters that take them want, by their types.

Flags of the command line, files of --config, both kinds of recipes and what --set changes in them are all read by
`convert`, so that a value means the same wherever it is written.
"""

import dataclasses
import inspect
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from soundnet_kd.config.raw_yaml import NULLS, RawText, parse_nested, read_yaml, read_yaml_file
from soundnet_kd.errors import SettingsError, nearest

BOOLEANS: Mapping[str, bool] = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
"""Words, in any case, where true or false is wanted."""
SLOWEST, FASTEST = 0.25, 4.0
"""Times the speed of a sound at which it may be heard."""
_INTEGER = re.compile(r"[-+]?(?:\d+(?:_\d+)*|0x[0-9a-fA-F]+|0o[0-7]+|0b[01]+)", re.ASCII)
_NUMBER = re.compile(r"[-+]?(?:\d+(?:_\d+)*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
_INFINITE = {".inf": "inf", "+.inf": "inf", "-.inf": "-inf", "Infinity": "inf", "-Infinity": "-inf"}


def parse_value(value: Any) -> Any:
    """Return what a value is where no parameter tells: a number, true or false, null, or else the text (YAML 1.2)."""
    value = parse_nested(value)
    if isinstance(value, Mapping):
        return {str(key): parse_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [parse_value(item) for item in value]
    if not isinstance(value, RawText):
        return value
    if value.strip().lower() in ("true", "false"):
        return BOOLEANS[value.strip().lower()]
    number = _parse_number(value.strip())
    return str(value) if number is None else number


def parse_mapping(value: Any, where: str) -> Any:
    """Return the mapping that a text such as {a: 1} or a: 1 or the name of a YAML file stands for, or else the value.

    Raises
    ------
    SettingsError
        If the text names a YAML file that cannot be read; the message begins with `where`.
    """
    found = parse_nested(value)
    try:
        found = read_yaml(found) if isinstance(found, RawText) else found
    except ValueError:
        found = value
    if isinstance(found, str) and (found.endswith((".yaml", ".yml", ".json")) or Path(found).is_file()):
        try:
            found = read_yaml_file(found)
        except SettingsError as error:
            raise SettingsError(f"{where}: {error}") from error
    return found if isinstance(found, Mapping) else value


def format_value(value: Any) -> str:
    """Return the text of a value that stands in the middle of another text."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {format_value(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(format_value, value))}]"
    if value is None:
        return "null"
    if isinstance(value, float) and math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    return str(value).lower() if isinstance(value, bool) else str(value)


def convert(value: Any, kind: Any, where: str, default: Any = None) -> Any:
    """Turn what was written into what a parameter takes.

    Parameters
    ----------
    value : Any
        As `read_yaml` returns it, or a `RawText` from a command line; what is no text passes, where it may.
    kind : type
        As a signature has it. Of a union, a text or a path keeps the text. Where several values or one path are
        taken, a list of one is that one.
    where : str
        What the parameter is called in messages.
    default : Any
        Of a dataclass: the object whose fields stay where `value` does not name them.

    Raises
    ------
    SettingsError
        If the parameter takes no such value, in one line that begins with `where`.
    """
    members = members_of(kind)
    if value is None or (NoneType in members and isinstance(value, RawText) and value.strip() in (*NULLS, "")):
        if NoneType in members or Any in members:
            return None
        raise SettingsError(f"{where}: expected {_describe(members)}, not null{_quote_hint(members)}")
    if takes_mapping(kind) and (not takes_several(kind) or isinstance(parse_nested(value), Mapping)):
        return _convert_mapping(value, next(filter(_is_mapping, members)), where, default)
    texts = [member for member in members if member in (str, Path)]
    for member in members:
        if get_origin(member) in (list, tuple, Sequence, Iterable):
            (item, *_) = get_args(member) or (Any,)
            found = parse_nested(value)
            items = [convert(each, item, where) for each in (found if isinstance(found, list | tuple) else [value])]
            if texts and len(items) == 1:
                return items[0]
            return tuple(items) if get_origin(member) is tuple else items
    return _convert_text(value, members, where) if isinstance(value, str) else _check_object(value, members, where)


def convert_parameters(
    values: Mapping[str, Any], function: Callable[..., Any], where: str, excluded: Collection[str] = ()
) -> dict[str, Any]:
    """Turn named values into what a function's or a class's parameters take; those that are not named are left out.

    Parameters
    ----------
    values : mapping
    function : callable
    where : str
        What the mapping is called in messages.
    excluded : collection of str
        Parameters that others set.

    Raises
    ------
    SettingsError
        If there is no such parameter or it takes no such value; the message names the nearest one.
    """
    parameters = inspect.signature(function, eval_str=True).parameters
    require_known(values, [name for name in parameters if name not in excluded], where)
    return {
        name: convert(value, parameters[name].annotation, f"{where}.{name}", parameters[name].default)
        for name, value in values.items()
    }


def require_known(names: Iterable[Any], known: Sequence[str], where: str) -> None:
    """Raise SettingsError for a name that is not known, with the nearest one."""
    for name in names:
        if name not in known:
            raise SettingsError(f"{where} has no key {str(name)!r}{nearest(str(name), known)}")


def require_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    """Check seeds, for each of which something is trained.

    Raises
    ------
    SettingsError
        If there is none, or one is negative or named twice.
    """
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise SettingsError(f"seeds is {format_value(seeds)}; give whole numbers from 0 on, each once, such as 0, 1, 2")
    return tuple(seeds)


def require_speeds(speeds: Sequence[float]) -> tuple[float, ...]:
    """Check the speeds at which sounds are heard.

    Raises
    ------
    SettingsError
        If there is none, or one is too slow, too fast or named twice.
    """
    if not speeds or len(set(speeds)) < len(speeds) or not all(SLOWEST <= speed <= FASTEST for speed in speeds):
        raise SettingsError(f"speeds are {format_value(speeds)}; give them from {SLOWEST} to {FASTEST}, each once")
    return tuple(speeds)


def set_nested(values: dict[str, Any], name: str, value: Any) -> None:
    """Set a value deep inside a mapping, in place, such as that of training.epochs.

    Raises
    ------
    SettingsError
        If a part of the name already holds a value that has no keys.
    """
    *parents, last = name.split(".")
    for depth, key in enumerate(parents, start=1):
        inner = parse_nested(values.get(key))
        if inner is not None and not isinstance(inner, dict):
            raise SettingsError(f"--set {name}: {'.'.join(parents[:depth])} holds a value, not keys")
        values[key] = dict(inner or {})
        values = values[key]
    values[last] = value


def members_of(kind: Any) -> tuple[Any, ...]:
    """Return the types of a union, or the type itself."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def takes_mapping(kind: Any) -> bool:
    """Return whether a parameter takes names with values and no text: a dataclass, or a dict."""
    members = members_of(kind)
    return {str, Path}.isdisjoint(members) and any(map(_is_mapping, members))


def takes_several(kind: Any) -> bool:
    """Return whether a parameter takes a list of values."""
    return any(get_origin(member) in (list, tuple, Sequence, Iterable) for member in members_of(kind))


def _is_mapping(member: Any) -> bool:
    return dataclasses.is_dataclass(member) or get_origin(member) in (dict, Mapping)


def _convert_mapping(value: Any, kind: Any, where: str, default: Any) -> Any:
    if isinstance(value, get_origin(kind) or kind) and not isinstance(value, dict):
        return value
    found = parse_mapping(value, where)
    fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
    if not isinstance(found, Mapping):
        example = next((field.name for field in fields if field.type is float), "a")
        flag = where.rpartition(" ")[2]
        written = f", or {flag}.{example} 2" if flag.startswith("--") else ""
        raise SettingsError(f"{where}: expected name: value, such as {{{example}: 2}}{written}, not {_display(value)}")
    if not dataclasses.is_dataclass(kind):
        return {str(key): convert(item, get_args(kind)[1], f"{where}.{key}") for key, item in found.items()}
    given = convert_parameters(found, kind, where)  # type: ignore[arg-type]
    if isinstance(default, kind):  # type: ignore[arg-type]
        return dataclasses.replace(default, **given)
    for field in fields:
        if field.name not in given and field.default is field.default_factory is dataclasses.MISSING:
            raise SettingsError(f"{where} needs {field.name}; write {field.name}: value among its settings")
    return kind(**given)  # type: ignore[operator]


def _convert_text(value: str, members: Sequence[Any], where: str) -> Any:
    for member in members:
        if get_origin(member) is Literal:
            for choice in get_args(member):
                if str(choice) == value:
                    return choice
    if Any in members:
        return parse_value(value)
    text = value.strip()
    if not text and (Path in members or isinstance(value, RawText)):
        raise SettingsError(f"{where}: expected {_describe(members)}, not an empty text")
    for member in members:
        if member in (str, Path):
            return member(value)
    if bool in members and text.lower() in BOOLEANS:
        return BOOLEANS[text.lower()]
    number = _parse_number(text)
    if number is not None and float in members:
        return number if int in members else float(number)
    if isinstance(number, int) and int in members:
        return number
    raise SettingsError(f"{where}: expected {_describe(members)}, not {_display(text)}")


def _check_object(value: Any, members: Sequence[Any], where: str) -> Any:
    """Return what came as an object, a number as the text where a text is wanted."""
    if isinstance(value, list | Mapping) and Any not in members:
        raise SettingsError(f"{where}: expected {_describe(members)}, not {format_value(value)}{_quote_hint(members)}")
    for choice in (choice for member in members if get_origin(member) is Literal for choice in get_args(member)):
        if str(choice) == str(value):
            return choice
    if {str, Path} & set(members):
        return str(value) if isinstance(value, int | float) else value
    if type(value) is int and float in members and int not in members:
        return float(value)
    is_plain = all(member in (bool, int, float, NoneType) or get_origin(member) is Literal for member in members)
    if is_plain and type(value) not in members:
        raise SettingsError(f"{where}: expected {_describe(members)}, not {format_value(value)}")
    return parse_value(value) if Any in members else value


def _display(value: Any) -> str:
    return format_value(value) or "an empty text"


def _quote_hint(members: Sequence[Any]) -> str:
    return "; put it in quotes, if that is its name" if {str, Path} & set(members) else ""


def _describe(members: Sequence[Any]) -> str:
    if Path in members:
        return "a path"
    names = []
    for member in members:
        if get_origin(member) is Literal:
            names.append(f"one of {', '.join(map(repr, get_args(member)))}")
        elif member is not NoneType:
            names.append(getattr(member, "__name__", str(member)))
    return " or ".join(names)


def _parse_number(text: str) -> float | None:
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text.lstrip("+-")[:2] in ("0x", "0o", "0b") else int(text)
    if text in _INFINITE:
        return float(_INFINITE[text])
    return float(text) if _NUMBER.fullmatch(text) else None
