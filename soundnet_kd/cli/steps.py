"""The steps of a recipe, each a command with its settings: all checked first, then run one after the other."""

import inspect
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from soundnet_kd.cli.arguments import parse
from soundnet_kd.cli.parsers import flag_of
from soundnet_kd.cli.table import find
from soundnet_kd.config.recipes import Recipe, fill_in, is_given, placeholder_of, resolve_variables
from soundnet_kd.errors import SettingsError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecipeResult:
    """What the steps of a recipe returned."""

    results: tuple[object, ...]

    def __str__(self) -> str:
        # What was found is to be read here; a page is to be opened.
        pages = [page for result in self.results if (page := getattr(result, "page", None))]
        found = [result for result in self.results if not hasattr(result, "page")] or self.results
        opened = "".join(f"; open {page} in a browser" for page in pages)
        return f"{found[-1]}\nall {len(self.results)} steps are done{opened}"


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
    results = []
    for number, (command, arguments) in enumerate(calls, start=1):
        log.info("step %d of %d: %s", number, len(calls), command)
        results.append(find(command).function()(**arguments))
        if number < len(calls):
            log.info("%s", results[-1])
    return RecipeResult(tuple(results))


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
