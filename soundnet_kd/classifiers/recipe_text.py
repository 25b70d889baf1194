"""A recipe as text: its file, and values given from outside."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from soundnet_kd.config.values import Written, opened, read_yaml
from soundnet_kd.errors import SettingsError


def read_recipe_text(file: str | Path) -> Any:
    """Read a recipe's file, as `soundnet_kd.config.values` reads YAML.

    Raises
    ------
    SettingsError
        If it is not YAML.
    """
    file = Path(file)
    try:
        return read_yaml(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SettingsError(f"{file} is not YAML: {error}") from error


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
    _put(content, name.split("."), Written(text))


def _put(content: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    *parents, last = keys
    for depth, key in enumerate(parents):
        inner = opened(content.get(key))
        if isinstance(inner, str) and depth == 0:
            # What is written as NAME alone has no settings yet.
            inner = {inner: {}}
        if inner is not None and not isinstance(inner, dict):
            raise SettingsError(f"--set {'.'.join(keys)}: {'.'.join(keys[: depth + 1])} holds a value, no keys")
        content[key] = inner or {}
        content = content[key]
    content[last] = value
