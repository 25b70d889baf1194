"""A student listening: layers of batches of sounds, or of one long sound, pooled over time and kept."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from soundnet_kd.features.parts import Part
from soundnet_kd.features.pooling import Pool, Pooling
from soundnet_kd.features.reading import PIECE_SECONDS, Reading
from soundnet_kd.features.streaming import stream_layers
from soundnet_kd.models import SoundNet

HEARD_AT_ONCE = 60 * 22_050
"""The longest sound that goes through the network as a whole; conv1 of it takes 42 MB."""


class Listener:
    """A student that gives what is wanted of its layers.

    Parameters
    ----------
    student : SoundNet
        In evaluation mode, on the device where it shall run.
    reading : Reading
        How sounds are read that are too long to be held in memory.
    layers : sequence of str
    pooling : {"mean", "max", "std", "none"}
    sequences : bool
        Whether whole sequences are kept.
    """

    def __init__(
        self, student: SoundNet, reading: Reading, layers: Sequence[str], pooling: Pooling, sequences: bool
    ) -> None:
        self.student = student
        self.reading = reading
        self.layers = tuple(layers)
        self.pooling = pooling
        self.sequences = sequences
        self.longest = max(HEARD_AT_ONCE, student.preprocessing.least_samples)

    @property
    def pooled(self) -> tuple[str, ...]:
        """Names of the layers that are pooled."""
        return () if self.pooling == "none" else self.layers

    @torch.inference_mode()
    def hear(
        self, sounds: Sequence[NDArray[np.float32] | None], path: Path, numbers: Sequence[int], part: Part
    ) -> dict[str, NDArray[np.float32]]:
        """Listen to sounds of one length, or to a single one of any length.

        Parameters
        ----------
        sounds : sequence of (samples,) float32 in ±1
            None is one that is too long to be held; it has to be the only one.
        path : Path
            Where the first of them lies.
        numbers : sequence of int
            Of the sounds in their part.
        part : Part
            Takes the sequences, where they are kept.

        Returns
        -------
        dict from layer to (sounds, channels) float32, for the layers of `pooled`.

        Raises
        ------
        MediaError
            If a sound that is not held cannot be read.
        """
        pools = {layer: Pool(self.pooling) for layer in self.pooled}
        for answers in self._answers(sounds, path):
            for layer, steps in answers.items():
                if layer in pools:
                    pools[layer].add(steps)
                if self.sequences:
                    for number, sequence in zip(numbers, steps.transpose(1, 2).cpu().numpy(), strict=True):
                        part.extend(number, layer, sequence)
        return {layer: pool.result() for layer, pool in pools.items()}

    def _answers(self, sounds: Sequence[NDArray[np.float32] | None], path: Path) -> Iterator[dict[str, Tensor]]:
        device = next(self.student.parameters()).device
        first = sounds[0]
        if first is None:
            yield from self._piecewise(self.reading.pieces(path), device)
        elif len(first) > self.longest:
            samples = round(PIECE_SECONDS * self.student.preprocessing.sample_rate)
            yield from self._piecewise(
                (first[start : start + samples] for start in range(0, len(first), samples)), device
            )
        else:
            preprocessed = [self.student.preprocessing(sound) for sound in sounds if sound is not None]
            yield self.student(torch.stack(preprocessed).to(device), self.layers)

    def _piecewise(self, pieces: Iterator[NDArray[np.float32]], device: torch.device) -> Iterator[dict[str, Tensor]]:
        scale = self.student.preprocessing.scale
        scaled = (scale(torch.from_numpy(piece).to(device))[None, None] for piece in pieces)
        return stream_layers(self.student, scaled, self.layers)
