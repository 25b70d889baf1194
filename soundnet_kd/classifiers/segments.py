"""Random segments of one long sound for each class."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.classifiers.crops import VariedStream
from soundnet_kd.distill.augmentation import Augmentation
from soundnet_kd.errors import SettingsError
from soundnet_kd.media import StoredSound

MOST_DRAWS = 10_000
"""After so many segments that are too soft the sound holds none that is loud enough."""


class SegmentStream(VariedStream):
    """Segments of one long vector for each class, brought to mean 0 and standard deviation 1; the classes take turns.

    A segment is drawn again until its maximum exceeds `least_peak`, on the scale of the vector.

    Parameters
    ----------
    sounds : sequence of StoredSound
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
        sounds: Sequence[StoredSound],
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
        """Give the class at a position."""
        return position % len(self.vectors)

    def any_number(self, rng: np.random.Generator) -> int:
        """Give any class."""
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
        for _ in range(MOST_DRAWS):
            start = int(rng.integers(len(vector) - self.samples + 1))
            if (vector[start : start + self.samples].max() - mean) / deviation > self.least_peak:
                return start
        raise SettingsError(
            f"no segment of a class is louder than sampling.segments.least_peak ({self.least_peak:g}) after "
            f"{MOST_DRAWS} draws; set it lower"
        )
