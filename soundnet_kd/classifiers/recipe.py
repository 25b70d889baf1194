"""A recipe of a network from scratch: a data set, a front end, a network, how pieces are drawn, how it is trained."""

import argparse
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from soundnet_kd.classifiers.optimisation import Optimisation
from soundnet_kd.classifiers.recipe_text import assign, read_yaml
from soundnet_kd.classifiers.sampling import SAMPLINGS, Pieces, Sampling
from soundnet_kd.data.layouts import LAYOUTS, Layout
from soundnet_kd.data.voice import VoiceActivity
from soundnet_kd.errors import SettingsError, nearest
from soundnet_kd.models.classifiers import CLASSIFIERS, SoundClassifier
from soundnet_kd.models.clip_preprocessing import ClipPreprocessing
from soundnet_kd.storage import recipe_file


@dataclass(frozen=True)
class Evaluation:
    """What is told of the trained network.

    Attributes
    ----------
    top : int
        Where sounds have several tags: how many of the first tags count as found.
    galleries : bool
        Draw the waveforms of each class that the network is sure of, those it is sure are another, and those between.
    """

    top: int = 5
    galleries: bool = False


@dataclass(frozen=True)
class BenchRecipe:
    """A recipe as its file has it.

    Attributes
    ----------
    about : str
        What it does and which numbers it gives.
    data : mapping of one
        The layout of the data set, with its settings.
    network : mapping of one
        The network, with its settings; among these `preprocessing`, where it is not the network's own.
    training : mapping
        How it is trained.
    front_end : list of mappings, optional
        The steps that come before the network, each a `name` with its settings; the network's own, if not given.
    sampling : mapping of one, optional
        How pieces of sound are drawn, with its settings.
    voice_activity : mapping, optional
        Cut off the silence before and after the voice of each sound, with these settings ({} takes the usual ones);
        nothing is cut, if not given.
    evaluation : mapping, optional
        What is told of the trained network.
    seeds : list of int, optional
        For each a network is trained and tested; it draws the split, the first weights and the order.
    """

    about: str
    data: Layout
    network: str
    settings: Mapping[str, Any]
    preprocessing: ClipPreprocessing | None
    training: Optimisation
    sampling: Sampling = field(default_factory=Pieces)
    voice_activity: VoiceActivity | None = None
    evaluation: Evaluation = field(default_factory=Evaluation)
    seeds: tuple[int, ...] = (0,)

    def build(self, class_names: Sequence[str]) -> SoundClassifier:
        """Build the network, with random weights.

        Raises
        ------
        SettingsError
            If a setting of it is wrong.
        """
        kind: Callable[..., SoundClassifier] = CLASSIFIERS[self.network]
        try:
            return kind(class_names, self.preprocessing, **self.settings)
        except TypeError as error:
            known = [name for name in inspect.signature(kind).parameters if name != "class_names"]
            wrong = next((name for name in self.settings if name not in known), None)
            if wrong is None:
                raise
            raise SettingsError(f"network.{self.network} has no key {wrong!r}{nearest(wrong, known)}") from error

    @property
    def identity(self) -> dict[str, Any]:
        """What tells a run of this recipe from others, as JSON holds it."""
        return {
            "data": {_name_of(self.data, LAYOUTS): asdict(self.data)},  # type: ignore[call-overload]
            "network": {self.network: dict(self.settings)},
            "preprocessing": self.preprocessing and asdict(self.preprocessing),
            "training": asdict(self.training),
            "sampling": {_name_of(self.sampling, SAMPLINGS): asdict(self.sampling)},  # type: ignore[call-overload]
            "evaluation": asdict(self.evaluation),
            "seeds": list(self.seeds),
            # Named only where it is asked for: a run without it is the one that it was before there was such a key.
            **({} if self.voice_activity is None else {"voice_activity": asdict(self.voice_activity)}),
        }


