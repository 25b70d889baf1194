"""What the keys of a recipe mean, from the texts of the classes that they become."""

from collections.abc import Sequence

import docstring_parser

from soundnet_kd.classifiers.optimisation import Optimisation
from soundnet_kd.classifiers.recipe import KEYS, KINDS, BenchRecipe, Evaluation
from soundnet_kd.data.voice import VoiceActivity
from soundnet_kd.models.classifiers import CLASSIFIERS
from soundnet_kd.models.clip_preprocessing import ClipPreprocessing


def explained_keys() -> str:
    """Explain the keys of a recipe, from the texts of the classes that they become."""
    blocks = ["Keys of a recipe, and of their parts:", _explained(BenchRecipe, KEYS)]
    blocks += [
        f"{key}.{name}: {_about(kind)}\n{_explained(kind)}".rstrip()
        for key, kinds in KINDS.items()
        for name, kind in kinds.items()
    ]
    blocks += [f"network: {', '.join(CLASSIFIERS)}. Each takes preprocessing:\n{_explained(ClipPreprocessing)}"]
    parts = (("voice_activity", VoiceActivity), ("training", Optimisation), ("evaluation", Evaluation))
    blocks += [f"{key}:\n{_explained(kind)}" for key, kind in parts]
    return "\n\n".join(blocks)


def _about(kind: type) -> str:
    return docstring_parser.parse(kind.__doc__ or "").short_description or ""


def _explained(kind: type, names: Sequence[str] | None = None) -> str:
    text = docstring_parser.parse(kind.__doc__ or "")
    return "\n".join(
        f"  {each.arg_name} ({each.type_name}) {' '.join((each.description or '').split())}".rstrip()
        for each in text.params
        if names is None or each.arg_name in names
    )
