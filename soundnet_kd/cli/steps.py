"""The steps of a recipe, each a command with its settings: all checked first, then run one after the other."""

import inspect
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundnet_kd.cli.arguments import parse
from soundnet_kd.cli.parsers import flag_of
from soundnet_kd.cli.table import find
from soundnet_kd.config.recipes import Recipe, fill_in, is_given, placeholder_of, resolve_variables
from soundnet_kd.errors import SettingsError, counted
from soundnet_kd.media.stored import address_of, local_path

log = logging.getLogger(__name__)

INPUTS = ("videos", "sounds", "targets", "features", "data")
"""Parameters of commands that name what is there before, unless an earlier step writes it."""
_PATTERN = re.compile(r"[*?\[{]")


@dataclass(frozen=True)
class RecipeResult:
    """What the steps of a recipe returned."""

    results: tuple[object, ...]

    def __str__(self) -> str:
        # What was found is to be read here; a page is to be opened.
        pages = [page for result in self.results if (page := getattr(result, "page", None))]
        found = [result for result in self.results if not hasattr(result, "page")] or self.results
        opened = "".join(f"; open {page} in a browser" for page in pages)
        return f"{found[-1]}\n{counted(len(self.results), 'step')} done{opened}"


def run_steps(recipe: Recipe, values: Mapping[str, Any]) -> RecipeResult:
    """Run a recipe with values for its variables.

    Raises
    ------
    SettingsError
        If a variable or anything in a step is wrong; nothing has been done then.
    """
    variables = resolve_variables(recipe.variables, values)
    calls = [
        (command, _arguments(command, settings, variables))
        for command, settings, needed in recipe.steps
        if needed is None or is_given(needed, variables)
    ]
    if not calls:
        missing = ", ".join(dict.fromkeys(str(needed) for *_, needed in recipe.steps))
        raise SettingsError(
            f"every step of the recipe depends on a variable that has no value; give one with --set: {missing}"
        )
    for command, arguments in calls:
        find(command).check(arguments)
    _require_inputs(calls)
    results = []
    for number, (command, arguments) in enumerate(calls, start=1):
        log.info("step %d of %d: %s", number, len(calls), command)
        results.append(find(command).function()(**arguments))
        if number < len(calls):
            log.info("%s", results[-1])
    return RecipeResult(tuple(results))


def _require_inputs(calls: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """See that what the steps read is there, but for what steps before them write, addresses and patterns."""
    written: list[Path] = []
    for command, arguments in calls:
        for name in INPUTS:
            given = arguments.get(name)
            for value in given if isinstance(given, list | tuple) else [given]:
                if not isinstance(value, str | Path) or address_of(value) or _PATTERN.search(str(value)):
                    continue
                path = local_path(value)
                if not path.exists() and not any(path.is_relative_to(out) for out in written):
                    raise SettingsError(f"{command}: {path} does not exist; check the path")
        if isinstance(out := arguments.get("out"), str | Path):
            written.append(Path(out))


def _arguments(command: str, settings: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
    settings = {flag_of(str(name)): value for name, value in settings.items()}
    filled = fill_in(settings, variables, command)
    for parameter in inspect.signature(find(command).function()).parameters.values():
        name = flag_of(parameter.name)
        if parameter.default is parameter.empty and filled.get(name) is None:
            variable = placeholder_of(settings.get(name))
            cure = f"give it with --set {variable}=..." if variable else f"add it to the step {command}"
            raise SettingsError(f"{command} needs a value for {name!r}; {cure}")
    return parse(command, filled)
