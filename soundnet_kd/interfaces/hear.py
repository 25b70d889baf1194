"""The interface of the HEAR benchmark (Holistic Evaluation of Audio Representations, NeurIPS 2021 challenge).

A scene is the average over time of a layer: the last one of a student that is pooled (pool5 of SoundNet8), of any other
network the one before its answer. A timestamp is a step of the deepest layer whose steps are at most 50 ms apart, as
HEAR advises for the onsets of events and notes (conv4 of SoundNet8, every 46 ms). Of layers over frequency and time the
means over frequency are taken.
"""

from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from soundnet_kd.errors import EmptyAudioError, SettingsError, TooShortError
from soundnet_kd.features.extractor import FeatureExtractor
from soundnet_kd.interfaces.listening import (
    MAX_MILLISECONDS,
    Features,
    as_features,
    check_features,
    layer_steps,
    scene_layer,
    timestamp_layer,
)
from soundnet_kd.media.full_scale import as_float, to_array
from soundnet_kd.models import Network
from soundnet_kd.pretrained import load_network


class HearModel(nn.Module):
    """A network with what HEAR asks of a model.

    Parameters
    ----------
    network : Network
    features : {"mean", "sqrt"}
        Scenes are averages over time, or their square roots.
    scene : str, optional
        Layer that describes scenes. [default: as said above]

    Attributes
    ----------
    features : {"mean", "sqrt"}
    sample_rate : int
        In Hz.
    scene_embedding_size, timestamp_embedding_size : int
        The latter is 0 of a network that has no timestamps.
    scene_layer : str
    timestamp_layer : str or None
    """

    def __init__(self, network: Network, features: Features = "mean", scene: str | None = None) -> None:
        super().__init__()
        check_features(features)
        self.network = network.eval()
        self.features = features
        self.sample_rate = network.preprocessing.sample_rate
        self.scene_layer = scene or scene_layer(network)
        self.scene_embedding_size = network.channels(self.scene_layer)
        self.timestamp_layer = timestamp_layer(network)
        self.timestamp_embedding_size = network.channels(self.timestamp_layer) if self.timestamp_layer else 0


def load_model(model_file_path: str | Path = "", features: Features = "mean") -> HearModel:
    """Load a network.

    Parameters
    ----------
    model_file_path : str or Path
        The file of a student, a fine-tuned network or one from scratch, a run folder, or a name of published weights;
        empty is the released network.
    features : {"mean", "sqrt"}
        Scenes are averages over time, or their square roots.
    """
    return HearModel(load_network(model_file_path or "soundnet8"), features)


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """Describe whole sounds.

    Parameters
    ----------
    audio : (sounds, samples) float32 in ±1, or int16, at `model.sample_rate`.
    model : HearModel

    Returns
    -------
    (sounds, scene_embedding_size) float32, on the model's device.

    Raises
    ------
    SettingsError
        If the full scale of `audio` is not known, or it has another shape.
    MediaError
        If it has no samples, or too few for the layer, or holds values that are NaN or infinite.
    """
    asked = model.network.preprocessing
    if model.network.trunk is None:
        sounds = [as_float(to_array(sound), asked.keeps_level) for sound in _batch(audio)]
        found = FeatureExtractor(model.network, [model.scene_layer], "mean").extract(sounds)[model.scene_layer]
        return as_features(torch.from_numpy(found).to(next(model.parameters()).device), model.features)
    return as_features(get_scene_steps(audio, model).mean(dim=-1), model.features)


def get_scene_steps(audio: Tensor, model: HearModel) -> Tensor:
    """Return what a student's scenes are the averages of.

    Parameters
    ----------
    audio : (sounds, samples) float32 in ±1, or int16, at `model.sample_rate`.
    model : HearModel
        Of a network with a trunk.

    Returns
    -------
    (sounds, scene_embedding_size, steps) float32, on the model's device.

    Raises
    ------
    SettingsError, MediaError
        As `get_scene_embeddings`.
    """
    scaled = torch.stack([model.network.preprocessing(sound) for sound in _batch(audio)])
    steps = layer_steps(model.network, scaled, model.scene_layer)
    if not steps.shape[-1]:
        raise TooShortError(
            f"{scaled.shape[-1]} samples are too few for {model.scene_layer}; give the student a preprocessing whose "
            "least_samples are more"
        )
    return steps


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """Describe sounds step by step.

    Parameters
    ----------
    audio : (sounds, samples) float32 in ±1, or int16, at `model.sample_rate`.
    model : HearModel

    Returns
    -------
    embeddings : (sounds, timestamps, timestamp_embedding_size) float32, on the model's device.
    timestamps : (sounds, timestamps) float32
        Middle of each step's receptive field, in milliseconds, evenly spaced. A sound too short to
        hold one has the first.

    Raises
    ------
    SettingsError, MediaError
        As `get_scene_embeddings`; SettingsError also if the network has no timestamps.
    """
    network, layer = model.network, model.timestamp_layer
    field = network.receptive_field(layer) if layer else None
    if layer is None or field is None:
        raise SettingsError(
            f"{network.architecture} has no timestamps: it hears sounds of one length only, or has no layer whose "
            f"steps are at most {MAX_MILLISECONDS:g} ms apart; get_scene_embeddings describes whole sounds with it"
        )
    scaled = network.preprocessing.scale(_batch(audio))
    samples = scaled.shape[-1]
    # A sound shorter than a receptive field is followed by silence.
    padded = nn.functional.pad(scaled, (0, max(0, field.samples - samples)))
    steps = layer_steps(network, padded[:, None], layer)
    # Not on the device: Apple's GPU has no float64.
    numbers = torch.arange(steps.shape[-1], dtype=torch.float64)
    middles = field.start + (field.samples - 1) / 2 + field.stride * numbers
    # The first steps cover mostly the padding before the sound, the last ones that behind it.
    first = int((middles < 0).sum())
    inside = slice(first, max(first + 1, int((middles < samples).sum())))
    timestamps = (middles[inside] * 1000 / model.sample_rate).to(torch.float32).repeat(len(audio), 1)
    return steps[..., inside].transpose(1, 2).contiguous(), timestamps.to(steps.device)


def _batch(audio: Tensor) -> Tensor | NDArray[Any]:
    """Check the shape of sounds; arrays and lists are taken too."""
    sounds = audio if isinstance(audio, Tensor) else to_array(audio)
    if sounds.ndim != 2:
        raise SettingsError(f"audio has shape {tuple(sounds.shape)}; HEAR's is (sounds, samples)")
    if not min(sounds.shape):
        raise EmptyAudioError(f"audio has shape {tuple(sounds.shape)}, without a sample; leave empty sounds out")
    return sounds