KEYS = ("about", "data", "front_end", "network", "sampling", "voice_activity", "training", "evaluation", "seeds")
KINDS: Mapping[str, Mapping[str, type]] = {"data": LAYOUTS, "sampling": SAMPLINGS}


def read_bench_recipe(path: Path, assignments: Sequence[str] = ()) -> BenchRecipe:
    """Read a recipe and change some of its values.

    Parameters
    ----------
    path : Path
        A recipe's YAML file; a name alone is one of those that come with this package.
    assignments : sequence of str
        Such as training.epochs=3.

    Raises
    ------
    SettingsError
        If there is no such recipe, or a key or a value of it is wrong.
    """
    file = recipe_file(path)
    content = read_yaml(file)
    if isinstance(content, Mapping) and "steps" in content:
        raise SettingsError(f"{file} is a list of steps; use `soundnet-kd run {path}`")
    if not isinstance(content, dict):
        raise SettingsError(f"{file} is not a recipe with {', '.join(KEYS)}")
    for assignment in assignments:
        assign(content, assignment)
    return bench_recipe(content)


def bench_recipe(content: Mapping[str, Any]) -> BenchRecipe:
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
    settings = dict(settings)
    asked = settings.pop("preprocessing", None)
    preprocessing = None if asked is None else _preprocessing(network, asked)
    steps = content.get("front_end")
    if steps is not None:
        if not isinstance(steps, list) or not all(isinstance(step, Mapping) and "name" in step for step in steps):
            raise SettingsError(f"front_end is {steps!r}; give a list of steps, such as [{{name: LogMel, bands: 64}}]")
        settings["front_end"] = steps
    cut = content.get("voice_activity")
    seeds = content.get("seeds", [0])
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise SettingsError(f"seeds is {seeds!r}; give a list of whole numbers from 0 on, such as [0, 1, 2]")
    if len(set(seeds)) < len(seeds):
        raise SettingsError(f"seeds is {seeds}; each counts once")
    return BenchRecipe(
        about=str(content.get("about", "")),
        data=_of_kind("data", content["data"]),
        network=network,
        settings=settings,
        preprocessing=preprocessing,
        training=_section(Optimisation, content["training"], "training"),
        sampling=_of_kind("sampling", content.get("sampling", "pieces")),
        voice_activity=None if cut is None else _section(VoiceActivity, cut, "voice_activity"),
        evaluation=_section(Evaluation, content.get("evaluation") or {}, "evaluation"),
        seeds=tuple(seeds),
    )


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
    """Give name and settings of what is written as NAME or as NAME: settings."""
    if isinstance(value, str):
        return value, {}
    if not isinstance(value, Mapping) or len(value) != 1:
        raise SettingsError(f"{key} is {value!r}; write one name, with its settings below it")
    ((name, settings),) = value.items()
    if settings is not None and not isinstance(settings, Mapping):
        raise SettingsError(f"{key}.{name} is {settings!r}; write its settings as name: value")
    return str(name), settings or {}


def _section(kind: type, values: Any, where: str) -> Any:
    """Make a dataclass of a part of the recipe."""
    if not isinstance(values, Mapping):
        raise SettingsError(f"{where} is {values!r}; write its settings as name: value")
    _require_known(values, [each.name for each in fields(kind)], where)
    for each in fields(kind):
        if each.default is MISSING and each.default_factory is MISSING and each.name not in values:
            raise SettingsError(f"{where} needs {each.name}; `soundnet-kd train --help` explains it")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "section")
    try:
        return parser.instantiate(parser.parse_object({"section": dict(values)})).section
    except argparse.ArgumentError as error:
        text = " ".join(str(error).split()).replace("section.", f"{where}.")
        raise SettingsError(text.replace('Parser key "', "").replace('":', ":")) from error


def _require_known(values: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in values:
        if key not in known:
            raise SettingsError(f"{where} has no key {key!r}{nearest(str(key), known)}")


def _name_of(thing: object, kinds: Mapping[str, type]) -> str:
    return next(name for name, kind in kinds.items() if type(thing) is kind)
