"""What every door to another suite shares: a layer of a network, for waveforms of any rate, channels and length."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from soundnet_kd.errors import EmptyAudioError, SettingsError
from soundnet_kd.features.extractor import FeatureExtractor
from soundnet_kd.features.reading import Sound, batches_of_equal_length
from soundnet_kd.features.streaming import stream_layers
from soundnet_kd.inference.prepared import PreparedNetwork
from soundnet_kd.media.full_scale import as_float, to_array
from soundnet_kd.media.resampling import resample
from soundnet_kd.models import Network, choose_device
from soundnet_kd.models.device import full_precision
from soundnet_kd.pretrained import load_network
from soundnet_kd.pretrained.students import student_names

Features = Literal["mean", "sqrt"]
"""Averages over time, or their square roots, with the sign of the average."""

MAX_MILLISECONDS = 50.0
"""HEAR's tolerance for when an event begins; timestamps further apart could not meet it."""
SAMPLES_AT_ONCE = 8 * 20 * 22_050
"""Samples of all sounds of a batch together; conv1's output for them takes 113 MB."""

Values = TypeVar("Values", NDArray[np.float32], Tensor)


class Listener:
    """A network that describes sounds by one layer, averaged over time.

    Parameters
    ----------
    student : str, Path or Network
        As `load_network` takes it.
    layer : str, optional
        [default: the one that `scene_layer` gives, pool5 of SoundNet8]
    features : {"mean", "sqrt"}
        sqrt takes the square root of the averages, which are heavy-tailed: on ESC-50 it is worth 2 to 4 points under
        plain classifiers. The default is mean, as others report their networks.
    device : str
        auto, cpu, cuda, cuda:1, mps.
    batch_size : int
        Sounds of one length that are computed together.

    Attributes
    ----------
    network : Network
    layer : str
    features : {"mean", "sqrt"}
    sample_rate : int
        In Hz.
    size : int
        Numbers for each sound.
    name : str
        The student, the layer, and what is taken of it, such as soundnet8-pool5-sqrt.
    fingerprint : str
        SHA-256 of all that decides what is answered: the network with its preprocessing, the layer and the features.

    Raises
    ------
    SettingsError
        If there is no such network, layer or kind of features.
    """

    def __init__(
        self,
        student: str | Path | Network = "soundnet8",
        layer: str | None = None,
        features: Features = "mean",
        device: str = "auto",
        batch_size: int = 8,
    ) -> None:
        check_features(features)
        self.network = load_network(student).to(choose_device(device))
        self.layer = layer or scene_layer(self.network)
        self.features = features
        self.sample_rate = self.network.preprocessing.sample_rate
        self.size = self.network.channels(self.layer)
        known = isinstance(student, str) and student in student_names()
        self.student = str(student) if known else self.network.architecture
        self.name = f"{self.student}-{self.layer}-{features}"
        self.fingerprint = fingerprint_of(self.network, self.layer, features)
        self._batch_size = batch_size
        self._extractor = FeatureExtractor(self.network, [self.layer], "mean")

    def waveform(self, audio: Any, sample_rate: float) -> NDArray[np.float32]:
        """Bring a sound to what the network hears.

        Parameters
        ----------
        audio : (samples,) or (channels, samples)
            An array, a list or a tensor: float in ±1, int16, int8 or uint8.
        sample_rate : float
            In Hz, a whole number.

        Returns
        -------
        (samples,) float32 in ±1, at the network's rate, of the channel (or the mean of all) that it asks for.

        Raises
        ------
        MediaError
            If there are no samples, or one is NaN or infinite.
        SettingsError
            If the full scale or the rate is not known, or the axes are in the other order.
        """
        array = to_array(audio)
        if array.ndim not in (1, 2):
            raise SettingsError(f"a sound has shape {array.shape}; give (samples,) or (channels, samples)")
        if array.ndim == 2 and array.shape[0] > array.shape[1] > 0:
            raise SettingsError(
                f"a sound has {array.shape[0]} channels of {array.shape[1]} samples; transpose it: channels come first"
            )
        if not array.size:
            raise EmptyAudioError("a sound has no samples; leave it out")
        if not (float(sample_rate).is_integer() and sample_rate > 0):
            raise SettingsError(f"a sound's rate is {sample_rate} Hz; give a whole number above 0")
        asked = self.network.preprocessing
        channels = [as_float(each, asked.keeps_level) for each in np.atleast_2d(array)]
        mono = np.asarray(np.mean(channels, axis=0, dtype=np.float32)) if asked.channel == "mean" else channels[0]
        return resample(mono, int(sample_rate), self.sample_rate)

    def embed(self, sounds: Iterable[Sound]) -> NDArray[np.float32]:
        """Describe sounds.

        Parameters
        ----------
        sounds : iterable of (samples,) float32
            As `waveform` gives them.

        Returns
        -------
        (sounds, size) float32

        Raises
        ------
        TooShortError
            If a sound has too few samples for the layer, also once it is repeated as the network asks for.
        """
        return as_features(average_layer(self._extractor, self.layer, sounds, self._batch_size), self.features)


