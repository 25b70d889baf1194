"""A network listening: layers of batches of sounds, or of one long sound, pooled over time and kept."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from soundnet_kd.features.pooling import Pool, Pooling
from soundnet_kd.features.reading import Sound
from soundnet_kd.features.streaming import stream_layers
from soundnet_kd.media import RawAudioFile
from soundnet_kd.models import SoundNet
from soundnet_kd.models.classifiers import SoundClassifier
from soundnet_kd.models.device import keep_freed_memory

SAMPLES_AT_ONCE = 60 * 22_050
"""The longest sound that goes through the network as a whole; conv1 of it takes 42 MB."""
PIECE_SAMPLES = 30 * 22_050
"""Length of the pieces of a longer one."""

Keep = Callable[[int, str, NDArray[np.float32]], None]
"""Takes the next steps of a sound: its place in the batch, the layer, (steps, channels)."""


class FeatureExtractor:
    """A network that gives what is wanted of its layers.

    Layers that have rows over frequency give the means of these. A network for sounds of an exact length hears longer
    ones in pieces of that length, one after the other, as far as there are whole ones, and any other one for labelled
    sounds in pieces of a minute; these pieces are pooled together.

    Parameters
    ----------
    student : SoundNet or SoundClassifier
        In evaluation mode, on the device where it shall run.
    layers : sequence of str
    pooling : {"mean", "max", "std", "none"}
    """

    def __init__(self, student: SoundNet | SoundClassifier, layers: Sequence[str], pooling: Pooling) -> None:
        self.student = student
        self.layers = tuple(layers)
        self.pooling = pooling
        self.longest = max(SAMPLES_AT_ONCE, student.preprocessing.least_samples)
        keep_freed_memory()

    @torch.inference_mode()
    def extract(self, sounds: Sequence[Sound], keep: Keep | None = None) -> dict[str, NDArray[np.float32]]:
        """Listen to sounds of one length.

        Parameters
        ----------
        sounds : sequence of Sound
            Known to be in full scale. Only one, if it is longer than `longest`.
        keep : callable, optional
            Takes the steps themselves.

        Returns
        -------
        dict from layer to (sounds, channels) float32; empty where `pooling` is none.

        Raises
        ------
        TooShortError
            If the sounds have too few samples for a layer.
        """
        pools = {layer: Pool(self.pooling) for layer in self.layers if self.pooling != "none"}
        # With TensorFloat-32, which PyTorch's convolutions use on GPUs, a sound in pieces would differ from it at once.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            for answers in self._answers(sounds):
                for layer, steps in answers.items():
                    if layer in pools:
                        pools[layer].add(steps)
                    if keep is not None:
                        for place, sequence in enumerate(steps.transpose(1, 2).cpu().numpy()):
                            keep(place, layer, sequence)
        return {layer: pool.result() for layer, pool in pools.items()}

    def _answers(self, sounds: Sequence[Sound]) -> Iterator[dict[str, Tensor]]:
        device = next(self.student.parameters()).device
        preprocessing = self.student.preprocessing
        if isinstance(self.student, SoundClassifier):
            asked = self.student.preprocessing
            length = asked.least_samples if asked.exact else self.longest
            for pieces in zip(*(_whole_pieces(sound, length, asked.least_samples) for sound in sounds), strict=True):
                batch = torch.stack([asked.prepare(piece) for piece in pieces])
                answers: dict[str, Tensor] = self.student(batch.to(device), self.layers)
                yield {layer: steps.mean(dim=2) if steps.ndim == 4 else steps for layer, steps in answers.items()}
        elif len(sounds[0]) > self.longest:
            (sound,) = sounds
            pieces_of_it = _pieces(sound, PIECE_SAMPLES)
            scaled = (preprocessing.amplify(torch.from_numpy(piece).to(device))[None, None] for piece in pieces_of_it)
            yield from stream_layers(self.student, scaled, self.layers)
        else:
            waveforms = [sound.read() if isinstance(sound, RawAudioFile) else sound for sound in sounds]
            batch = torch.stack([preprocessing.prepare(waveform) for waveform in waveforms])
            yield self.student(batch.to(device), self.layers)


def _pieces(sound: Sound, samples: int) -> Iterator[NDArray[np.float32]]:
    if isinstance(sound, RawAudioFile):
        return sound.pieces(samples)
    return (sound[start : start + samples] for start in range(0, len(sound), samples))


def _whole_pieces(sound: Sound, samples: int, least: int) -> Iterator[NDArray[np.float32]]:
    """Return the first piece, however short it is, and those of the others that are not shorter than `least`."""
    for place, piece in enumerate(_pieces(sound, samples)):
        if place == 0 or len(piece) >= least:
            yield piece
