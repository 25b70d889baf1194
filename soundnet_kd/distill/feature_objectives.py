"""Objectives that compare what a student hears with teachers' features, the activations before their last layer.

All of them take the label steps of a batch as rows: for each, the student's layer, averaged over the step, and the
teacher's feature, standardised to mean 0 and standard deviation 1 in each dimension over the data.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy, normalize, smooth_l1_loss

from soundnet_kd.errors import SettingsError

Distance = Literal["cosine", "squared"]
LARGEST_SCALE = 100.0
"""Similarities are multiplied by no more than this (CLIP: Radford et al., 2021, section 2.5)."""
NO_VIDEO = -1
"""Number of the video of a place in the queue that is still empty."""
LEAST_SQUARE = 1e-12
"""Least squared distance: of 0 the root has no slope."""


@dataclass(frozen=True)
class ProjectionSettings:
    """What of the student is compared with teachers' features, and how.

    Attributes
    ----------
    layer : str, optional
        Layer of the student, averaged over each label step, such as pool5. [default: the last one before the heads that
        has a step for each label step]
    width : int
        Dimensions of the space in which contrast compares sound with picture, and of the projections' hidden layers.
    distance : {"cosine", "squared"}
        Distance of match: 1 - cosine, or the squared distance, averaged over the dimensions.
    """

    layer: str | None = None
    width: int = 512
    distance: Distance = "cosine"

    def __post_init__(self) -> None:
        if self.width < 1:
            raise SettingsError(f"projection.width is {self.width}; it has to be at least 1")
        if self.distance not in get_args(Distance):
            raise SettingsError(f"projection.distance is {self.distance!r}; choose cosine or squared")


@dataclass(frozen=True)
class ContrastSettings:
    """Which pictures a sound's own is told apart from in contrast, and how sharply.

    Attributes
    ----------
    temperature : float
        Temperature of the similarities at the start, from 0.01 to 1; it is learned, and stays in this range.
    queue : int
        Number of past label steps whose features are kept as further pictures that a sound is told apart from.
    same_video : float
        Weight of other steps of the same video, relative to steps of other videos: 1 counts them alike, 0 leaves them
        out.
    masked_similarity : float
        Pictures whose features have a cosine above this, once each dimension has mean 0 and standard deviation 1, count
        as the same picture and are not told apart. 1 tells all apart, and a step's own earlier copy in the queue counts
        as another picture.
    """

    temperature: float = 0.07
    queue: int = 0
    same_video: float = 1.0
    masked_similarity: float = 0.9

    def __post_init__(self) -> None:
        if not 1 / LARGEST_SCALE <= self.temperature <= 1:
            raise SettingsError(
                f"contrast.temperature is {self.temperature}; give one from {1 / LARGEST_SCALE:g} to 1, such as 0.07"
            )
        if self.queue < 0:
            raise SettingsError(f"contrast.queue is {self.queue}; give a number of label steps, or 0 for none")
        if not 0 <= self.same_video < math.inf:
            raise SettingsError(f"contrast.same_video is {self.same_video}; give a weight from 0 on, usually 1")
        if not 0 < self.masked_similarity <= 1:
            raise SettingsError(
                f"contrast.masked_similarity is {self.masked_similarity}; give a cosine above 0, up to 1, which masks "
                "none"
            )


DEFAULT_PROJECTION = ProjectionSettings()
DEFAULT_CONTRAST = ContrastSettings()


class Steps(NamedTuple):
    """Label steps of a batch, over all devices.

    Attributes
    ----------
    sound : (rows, channels) float32
        The student's layer.
    picture : (rows, dims) float32
        The teacher's feature, mean 0 and standard deviation 1 in each dimension.
    video : (rows,) int64
        Number of the video that each is of.
    """

    sound: Tensor
    picture: Tensor
    video: Tensor


class FeatureObjective(nn.Module, ABC):
    """A distance between a student's layer and one teacher's features."""

    @abstractmethod
    def forward(self, steps: Steps) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare.

        Parameters
        ----------
        steps : Steps
            At least two rows.

        Returns
        -------
        loss : ()
        figures : dict from name to ()
            What else tells how well it goes.
        """


def projection(channels: int, width: int, out: int) -> nn.Module:
    """Make a projection with one hidden layer, (rows, channels) to (rows, out).

    A projection that is thrown away afterwards lets the layer before it keep more than the objective asks for (SimCLR:
    Chen et al., 2020, section 4.2).
    """
    return nn.Sequential(nn.Linear(channels, width), nn.ReLU(), nn.Linear(width, out))


