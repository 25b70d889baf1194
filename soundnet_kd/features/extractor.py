"""Layers of a network for batches of sounds, or for one long sound, step by step or pooled over time."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from soundnet_kd.features.pooling import PoolingOrNone, poolings_of
from soundnet_kd.features.reading import Sound
from soundnet_kd.features.streaming import stream_layers
from soundnet_kd.inference.pool import Pool
from soundnet_kd.inference.prepared import Engine, PreparedNetwork
from soundnet_kd.media import RawAudioFile
from soundnet_kd.models import Network
from soundnet_kd.models.device import full_precision, keep_freed_memory
from soundnet_kd.models.finetuned import FinetunedNetwork

SAMPLES_AT_ONCE = 60 * 22_050
"""The longest sound that goes through the network as a whole; conv1 of it takes 42 MB."""
SEGMENT_SAMPLES = 30 * 22_050
"""Length of the segments of a longer one."""


class FeatureExtractor:
    """A network that gives the layers that are asked for.

    Layers that have rows over frequency give the means of these. A network from scratch for sounds of an exact length
    takes longer ones in segments of that length, one after the other, as far as there are whole ones, and any other one
    from scratch in segments of a minute; these segments are pooled together.

    Parameters
    ----------
    network : Network
        In evaluation mode, on the device where it shall run; what it learns later is not heard.
    layers : sequence of str
    pooling : {"mean", "max", "std", "none"}, or several but none
    sequences : bool
        Whole sequences are asked for by `stream` too.
    engine : Engine, optional
        What runs the network. [default: PyTorch in 32 bit]
    sounds : int
        About how many it is to hear.

    Attributes
    ----------
    poolings : tuple of str
        Empty where `pooling` is none.
    prepared : PreparedNetwork
    """

    def __init__(
        self,
        network: Network,
        layers: Sequence[str],
        pooling: PoolingOrNone | Sequence[PoolingOrNone],
        sequences: bool = False,
        engine: Engine | None = None,
        sounds: int = 1,
    ) -> None:
        self.network = network
        self._settings = (tuple(layers), pooling, sequences, engine, sounds)
        self.layers = tuple(layers)
        self.poolings = poolings_of(pooling)
        self.prepared = PreparedNetwork(network, layers, () if sequences else self.poolings, engine, sounds)
        self.longest = max(SAMPLES_AT_ONCE, network.preprocessing.least_samples)
        keep_freed_memory()

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what it is made of, since a network has to be made ready again where it is to run."""
        return FeatureExtractor, (self.network, *self._settings)

    def on(self, device: torch.device) -> "FeatureExtractor":
        """Return this on a device."""
        if device == self.prepared.device:
            return self
        return FeatureExtractor(self.network.to(device), *self._settings)

    def extract(self, sounds: Sequence[Sound]) -> dict[str, NDArray[np.float32]]:
        """Return the layers of sounds of one length, (sounds, channels) each, pooled over time in the first way.

        Parameters
        ----------
        sounds : sequence of Sound
            Known to be in full scale. Only one, if it is longer than `longest`.

        Raises
        ------
        TooShortError
            If the sounds have too few samples for a layer.
        """
        return {layer: several[0] for layer, several in self.pooled(sounds).items()}

    def pooled(self, sounds: Sequence[Sound]) -> dict[str, list[NDArray[np.float32]]]:
        """Return the layers of sounds of one length, as `extract` takes them, pooled in every way that is asked for."""
        asked = self.network.preprocessing
        if self.prepared.folded is not None and asked.repeats and len(sounds[0]) <= self.longest:
            repeats = asked.repeats_of(len(sounds[0]))
            batch = torch.stack([asked.amplify(torch.from_numpy(_read(sound))) for sound in sounds])
            with full_precision():
                return self.prepared.pooled(batch[:, None], repeats)
        pools = self.new_pools()
        for layer, steps in self.stream(sounds):
            for pool in pools[layer]:
                pool.add(steps)
        return {layer: [pool.result() for pool in several] for layer, several in pools.items()}

    def new_pools(self) -> dict[str, tuple[Pool, ...]]:
        """Return what pools the steps of each layer, in every way that is asked for."""
        return {layer: tuple(Pool(pooling) for pooling in self.poolings) for layer in self.layers}

    @torch.inference_mode()
    def stream(self, sounds: Sequence[Sound]) -> Iterator[tuple[str, Tensor]]:
        """Return the layers of sounds of one length, a stretch of steps after the other.

        Parameters
        ----------
        sounds : sequence of Sound
            As in `extract`.

        Yields
        ------
        layer : str
        steps : (sounds, channels, steps) float32
            Those that follow the ones of this layer before.

        Raises
        ------
        TooShortError
            If the sounds have too few samples for a layer.
        """
        with full_precision():
            for outputs in self._outputs(sounds):
                yield from outputs.items()

    def _outputs(self, sounds: Sequence[Sound]) -> Iterator[dict[str, Tensor]]:
        asked = self.network.preprocessing
        if self.prepared.folded is None:
            length = asked.segment_samples(self.longest)
            segments_of = [_whole_segments(sound, length, asked.least_samples) for sound in sounds]
            for group in zip(*segments_of, strict=True):
                yield self.prepared(torch.stack([asked.prepare(segment) for segment in group]))
        elif len(sounds[0]) > self.longest:
            (sound,) = sounds
            segments = _segments(sound, SEGMENT_SAMPLES)
            device = self.prepared.device
            scaled = (asked.amplify(torch.from_numpy(segment).to(device))[None, None] for segment in segments)
            yield from stream_network(self.prepared, scaled)
        else:
            yield self.prepared(torch.stack([asked.prepare(_read(sound)) for sound in sounds]))


