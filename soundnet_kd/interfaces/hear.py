"""The interface of the HEAR benchmark (Holistic Evaluation of Audio Representations, NeurIPS 2021 challenge).

A scene is the average over time of the last layer that is pooled (pool5 of SoundNet8), a timestamp a step of that layer
before it is pooled (conv5, about every 93 ms).
"""

import numpy as np
import torch
from torch import Tensor, nn

from soundnet_kd.models import SoundNet
from soundnet_kd.pretrained import load_student


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
        self.scene_layer = [layer for layer in student.layers if layer.startswith("pool")][-1]
        self.timestamp_layer = self.scene_layer.replace("pool", "conv")
        self.sample_rate = student.preprocessing.sample_rate
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


@torch.inference_mode()
def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """Describe whole sounds.

    Parameters
    ----------
    audio : (sounds, samples) float32 in ±1, at `model.sample_rate`.
    model : HearModel

    Returns
    -------
    (sounds, scene_embedding_size) float32, on the model's device.
    """
    preprocessing = model.student.preprocessing
    inputs = torch.stack([preprocessing(sound.cpu().numpy()) for sound in audio])
    steps: Tensor = model.student(inputs.to(_device(model)), [model.scene_layer])[model.scene_layer]
    return steps.mean(dim=-1)


@torch.inference_mode()
def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """Describe sounds step by step.

    Parameters
    ----------
    audio : (sounds, samples) float32 in ±1, at `model.sample_rate`.
    model : HearModel

    Returns
    -------
    embeddings : (sounds, timestamps, timestamp_embedding_size) float32
    timestamps : (sounds, timestamps) float32
        Middle of what each step hears, in milliseconds.
    """
    student = model.student
    samples = audio.shape[-1]
    heard = student.receptive_field(model.timestamp_layer)
    # A sound shorter than a step hears is followed by silence.
    reach = max(samples, heard.samples)
    padded = nn.functional.pad(audio, (0, reach - samples)).to(_device(model))
    steps: Tensor = student(student.preprocessing.scale(padded)[:, None], [model.timestamp_layer])[
        model.timestamp_layer
    ]
    middles = heard.start + (heard.samples - 1) / 2 + heard.stride * np.arange(steps.shape[-1])
    inside = max(1, int((middles < samples).sum()))
    milliseconds = torch.from_numpy(np.maximum(middles[:inside], 0) * 1000 / model.sample_rate)
    timestamps = milliseconds.to(torch.float32).expand(len(audio), -1).to(steps.device)
    return steps[..., :inside].transpose(1, 2).contiguous(), timestamps.contiguous()


def _device(model: HearModel) -> torch.device:
    return next(model.student.parameters()).device