class Match(FeatureObjective):
    """Distance between a projection of the sound and the picture's feature, averaged over the rows.

    Parameters
    ----------
    channels, dims : int
        Of the student's layer and of the teacher's features.
    settings : ProjectionSettings
    """

    def __init__(self, channels: int, dims: int, settings: ProjectionSettings) -> None:
        super().__init__()
        self.sound = projection(channels, settings.width, dims)
        self.distance = settings.distance

    def forward(self, steps: Steps) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare."""
        return match_loss(self.sound(steps.sound), steps.picture, self.distance), {}


class Contrast(FeatureObjective):
    """Which picture belongs to a sound, and which sound to a picture (InfoNCE in both directions).

    Parameters
    ----------
    channels, dims : int
        Of the student's layer and of the teacher's features.
    projection_settings : ProjectionSettings
    settings : ContrastSettings
    """

    queue: Tensor
    queue_video: Tensor

    def __init__(
        self, channels: int, dims: int, projection_settings: ProjectionSettings, settings: ContrastSettings
    ) -> None:
        super().__init__()
        width = projection_settings.width
        self.sound = projection(channels, width, width)
        self.picture = nn.Linear(dims, width)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(settings.temperature)))
        self.settings = settings
        self.register_buffer("queue", torch.zeros(settings.queue, dims))
        self.register_buffer("queue_video", torch.full((settings.queue,), NO_VIDEO))

    def forward(self, steps: Steps) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare; in training past pictures take part, and those of the batch join the queue."""
        with torch.no_grad():
            # The last step may have led out of the range.
            self.log_scale.clamp_(0.0, math.log(LARGEST_SCALE))
        pictures, videos = steps.picture, steps.video
        if self.training and len(self.queue):
            pictures, videos = torch.cat([pictures, self.queue]), torch.cat([videos, self.queue_video])
            # Features, not what a projection made of them: today's projection is always asked.
            self.queue.copy_(pictures[: len(self.queue)])
            self.queue_video.copy_(videos[: len(self.queue_video)])
        weights = candidate_weights(
            pictures, videos, len(steps.sound), self.settings.same_video, self.settings.masked_similarity
        )
        similarity = normalize(self.sound(steps.sound)) @ normalize(self.picture(pictures)).T
        logits = similarity * self.log_scale.exp() + weights.log()
        own = torch.arange(len(logits), device=logits.device)
        figures = {
            # Among those of the batch, as on held-out videos, for which no past is kept.
            "retrieval": (logits[:, : len(logits)].argmax(dim=1) == own).float().mean(),
            "chance": (1 / (weights[:, : len(logits)] > 0).sum(dim=1)).mean(),
            "temperature": (-self.log_scale.detach()).exp(),
        }
        return contrast_loss(logits), figures


class Relation(FeatureObjective):
    """Distances among the sounds against those among their pictures (Park, Kim, Lu, Cho, CVPR 2019: distance-wise)."""

    def forward(self, steps: Steps) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare."""
        return relation_loss(steps.sound, steps.picture), {}


FEATURE_OBJECTIVES: dict[str, Callable[[int, int, ProjectionSettings, ContrastSettings], FeatureObjective]] = {
    "match": lambda channels, dims, projection, _: Match(channels, dims, projection),
    "contrast": Contrast,
    "relation": lambda *_: Relation(),
}
"""By name, how each is made for the channels of the student's layer and the dimensions of a teacher's features."""


def match_loss(sound: Tensor, picture: Tensor, distance: Distance) -> Tensor:
    """Return the mean distance of (rows, dims) and (rows, dims)."""
    if distance == "squared":
        return (sound - picture).square().mean()
    return (1 - cosine_similarity(sound, picture, dim=1)).mean()


def candidate_weights(
    pictures: Tensor, videos: Tensor, sounds: int, same_video: float, masked_similarity: float
) -> Tensor:
    """Return how much each picture counts among those that a sound's own is told apart from.

    Parameters
    ----------
    pictures : (candidates, dims)
        Features; those of the sounds come first.
    videos : (candidates,) int64
    sounds : int
    same_video : float
        Weight of a picture of the sound's own video.
    masked_similarity : float
        A picture whose cosine with the sound's own is above this does not count.

    Returns
    -------
    (sounds, candidates) float32
        Weights of the exponentials; 1 for a sound's own picture.
    """
    directions = normalize(pictures)
    # Rounding may lead above 1.
    is_near = (directions[:sounds] @ directions.T).clamp_max(1.0) > masked_similarity
    is_same = videos[:sounds, None] == videos
    weights = torch.where(is_same, same_video, 1.0).masked_fill(is_near | (videos == NO_VIDEO), 0.0)
    return weights.fill_diagonal_(1.0)


def contrast_loss(logits: Tensor) -> Tensor:
    """Return InfoNCE from sounds to pictures and from pictures to sounds, averaged.

    Parameters
    ----------
    logits : (sounds, candidates)
        Similarities over the temperature, with the logarithm of each candidate's weight; a sound's own picture has its
        row's number. Pictures that belong to none of the sounds take part in the first direction only.
    """
    own = torch.arange(len(logits), device=logits.device)
    return (cross_entropy(logits, own) + cross_entropy(logits[:, : len(logits)].T, own)) / 2


def relation_loss(sound: Tensor, picture: Tensor) -> Tensor:
    """Return the Huber loss between the distances of all pairs of rows, each divided by the mean of its kind.

    Parameters
    ----------
    sound : (rows, channels)
    picture : (rows, dims)
    """
    return smooth_l1_loss(_relative_distances(sound), _relative_distances(picture))


def _relative_distances(rows: Tensor) -> Tensor:
    """Return the distance of each pair of rows, divided by the mean distance, (rows * (rows - 1) / 2,)."""
    first, second = torch.triu_indices(len(rows), len(rows), offset=1, device=rows.device)
    # Around their mean, since the squares of what lies far from 0 leave few digits for differences.
    rows = rows - rows.mean(dim=0)
    squares = rows.square().sum(dim=1)
    squared = squares[:, None] + squares - 2 * rows @ rows.T
    distances = squared[first, second].clamp_min(LEAST_SQUARE).sqrt()
    return distances / distances.mean()