def stream_network(prepared: PreparedNetwork, segments: Iterable[Tensor]) -> Iterator[dict[str, Tensor]]:
    """Return layers for a sound of any length in bounded memory, as `stream_layers` those of a student.

    Parameters
    ----------
    prepared : PreparedNetwork
        With a trunk.
    segments : iterable of (batch, 1, samples) float32
        The sound, scaled by the network's preprocessing, in segments of any length.

    Yields
    ------
    dict from layer to (batch, channels, steps)
        The steps that a segment completes; at last the answer to the whole sound, of a head on pooled layers.
    """
    network, folded = prepared.network, prepared.folded
    assert folded is not None
    if network is network.trunk or network.output_layer not in prepared.layers:
        yield from stream_layers(folded, segments)
        return
    assert isinstance(network, FinetunedNetwork)
    pools = {layer: [Pool(pooling) for pooling in network.head_poolings] for layer in network.head_layers}
    for answers in stream_layers(folded, segments):
        for layer, several in pools.items():
            for pool in several:
                pool.add(answers[layer])
        yield {layer: answers[layer] for layer in prepared.layers if layer in answers}
    of_head = [torch.from_numpy(pool.result()) for layer in network.head_layers for pool in pools[layer]]
    yield {
        network.output_layer: network.answer([each.to(prepared.device, prepared.dtype) for each in of_head])[:, :, None]
    }


def _read(sound: Sound) -> NDArray[np.float32]:
    return sound.read() if isinstance(sound, RawAudioFile) else sound


def _segments(sound: Sound, samples: int) -> Iterator[NDArray[np.float32]]:
    if isinstance(sound, RawAudioFile):
        return sound.blocks(samples)
    return (sound[start : start + samples] for start in range(0, len(sound), samples))


def _whole_segments(sound: Sound, samples: int, min_samples: int) -> Iterator[NDArray[np.float32]]:
    """Return the first segment, however short, and the others that have at least `min_samples`."""
    for place, segment in enumerate(_segments(sound, samples)):
        if place == 0 or len(segment) >= min_samples:
            yield segment
