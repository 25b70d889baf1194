"""Streams of sound for a classifier that learns: pieces of one length, varied and mixed, in an order of the seed's."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from soundnet_kd.errors import SettingsError
from soundnet_kd.media import RawAudioFile
from soundnet_kd.training.augmentation import UNCHANGED, Augmentation, Example
from soundnet_kd.training.streams import item_at

CLASSES = "classes"


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


class SegmentDataset(Dataset[tuple[Tensor, Tensor]], ABC):
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
        """Return a piece (1, samples) float32, and how much it is of each class, (classes,) float32."""
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
        """Return the number of the sound, or of the piece, at a position."""

    @abstractmethod
    def any_number(self, rng: np.random.Generator) -> int:
        """Return the number of any other one."""

    @abstractmethod
    def cut(self, number: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Cut a piece (samples,) in ±1, and say how much it is of each class, (classes,)."""

    def finished(self, number: int, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """Do what is to be done to a piece after it was varied."""
        return waveform

    def _another(self, rng: np.random.Generator) -> Example:
        waveform, shares = self.cut(self.any_number(rng), rng)
        return waveform, {CLASSES: shares[None]}


class CropDataset(SegmentDataset):
    """A piece of every clip at each pass; a shorter clip is repeated.

    Parameters
    ----------
    sounds : sequence of RawAudioFile
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
        sounds: Sequence[RawAudioFile],
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
        """Return the clip at a position."""
        return item_at(position, len(self.sounds), self.seed)

    def any_number(self, rng: np.random.Generator) -> int:
        """Return any clip."""
        return int(rng.integers(len(self.sounds)))

    def cut(self, number: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Cut a piece of a clip."""
        sound = self.sounds[number]
        start = int(rng.integers(len(sound))) if self.augmentation.shift else 0
        share = np.zeros(self.classes, np.float32)
        share[self.labels[number]] = 1
        return crop(sound, start, self.samples), share


class SlidingDataset(SegmentDataset):
    """All pieces of every sound: whole ones, one after the other, and one of a sound that is too short for that.

    Parameters
    ----------
    sounds : sequence of RawAudioFile
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
        sounds: Sequence[RawAudioFile],
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
            return crop(sound, start, self.samples), self.targets[owner].copy()
        piece = sound.cut(start, self.samples)
        return np.pad(piece, (0, self.samples - len(piece))), self.targets[owner].copy()

    def finished(self, number: int, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
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

    A segment is drawn again until its maximum exceeds `least_peak`, on the scale of the vector.

    Parameters
    ----------
    sounds : sequence of RawAudioFile
    targets : (sounds, outputs) float32
        Sounds with the same row are of one class, and lie behind each other in its vector.
    samples : int
        Length of a segment.
    least_peak : float
    sample_rate : int
        In Hz.
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
        sounds: Sequence[RawAudioFile],
        targets: NDArray[np.float32],
        samples: int,
        least_peak: float,
        sample_rate: int,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        super().__init__(sample_rate, augmentation, seed)
        self.samples = samples
        self.least_peak = least_peak
        self.rows, owners = np.unique(targets, axis=0, return_inverse=True)
        self.vectors = [
            np.concatenate([sounds[place].read() for place in np.flatnonzero(owners == row).tolist()])
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

    def finished(self, number: int, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring a segment to the scale of its class's vector."""
        mean, deviation = self._moments[number]
        return ((waveform - mean) / deviation).astype(np.float32)

    def _start(self, number: int, rng: np.random.Generator) -> int:
        vector, (mean, deviation) = self.vectors[number], self._moments[number]
        for _ in range(MAX_DRAWS):
            start = int(rng.integers(len(vector) - self.samples + 1))
            if (vector[start : start + self.samples].max() - mean) / deviation > self.least_peak:
                return start
        raise SettingsError(
            f"no segment of a class is louder than sampling.segments.least_peak ({self.least_peak:g}) after "
            f"{MAX_DRAWS} draws; set it lower"
        )


@dataclass(frozen=True, eq=False)
class HeardSounds:
    """Sounds with what they are, in the terms of one network.

    Attributes
    ----------
    sounds : sequence of RawAudioFile
    targets : (sounds, outputs) float32
        How much each is of each class.
    sample_rate : int
        In Hz.
    samples : int
        Length of what the network hears at once.
    standardise : bool
        Whether sounds are brought to mean 0 and standard deviation 1.
    """

    sounds: Sequence[RawAudioFile]
    targets: NDArray[np.float32]
    sample_rate: int
    samples: int
    standardise: bool


class Sampling(Protocol):
    """A way to draw pieces of sounds."""

    def training(self, heard: HeardSounds, augmentation: Augmentation, seed: int) -> SegmentDataset:
        """Return an endless stream of pieces to learn from."""

    def validation(self, heard: HeardSounds, seed: int, batch_size: int) -> tuple[SegmentDataset, int]:
        """Return a stream of pieces to measure by, and how many of it."""

    def epoch_pieces(self, stream: SegmentDataset, batch_size: int) -> int:
        """Return how many pieces make an epoch."""

    def samples(self, sample_rate: int, least: int) -> int:
        """Return the length of a piece; `least` is what the network's preprocessing says."""

    def whole(self, heard: HeardSounds) -> SlidingDataset:
        """Return the pieces that sounds are tested by, in order."""


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

    def __post_init__(self) -> None:
        for name in ("seconds", "hop_seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise SettingsError(f"sampling.pieces.{name} is {value}; it has to be above 0")

    def training(self, heard: HeardSounds, augmentation: Augmentation, seed: int) -> SegmentDataset:
        """Return all pieces, shuffled anew at each pass."""
        return self._stream(heard, augmentation, seed)

    def validation(self, heard: HeardSounds, seed: int, batch_size: int) -> tuple[SegmentDataset, int]:
        """Return all pieces, once."""
        stream = self.whole(heard)
        return stream, len(stream)

    def epoch_pieces(self, stream: SegmentDataset, batch_size: int) -> int:
        """Return the number of pieces of a pass."""
        assert isinstance(stream, SlidingDataset)
        return len(stream)

    def samples(self, sample_rate: int, least: int) -> int:
        """Return the length of a piece."""
        return least if self.seconds is None else round(self.seconds * sample_rate)

    def whole(self, heard: HeardSounds) -> SlidingDataset:
        """Return all pieces, in order."""
        return self._stream(heard, UNCHANGED, None)

    def _stream(self, heard: HeardSounds, augmentation: Augmentation, seed: int | None) -> SlidingDataset:
        hop = heard.samples if self.hop_seconds is None else round(self.hop_seconds * heard.sample_rate)
        return SlidingDataset(
            heard.sounds, heard.targets, heard.samples, hop, heard.sample_rate, augmentation, seed,
            repeat=self.fill == "repeat", standardise=heard.standardise,
        )  # fmt: skip


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

    def __post_init__(self) -> None:
        for name in ("seconds", "steps_per_epoch", "validation_steps"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"sampling.segments.{name} is {getattr(self, name)}; it has to be above 0")

    def training(self, heard: HeardSounds, augmentation: Augmentation, seed: int) -> SegmentDataset:
        """Return random segments."""
        return LoudSegmentDataset(
            heard.sounds, heard.targets, heard.samples, self.least_peak, heard.sample_rate, augmentation, seed
        )

    def validation(self, heard: HeardSounds, seed: int, batch_size: int) -> tuple[SegmentDataset, int]:
        """Return random segments of the validation sounds, the same after each epoch."""
        return self.training(heard, UNCHANGED, seed), self.validation_steps * batch_size

    def epoch_pieces(self, stream: SegmentDataset, batch_size: int) -> int:
        """Return the number of segments of an epoch."""
        return self.steps_per_epoch * batch_size

    def samples(self, sample_rate: int, least: int) -> int:
        """Return the length of a segment."""
        return round(self.seconds * sample_rate)

    def whole(self, heard: HeardSounds) -> SlidingDataset:
        """Return the whole segments of each sound, one after the other."""
        return SlidingDataset(
            heard.sounds, heard.targets, heard.samples, heard.samples, heard.sample_rate, UNCHANGED, None,
            repeat=False, standardise=heard.standardise,
        )  # fmt: skip


SAMPLINGS: Mapping[str, type[Sampling]] = {"pieces": Pieces, "segments": Segments}
