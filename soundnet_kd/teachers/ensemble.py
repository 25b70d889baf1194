"""Several teachers that look at the same frames, and what they see together in the steps of a clip."""

import pickle
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from soundnet_kd.data import STEP_SECONDS
from soundnet_kd.data.target_clips import LabelledClip
from soundnet_kd.errors import FormatError
from soundnet_kd.inference.backends import Backend
from soundnet_kd.teachers.clips import VideoClip, picture_places
from soundnet_kd.teachers.network import Look, prepare_network
from soundnet_kd.teachers.teacher import BLANK, Seen, Teacher
from soundnet_kd.teachers.transforms import Transform, prepare_frames, require_one_size

FRAMES_PER_BATCH = 64
"""Frames that go through a network together."""


class TeacherEnsemble:
    """Several teachers for the same frames.

    Parameters
    ----------
    teachers : mapping from name to Teacher
    backends : mapping from name to str, optional
        What runs each network. [default: PyTorch]
    step_seconds : float
        Length of a step.
    keep_frames : bool
        Keep what is seen in each frame of a step, beside the mean.

    Attributes
    ----------
    transforms : tuple of callable
        Those of the teachers; what several have in common is there, and done, once.
    backends : dict from name to str
        What runs each network; where one has turned out not to be able to, it is PyTorch.
    """

    def __init__(
        self,
        teachers: Mapping[str, Teacher],
        backends: Mapping[str, Backend] | None = None,
        step_seconds: float = STEP_SECONDS,
        keep_frames: bool = False,
    ) -> None:
        self.teachers = teachers
        self.step_seconds = step_seconds
        self.keep_frames = keep_frames
        self._answering: set[str] = set()
        usual: Backend = "torch"
        self.backends = dict.fromkeys(teachers, usual) | dict(backends or {})
        self._looks: dict[tuple[str, torch.Size], Look] = {}
        keys = {name: _transform_key(teacher.transform) for name, teacher in teachers.items()}
        by_key = {keys[name]: teacher.transform for name, teacher in teachers.items()}
        order = list(by_key)
        self.transforms = tuple(by_key.values())
        self._transform_of = {name: order.index(key) for name, key in keys.items()}

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs; it makes the networks ready itself."""
        return self.__dict__ | {"_answering": set(), "_looks": {}}

    def move_to(self, device: torch.device) -> None:
        """Move all networks to a device; before they have looked at anything."""
        for teacher in self.teachers.values():
            teacher.network.to(device)

    @property
    def class_names(self) -> dict[str, tuple[str, ...]]:
        """The names of the classes of each teacher that has classes."""
        return {name: teacher.class_names for name, teacher in self.teachers.items() if teacher.class_names}

    def label(self, clips: Iterable[tuple[str, VideoClip]]) -> Iterator[LabelledClip]:
        """Label clips, each with the name of its video, in batches of at least `FRAMES_PER_BATCH` frames.

        A step for which a teacher has no finite answer comes out with what it gave.

        Raises
        ------
        SettingsError
            If a transform brings frames to several sizes.
        FormatError
            If a teacher answers nothing with finite numbers.
        """
        batch: list[tuple[str, VideoClip]] = []
        frames = 0
        for source, clip in clips:
            batch.append((source, clip))
            frames += len(clip.frames[0])
            if frames >= FRAMES_PER_BATCH:
                yield from self._label_batch(batch)
                batch, frames = [], 0
        if batch:
            yield from self._label_batch(batch)

    def _label_batch(self, batch: list[tuple[str, VideoClip]]) -> Iterator[LabelledClip]:
        for index in range(len(self.transforms)):
            require_one_size(clip.frames[index].shape for _, clip in batch)
        frames = [
            torch.from_numpy(np.concatenate([clip.frames[index] for _, clip in batch]))
            for index in range(len(self.transforms))
        ]
        seen = {name: self._see(name, frames[self._transform_of[name]]) for name in self.teachers}
        first = 0
        for source, clip in batch:
            own = slice(first, first + len(clip.frames[0]))
            first = own.stop
            places = picture_places(clip.frame_seconds)
            distributions = {
                name: each.distributions[own] for name, each in seen.items() if each.distributions is not None
            }
            features = {name: each.features[own] for name, each in seen.items() if each.features is not None}
            yield LabelledClip(
                source,
                clip.start_seconds,
                clip.sound,
                clip.frame_seconds,
                {name: _mean_of_steps(rows, places) for name, rows in distributions.items()},
                {name: _mean_of_steps(rows, places) for name, rows in features.items()},
                self.step_seconds,
                {name: rows[places] for name, rows in distributions.items()} if self.keep_frames else {},
                {name: rows[places] for name, rows in features.items()} if self.keep_frames else {},
            )

    def _see(self, name: str, frames: Tensor) -> Seen:
        seen = self._see_or_say_who(name, frames)
        if name not in self._answering and not _is_finite(seen):
            noise = torch.rand(frames[:2].shape, generator=torch.Generator().manual_seed(0))
            if not _is_finite(self._see_or_say_who(name, noise)):
                raise FormatError(f"the answers of the teacher {name} are not finite numbers; its weights are broken")
        self._answering.add(name)
        return seen

    def _see_or_say_who(self, name: str, frames: Tensor) -> Seen:
        try:
            return self.teachers[name].see(frames, self._look(name, frames))
        except FormatError as error:
            raise FormatError(f"{name}: {error}") from error

    def feature_sizes(self) -> dict[str, int]:
        """Return how many numbers the kept features of each teacher are, for frames of the usual size."""
        sizes: dict[str, int] = {}
        for name, teacher in self.teachers.items():
            if teacher.has_features:
                features = self._see_or_say_who(name, self._blank(teacher)).features
                assert features is not None
                sizes[name] = features.shape[1]
        return sizes

    def frame_bytes(self) -> int:
        """Return how much all transforms make of a picture of the usual size."""
        blank = torch.zeros(BLANK, dtype=torch.uint8)
        return sum(transform(blank).nbytes for transform in self.transforms)

    def compile(self) -> None:
        """Try other engines than PyTorch, on frames of the size that a picture usually comes out in."""
        for name, teacher in self.teachers.items():
            if self.backends[name] != "torch":
                self._look(name, self._blank(teacher))

    @staticmethod
    def _blank(teacher: Teacher) -> Tensor:
        return prepare_frames([torch.zeros(BLANK, dtype=torch.uint8)], teacher.transform)

    def _look(self, name: str, frames: Tensor) -> Look:
        """Return a network that is ready for frames of a size; it becomes so once."""
        key = name, frames.shape[1:]
        if key not in self._looks:
            teacher = self.teachers[name]
            self.backends[name], self._looks[key] = prepare_network(
                teacher.network, frames, self.backends[name], teacher.features
            )
        return self._looks[key]


def _is_finite(seen: Seen) -> bool:
    return all(rows is None or bool(np.isfinite(rows).all()) for rows in seen)


def _mean_of_steps(rows: NDArray[np.float32], places: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return the mean over the pictures of each step, (steps, numbers); one shown at two moments counts once."""
    means = [rows[np.unique(step)].mean(axis=0, dtype=np.float64) for step in places]
    return np.array(means, dtype=np.float32)


def _transform_key(transform: Transform) -> bytes | int:
    """Return a key that is equal for transforms that do the same: all their settings, if they can be pickled."""
    try:
        return pickle.dumps(transform)
    except (pickle.PicklingError, AttributeError, TypeError):
        return id(transform)
