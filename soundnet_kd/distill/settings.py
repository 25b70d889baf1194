"""What a distillation is asked to do, checked before anything is read."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from soundnet_kd.distill.feature_objectives import (
    DEFAULT_CONTRAST,
    DEFAULT_PROJECTION,
    ContrastSettings,
    ProjectionSettings,
)
from soundnet_kd.distill.objectives import OF_DISTRIBUTIONS, OF_FEATURES, ObjectiveSettings, read_weights
from soundnet_kd.errors import SettingsError, nearest
from soundnet_kd.models.architectures import parse_name
from soundnet_kd.training.devices import clips_per_batch


def check_settings(
    *,
    steps: int,
    batch_size: int,
    accumulate: int,
    architecture: str | None,
    init: str | Path | None,
    freeze: str | None,
    objective: str,
    objectives: Sequence[str] | Mapping[str, float] | None,
    temperature: float,
    teacher_weights: Mapping[str, float] | None,
    projection: ProjectionSettings,
    contrast: ContrastSettings,
    learning_rate: float,
    kept_learning_rate: float | None,
    keep_statistics: bool,
    weight_decay: float,
    average: float | None,
    gradient_clip: float | None,
    devices: int,
    nodes: int,
    keep_checkpoints: int,
) -> ObjectiveSettings:
    """Refuse settings that can be seen to be wrong before anything is read.

    Parameters
    ----------
    **
        As those of `distill`.

    Returns
    -------
    ObjectiveSettings
        What the student is to learn by.

    Raises
    ------
    SettingsError
    """
    positive = {
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "kept_learning_rate": kept_learning_rate,
        "gradient_clip": gradient_clip,
        "keep_checkpoints": keep_checkpoints,
    }
    for name, value in positive.items():
        if value is not None and value <= 0:
            raise SettingsError(f"{name} is {value}; it has to be above 0")
    of_init = options_of_init(freeze, kept_learning_rate, keep_statistics)
    for name, option in of_init.items():
        if init is None and option is not None:
            raise SettingsError(f"{name} is {option}, which is for what --init brings; add --init, or leave it out")
    if weight_decay < 0:
        raise SettingsError(f"weight_decay is {weight_decay}; it has to be at least 0, which is none")
    if average is not None and not 0 < average < 1:
        raise SettingsError(f"average is {average}; it is a decay above 0 and below 1, such as 0.999")
    clips_per_batch(batch_size, accumulate, devices * nodes)
    if architecture is not None:
        parse_name(architecture)
    if objective not in OF_DISTRIBUTIONS:
        cure = nearest(objective, OF_DISTRIBUTIONS)
        if objective in OF_FEATURES:
            cure = f" that stands alone; give --objectives {objective}:1, which may name others beside it"
        raise SettingsError(f"there is no objective {objective!r}{cure}")
    weights = read_weights([objective] if objectives is None else objectives)
    if objectives is not None and objective != "soundnet":
        raise SettingsError(
            f"objective is {objective}, and objectives are {_written(weights)}; name all of them in objectives"
        )
    chosen = ObjectiveSettings(weights, temperature, dict(teacher_weights or {}), projection, contrast)
    for name, of, is_default in (
        ("projection", OF_FEATURES, projection == DEFAULT_PROJECTION),
        ("contrast", ("contrast",), contrast == DEFAULT_CONTRAST),
    ):
        if not is_default and not weights.keys() & set(of):
            raise SettingsError(
                f"{name} is for the objective{'s' if len(of) > 1 else ''} {', '.join(of)}; give --objectives "
                f"{_written({**weights, of[-1]: 1.0})}, or leave it out"
            )
    return chosen


def options_of_init(
    freeze: str | None, kept_learning_rate: float | None, keep_statistics: bool
) -> dict[str, str | float | bool | None]:
    """Return the options that say what becomes of what another student brings; None where nothing is said."""
    return {"freeze": freeze, "kept_learning_rate": kept_learning_rate, "keep_statistics": keep_statistics or None}


def _written(weights: Mapping[str, float]) -> str:
    """Return objectives as a command line has them."""
    return " ".join(f"{name}:{weight:g}" for name, weight in weights.items())
