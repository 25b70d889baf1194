"""Recipes: YAML files with variables, either of steps, each a command with its settings, or of a network to train.

What is common to both kinds is here: which file a name stands for, which kind a file is, its variables, and what --set
changes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from soundnet_kd.config.raw_yaml import RawText, parse_nested, read_yaml_file
from soundnet_kd.config.values import format_value, require_known, set_nested
from soundnet_kd.errors import SettingsError, closest, nearest
from soundnet_kd.storage import package_data

RecipeCommand = Literal["run", "train"]

KINDS: Mapping[RecipeCommand, tuple[str, str, str]] = {
    "run": ("steps", "a recipe of steps", "about, variables, and steps of command: settings"),
    "train": (
        "network",
        "a recipe of a network",
        "about, variables, data, network, training and what else `soundnet-kd train --help` explains",
    ),
}
"""For each command that takes recipes, the key that only its recipes have, what they are, and what they hold."""
KEYS_OF_STEPS = ("about", "variables", "steps")
IF_GIVEN = "if_given"
"""Key of a step that is left out where a variable has no value; its value is the variable's name."""

_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True)
class Recipe:
    """A recipe of steps, as its file has it.

    Attributes
    ----------
    about : str
        What it does and which numbers it gives.
    variables : dict
        Names that `${name}` stands for in the steps, with their values; None where the caller must or may give one.
    steps : tuple of (command, settings, variable or None)
        A step that names a variable is left out where that has no value.
    """

    about: str
    variables: dict[str, Any]
    steps: tuple[tuple[str, Mapping[str, Any], str | None], ...]


class _UnsetError(Exception):
    """A variable without a value stands inside a text; holds its name."""


def find_recipe(path: str | Path) -> Path:
    """Find a recipe's file; a name alone, such as quickstart, is one of those that come with this package.

    Raises
    ------
    SettingsError
        If there is none.
    """
    path = Path(path)
    if not path.is_file() and path.parent in (Path(), Path("pipelines")):
        known = sorted(file.stem for file in package_data("pipelines").glob("*.yaml"))
        if path.stem not in known:
            like = closest(path.stem, known)
            cure = f"those of this package are {', '.join(known)}" if like is None else f"did you mean {like!r}?"
            raise SettingsError(f"there is no recipe {path}; {cure}")
        path = package_data("pipelines") / f"{path.stem}.yaml"
    if not path.is_file():
        raise SettingsError(f"there is no recipe {path}; a name alone, such as quickstart, is one of this package")
    return path


def list_recipes(command: RecipeCommand) -> list[str]:
    """Names of the recipes of this package that a command takes."""
    key = KINDS[command][0]
    return sorted(file.stem for file in package_data("pipelines").glob("*.yaml") if key in read_yaml_file(file))


