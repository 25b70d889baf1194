"""The interface of the HEAR benchmark (Holistic Evaluation of Audio Representations, NeurIPS 2021 challenge).

A scene is the average over time of the last layer that is pooled (pool5 of SoundNet8). A timestamp is a step of the
deepest layer whose steps are at most 50 ms apart, as HEAR advises for the onsets of events and notes (conv4 of
SoundNet8, every 46 ms).
"""

from collections.abc import Iterator
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from soundnet_kd.errors import EmptyAudioError, SettingsError, TooShortError
from soundnet_kd.features.streaming import stream_layers
from soundnet_kd.media.full_scale import to_array
from soundnet_kd.models import SoundNet
from soundnet_kd.models.device import full_precision
from soundnet_kd.pretrained import load_student

MAX_MILLISECONDS = 50.0
"""HEAR's tolerance for when an event begins; timestamps further apart could not meet it."""
SAMPLES_AT_ONCE = 8 * 20 * 22_050
"""Of all sounds together; what conv1 makes of them takes 113 MB."""


class HearModel(nn.Module):
    """A student with what HEAR asks of a model.

    Attributes
    ----------
    sample_rate : int
        In Hz.
    scene_embedding_size, timestamp_embedding_size : int
    scene_layer, timestamp_layer : str
    """

    def __init__(self, student: SoundNet) -> None:
        super().__init__()
        self.student = student.eval()
        self.sample_rate = student.preprocessing.sample_rate
        self.scene_layer = [layer for layer in student.layers if layer.startswith("pool")][-1]
        most = MAX_MILLISECONDS * self.sample_rate / 1000
        self.timestamp_layer = [layer for layer in student.layers if student.receptive_field(layer).stride <= most][-1]
        self.scene_embedding_size = student.channels(self.scene_layer)
        self.timestamp_embedding_size = student.channels(self.timestamp_layer)


def load_model(model_file_path: str = "") -> HearModel:
    """Load a student.

    Parameters
    ----------
    model_file_path : str
        A student.safetensors, a run folder or a name of published weights; empty is the released network.
    """
    return HearModel(load_student(model_file_path or "soundnet8"))


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
    scaled = torch.stack([model.student.preprocessing(sound) for sound in _batch(audio)])
    steps = _steps(scaled, model, model.scene_layer)
    if not steps.shape[-1]:
        raise TooShortError(
            f"{scaled.shape[-1]} samples are too few for {model.scene_layer}; give the student a preprocessing whose "
            "least_samples are more"
        )
    return steps.mean(dim=-1)


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
        Middle of what each step hears, in milliseconds, evenly spaced. A sound too short to hold one has the first.

    Raises
    ------
    SettingsError, MediaError
        As `get_scene_embeddings`.
    """
    scaled = model.student.preprocessing.scale(_batch(audio))
    samples = scaled.shape[-1]
    heard = model.student.receptive_field(model.timestamp_layer)
    # A sound shorter than a step hears is followed by silence.
    padded = nn.functional.pad(scaled, (0, max(0, heard.samples - samples)))
    steps = _steps(padded[:, None], model, model.timestamp_layer)
    # Not on the device: Apple's GPU has no float64.
    numbers = torch.arange(steps.shape[-1], dtype=torch.float64)
    middles = heard.start + (heard.samples - 1) / 2 + heard.stride * numbers
    # The first steps hear mostly the padding before the sound, the last ones that behind it.
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


@torch.no_grad()
def _steps(scaled: Tensor, model: HearModel, layer: str) -> Tensor:
    """Return a layer of sounds of any length, heard in pieces that fit into memory together."""
    device = next(model.parameters()).device
    piece_samples = max(1, SAMPLES_AT_ONCE // len(scaled))
    pieces: Iterator[Tensor] = (piece.to(device) for piece in torch.split(scaled, piece_samples, dim=-1))
    with full_precision():
        return torch.cat([answers[layer] for answers in stream_layers(model.student, pieces, [layer])], dim=-1)
