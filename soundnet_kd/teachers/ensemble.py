"""Several teachers that look at the same frames, many at a time."""

import pickle
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from soundnet_kd.data.targets import LabelledClip
from soundnet_kd.teachers.decoding import DecodedClip
from soundnet_kd.teachers.teacher import Teacher, Transform, require_one_size

FRAMES_PER_BATCH = 64
"""Frames that a network looks at together."""


@dataclass(frozen=True)
class TeacherEnsemble:
    """Several teachers and how they want their frames.

    Attributes
    ----------
    teachers : mapping from name to Teacher
    transforms : tuple of callable
        Those of the teachers, each once.
    transform_of : mapping from name to int
        Which of them is a teacher's.
    """

    teachers: Mapping[str, Teacher]
    transforms: tuple[Transform, ...]
    transform_of: Mapping[str, int]

    @classmethod
    def of(cls, teachers: Mapping[str, Teacher]) -> "TeacherEnsemble":
        """Find out which teachers want their frames prepared alike, so that it is done once for them."""
        keys = {name: _content(teacher.transform) for name, teacher in teachers.items()}
        kinds = {keys[name]: teacher.transform for name, teacher in teachers.items()}
        order = list(kinds)
        return cls(teachers, tuple(kinds.values()), {name: order.index(key) for name, key in keys.items()})

    def label(self, clips: Iterable[tuple[str, DecodedClip]]) -> Iterator[LabelledClip]:
        """Label clips, given with their videos, in batches of about as many frames each.

        Raises
        ------
        SettingsError
            If a transform brings frames to several sizes.
        """
        batch: list[tuple[str, DecodedClip]] = []
        frames = 0
        for source, clip in clips:
            batch.append((source, clip))
            frames += len(clip.frame_seconds)
            if frames >= FRAMES_PER_BATCH:
                yield from self._label_batch(batch)
                batch, frames = [], 0
        if batch:
            yield from self._label_batch(batch)

    def _label_batch(self, batch: list[tuple[str, DecodedClip]]) -> Iterator[LabelledClip]:
        for index in range(len(self.transforms)):
            require_one_size(clip.frames[index].shape for _, clip in batch)
        frames = [
            torch.from_numpy(np.concatenate([clip.frames[index] for _, clip in batch]))
            for index in range(len(self.transforms))
        ]
        answers = {name: teacher.predict(frames[self.transform_of[name]]) for name, teacher in self.teachers.items()}
        first = 0
        for source, clip in batch:
            steps = slice(first, first + len(clip.frame_seconds))
            first = steps.stop
            rows = {name: answer[steps] for name, answer in answers.items()}
            yield LabelledClip(source, clip.start_seconds, clip.sound, clip.frame_seconds, rows)


def _content(transform: Transform) -> bytes | int:
    """Return what is equal for transforms that do the same: all their settings, if they can be written down."""
    try:
        return pickle.dumps(transform)
    except (pickle.PicklingError, AttributeError, TypeError):
        return id(transform)