def read_recipe_file(path: str | Path, command: RecipeCommand) -> dict[str, Any]:
    """Read a recipe's keys and values, unfilled, and see that it is of the kind that a command takes.

    Raises
    ------
    SettingsError
        If there is no such recipe, or it is not one; if it is one of the other kind, the message names its command.
    """
    file = find_recipe(path)
    content = read_yaml_file(file)
    key, _, keys = KINDS[command]
    if not isinstance(content, dict) or key not in content:
        for other, (mark, what, _) in KINDS.items():
            if isinstance(content, dict) and mark in content:
                raise SettingsError(f"{file} is {what}; use `soundnet-kd {other} {path}`")
        raise SettingsError(f"{file} is not a recipe; write {keys}")
    variables = parse_nested(content.get("variables"))
    if variables is not None and not isinstance(variables, dict):
        raise SettingsError(f"{file}: the variables are {format_value(variables)}; write them as name: value")
    return {**content, "variables": variables or {}}


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe of steps.

    Raises
    ------
    SettingsError
        If there is no such recipe, or it is not one.
    """
    content = read_recipe_file(path, "run")
    require_known(content, KEYS_OF_STEPS, f"{path}: a recipe of steps")
    listed = content["steps"] or []
    if not isinstance(listed, list):
        raise SettingsError(f"{path}: the steps are {format_value(listed)}; write each as - command: settings")
    for step in listed:
        if not isinstance(step, Mapping):
            raise SettingsError(f"{path}: a step is {format_value(step)}; write it as - command: settings")
    variables = content["variables"]
    for step in listed:
        if (needed := step.get(IF_GIVEN)) is not None and str(needed) not in variables:
            raise SettingsError(f"{path}: {IF_GIVEN} is {needed}, no variable of it{nearest(str(needed), variables)}")
    steps = tuple(
        (command, settings or {}, step.get(IF_GIVEN))
        for step in listed
        for command, settings in step.items()
        if command != IF_GIVEN
    )
    if not steps:
        raise SettingsError(f"{path} has no steps")
    for command, settings, _ in steps:
        if not isinstance(settings, Mapping):
            raise SettingsError(f"{path}: the settings of {command} are {settings!r}; write them as name: value")
    return Recipe(str(content.get("about", "")), variables, steps)


def split_override(override: str) -> tuple[str, RawText]:
    """Split what --set is given, name=value.

    Raises
    ------
    SettingsError
        If it is not written so.
    """
    name, equals, value = override.partition("=")
    if not equals:
        raise SettingsError(f"--set takes name=value, not {override!r}; a list is name=[one, two], in quotes")
    return name, RawText(value)


def resolve_variables(variables: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in variables that stand in other variables' values; one named earlier may be used later.

    Parameters
    ----------
    variables : mapping
        As a recipe has them.
    given : mapping
        Values in place of the recipe's, or of a part of one (`name.part`). What is given from Python, no `RawText`,
        stays as it is.

    Raises
    ------
    SettingsError
        If the recipe has no variable of such a name.
    """
    values = dict(variables)
    for name, value in given.items():
        variable = name.partition(".")[0]
        if variable not in variables:
            raise SettingsError(f"the recipe has no variable {variable!r}{nearest(variable, variables)}")
        set_nested(values, name, value)
    resolved: dict[str, Any] = {}
    for name, value in values.items():
        is_literal = name in given and not isinstance(value, RawText)
        try:
            resolved[name] = value if is_literal else _fill(value, resolved)
        except _UnsetError as unset:
            # It matters only where it is used.
            resolved[name] = unset
    return resolved


def fill_in(settings: Mapping[str, Any], variables: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Put the values of variables in place of `${name}` in all settings of a step or of a recipe.

    Raises
    ------
    SettingsError
        If there is no such variable, or one without a value stands inside a text.
    """
    filled = {}
    for name, value in settings.items():
        try:
            filled[name] = _fill(value, variables)
        except _UnsetError as unset:
            raise SettingsError(f"{owner} needs a value for {name!r}; give it with --set {unset}=...") from unset
    return filled


def is_given(variable: str, variables: Mapping[str, Any]) -> bool:
    """Tell whether a variable has a value, as `resolve_variables` returned it."""
    value = variables[variable]
    return not (value is None or isinstance(value, _UnsetError) or (value == "" and isinstance(value, RawText)))


def placeholder_of(value: Any) -> str | None:
    """Name of the first variable that stands in a value."""
    found = _PLACEHOLDER.search(str(value))
    return found[1] if found else None


def _fill(value: Any, variables: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        return {key: _fill(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, variables) for item in value]
    if not isinstance(value, str):
        return value
    names = _PLACEHOLDER.findall(value)
    for name in names:
        if name not in variables:
            raise SettingsError(f"the recipe uses ${{{name}}} but has no such variable{nearest(name, variables)}")
        if isinstance(variables[name], _UnsetError):
            raise variables[name]
    if _PLACEHOLDER.fullmatch(value):
        return variables[names[0]]
    for name in names:
        if variables[name] is None or (variables[name] == "" and isinstance(variables[name], RawText)):
            raise _UnsetError(name)
    return type(value)(_PLACEHOLDER.sub(lambda found: format_value(variables[found[1]]), value))
