"""A recipe of a network: a data set, a front end, a network, how pieces are drawn, how it is trained."""

import copy
import hashlib
import inspect
import json
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import docstring_parser
import numpy as np
import torch

from soundnet_kd.config.raw_yaml import parse_nested
from soundnet_kd.config.recipes import fill_in, list_recipes, read_recipe_file, resolve_variables, split_override
from soundnet_kd.config.values import (
    convert,
    convert_parameters,
    format_value,
    parse_mapping,
    require_known,
    require_seeds,
    set_nested,
)
from soundnet_kd.data.checks import announce
from soundnet_kd.data.datasets.registry import DATA_SETS, DataSet
from soundnet_kd.data.splits import SplitSounds
from soundnet_kd.data.voice_activity import VoiceActivity
from soundnet_kd.errors import SettingsError, TooShortError, nearest
from soundnet_kd.media import place_name
from soundnet_kd.models.classifiers import CLASSIFIERS, SoundClassifier
from soundnet_kd.models.front_ends import FRONT_ENDS
from soundnet_kd.models.preprocessing import ClipPreprocessing
from soundnet_kd.supervised.plan import EvaluatedClips, ResultNames, RunLayout
from soundnet_kd.supervised.sounds import clips_for, merged_identity, require_clips
from soundnet_kd.training.optimization import TrainingConfig
from soundnet_kd.training.segments import SAMPLINGS, Pieces, Sampling
from soundnet_kd.training.settings_file import TRAIN_FILE

KEYS = (
    "about",
    "data",
    "front_end",
    "network",
    "sampling",
    "voice_activity",
    "training",
    "evaluation",
    "seeds",
    "final_training",
)
REGISTRIES: Mapping[str, Mapping[str, type]] = {"data": DATA_SETS, "network": CLASSIFIERS, "sampling": SAMPLINGS}
"""Keys that name one thing of several, with its settings below it."""
FROM_SCRATCH, GIVEN = "from scratch", "given weights"
"""The protocol of networks of recipes, as results call it: of those that were trained, and of one that was given."""
SET_ELSEWHERE = ("class_names", "preprocessing", "front_end")
"""Parameters of networks that other keys set, or the data set."""
SET_BY_CHAIN = ("sample_rate", "rows")
"""Parameters of a front end that what comes before it sets."""


@dataclass(frozen=True)
class EvaluationConfig:
    """What is reported of the trained network.

    Attributes
    ----------
    top : int
        Where sounds have several tags: how many of the first tags count as found.
    galleries : bool
        Draw, for each class, waveforms that the network is sure are of it, is sure are of another, or is undecided
        about.
    """

    top: int = 5
    galleries: bool = False


