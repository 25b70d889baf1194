"""A recipe's file: its keys and values checked, with what is wrong said in one line."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from soundnet_kd.config.values import Written, guessed, of_parameters, opened, read_yaml
from soundnet_kd.data.datasets.registry import LAYOUTS
from soundnet_kd.data.voice_activity import VoiceActivity
from soundnet_kd.errors import SettingsError, nearest
from soundnet_kd.models.classifiers import CLASSIFIERS, SoundClassifier
from soundnet_kd.models.front_ends import FRONT_ENDS
from soundnet_kd.models.preprocessing import ClipPreprocessing
from soundnet_kd.storage import recipe_file
from soundnet_kd.supervised.config import Evaluation, ExperimentConfig
from soundnet_kd.training.optimization import TrainingConfig
from soundnet_kd.training.segments import SAMPLINGS

KEYS = ("about", "data", "front_end", "network", "sampling", "voice_activity", "training", "evaluation", "seeds")
KINDS: Mapping[str, Mapping[str, type]] = {"data": LAYOUTS, "sampling": SAMPLINGS}


def read_experiment_config(path: str | Path, assignments: Sequence[str] = ()) -> ExperimentConfig:
    """Read a recipe and change some of its values.

    Parameters
    ----------
    path : str or Path
        A recipe's YAML file; a name alone is one of those that come with this package.
    assignments : sequence of str
        Such as training.epochs=3.

    Raises
    ------
    SettingsError
        If there is no such recipe, or a key or a value of it is wrong.
    """
    path = Path(path)
    file = recipe_file(path)
    content = read_recipe_text(file)
    if isinstance(content, Mapping) and "steps" in content:
        raise SettingsError(f"{file} is a list of steps; use `soundnet-kd run {path}`")
    if not isinstance(content, dict):
        raise SettingsError(f"{file} is not a recipe with {', '.join(KEYS)}")
    for assignment in assignments:
        assign(content, assignment)
    return experiment_config(content)


def experiment_config(content: Mapping[str, Any]) -> ExperimentConfig:
    """Check a recipe's keys and values.

    Raises
    ------
    SettingsError
        If one is wrong or missing; the message names the nearest known one.
    """
    _require_known(content, KEYS, "a recipe")
    for key in ("data", "network", "training"):
        if key not in content:
            raise SettingsError(f"the recipe has no {key}; `soundnet-kd train --help` explains its keys")
    network, settings = _kind("network", content["network"], CLASSIFIERS)
    asked = opened(settings.get("preprocessing"))
    preprocessing = None if asked is None else _preprocessing(network, asked)
    own = {name: value for name, value in settings.items() if name != "preprocessing"}
    settings = of_parameters(own, CLASSIFIERS[network], f"network.{network}.", ("front_end",))
    steps = opened(content.get("front_end"))
    if steps is not None:
        if not isinstance(steps, list) or not all(isinstance(step, Mapping) and "name" in step for step in steps):
            raise SettingsError(f"front_end is {steps!r}; give a list of steps, such as [{{name: LogMel, bands: 64}}]")
        settings["front_end"] = [_front_end(step) for step in steps]
    cut = opened(content.get("voice_activity"))
    seeds = guessed(content.get("seeds", [0]))
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise SettingsError(f"seeds is {seeds!r}; give a list of whole numbers from 0 on, such as [0, 1, 2]")
    if len(set(seeds)) < len(seeds):
        raise SettingsError(f"seeds is {seeds}; each counts once")
    return ExperimentConfig(
        about=str(content.get("about", "")),
        data=_of_kind("data", content["data"]),
        network=network,
        settings=settings,
        preprocessing=preprocessing,
        training=_section(TrainingConfig, content["training"], "training"),
        sampling=_of_kind("sampling", content.get("sampling", "pieces")),
        voice_activity=None if cut is None else _section(VoiceActivity, cut, "voice_activity"),
        evaluation=_section(Evaluation, opened(content.get("evaluation")) or {}, "evaluation"),
        seeds=tuple(seeds),
    )


def _front_end(step: Mapping[str, Any]) -> dict[str, Any]:
    """Return a front end's settings by their types; the chain of front ends says whether there is one of this name."""
    kind = FRONT_ENDS.get(step["name"])
    settings = {key: value for key, value in step.items() if key != "name"}
    typed = guessed(settings) if kind is None else of_parameters(settings, kind, f"front_end, {step['name']}: ")
    return {"name": str(step["name"]), **typed}


def _preprocessing(network: str, asked: Any) -> ClipPreprocessing:
    """Lay what is asked for over the network's own preprocessing."""
    where = f"network.{network}.preprocessing"
    if not isinstance(asked, Mapping):
        raise SettingsError(f"{where} is {asked!r}; write its settings as name: value")
    kind: Callable[..., SoundClassifier] = CLASSIFIERS[network]
    own = kind(("any",)).preprocessing
    found: ClipPreprocessing = _section(ClipPreprocessing, {**asdict(own), **asked}, where)
    return found


def _of_kind(key: str, value: Any) -> Any:
    name, settings = _kind(key, value, KINDS[key])
    return _section(KINDS[key][name], settings, f"{key}.{name}")


def _kind(key: str, value: Any, known: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    name, settings = _one(key, value)
    if name not in known:
        raise SettingsError(f"there is no {key} {name!r}{nearest(name, known)}")
    return name, settings


def _one(key: str, value: Any) -> tuple[str, Mapping[str, Any]]:
    """Return name and settings of what is written as NAME or as NAME: settings."""
    value = opened(value)
    if isinstance(value, str):
        return str(value), {}
    if not isinstance(value, Mapping) or len(value) != 1:
        raise SettingsError(f"{key} is {value!r}; write one name, with its settings below it")
    ((name, settings),) = value.items()
    settings = opened(settings)
    if settings is not None and not isinstance(settings, Mapping):
        raise SettingsError(f"{key}.{name} is {settings!r}; write its settings as name: value")
    return str(name), settings or {}


def _section(kind: type, values: Any, where: str) -> Any:
    """Make a dataclass of a part of the recipe."""
    values = opened(values)
    if not isinstance(values, Mapping):
        raise SettingsError(f"{where} is {values!r}; write its settings as name: value")
    _require_known(values, [each.name for each in fields(kind)], where)
    for each in fields(kind):
        if each.default is MISSING and each.default_factory is MISSING and each.name not in values:
            raise SettingsError(f"{where} needs {each.name}; `soundnet-kd train --help` explains it")
    typed = of_parameters(values, kind, f"{where}.")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "section")
    try:
        return parser.instantiate(parser.parse_object({"section": typed})).section
    except argparse.ArgumentError as error:
        text = " ".join(str(error).split()).replace("section.", f"{where}.")
        raise SettingsError(text.replace('Parser key "', "").replace('":', ":")) from error


def _require_known(values: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in values:
        if key not in known:
            raise SettingsError(f"{where} has no key {key!r}{nearest(str(key), known)}")


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
