"""Several objectives of a distillation at once, each with its weight, for every teacher that can serve it."""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from soundnet_kd.distill.feature_objectives import (
    DEFAULT_CONTRAST,
    DEFAULT_PROJECTION,
    FEATURE_OBJECTIVES,
    ContrastSettings,
    ProjectionSettings,
    Steps,
)
from soundnet_kd.distill.objective import DistillationLoss, Objective
from soundnet_kd.errors import SettingsError, nearest

OF_DISTRIBUTIONS: tuple[str, ...] = get_args(Objective)
OF_FEATURES = tuple(FEATURE_OBJECTIVES)
Moments = Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Of each teacher's features the mean and the standard deviation, both (dims,)."""


def read_weights(objectives: Sequence[str] | Mapping[str, float]) -> dict[str, float]:
    """Return the weight of each objective above 0.

    Parameters
    ----------
    objectives : sequence of str, or mapping from str to float
        Each written as NAME:WEIGHT, or as NAME for a weight of 1; or names with their weights.

    Raises
    ------
    SettingsError
        If there is no such objective, one is named twice, a weight is no number from 0 on, or all are 0.
    """
    if isinstance(objectives, str):
        words = objectives.replace(",", " ").split()
        raise SettingsError(f"objectives is one text, {objectives!r}; give a list, such as {words or ['kl:1']}")
    pairs: Iterable[tuple[str, Any]]
    if isinstance(objectives, Mapping):
        pairs = objectives.items()
    else:
        parts = (word.partition(":") for word in objectives)
        pairs = ((name.strip(), weight if colon else 1.0) for name, colon, weight in parts)
    weights: dict[str, float] = {}
    known = (*OF_DISTRIBUTIONS, *OF_FEATURES)
    for name, weight in pairs:
        if name not in known:
            separate = re.split("[=,]", name)
            if len(separate) > 1 and separate[0] in known:
                raise SettingsError(
                    "objectives are written NAME or NAME:WEIGHT, with a blank between two, such as kl:1 contrast:0.5; "
                    f"not {name}"
                )
            raise SettingsError(f"there is no objective {name!r}{nearest(name, known)}")
        if name in weights:
            raise SettingsError(f"objectives name {name} twice; give it one weight")
        try:
            weights[name] = float(weight)
        except (TypeError, ValueError):
            weights[name] = math.nan
        if not 0 <= weights[name] < math.inf:
            raise SettingsError(
                f"objectives: the weight of {name} is {weight!r}; give a number from 0 on, such as {name}:0.5"
            )
    if not any(weights.values()):
        raise SettingsError(f"the weights of all objectives ({', '.join(weights)}) are 0; at least one has to teach")
    return {name: weight for name, weight in weights.items() if weight}