@dataclass(frozen=True)
class ExperimentConfig:
    """A recipe of a network, its values checked.

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
        What is reported of the trained network.
    seeds : list of int, optional
        For each a network is trained and tested; it draws the split, the initial weights and the order.
    final_training : bool, optional
        Train once more, by the first seed, on all folds or on what is tested, too, for the classifier that is kept;
        else this is the network of the first seed and fold.
    given : SoundClassifier, optional
        A network with weights, which is tested in the place of one that is trained.
    """

    about: str
    data: DataSet
    network: str
    settings: Mapping[str, Any]
    preprocessing: ClipPreprocessing | None
    training: TrainingConfig
    sampling: Sampling = field(default_factory=Pieces)
    voice_activity: VoiceActivity | None = None
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    seeds: tuple[int, ...] = (0,)
    final_training: bool = False
    given: SoundClassifier | None = field(default=None, repr=False)

    layout: ClassVar[RunLayout] = RunLayout(
        TRAIN_FILE, "rounds", named_by=("seed",), keeps_trials=True, keeps_tested_network=True
    )
    versions: ClassVar[None] = None

    def build(self, class_names: Sequence[str]) -> SoundClassifier:
        """Build the network, with random weights.

        Raises
        ------
        SettingsError
            If a setting of it is wrong, or the given network is another one.
        """
        kind: Callable[..., SoundClassifier] = CLASSIFIERS[self.network]
        network = kind(class_names, self.preprocessing, **self.settings)
        network.exclusive = self.training.loss == "cross_entropy"
        if self.given is not None:
            require_same_network(self.given, network)
        self._require_fitting(network)
        return network

    def evaluate_only(self, given: SoundClassifier) -> "ExperimentConfig":
        """Return the recipe with a network that is tested as it is, on the split of the first seed.

        Raises
        ------
        SettingsError
            If the recipe makes several networks.
        """
        if self.training.one_network_per_tag:
            raise SettingsError(
                "the recipe makes a network for each tag, and one is given; --set training.one_network_per_tag=false "
                "tests one for all of them"
            )
        return replace(self, given=given, seeds=self.seeds[:1], final_training=False)

    @property
    def protocol(self) -> str:
        """Name of the whole in results."""
        return FROM_SCRATCH if self.given is None else GIVEN

    def read(self, place: str | Path, dry_run: bool = False) -> tuple[str, Mapping[int, SplitSounds]]:
        """Read a data set in the layout of the recipe.

        Parameters
        ----------
        place : str or Path
            Its folder or table.
        dry_run : bool
            Do not log what it is taken for.

        Returns
        -------
        reading : str
            What it is taken for.
        sets : mapping from seed to SplitSounds

        Raises
        ------
        FormatError, SettingsError
            If it has another layout.
        MediaError
            If not a single sound is there.
        """
        place = Path(place)
        sets = {seed: self.data.read(place, seed) for seed in self.seeds}
        first = next(iter(sets.values()))
        return announce(place, first.manifest, first, dry_run), sets

    def select_readable(
        self, sets: Mapping[int, SplitSounds], readable: Container[str] | None = None
    ) -> Mapping[int, SplitSounds]:
        """Return the data sets as they are.

        Raises
        ------
        SettingsError
            If a class has no sound to learn from, or nothing is tested.
        """
        for data in sets.values():
            for fold in data.splits:
                require_clips(data, fold, readable, learns=self.given is None)
        return sets

    def run_identity(self, sets: Mapping[int, SplitSounds]) -> dict[str, Any]:
        """Return what made the networks of a run."""
        splits = {seed: {fold: list(mine) for fold, mine in data.splits.items()} for seed, data in sets.items()}
        # No run goes on under splits that are drawn otherwise.
        drawn = hashlib.sha256(json.dumps(splits).encode()).hexdigest()
        return {"sounds": merged_identity(sets), "splits_sha256": drawn, **self.identity}

    def evaluated_clips(self, sets: Mapping[int, SplitSounds], failures: Container[str]) -> EvaluatedClips:
        """Return the clips that are tested; those of one seed are those of the others, but for what a layout draws."""
        fold_of: dict[str, int] = {}
        clip_of = {clip.id: clip for data in sets.values() for clip in data.manifest.clips}
        for data in sets.values():
            clips = data.manifest.clips
            for fold in data.splits:
                names = (clips[place].id for place in clips_for(data, fold, "test"))
                fold_of |= dict.fromkeys((name for name in names if name not in failures), fold)
        several = len(next(iter(sets.values())).splits) > 1
        return EvaluatedClips(
            ids=tuple(fold_of),
            labels=np.array([clip_of[name].label for name in fold_of], dtype=np.int64),
            folds=np.array(list(fold_of.values()), dtype=np.int64),
            paths=tuple(place_name(clip_of[name].path) for name in fold_of),
            groups=None,
            origin="the folds of the data set" if several else "one test, the split of the data set",
        )

    def result_names(self, class_names: Sequence[str]) -> ResultNames:
        """Return how results call the network."""
        return ResultNames("trained", self.network, len(class_names), self.protocol, self.network)

    def _require_fitting(self, network: SoundClassifier) -> None:
        """Check that the network can learn from what it will be given: pieces of a length, so many at once."""
        asked = network.preprocessing
        samples = self.sampling.samples(asked.sample_rate, asked.least_samples)
        where = f"sampling.{_name_of('sampling', self.sampling)}.seconds"
        if samples < 1:
            raise SettingsError(f"{where} is less than a sample at {asked.sample_rate} Hz; set it higher")
        if asked.exact and samples != asked.least_samples:
            raise SettingsError(
                f"{where} makes pieces of {samples} samples, but {self.network} hears {asked.least_samples}, neither "
                f"more nor less; set {where} to {asked.least_samples / asked.sample_rate!r}, or "
                f"network.{self.network}.preprocessing.least_samples to {samples}"
            )
        single = self.training.batch_size == 1
        try:
            # Batch norm tells only in training whether it has anything to compare.
            with torch.no_grad():
                copy.deepcopy(network).train(single).logits(torch.zeros(1, 1, samples))
        except (TooShortError, RuntimeError) as error:
            raise SettingsError(f"{where}: {self.network} cannot hear pieces of {samples} samples ({error})") from error
        except ValueError as error:
            if not single:
                raise
            raise SettingsError(
                f"training.batch_size is 1, but {self.network} has batch norm over single numbers of a sound, which "
                "compares the sounds of a batch; set it to 2 or more"
            ) from error

    @property
    def identity(self) -> dict[str, Any]:
        """What tells a run of this recipe from others, as JSON holds it."""
        training = asdict(self.training)
        if self.given is not None:
            # Nothing else of it takes part in a test.
            training = {name: training[name] for name in ("batch_size", "loss")}
        return {
            "data": {_name_of("data", self.data): asdict(self.data)},  # type: ignore[call-overload]
            "network": {self.network: dict(self.settings)},
            "preprocessing": self.preprocessing and asdict(self.preprocessing),
            "training": training,
            "sampling": {_name_of("sampling", self.sampling): asdict(self.sampling)},  # type: ignore[call-overload]
            "evaluation": asdict(self.evaluation),
            "seeds": list(self.seeds),
            # Named only where it is asked for: a run without it is the one that it was before there was such a key.
            **({} if self.voice_activity is None else {"voice_activity": asdict(self.voice_activity)}),
            **({"final_training": True} if self.final_training else {}),
            **({} if self.given is None else {"given": self.given.identity}),
        }


