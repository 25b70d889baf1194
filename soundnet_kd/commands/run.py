"""Recipes: a YAML file with variables and a list of steps, each a command with its settings."""

import inspect
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from soundnet_kd.cli.arguments import parse
from soundnet_kd.cli.table import find
from soundnet_kd.config.values import Written, as_text, read_yaml
from soundnet_kd.errors import SettingsError, nearest
from soundnet_kd.storage import recipe_file

log = logging.getLogger(__name__)
PLACEHOLDER = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True)
class Recipe:
    """A recipe as its file has it.

    Attributes
    ----------
    about : str
        What it does and which numbers it gives.
    variables : dict
        Names that `${name}` stands for in the steps, with their values; None where the caller must or may give one.
    steps : tuple of (command, settings)
    """

    about: str
    variables: dict[str, Any]
    steps: tuple[tuple[str, Mapping[str, Any]], ...]


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


def run(recipe: Path | str, out: Path | str | None = None, set: list[str] | None = None) -> RecipeResult:
    """Run the steps of a recipe, one after the other.

    All steps are checked before the first one starts. Stopped and started again, every step goes on where it was.

    Parameters
    ----------
    recipe : str or Path
        A recipe's YAML file; a name alone (quickstart) is one of those that come with this package.
    out : str or Path, optional
        Folder to write to, in place of the recipe's own.
    set : list of str, optional
        Values for the recipe's variables, each as name=value; texts and paths stay what was typed, null is none.
    """
    recipe = Path(recipe)
    out = None if out is None else Path(out)
    values: dict[str, Any] = {} if out is None else {"out": str(out)}
    for assignment in set or ():
        name, equals, value = assignment.partition("=")
        if not equals:
            raise SettingsError(f"--set takes name=value, not {assignment!r}")
        values[name] = Written(value)
    return run_steps(read_recipe(recipe), values)


