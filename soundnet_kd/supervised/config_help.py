"""What the keys of a recipe mean, from the texts of the classes that they become."""

import inspect
from collections.abc import Collection

import docstring_parser

from soundnet_kd.config.recipes import shipped_recipes
from soundnet_kd.data.voice_activity import VoiceActivity
from soundnet_kd.models.classifiers import CLASSIFIERS
from soundnet_kd.models.front_ends import FRONT_ENDS
from soundnet_kd.models.preprocessing import ClipPreprocessing
from soundnet_kd.supervised.config import (
    KEYS,
    REGISTRIES,
    SET_BY_CHAIN,
    SET_ELSEWHERE,
    Evaluation,
    ExperimentConfig,
)
from soundnet_kd.training.optimization import TrainingConfig


def explain_keys() -> str:
    """Name the recipes that there are, and explain the keys of one, from the texts of the classes that they become."""
    blocks = [
        f"Recipes of this package: {', '.join(shipped_recipes('train'))}.",
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
    parts = (("voice_activity", VoiceActivity), ("training", TrainingConfig), ("evaluation", Evaluation))
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