def read_experiment_config(path: str | Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read a recipe of a network, and change some of its values.

    Parameters
    ----------
    path : str or Path
        A recipe's YAML file; a name alone is one of those that come with this package.
    overrides : sequence of str
        Each as key.sub=value, such as training.epochs=3, or variable=value.

    Raises
    ------
    SettingsError
        If there is no such recipe, or a key or a value of it is wrong.
    """
    content = read_recipe_file(path, "train")
    variables = content.pop("variables")
    for name in variables:
        if name in KEYS:
            raise SettingsError(f"{path}: {name} is a key of recipes; give the variable another name")
    values = {}
    for name, value in map(split_override, overrides):
        first = name.partition(".")[0]
        require_known([first], [*KEYS, *variables], "a recipe")
        if first in variables:
            values[name] = value
            continue
        if first in REGISTRIES and isinstance(parse_nested(content.get(first)), str):
            # What is written as NAME alone has no settings yet.
            content[first] = {content[first]: None}
        set_nested(content, name, value)
    about = str(content.pop("about", ""))
    filled = fill_in(content, resolve_variables(variables, values), "the recipe")
    return experiment_config({"about": about, **filled})


def experiment_config(content: Mapping[str, Any]) -> ExperimentConfig:
    """Check a recipe's keys and values.

    Raises
    ------
    SettingsError
        If one is wrong or missing; the message names the nearest known one.
    """
    require_known(content, KEYS, "a recipe")
    for key in ("data", "network", "training"):
        if key not in content:
            raise SettingsError(f"the recipe has no {key}; `soundnet-kd train --help` explains its keys")
    network, preprocessing, settings = _network(content["network"], parse_nested(content.get("front_end")))
    return ExperimentConfig(
        about=content.get("about", ""),
        data=_chosen("data", content["data"]),
        network=network,
        settings=settings,
        preprocessing=preprocessing,
        training=convert(content["training"], TrainingConfig, "training"),
        sampling=_chosen("sampling", content.get("sampling", "pieces")),
        voice_activity=convert(content.get("voice_activity"), VoiceActivity | None, "voice_activity"),
        evaluation=convert(parse_nested(content.get("evaluation")) or {}, EvaluationConfig, "evaluation"),
        seeds=require_seeds(convert(content.get("seeds", [0]), list[int], "seeds")),
        final_training=convert(content.get("final_training", False), bool, "final_training"),
    )


def _chosen(key: str, value: Any) -> Any:
    """Make the data set's layout or the sampling that a recipe names."""
    name, settings = _name_and_settings(key, value)
    return convert(settings, REGISTRIES[key][name], f"{key}.{name}")


def _network(value: Any, steps: Any) -> tuple[str, ClipPreprocessing | None, dict[str, Any]]:
    """Return the network's name, the preprocessing where it is not its own, and its settings with the front end."""
    name, settings = _name_and_settings("network", value)
    where = f"network.{name}"
    kind: Callable[..., SoundClassifier] = CLASSIFIERS[name]
    parameters = inspect.signature(kind).parameters
    require_known(settings, [each for each in parameters if each not in ("class_names", "front_end")], where)
    own = kind(("any",)).preprocessing if "preprocessing" in settings else None
    asked = settings.pop("preprocessing", None)
    preprocessing = convert(asked, ClipPreprocessing | None, f"{where}.preprocessing", own)
    found = convert_parameters(settings, kind, where, SET_ELSEWHERE)
    if steps is None:
        return name, preprocessing, found
    if "front_end" not in parameters:
        raise SettingsError(f"{name} hears the waveform itself and takes no front_end; leave it out")
    if not isinstance(steps, list) or not all(isinstance(step, Mapping) and "name" in step for step in steps):
        raise SettingsError(f"front_end is {format_value(steps)}; give a list of steps, such as [{{name: MFCC}}]")
    return name, preprocessing, {**found, "front_end": [_front_end(step) for step in steps]}


def _front_end(step: Mapping[str, Any]) -> dict[str, Any]:
    name = str(step["name"])
    if name not in FRONT_ENDS:
        raise SettingsError(f"there is no front end {name!r}{nearest(name, FRONT_ENDS)}")
    settings = {key: value for key, value in step.items() if key != "name"}
    return {"name": name, **convert_parameters(settings, FRONT_ENDS[name], f"front_end.{name}", SET_BY_CHAIN)}


def _name_and_settings(key: str, value: Any) -> tuple[str, dict[str, Any]]:
    """Return name and settings of what is written as NAME or as NAME: settings."""
    value = parse_nested(value)
    if isinstance(value, str):
        value = {value: None}
    if not isinstance(value, Mapping) or len(value) != 1:
        raise SettingsError(f"{key} is {format_value(value)}; write one name, with its settings below it")
    ((name, settings),) = value.items()
    if name not in REGISTRIES[key]:
        raise SettingsError(f"there is no {key} {name!r}{nearest(name, REGISTRIES[key])}")
    settings = {} if parse_nested(settings) is None else parse_mapping(settings, f"{key}.{name}")
    if not isinstance(settings, Mapping):
        raise SettingsError(f"{key}.{name} is {format_value(settings)}; write its settings as name: value")
    return str(name), dict(settings)


def _name_of(key: str, thing: object) -> str:
    return next(name for name, kind in REGISTRIES[key].items() if type(thing) is kind)


def require_same_network(given: SoundClassifier, wanted: SoundClassifier) -> None:
    """Check that a network has the layers, the classes and the preprocessing of another.

    Raises
    ------
    SettingsError
        If it has not; the message names what differs.
    """
    if given.architecture != wanted.architecture:
        raise SettingsError(
            f"the weights are of {given.architecture}, but the recipe's network is {wanted.architecture}; take another "
            f"recipe, or --set network={given.architecture}"
        )
    found, asked = (json.loads(json.dumps(each.settings)) for each in (given, wanted))
    for settings, network in ((found, given), (asked, wanted)):
        # A single class has no others that it would exclude.
        settings |= {
            **settings.pop("preprocessing"),
            "exclusive": network.exclusive and len(settings["class_names"]) > 1,
        }
    differing = [
        f"{name} is {format_value(found.get(name))}, the recipe has {format_value(asked.get(name))}"
        for name in dict.fromkeys((*found, *asked))
        if found.get(name) != asked.get(name)
    ]
    if differing:
        raise SettingsError(
            f"the weights are not of the recipe's network: {'; '.join(differing)}; set the recipe to what they have "
            "(--set), or import a file of Keras with its --classes"
        )


def explain_keys() -> str:
    """Name the recipes that there are, and explain the keys of one, from the texts of the classes that they become."""
    blocks = [
        f"Recipes of this package: {', '.join(list_recipes('train'))}.",
        "Keys of a recipe, and of their parts:",
        _explain(ExperimentConfig, set(_names(ExperimentConfig)) - set(KEYS)),
    ]
    blocks += [_block(f"{key}.{name}", kind) for key in ("data", "sampling") for name, kind in REGISTRIES[key].items()]
    blocks += [_block(f"front_end, name: {name}", kind, SET_BY_CHAIN) for name, kind in FRONT_ENDS.items()]
    blocks += [
        f"network: {', '.join(CLASSIFIERS)}. Each has its own preprocessing, of which these keys can be changed:\n"
        f"{_explain(ClipPreprocessing)}"
    ]
    blocks += [
        _block(f"network.{name}", kind, SET_ELSEWHERE)
        for name, kind in CLASSIFIERS.items()
        if set(_names(kind)) - set(SET_ELSEWHERE)
    ]
    parts = (("voice_activity", VoiceActivity), ("training", TrainingConfig), ("evaluation", EvaluationConfig))
    blocks += [f"{key}:\n{_explain(kind)}" for key, kind in parts]
    return "\n\n".join(blocks)


def _block(title: str, kind: type, left_out: Collection[str] = ()) -> str:
    about = docstring_parser.parse(kind.__doc__ or "").short_description or ""
    return f"{title}: {about}\n{_explain(kind, left_out)}".rstrip()


def _names(kind: type) -> list[str]:
    return [each.arg_name for each in docstring_parser.parse(kind.__doc__ or "").params]


def _explain(kind: type, left_out: Collection[str] = ()) -> str:
    return "\n".join(
        f"  {each.arg_name} ({each.type_name}) {' '.join((each.description or '').split())}".rstrip()
        + _default(kind, each.arg_name)
        for each in docstring_parser.parse(kind.__doc__ or "").params
        if each.arg_name not in left_out
    )


def _default(kind: type, names: str) -> str:
    """Tell the defaults of a name, or of several that are explained together."""
    parameters = inspect.signature(kind).parameters
    defaults = [parameters[name].default for name in names.split(", ") if name in parameters]
    told = [text for default in defaults for text in map(_text, default if isinstance(default, tuple) else [default])]
    return f" [default: {', '.join(told)}]" if any(told) else ""


def _text(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return str(default) if isinstance(default, int | float | str) else ""
