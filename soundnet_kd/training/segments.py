"""Endless streams of sound to learn from: pieces of one length, varied and mixed, in an order drawn by a seed."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from soundnet_kd.errors import SettingsError
from soundnet_kd.media import RawAudioFile
from soundnet_kd.media.resampling import resample
from soundnet_kd.training.augmentation import UNCHANGED, Augmentation, Example
from soundnet_kd.training.loading import item_at

CLASSES = "classes"


@dataclass(frozen=True, eq=False)
class LabelledSounds:
    """Sounds with what they are, in the terms of one network.

    Attributes
    ----------
    sounds : sequence of RawAudioFile
    targets : (sounds, outputs) float32
        How much each is of each class.
    sample_rate : int
        In Hz.
    samples : int
        Length of the pieces that the network learns from.
    standardise : bool
        Whether sounds are brought to mean 0 and standard deviation 1.
    """

    sounds: Sequence[RawAudioFile]
    targets: NDArray[np.float32]
    sample_rate: int
    samples: int
    standardise: bool = False


def crop(sound: RawAudioFile, start: int, samples: int) -> NDArray[np.float32]:
    """Cut a piece out of the endless repetition of a sound.

    Parameters
    ----------
    sound : RawAudioFile
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


def at_speed(waveform: NDArray[np.float32], sample_rate: int, speed: float) -> NDArray[np.float32]:
    """Return a waveform, (samples,), as it is heard where it is played faster or slower, pitch and all."""
    return waveform if speed == 1 else resample(waveform, sample_rate, round(sample_rate / speed))