@dataclass(frozen=True)
class ObjectiveSettings:
    """Which objectives a student learns by.

    Attributes
    ----------
    weights : mapping from objective to float
        Above 0.
    temperature : float
        Softens distributions before they are compared (see `DistillationLoss`).
    teacher_weights : mapping from teacher to float
        Weight of a teacher in each objective that it serves; 1 for those that are not named.
    projection : ProjectionSettings
    contrast : ContrastSettings

    Raises
    ------
    SettingsError
        If the temperature is out of range, or a teacher's weight is negative.
    """

    weights: Mapping[str, float]
    temperature: float = 1.0
    teacher_weights: Mapping[str, float] = field(default_factory=dict)
    projection: ProjectionSettings = DEFAULT_PROJECTION
    contrast: ContrastSettings = DEFAULT_CONTRAST

    def __post_init__(self) -> None:
        DistillationLoss("kl", self.temperature, self.teacher_weights)

    @property
    def of_features(self) -> list[str]:
        """The objectives among them that compare features."""
        return [name for name in OF_FEATURES if name in self.weights]

    def taught_heads(self, heads: Collection[str]) -> list[str]:
        """Return those of a student's heads that learn, since distributions are compared and their teachers weigh."""
        if not any(name in OF_DISTRIBUTIONS for name in self.weights):
            return []
        return [head for head in heads if self.teacher_weights.get(head, 1.0)]

    def losses(self, teachers: Collection[str]) -> dict[str, DistillationLoss]:
        """Return the distances of distributions, with the weights of these teachers."""
        of_teachers = {name: weight for name, weight in self.teacher_weights.items() if name in teachers}
        return {
            name: DistillationLoss(name, self.temperature, of_teachers)  # type: ignore[arg-type]
            for name in OF_DISTRIBUTIONS
            if name in self.weights
        }

    def require_served(
        self,
        classes: Collection[str],
        features: Collection[str],
        videos: int,
        steps: int,
        clips: int,
        folder: object = "the targets",
    ) -> None:
        """Refuse objectives that the teachers cannot serve.

        Parameters
        ----------
        classes, features : collection of str
            Teachers whose distributions, and whose features, the targets hold.
        videos, steps : int
            Number of videos, and of label steps, that are learned from.
        clips : int
            In a batch, on all devices together.
        folder : object
            What the targets are called in messages.

        Raises
        ------
        SettingsError
            If no teacher has classes, if one needs what they do not hold, if the weights of all teachers of one are 0,
            if a weight is of no teacher, if more of the past is to be kept than there is, or if a picture is to be told
            apart from others where there are none.
        """
        if not classes:
            raise SettingsError(
                f"no teacher of {folder} has classes, which a student's heads need even if no objective uses them; "
                'label the videos with one more teacher, such as load_teacher("mobilenet_v2:IMAGENET1K_V2")'
            )
        teachers = list(dict.fromkeys((*classes, *features)))
        unknown = sorted(self.teacher_weights.keys() - set(teachers))
        if unknown:
            raise SettingsError(f"there is no teacher {unknown[0]!r} to weigh; the teachers are {', '.join(teachers)}")
        for name in self.weights:
            serving = features if name in OF_FEATURES else classes
            if not serving:
                raise SettingsError(
                    f"objective {name} needs the teachers' features, and {folder} holds none; make targets that do "
                    "with `soundnet-kd teach --keep_features`, or leave it out"
                )
            if not any(self.teacher_weights.get(teacher, 1.0) for teacher in serving):
                raise SettingsError(
                    "the weights of all teachers are 0; at least one has to teach"
                    + ("" if len(self.weights) == 1 else f" {name} ({', '.join(serving)})")
                )
        alone = f"all that {folder} can teach is of one video" if videos < 2 else "a batch is of one clip"
        if "contrast" in self.weights and not self.contrast.same_video and min(videos, clips + self.contrast.queue) < 2:
            raise SettingsError(
                f"contrast.same_video is 0, but {alone}, whose pictures are told apart from nothing; give a weight "
                f"above 0, {'or label more videos' if videos < 2 else 'contrast.queue, or more clips a batch'}"
            )
        if "contrast" in self.weights and self.contrast.queue >= max(steps, 1):
            raise SettingsError(
                f"contrast.queue is {self.contrast.queue}, but there are only {steps} label steps to learn from; give "
                f"fewer, such as {steps // 2}"
            )


