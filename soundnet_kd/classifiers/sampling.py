"""How a network is given pieces of sounds: one after the other, or at random out of one long sound for each class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.classifiers.crops import PieceStream, VariedStream
from soundnet_kd.classifiers.segments import SegmentStream
from soundnet_kd.distill.augmentation import UNCHANGED, Augmentation
from soundnet_kd.errors import SettingsError
from soundnet_kd.media import StoredSound


@dataclass(frozen=True, eq=False)
class HeardSounds:
    """Sounds with what they are, in the terms of one network.

    Attributes
    ----------
    sounds : sequence of StoredSound
    targets : (sounds, outputs) float32
        How much each is of each class.
    sample_rate : int
        In Hz.
    samples : int
        Length of what the network hears at once.
    standardise : bool
        Whether sounds are brought to mean 0 and standard deviation 1.
    """

    sounds: Sequence[StoredSound]
    targets: NDArray[np.float32]
    sample_rate: int
    samples: int
    standardise: bool


class Sampling(Protocol):
    """A way to draw pieces of sounds."""

    def training(self, heard: HeardSounds, augmentation: Augmentation, seed: int) -> VariedStream:
        """Give an endless stream of pieces to learn from."""

    def validation(self, heard: HeardSounds, seed: int, batch_size: int) -> tuple[VariedStream, int]:
        """Give a stream of pieces to measure by, and how many of it."""

    def epoch_pieces(self, stream: VariedStream, batch_size: int) -> int:
        """Give how many pieces make an epoch."""

    def samples(self, sample_rate: int, least: int) -> int:
        """Give the length of a piece; `least` is what the network's preprocessing says."""

    def whole(self, heard: HeardSounds) -> PieceStream:
        """Give the pieces that sounds are tested by, in order."""


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

    def training(self, heard: HeardSounds, augmentation: Augmentation, seed: int) -> VariedStream:
        """Give all pieces, shuffled anew at each pass."""
        return self._stream(heard, augmentation, seed)

    def validation(self, heard: HeardSounds, seed: int, batch_size: int) -> tuple[VariedStream, int]:
        """Give all pieces, once."""
        stream = self.whole(heard)
        return stream, len(stream)

    def epoch_pieces(self, stream: VariedStream, batch_size: int) -> int:
        """Give the number of pieces of a pass."""
        assert isinstance(stream, PieceStream)
        return len(stream)

    def samples(self, sample_rate: int, least: int) -> int:
        """Give the length of a piece."""
        return least if self.seconds is None else round(self.seconds * sample_rate)

    def whole(self, heard: HeardSounds) -> PieceStream:
        """Give all pieces, in order."""
        return self._stream(heard, UNCHANGED, None)

    def _stream(self, heard: HeardSounds, augmentation: Augmentation, seed: int | None) -> PieceStream:
        hop = heard.samples if self.hop_seconds is None else round(self.hop_seconds * heard.sample_rate)
        return PieceStream(
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

    def training(self, heard: HeardSounds, augmentation: Augmentation, seed: int) -> VariedStream:
        """Give random segments."""
        return SegmentStream(
            heard.sounds, heard.targets, heard.samples, self.least_peak, heard.sample_rate, augmentation, seed
        )

    def validation(self, heard: HeardSounds, seed: int, batch_size: int) -> tuple[VariedStream, int]:
        """Give random segments of the validation sounds, the same after each epoch."""
        return self.training(heard, UNCHANGED, seed), self.validation_steps * batch_size

    def epoch_pieces(self, stream: VariedStream, batch_size: int) -> int:
        """Give the number of segments of an epoch."""
        return self.steps_per_epoch * batch_size

    def samples(self, sample_rate: int, least: int) -> int:
        """Give the length of a segment."""
        return round(self.seconds * sample_rate)

    def whole(self, heard: HeardSounds) -> PieceStream:
        """Give the whole segments of each sound, one after the other."""
        return PieceStream(
            heard.sounds, heard.targets, heard.samples, heard.samples, heard.sample_rate, UNCHANGED, None,
            repeat=False, standardise=heard.standardise,
        )  # fmt: skip


SAMPLINGS: Mapping[str, type[Sampling]] = {"pieces": Pieces, "segments": Segments}