class SegmentDataset(Dataset[tuple[Tensor, Tensor]], ABC):
    """An endless stream of pieces of sound: every position of it always holds the same one, varied in the same way.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    augmentation : Augmentation
    seed : int
    """

    margin: int | None = None
    """Where pieces are not of sound, but steps of a layer: so many at either end are what surrounds the piece."""

    def __init__(self, sample_rate: int, augmentation: Augmentation, seed: int) -> None:
        self.sample_rate = sample_rate
        self.augmentation = augmentation
        self.seed = seed

    @abstractmethod
    def __len__(self) -> int:
        """Pieces of one pass; positions go on behind it."""

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        """Return a piece (1, samples) float32, and how much it is of each class, (classes,) float32."""
        rng = np.random.default_rng((self.seed, position, 1))
        number = self.number_at(position, rng)
        waveform, shares = self.cut(number, rng)
        if self.augmentation:
            waveform, rows = self.augmentation(
                (waveform, {CLASSES: shares[None]}), lambda: self._another(rng), self.sample_rate, rng
            )
            shares = rows[CLASSES][0]
        return torch.from_numpy(self.scaled(number, waveform))[None], torch.from_numpy(shares)

    @abstractmethod
    def number_at(self, position: int, rng: np.random.Generator) -> int:
        """Return the number of the sound, or of the piece, at a position."""

    @abstractmethod
    def any_number(self, rng: np.random.Generator) -> int:
        """Return the number of any other one."""

    @abstractmethod
    def cut(self, number: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Cut a piece (samples,) in ±1, and say how much it is of each class, (classes,)."""

    def scaled(self, number: int, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring a piece, after it was varied, to the scale that the network expects."""
        return waveform

    def _another(self, rng: np.random.Generator) -> Example:
        waveform, shares = self.cut(self.any_number(rng), rng)
        return waveform, {CLASSES: shares[None]}


class SlidingDataset(SegmentDataset):
    """All pieces of every sound: whole ones, one after the other, and one of a sound that is too short for that.

    Parameters
    ----------
    sounds : LabelledSounds
    hop : int, optional
        Samples from one piece to the next; if not given, a sound has one piece, which begins at its start.
    augmentation : Augmentation
        With `shift`, a piece begins anywhere in its sound.
    seed : int, optional
        Shuffles the pieces anew at each pass; if not given, they stay in order.
    repeat : bool
        Repeat a sound that is too short, and one that a shifted piece comes to the end of; else zeros follow.
    speeds : sequence of float
        A sound that is repeated is heard at one of them, drawn each time.
    """

    def __init__(
        self,
        sounds: LabelledSounds,
        hop: int | None,
        augmentation: Augmentation = UNCHANGED,
        seed: int | None = None,
        repeat: bool = False,
        speeds: Sequence[float] = (1.0,),
    ) -> None:
        super().__init__(sounds.sample_rate, augmentation, seed or 0)
        self.sounds = sounds.sounds
        self.targets = sounds.targets
        self.samples = sounds.samples
        self.repeat = repeat
        self.speeds = tuple(speeds)
        self._ordered = seed is None
        self._lengths = [len(sound) for sound in self.sounds]
        counts = [1 if hop is None else max(1, (length - self.samples) // hop + 1) for length in self._lengths]
        self.owners = np.repeat(np.arange(len(counts)), counts)
        """(pieces,) the sound that each piece is of."""
        starts = [np.arange(count) * (hop or 0) for count in counts]
        self._starts = np.concatenate(starts) if starts else np.empty(0, np.int64)
        self._scales = [_moments(sound) for sound in self.sounds] if sounds.standardise else None

    def __len__(self) -> int:
        return len(self.owners)

    def number_at(self, position: int, rng: np.random.Generator) -> int:
        """Return the piece at a position."""
        return position if self._ordered else item_at(position, len(self), self.seed)

    def any_number(self, rng: np.random.Generator) -> int:
        """Return any piece."""
        return int(rng.integers(len(self)))

    def cut(self, number: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Cut a piece."""
        owner = int(self.owners[number])
        sound, length, start = self.sounds[owner], self._lengths[owner], int(self._starts[number])
        if self.augmentation.shift:
            start = int(rng.integers(length if self.repeat else max(1, length - self.samples + 1)))
        if self.repeat:
            speed = self.speeds[0] if len(self.speeds) == 1 else self.speeds[int(rng.integers(len(self.speeds)))]
            samples = self.samples if speed == 1 else math.ceil(self.samples * speed) + 1
            piece = at_speed(crop(sound, start, samples), self.sample_rate, speed)
            return piece[: self.samples], self.targets[owner].copy()
        piece = sound.cut(start, self.samples)
        return np.pad(piece, (0, self.samples - len(piece))), self.targets[owner].copy()

    def scaled(self, number: int, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring a piece to the scale of its sound."""
        if self._scales is None:
            return waveform
        mean, deviation = self._scales[int(self.owners[number])]
        return ((waveform - mean) / deviation).astype(np.float32)


def _moments(sound: RawAudioFile) -> tuple[float, float]:
    waveform = sound.read()
    # A silent sound stays as it is.
    return float(waveform.mean(dtype=np.float64)), float(waveform.std(dtype=np.float64)) or 1.0


MAX_DRAWS = 10_000
"""After so many segments that are too soft the sound holds none that is loud enough."""


class LoudSegmentDataset(SegmentDataset):
    """Segments of one long vector for each class, brought to mean 0 and standard deviation 1; the classes take turns.

    A segment is drawn again until its maximum exceeds `min_peak`, on the scale of the vector.

    Parameters
    ----------
    sounds : LabelledSounds
        Those with the same targets are of one class, and lie behind each other in its vector.
    min_peak : float
    pieces : int
        What counts as a pass.
    augmentation : Augmentation
        Varies a segment before it is brought to the vector's scale.
    seed : int

    Raises
    ------
    SettingsError
        If a class has less sound than a segment, or no segment of it is loud enough.
    """

    def __init__(
        self,
        sounds: LabelledSounds,
        min_peak: float,
        pieces: int,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        super().__init__(sounds.sample_rate, augmentation, seed)
        self.samples = samples = sounds.samples
        self.min_peak = min_peak
        self.pieces = pieces
        self.rows, owners = np.unique(sounds.targets, axis=0, return_inverse=True)
        self.vectors = [
            np.concatenate([sounds.sounds[place].read() for place in np.flatnonzero(owners == row).tolist()])
            for row in range(len(self.rows))
        ]
        self._moments = [
            (float(vector.mean(dtype=np.float64)), float(vector.std(dtype=np.float64)) or 1.0)
            for vector in self.vectors
        ]
        for number in range(len(self.vectors)):
            if len(self.vectors[number]) < samples:
                raise SettingsError(
                    f"a class has {len(self.vectors[number])} samples of sound, less than a segment of {samples}; add "
                    "sounds, or set sampling.segments.seconds lower"
                )
            self._start(number, np.random.default_rng(seed))

    def __len__(self) -> int:
        return self.pieces

    def number_at(self, position: int, rng: np.random.Generator) -> int:
        """Return the class at a position."""
        return position % len(self.vectors)

    def any_number(self, rng: np.random.Generator) -> int:
        """Return any class."""
        return int(rng.integers(len(self.vectors)))

    def cut(self, number: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Cut a random segment of a class that is loud enough."""
        start = self._start(number, rng)
        return self.vectors[number][start : start + self.samples], self.rows[number].copy()

    def scaled(self, number: int, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring a segment to the scale of its class's vector."""
        mean, deviation = self._moments[number]
        return ((waveform - mean) / deviation).astype(np.float32)

    def _start(self, number: int, rng: np.random.Generator) -> int:
        vector, (mean, deviation) = self.vectors[number], self._moments[number]
        for _ in range(MAX_DRAWS):
            start = int(rng.integers(len(vector) - self.samples + 1))
            if (vector[start : start + self.samples].max() - mean) / deviation > self.min_peak:
                return start
        raise SettingsError(
            f"no segment of a class is louder than sampling.segments.least_peak ({self.min_peak:g}) after "
            f"{MAX_DRAWS} draws; set it lower"
        )


class Sampling(Protocol):
    """A way to draw pieces of sounds."""

    whole_epochs: ClassVar[bool]
    """Every pass begins with a batch of its own; else batches run on into the next pass."""

    @property
    def speeds(self) -> tuple[float, ...]:
        """At which speeds sounds are heard."""

    def samples(self, sample_rate: int, least: int) -> int:
        """Return the length of a piece; `least` is what the network's preprocessing says."""

    def training(
        self, sounds: LabelledSounds, augmentation: Augmentation, seed: int, batch_size: int
    ) -> SegmentDataset:
        """Return an endless stream of pieces to learn from."""

    def validation(self, sounds: LabelledSounds, seed: int, batch_size: int) -> SegmentDataset:
        """Return the pieces to measure by, the same after each epoch."""

    def test(self, sounds: LabelledSounds) -> SlidingDataset | None:
        """Return the pieces that sounds are tested by, in order; None where each is tested as a whole."""


@dataclass(frozen=True)
class Pieces:
    """Pieces of each sound, one after the other, in another order at each pass.

    Attributes
    ----------
    seconds : float, optional
        Length of a piece; as much as the network hears at least, if not given.
    hop_seconds : float, optional
        From one piece to the next; their length, if not given.
    fill : {"zeros", "repeat"}
        What follows a sound that is shorter than a piece. With repeat, training pieces that begin anywhere
        (training.augmentation.shift) go on at the sound's start.
    """

    seconds: float | None = None
    hop_seconds: float | None = None
    fill: Literal["zeros", "repeat"] = "zeros"

    whole_epochs: ClassVar[bool] = True
    speeds: ClassVar[tuple[float, ...]] = (1.0,)

    def __post_init__(self) -> None:
        for name in ("seconds", "hop_seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise SettingsError(f"sampling.pieces.{name} is {value}; it has to be above 0")

    def samples(self, sample_rate: int, least: int) -> int:
        """Return the length of a piece."""
        return least if self.seconds is None else round(self.seconds * sample_rate)

    def training(
        self, sounds: LabelledSounds, augmentation: Augmentation, seed: int, batch_size: int
    ) -> SegmentDataset:
        """Return all pieces, shuffled anew at each pass."""
        return self._pieces(sounds, augmentation, seed)

    def validation(self, sounds: LabelledSounds, seed: int, batch_size: int) -> SegmentDataset:
        """Return all pieces, in order."""
        return self.test(sounds)

    def test(self, sounds: LabelledSounds) -> SlidingDataset:
        """Return all pieces, in order."""
        return self._pieces(sounds, UNCHANGED, None)

    def _pieces(self, sounds: LabelledSounds, augmentation: Augmentation, seed: int | None) -> SlidingDataset:
        hop = sounds.samples if self.hop_seconds is None else round(self.hop_seconds * sounds.sample_rate)
        return SlidingDataset(sounds, hop, augmentation, seed, repeat=self.fill == "repeat")


@dataclass(frozen=True)
class Segments:
    """Random segments of one long sound for each class, brought to mean 0 and standard deviation 1; classes take turns.

    Attributes
    ----------
    seconds : float
        Length of a segment.
    least_peak : float
        A segment is drawn again unless its maximum exceeds this.
    steps_per_epoch : int
        Training steps of an epoch.
    validation_steps : int
        Batches of segments of the validation sounds, after each epoch.
    """

    seconds: float = 1.0
    least_peak: float = 0.4
    steps_per_epoch: int = 75
    validation_steps: int = 50

    whole_epochs: ClassVar[bool] = True
    speeds: ClassVar[tuple[float, ...]] = (1.0,)

    def __post_init__(self) -> None:
        for name in ("seconds", "steps_per_epoch", "validation_steps"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"sampling.segments.{name} is {getattr(self, name)}; it has to be above 0")

    def samples(self, sample_rate: int, least: int) -> int:
        """Return the length of a segment."""
        return round(self.seconds * sample_rate)

    def training(
        self, sounds: LabelledSounds, augmentation: Augmentation, seed: int, batch_size: int
    ) -> SegmentDataset:
        """Return random segments."""
        return LoudSegmentDataset(sounds, self.least_peak, self.steps_per_epoch * batch_size, augmentation, seed)

    def validation(self, sounds: LabelledSounds, seed: int, batch_size: int) -> SegmentDataset:
        """Return random segments of the validation sounds."""
        return LoudSegmentDataset(sounds, self.least_peak, self.validation_steps * batch_size, UNCHANGED, seed)

    def test(self, sounds: LabelledSounds) -> SlidingDataset:
        """Return the whole segments of each sound, one after the other."""
        return SlidingDataset(sounds, sounds.samples)


@dataclass(frozen=True)
class Crops:
    """A piece of every sound at each pass, sounds that are too short repeated; whole sounds are tested.

    Attributes
    ----------
    seconds : float
        Length of a piece.
    speeds : tuple of float
        A piece is heard at one of them, drawn each time.
    """

    seconds: float
    speeds: tuple[float, ...] = (1.0,)

    whole_epochs: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise SettingsError(f"crop_seconds is {self.seconds}; it has to be above 0")

    def samples(self, sample_rate: int, least: int) -> int:
        """Return the length of a piece."""
        return round(self.seconds * sample_rate)

    def training(
        self, sounds: LabelledSounds, augmentation: Augmentation, seed: int, batch_size: int
    ) -> SegmentDataset:
        """Return a piece of each sound, shuffled anew at each pass."""
        return SlidingDataset(sounds, None, augmentation, seed, repeat=True, speeds=self.speeds)

    def validation(self, sounds: LabelledSounds, seed: int, batch_size: int) -> SegmentDataset:
        """Return all pieces of each sound, one after the other."""
        return SlidingDataset(sounds, sounds.samples, repeat=True)

    def test(self, sounds: LabelledSounds) -> None:
        """Return nothing: sounds are tested as a whole."""


SAMPLINGS: Mapping[str, type[Sampling]] = {"pieces": Pieces, "segments": Segments}
"""Those that a recipe can name."""