def quickstart(
    out: Path | str = Path("runs/quickstart"),
    videos: Path | str | None = None,
    objects: str | None = None,
    scenes: str | None = None,
    sounds: Path | str | None = None,
    seed: int = 0,
) -> RecipeResult:
    """Go the whole route once, from videos to a table of what a distilled student hears better than an untrained one.

    Without options it makes a small demonstration world of videos, trains two small image networks on labelled frames
    of it as teachers, distils a student from the videos (it never sees a label), and tries the student's layers on
    sounds of the world that it has not heard. Two to five minutes on two cores, no network. The world is a
    demonstration: its figures say that the route works, not how well it works on real sound.

    Parameters
    ----------
    out : str or Path
        Folder to write to.
    videos : str or Path, optional
        Your own videos in place of the world's. The world's teachers know nothing of real pictures: give --objects or
        --scenes too, if weights are at hand.
    objects : str, optional
        A torchvision network as object teacher in place of the world's, such as resnet18:IMAGENET1K_V1 (fetched once),
        or NETWORK:FILE with ImageNet's classes.
    scenes : str, optional
        The same for the scene teacher.
    sounds : str or Path, optional
        Labelled sounds to try the student on in place of the world's: a folder in ESC-50's layout, a folder with a
        sub-folder for each class, or a CSV file with columns path, label and fold.
    seed : int
        Of the world, the first weights and the shuffling; the same seed gives the same run on the same machine.
    """
    out = Path(out)
    videos = None if videos is None else Path(videos)
    sounds = None if sounds is None else Path(sounds)
    given = {"videos": videos, "objects": objects, "scenes": scenes, "sounds": sounds}
    values: dict[str, Any] = {name: str(value) for name, value in given.items() if value is not None}
    own_teachers = objects is not None or scenes is not None
    if videos is not None and not own_teachers:
        log.warning(
            "The demonstration world's teachers know nothing of real pictures, so what they say of yours means little; "
            "add --objects resnet18:IMAGENET1K_V1 for labels that mean something."
        )
    if own_teachers:
        values |= {"objects": objects, "scenes": scenes, "teacher_weights": None}
    recipe = read_recipe(Path("quickstart"))
    unused = {"demo-teacher"} if own_teachers else set()
    if videos is not None:
        values["videos_made"] = 0
        unused |= {"demo-world"} if own_teachers and sounds is not None else set()
    else:
        log.info("This is a demonstration on a made-up world of sprites and synthetic sounds.")
    needed = tuple(step for step in recipe.steps if step[0] not in unused)
    return run_steps(replace(recipe, steps=needed), {**values, "out": str(out), "seed": seed})


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe.

    Raises
    ------
    SettingsError
        If there is no such recipe, or it is not one.
    """
    path = Path(path)
    asked, path = path, recipe_file(path)
    try:
        content = read_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SettingsError(f"{path} is not a recipe: {error}") from error
    if isinstance(content, Mapping) and "network" in content:
        raise SettingsError(f"{path} is a recipe of a network from scratch; use `soundnet-kd train {asked}`")
    if not isinstance(content, Mapping) or "steps" not in content:
        raise SettingsError(f"{path} is not a recipe; write about, variables, and steps of command: settings")
    unknown = content.keys() - {"about", "variables", "steps"}
    if unknown:
        raise SettingsError(f"{path}: a recipe has about, variables and steps, not {', '.join(sorted(unknown))}")
    variables, listed = content.get("variables") or {}, content["steps"] or []
    if not isinstance(variables, Mapping):
        raise SettingsError(f"{path}: the variables are {as_text(variables)}; write them as name: value")
    if not isinstance(listed, list):
        raise SettingsError(f"{path}: the steps are {as_text(listed)}; write each as - command: settings")
    for step in listed:
        if not isinstance(step, Mapping):
            raise SettingsError(f"{path}: a step is {as_text(step)}; write it as - command: settings")
    steps = tuple((command, settings or {}) for step in listed for command, settings in step.items())
    if not steps:
        raise SettingsError(f"{path} has no steps")
    for command, settings in steps:
        if not isinstance(settings, Mapping):
            raise SettingsError(f"{path}: the settings of {command} are {settings!r}; write them as name: value")
    return Recipe(str(content.get("about", "")), dict(variables), steps)


def run_steps(recipe: Recipe, values: Mapping[str, Any]) -> RecipeResult:
    """Run a recipe with values for its variables.

    Raises
    ------
    SettingsError
        If a variable or anything in a step is wrong; nothing has been done then.
    """
    for name in values:
        if name not in recipe.variables:
            raise SettingsError(f"the recipe has no variable {name!r}{nearest(name, recipe.variables)}")
    variables = _resolved(recipe.variables, values)
    calls = [(command, _arguments(command, settings, variables)) for command, settings in recipe.steps]
    results = []
    for number, (command, arguments) in enumerate(calls, start=1):
        log.info("step %d of %d: %s", number, len(calls), command)
        results.append(find(command).function()(**arguments))
        if number < len(calls):
            log.info("%s", results[-1])
    return RecipeResult(tuple(results))


@dataclass(frozen=True)
class _Missing:
    """A text that cannot be filled in, as a variable in it has no value."""

    variable: str


def _arguments(command: str, settings: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
    filled = {str(key): _filled(value, variables) for key, value in settings.items()}
    for name, value in filled.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, _Missing):
                raise SettingsError(f"{command} needs a value for {name!r}; give it with --set {each.variable}=...")
    for name, parameter in inspect.signature(find(command).function()).parameters.items():
        # A parameter such as as_ is written without its underscore, which only Python needs.
        if parameter.default is parameter.empty and filled.get(name, filled.get(name.removesuffix("_"))) is None:
            used = PLACEHOLDER.search(str(settings.get(name, "")))
            cure = f"give it with --set {used[1]}=..." if used else f"add it to the step {command}"
            raise SettingsError(f"{command} needs a value for {name!r}; {cure}")
    return parse(command, filled)


def _resolved(variables: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in variables that stand in other variables' values; one named earlier may be used later.

    What is given from Python stays as it is.
    """
    resolved: dict[str, Any] = {}
    for name, value in variables.items():
        asked = given.get(name, value)
        resolved[name] = asked if name in given and not isinstance(asked, Written) else _filled(asked, resolved)
    return resolved


def _filled(value: Any, variables: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        return {key: _filled(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, variables) for item in value]
    if not isinstance(value, str):
        return value
    for name in PLACEHOLDER.findall(value):
        if name not in variables:
            raise SettingsError(f"the recipe uses ${{{name}}} but has no such variable{nearest(name, variables)}")
    alone = PLACEHOLDER.fullmatch(value)
    if alone:
        return variables[alone[1]]
    for name in PLACEHOLDER.findall(value):
        if isinstance(variables[name], _Missing):
            return variables[name]
        if variables[name] is None or (variables[name] == "" and isinstance(variables[name], Written)):
            return _Missing(name)
    return type(value)(PLACEHOLDER.sub(lambda found: as_text(variables[found[1]]), value))
