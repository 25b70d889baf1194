"""Values as somebody wrote them, and what they become by the type of the parameter that takes them.

YAML guesses: 007 is seven to it, `on` is true, 22:05 is 1325 and 2024-01-01 a day. Here a value stays the text that was
written until the parameter that takes it says what it wants; a path or a text then keeps it as it is.
"""

import dataclasses
import inspect
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml

from soundnet_kd.errors import SettingsError


class Written(str):
    """A text that says by itself neither that it is a text nor that it is a number, a list or a word such as `no`."""

    __slots__ = ()


TRUTH: Mapping[str, bool] = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
"""Words, in any case, where true or false is wanted."""
NOTHING = ("null", "Null", "NULL")
"""Words where a parameter may have no value."""

_INTEGER = re.compile(r"[-+]?(?:\d+(?:_\d+)*|0x[0-9a-fA-F]+|0o[0-7]+|0b[01]+)", re.ASCII)
_NUMBER = re.compile(r"[-+]?(?:\d+(?:_\d+)*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
_INFINITE = {".inf": "inf", "+.inf": "inf", "-.inf": "-inf", "Infinity": "inf", "-Infinity": "-inf"}


def read_yaml(text: str) -> Any:
    """Read YAML as it is written: lists and mappings, null, and everything else as text.

    Returns
    -------
    None, `Written` (without quotes in the file), str (with quotes), list or dict of these

    Raises
    ------
    ValueError
        If it is not YAML; the message says where, in one line.
    """
    try:
        return yaml.load(text, _AsWritten)
    except yaml.YAMLError as error:
        message = " ".join(str(error).split())
        raise ValueError(message.replace("found unconstructable recursive node", "what holds itself")) from error
    except RecursionError as error:
        raise ValueError("a list or a mapping holds itself, or too many others in one another") from error


def opened(value: Any) -> Any:
    """list, mapping or None that a text such as [a, b], {a: 1}, null or "" stands for, or the value itself."""
    if isinstance(value, Written) and value.strip() in (*NOTHING, ""):
        return None
    if isinstance(value, Written) and value.lstrip()[:1] in ("[", "{"):
        try:
            return read_yaml(value)
        except ValueError:
            return value
    return value


def as_text(value: Any) -> str:
    """Return the text of a value that stands in the middle of another text."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {as_text(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(as_text, value))}]"
    if value is None:
        return "null"
    if isinstance(value, float) and math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    return str(value).lower() if isinstance(value, bool) else str(value)


def guessed(value: Any) -> Any:
    """Return what a value is where no parameter tells: a number, true or false, null, or else the text (YAML 1.2)."""
    value = opened(value)
    if isinstance(value, Mapping):
        return {str(key): guessed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [guessed(item) for item in value]
    if not isinstance(value, Written):
        return value
    text = value.strip()
    if text in NOTHING:
        return None
    if text.lower() in ("true", "false"):
        return TRUTH[text.lower()]
    number = _number(text)
    return str(value) if number is None else number


def of_type(value: Any, kind: Any) -> Any:
    """Turn what was written into what a parameter takes.

    Parameters
    ----------
    value : Any
        As `read_yaml` gives it, or a `Written` text from a command line; what is no text passes, where it may.
    kind : type
        As a signature has it. Of a union, a text or a path keeps the text.

    Returns
    -------
    Any
        For a dataclass, the mapping of its fields.

    Raises
    ------
    SettingsError
        If the parameter takes no such value.
    """
    members = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if value is None or (NoneType in members and isinstance(value, Written) and value.strip() in (*NOTHING, "")):
        if NoneType in members or Any in members:
            return None
        raise SettingsError(f"expected {_wanted(members)}, not null{_quoted(members)}")
    for member in members:
        if _is_several(member):
            (item, *_) = get_args(member) or (Any,)
            found = opened(value)
            return [of_type(each, item) for each in (found if isinstance(found, list | tuple) else [value])]
    takes_text = not {str, Path}.isdisjoint(members)
    for member in members:
        if not takes_text and (dataclasses.is_dataclass(member) or get_origin(member) in (dict, Mapping)):
            return _mapping(value, member)
    return _scalar(value, members) if isinstance(value, str) else _passed(value, members)


def of_parameters(
    values: Mapping[str, Any], function: Callable[..., Any], where: str, left_out: Collection[str] = ()
) -> dict[str, Any]:
    """Turn the values for a function's or a class's parameters into what they take; unknown names are guessed.

    Raises
    ------
    SettingsError
        If a parameter takes no such value; the message names it, behind `where`.
    """
    parameters = inspect.signature(function, eval_str=True).parameters
    found = {}
    for name, value in values.items():
        known = name in parameters and name not in left_out
        try:
            found[name] = of_type(value, parameters[name].annotation) if known else guessed(value)
        except SettingsError as error:
            raise SettingsError(f"{where}{name}: {error}") from error
    return found


def _is_several(member: Any) -> bool:
    return get_origin(member) in (list, tuple, Sequence, Iterable)


def _mapping(value: Any, member: Any) -> Any:
    found = opened(value)
    if isinstance(found, Written):
        try:
            found = read_yaml(found)
        except ValueError:
            found = value
    if not isinstance(found, Mapping):
        if isinstance(value, get_origin(member) or member):
            return value
        fields = dataclasses.fields(member) if dataclasses.is_dataclass(member) else ()
        example = next((field.name for field in fields if field.type in (float, "float")), "a")
        raise SettingsError(f"expected name: value, such as {{{example}: 2}}, not {as_text(value) or 'an empty text'}")
    if dataclasses.is_dataclass(member):
        return of_parameters(found, member, "")  # type: ignore[arg-type]
    return {str(key): of_type(item, get_args(member)[1]) for key, item in found.items()}


def _scalar(value: str, members: Sequence[Any]) -> Any:
    for member in members:
        if get_origin(member) is Literal:
            for choice in get_args(member):
                if str(choice) == value:
                    return choice
    if Any in members:
        return guessed(value)
    text = value.strip()
    if not text and (Path in members or isinstance(value, Written)):
        raise SettingsError(f"expected {_wanted(members)}, not an empty text")
    if {str, Path} & set(members):
        return str(value)
    if bool in members and text.lower() in TRUTH:
        return TRUTH[text.lower()]
    number = _number(text)
    if number is not None and float in members:
        return number if int in members else float(number)
    if isinstance(number, int) and int in members:
        return number
    raise SettingsError(f"expected {_wanted(members)}, not {text if text else 'an empty text'}")


def _passed(value: Any, members: Sequence[Any]) -> Any:
    """Return what came as an object, a number as the text where a text is wanted."""
    if isinstance(value, list | Mapping):
        raise SettingsError(f"expected {_wanted(members)}, not {as_text(value)}{_quoted(members)}")
    for choice in (choice for member in members if get_origin(member) is Literal for choice in get_args(member)):
        if str(choice) == str(value):
            return choice
    if {str, Path} & set(members):
        return str(value) if isinstance(value, int | float) else value
    is_plain = all(member in (bool, int, float, NoneType) or get_origin(member) is Literal for member in members)
    if is_plain and type(value) not in members and not (type(value) is int and float in members):
        raise SettingsError(f"expected {_wanted(members)}, not {as_text(value)}")
    return value


def _quoted(members: Sequence[Any]) -> str:
    return "; put it in quotes, if that is its name" if {str, Path} & set(members) else ""


def _wanted(members: Sequence[Any]) -> str:
    if Path in members:
        return "a path"
    names = []
    for member in members:
        if get_origin(member) is Literal:
            names.append(f"one of {', '.join(map(repr, get_args(member)))}")
        elif member is not NoneType:
            names.append(getattr(member, "__name__", str(member)))
    return " or ".join(names)


def _number(text: str) -> float | None:
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text.lstrip("+-")[:2] in ("0x", "0o", "0b") else int(text)
    if text in _INFINITE:
        return float(_INFINITE[text])
    return float(text) if _NUMBER.fullmatch(text) else None


class _AsWritten(yaml.SafeLoader):
    """YAML whose only words are null and, as a key, `<<`."""

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        text = super().construct_scalar(node)
        return Written(text) if isinstance(node, yaml.ScalarNode) and node.style is None else text

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        names = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                if key.value in names:
                    raise yaml.composer.ComposerError(None, None, f"{key.value!r} is given twice", key.start_mark)
                names.add(key.value)
        return node

    def construct_whole(self, node: yaml.MappingNode | yaml.SequenceNode) -> Any:
        """Construct a list or a mapping with all that it holds, so that one that holds itself is refused."""
        if isinstance(node, yaml.MappingNode):
            return self.construct_mapping(node, deep=True)
        return self.construct_sequence(node, deep=True)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        return {"null" if key is None else key: value for key, value in super().construct_mapping(node, deep).items()}


_NULL, _MERGE = "tag:yaml.org,2002:null", "tag:yaml.org,2002:merge"
_AsWritten.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in (_NULL, _MERGE)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag in ("tag:yaml.org,2002:str", _MERGE):
    _AsWritten.add_constructor(_tag, _AsWritten.construct_scalar)
for _tag in ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
    _AsWritten.add_constructor(_tag, _AsWritten.construct_whole)