def check_features(features: str) -> None:
    """Check what is to be taken of a layer.

    Raises
    ------
    SettingsError
        If it is neither mean nor sqrt.
    """
    if features not in get_args(Features):
        raise SettingsError(f"features is {features!r}; choose one of {', '.join(get_args(Features))}")


def as_features(averages: Values, features: Features) -> Values:
    """Return averages over time as they are asked for.

    Parameters
    ----------
    averages : (sounds, channels) float32
    features : {"mean", "sqrt"}
    """
    if features == "mean":
        return averages
    if isinstance(averages, Tensor):
        return averages.sign() * averages.abs().sqrt()
    return np.asarray(np.sign(averages) * np.sqrt(np.abs(averages)))


def fingerprint_of(network: Network, layer: str, features: str) -> str:
    """Return the sha256 of all that decides what is given of a network's layer."""
    decisive = {**network.identity, "layer": layer, "features": features}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def average_layer(
    extractor: FeatureExtractor, layer: str, sounds: Iterable[Sound], batch_size: int
) -> NDArray[np.float32]:
    """Return a layer of sounds of several lengths, pooled over time, in their order.

    Parameters
    ----------
    extractor : FeatureExtractor
        Asked for the layer.
    layer : str
    sounds : iterable of Sound
        Known to be in full scale.
    batch_size : int
        Sounds of one length that are computed together.

    Returns
    -------
    (sounds, channels) float32
    """
    rows: dict[int, NDArray[np.float32]] = {}
    for batch in batches_of_equal_length(enumerate(sounds), batch_size, extractor.longest):
        rows |= dict(zip(batch, extractor.extract(list(batch.values()))[layer], strict=True))
    if not rows:
        return np.zeros((0, extractor.network.channels(layer)), np.float32)
    return np.stack([rows[number] for number in range(len(rows))])


def scene_layer(network: Network) -> str:
    """Return the layer that describes a whole sound.

    It is the last one of a student that is pooled (pool5 of SoundNet8), of any other network the one before its answer.
    """
    pools = [layer for layer in network.layers if layer.startswith("pool")] if network.trunk is network else []
    return pools[-1] if pools else network.layers[-2]


def timestamp_layer(network: Network) -> str | None:
    """Return the deepest layer whose steps are close enough, if a sound of any length has them at even distances."""
    asked = network.preprocessing
    if asked.segment_samples(2 * asked.least_samples) == asked.least_samples:
        return None
    found = None
    for layer in network.layers:
        field = network.receptive_field(layer)
        if field is not None and field.stride <= MAX_MILLISECONDS * asked.sample_rate / 1000:
            found = layer
    return found


@torch.no_grad()
def layer_steps(network: Network, scaled: Tensor, layer: str) -> Tensor:
    """Return a layer's steps of sounds of any length, of a student in segments that fit into memory together.

    Parameters
    ----------
    network : Network
    scaled : (sounds, 1, samples) float32
        As the network's preprocessing gives it.
    layer : str

    Returns
    -------
    (sounds, channels, steps) float32, on the network's device; a sound too short for the layer has no step.
    """
    # Whoever holds the network may have gone on with its training, or moved it.
    prepared = PreparedNetwork(network, [layer])
    with full_precision():
        if prepared.folded is None:
            return prepared(scaled)[layer]
        segment_samples = max(1, SAMPLES_AT_ONCE // len(scaled))
        segments = (segment.to(prepared.device) for segment in torch.split(scaled, segment_samples, dim=-1))
        return torch.cat([answers[layer] for answers in stream_layers(prepared.folded, segments)], dim=-1)
