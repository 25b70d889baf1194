"""A recipe as text: YAML in which yes, no, on and off are words, and values given from outside."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from soundnet_kd.errors import SettingsError


class _Yaml(yaml.SafeLoader):
    """YAML 1.2's booleans and numbers: `words: [yes, no]` are words, and 1e-4 is a number."""


_BOOL, _FLOAT = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:float"
_Yaml.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Yaml.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Yaml.add_implicit_resolver(_FLOAT, re.compile(r"^[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789"))


def read_yaml(file: Path) -> Any:
    """Read a recipe's file.

    Raises
    ------
    SettingsError
        If it is not YAML.
    """
    try:
        return yaml.load(file.read_text(encoding="utf-8"), _Yaml)
    except (ValueError, yaml.YAMLError) as error:
        raise SettingsError(f"{file} is not YAML: {' '.join(str(error).split())}") from error


def assign(content: dict[str, Any], assignment: str) -> None:
    """Set a value of a recipe, in place.

    Parameters
    ----------
    content : dict
    assignment : str
        Such as training.epochs=3.

    Raises
    ------
    SettingsError
        If it is not written so, or a part of its name already holds a value.
    """
    name, equals, text = assignment.partition("=")
    if not equals:
        raise SettingsError(f"--set takes name=value, not {assignment!r}")
    try:
        value = yaml.load(text, _Yaml)
    except yaml.YAMLError as error:
        raise SettingsError(f"--set {assignment}: the value is not YAML") from error
    _put(content, name.split("."), value)


def _put(content: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    *parents, last = keys
    for depth, key in enumerate(parents):
        inner = content.get(key)
        if isinstance(inner, str):
            # What is written as NAME alone has no settings yet.
            inner = {inner: {}}
        if inner is not None and not isinstance(inner, dict):
            raise SettingsError(f"--set {'.'.join(keys)}: {'.'.join(keys[: depth + 1])} holds a value, no keys")
        content[key] = inner or {}
        content = content[key]
    content[last] = value
