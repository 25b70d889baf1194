"""Pieces of what the layers of a network that stay as they are make of a data set's sounds, to learn from."""

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from soundnet_kd.training.augmentation import Augmentation
from soundnet_kd.training.loading import item_at
from soundnet_kd.training.segments import SegmentDataset


class KeptSteps(Protocol):
    """The steps of a layer for the sounds of a data set, several versions of each."""

    versions: int
    """Of each sound."""

    def read(self, sound: int, version: int) -> NDArray[np.float32]:
        """Return the steps of a sound, (channels, steps) float32; it is heard over and over."""


class KeptSegmentDataset(SegmentDataset):
    """A piece of each sound at each pass, shuffled anew, of any of its versions.

    Parameters
    ----------
    kept : KeptSteps
    sounds : sequence of int
        The numbers of those to learn from.
    targets : (sounds, outputs) float32
        How much each is of each class.
    steps : int
        Length of a piece.
    margin : int
        With `shift`, this many steps before and after a piece come with it.
    augmentation : Augmentation
        With `shift`, a piece begins anywhere in its sound, which goes on at its start. Of two pieces that are mixed the
        steps are, and the labels in the same proportion. Level and noise are of the versions.
    seed : int
    """

    def __init__(
        self,
        kept: KeptSteps,
        sounds: NDArray[np.int64],
        targets: NDArray[np.float32],
        steps: int,
        margin: int,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        super().__init__(0, augmentation, seed)
        self.kept = kept
        self.sounds = sounds
        self.targets = targets
        self.steps = steps
        self.margin = margin if augmentation.shift else 0

    def __len__(self) -> int:
        return len(self.sounds)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        """Return a piece (channels, steps) float32, and how much it is of each class, (classes,) float32."""
        rng = np.random.default_rng((self.seed, position, 1))
        steps, shares = self.cut(self.number_at(position, rng), rng)
        if rng.random() < self.augmentation.mix:
            others, their_shares = self.cut(self.any_number(rng), rng)
            share = np.float32(rng.uniform())
            steps, shares = share * steps + (1 - share) * others, share * shares + (1 - share) * their_shares
        return torch.from_numpy(steps), torch.from_numpy(shares)

    def number_at(self, position: int, rng: np.random.Generator) -> int:
        """Return the sound at a position."""
        return item_at(position, len(self), self.seed)

    def any_number(self, rng: np.random.Generator) -> int:
        """Return any sound."""
        return int(rng.integers(len(self)))

    def cut(self, number: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Cut a piece out of the endless repetition of a version of a sound."""
        version = int(rng.integers(self.kept.versions)) if self.kept.versions > 1 else 0
        steps = self.kept.read(int(self.sounds[number]), version)
        if self.augmentation.shift:
            steps = surrounded(steps, int(rng.integers(steps.shape[1])), self.steps, self.margin or 0)
        return np.ascontiguousarray(steps[:, : self.steps + 2 * (self.margin or 0)]), self.targets[number].copy()


def surrounded(steps: NDArray[np.float32], start: int, count: int, margin: int) -> NDArray[np.float32]:
    """Return steps of an endless repetition from `start` on, with a margin before and after."""
    return steps.take(range(start - margin, start + count + margin), axis=1, mode="wrap")