class Objectives(nn.Module):
    """The weighted sum of objectives; each of them is the weighted mean over the teachers that serve it.

    What it learns itself (projections, temperatures) and remembers (the queue) is of the training, not of the student.

    Parameters
    ----------
    settings : ObjectiveSettings
    classes : collection of str
        Teachers with distributions.
    moments : mapping from teacher to (mean, standard deviation)
        Of its features; needed only where features are compared.
    channels : int
        Of the student's layer that is compared with features.
    by_name : bool
        Whether figures name the objective, not only the teacher.
    """

    def __init__(
        self,
        settings: ObjectiveSettings,
        classes: Collection[str],
        moments: Moments | None = None,
        channels: int = 0,
        by_name: bool = True,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.losses = settings.losses(classes)
        self.classes = tuple(classes) if self.losses else ()
        self._prefix = {name: f"{name}_" if by_name else "" for name in settings.weights}
        self.standards = nn.ModuleDict()
        self.features = nn.ModuleDict()
        for name in settings.of_features:
            self.features[name] = nn.ModuleDict()
        for teacher, (mean, deviation) in (moments or {}).items() if self.features else ():
            self.standards[teacher] = _Standard(mean, deviation)
            for name, of_teachers in self.features.items():
                assert isinstance(of_teachers, nn.ModuleDict)
                of_teachers[teacher] = FEATURE_OBJECTIVES[name](
                    channels, len(mean), settings.projection, settings.contrast
                )

    @property
    def teachers(self) -> tuple[str, ...]:
        """Teachers whose features are compared."""
        return tuple(self.standards)

    def of_distributions(
        self, logits: Mapping[str, Tensor], distributions: Mapping[str, Tensor]
    ) -> tuple[Tensor | float, dict[str, Tensor]]:
        """Compare distributions.

        Parameters
        ----------
        logits, distributions : mapping from teacher to (batch, classes, steps)

        Returns
        -------
        total : ()
            Weighted sum; 0.0 if no objective compares distributions.
        figures : dict from name to ()
            loss_NAME_TEACHER of each, without its weight.
        """
        total: Tensor | float = 0.0
        figures: dict[str, Tensor] = {}
        for name, loss in self.losses.items():
            mean, per_teacher = loss(logits, distributions)
            total = self.settings.weights[name] * mean + total
            figures |= {f"loss_{self._prefix[name]}{teacher}": value for teacher, value in per_teacher.items()}
        return total, figures

    def of_features(
        self, layer: Tensor, features: Mapping[str, Tensor], video: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare features, in 32 bit.

        Parameters
        ----------
        layer : (clips, channels, steps)
            The student's, averaged over label steps; of all devices, as the others are.
        features : mapping from teacher to (clips, dims, steps)
        video : (clips, steps) int64

        Returns
        -------
        total : ()
            Weighted sum.
        figures : dict from name to ()
            loss_NAME_TEACHER of each, without its weight; retrieval_TEACHER, how often a sound's own picture is the
            nearest of the batch, chance_TEACHER, how often a guess among those that it is told apart from would be, and
            temperature_TEACHER.
        """
        totals: list[Tensor] = []
        figures: dict[str, Tensor] = {}
        with torch.autocast(layer.device.type, enabled=False):
            sound = _rows(layer.float())
            pictures = {name: self.standards[name](_rows(features[name].float())) for name in self.standards}
            for name, of_teachers in self.features.items():
                assert isinstance(of_teachers, nn.ModuleDict)
                losses: dict[str, Tensor] = {}
                for teacher, objective in of_teachers.items():
                    losses[teacher], more = objective(Steps(sound, pictures[teacher], video.flatten()))
                    figures[f"loss_{self._prefix[name]}{teacher}"] = losses[teacher]
                    figures |= {f"{figure}_{teacher}": value for figure, value in more.items()}
                weights = {teacher: self.settings.teacher_weights.get(teacher, 1.0) for teacher in losses}
                mean = torch.stack([weights[teacher] * loss for teacher, loss in losses.items()]).sum()
                totals.append(self.settings.weights[name] * mean / sum(weights.values()))
        return torch.stack(totals).sum(), figures

    def figures(self) -> list[str]:
        """Return the names of all figures."""
        serving = dict.fromkeys(self.losses, self.classes) | dict.fromkeys(self.features, self.teachers)
        names = [f"loss_{self._prefix[name]}{teacher}" for name in serving for teacher in serving[name]]
        if "contrast" in self.features:
            names += [
                f"{figure}_{teacher}" for figure in ("retrieval", "chance", "temperature") for teacher in self.teachers
            ]
        return names


class _Standard(nn.Module):
    """Features, (rows, dims), with mean 0 and standard deviation 1 in each dimension."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: NDArray[np.float32], deviation: NDArray[np.float32]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("deviation", torch.from_numpy(deviation))

    def forward(self, features: Tensor) -> Tensor:
        """Bring them there."""
        return (features - self.mean) / self.deviation


def _rows(values: Tensor) -> Tensor:
    """Return (clips, dims, steps) as (clips x steps, dims)."""
    return values.movedim(1, 2).flatten(0, 1)
