"""Streams of sound for a classifier that learns: pieces of one length, varied and mixed, in an order of the seed's."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from soundnet_kd.distill.augmentation import Augmentation, Example
from soundnet_kd.distill.stream import clip_at
from soundnet_kd.media import StoredSound

CLASSES = "classes"


def crop(sound: StoredSound, start: int, samples: int) -> NDArray[np.float32]:
    """Cut a piece out of the endless repetition of a sound.

    Parameters
    ----------
    sound : StoredSound
    start : int
        Sample of the sound at which the piece begins.
    samples : int

    Returns
    -------
    (samples,) float32
    """
    pieces = []
    while samples > 0:
        piece = sound.cut(start, samples)
        pieces.append(piece)
        samples, start = samples - len(piece), 0
    return np.concatenate(pieces)


class VariedStream(Dataset[tuple[Tensor, Tensor]], ABC):
    """An endless stream of pieces of sound: every position of it always holds the same one, varied in the same way.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    augmentation : Augmentation
    seed : int
    """

    def __init__(self, sample_rate: int, augmentation: Augmentation, seed: int) -> None:
        self.sample_rate = sample_rate
        self.augmentation = augmentation
        self.seed = seed

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        """Give a piece (1, samples) float32, and how much it is of each class, (classes,) float32."""
        rng = np.random.default_rng((self.seed, position, 1))
        number = self.number_at(position, rng)
        waveform, shares = self.cut(number, rng)
        if self.augmentation:
            waveform, rows = self.augmentation(
                (waveform, {CLASSES: shares[None]}), lambda: self._another(rng), self.sample_rate, rng
            )
            shares = rows[CLASSES][0]
        return torch.from_numpy(self.finished(number, waveform))[None], torch.from_numpy(shares)

    @abstractmethod
    def number_at(self, position: int, rng: np.random.Generator) -> int:
        """Give the number of the sound, or of the piece, at a position."""

    @abstractmethod
    def any_number(self, rng: np.random.Generator) -> int:
        """Give the number of any other one."""

    @abstractmethod
    def cut(self, number: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Cut a piece (samples,) in ±1, and say how much it is of each class, (classes,)."""

    def finished(self, number: int, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """Do what is to be done to a piece after it was varied."""
        return waveform

    def _another(self, rng: np.random.Generator) -> Example:
        waveform, shares = self.cut(self.any_number(rng), rng)
        return waveform, {CLASSES: shares[None]}


class CropStream(VariedStream):
    """A piece of every clip at each pass; a shorter clip is repeated.

    Parameters
    ----------
    sounds : sequence of StoredSound
    labels : (sounds,) int
    classes : int
    samples : int
        Length of a piece.
    sample_rate : int
        In Hz.
    augmentation : Augmentation
        With `shift`, a piece begins anywhere in its sound, else at its start.
    seed : int
    """

    def __init__(
        self,
        sounds: Sequence[StoredSound],
        labels: NDArray[np.integer],
        classes: int,
        samples: int,
        sample_rate: int,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        super().__init__(sample_rate, augmentation, seed)
        self.sounds = sounds
        self.labels = labels
        self.classes = classes
        self.samples = samples

    def number_at(self, position: int, rng: np.random.Generator) -> int:
        """Give the clip at a position."""
        return clip_at(position, len(self.sounds), self.seed)

    def any_number(self, rng: np.random.Generator) -> int:
        """Give any clip."""
        return int(rng.integers(len(self.sounds)))

    def cut(self, number: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Cut a piece of a clip."""
        sound = self.sounds[number]
        start = int(rng.integers(len(sound))) if self.augmentation.shift else 0
        share = np.zeros(self.classes, np.float32)
        share[self.labels[number]] = 1
        return crop(sound, start, self.samples), share


class PieceStream(VariedStream):
    """All pieces of every sound: whole ones, one after the other, and one of a sound that is too short for that.

    Parameters
    ----------
    sounds : sequence of StoredSound
    targets : (sounds, classes) float32
        How much each is of each class.
    samples : int
        Length of a piece.
    hop : int
        Samples from one piece to the next.
    sample_rate : int
        In Hz.
    augmentation : Augmentation
        With `shift`, a piece begins anywhere in its sound.
    seed : int or None
        Shuffles the pieces anew at each pass; None leaves them in order.
    repeat : bool
        Repeat a sound that is too short, and one that a shifted piece comes to the end of; else zeros follow.
    standardise : bool
        Take the mean of the whole sound from each piece, and divide by the whole sound's standard deviation.
    """

    def __init__(
        self,
        sounds: Sequence[StoredSound],
        targets: NDArray[np.float32],
        samples: int,
        hop: int,
        sample_rate: int,
        augmentation: Augmentation,
        seed: int | None,
        repeat: bool,
        standardise: bool,
    ) -> None:
        super().__init__(sample_rate, augmentation, seed or 0)
        self.sounds = sounds
        self.targets = targets
        self.samples = samples
        self.repeat = repeat
        self._ordered = seed is None
        self._lengths = [len(sound) for sound in sounds]
        counts = [max(1, (length - samples) // hop + 1) for length in self._lengths]
        self.owners = np.repeat(np.arange(len(sounds)), counts)
        """(pieces,) the sound that each piece is of."""
        self._starts = np.concatenate([np.arange(count) * hop for count in counts]) if counts else np.empty(0, np.int64)
        self._scales = [_moments(sound) for sound in sounds] if standardise else None

    def __len__(self) -> int:
        return len(self.owners)

    def number_at(self, position: int, rng: np.random.Generator) -> int:
        """Give the piece at a position."""
        return position if self._ordered else clip_at(position, len(self), self.seed)

    def any_number(self, rng: np.random.Generator) -> int:
        """Give any piece."""
        return int(rng.integers(len(self)))

    def cut(self, number: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Cut a piece."""
        owner = int(self.owners[number])
        sound, length, start = self.sounds[owner], self._lengths[owner], int(self._starts[number])
        if self.augmentation.shift:
            start = int(rng.integers(length if self.repeat else max(1, length - self.samples + 1)))
        if self.repeat:
            return crop(sound, start, self.samples), self.targets[owner].copy()
        piece = sound.cut(start, self.samples)
        return np.pad(piece, (0, self.samples - len(piece))), self.targets[owner].copy()

    def finished(self, number: int, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring a piece to the scale of its sound."""
        if self._scales is None:
            return waveform
        mean, deviation = self._scales[int(self.owners[number])]
        return ((waveform - mean) / deviation).astype(np.float32)


def _moments(sound: StoredSound) -> tuple[float, float]:
    waveform = sound.read()
    # A silent sound stays as it is.
    return float(waveform.mean(dtype=np.float64)), float(waveform.std(dtype=np.float64)) or 1.0
