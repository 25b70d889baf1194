"""Peel a network layer by layer: what it makes of one sound, and what stands at its two ends."""

from collections.abc import Sequence
from contextlib import closing
from copy import deepcopy
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from soundnet_kd.errors import SettingsError
from soundnet_kd.features.activation_file import Peeled, PeeledFilters, PeeledHead, PeeledLayer
from soundnet_kd.media import stream_audio
from soundnet_kd.models import Network, Preprocessing
from soundnet_kd.models.classifiers.sound_classifier import FRONT_END
from soundnet_kd.models.front_ends import FrontEnd
from soundnet_kd.models.log_mel_cnn import FIRST_LAYER
from soundnet_kd.models.receptive_field import ReceptiveField


def peel_sound(sound: str | Path, network: Network, start_seconds: float = 0.0, seconds: float | None = None) -> Peeled:
    """Run a network on a part of a sound, and keep all that it makes of it.

    Parameters
    ----------
    sound : str or Path
    network : Network
        Is left as it is.
    start_seconds : float
    seconds : float, optional
        At most that much is used, less by a network that takes an exact length. [default: the least that the
        network's preprocessing gives it, 20 s for SoundNet]

    Raises
    ------
    MediaError
        If the file holds no readable sound.
    SettingsError
        If the sound ends before `start_seconds`.
    """
    sound = Path(sound)
    asked = network.preprocessing
    if seconds is None:
        seconds = asked.least_samples / asked.sample_rate
    if not (0 <= start_seconds < np.inf and 0 < seconds < np.inf):
        raise SettingsError(
            f"start_seconds is {start_seconds:g} and seconds {seconds:g}; give a start from 0 on, and a length above 0"
        )
    network = deepcopy(network).cpu().eval()
    part = _part(sound, asked, start_seconds, seconds)
    waveform = asked(part)
    inputs: dict[str, Tensor] = {}
    for head, module in network.heads.items():
        module.register_forward_pre_hook(partial(_remember, inputs, head))
    with torch.inference_mode():
        answers = network(waveform[None], network.layers)
    samples = waveform.shape[-1]
    everything = ReceptiveField(samples=samples, stride=samples, start=0)
    return Peeled(
        waveform=waveform[0].numpy(),
        sample_rate=asked.sample_rate,
        amplitude=asked.amplitude,
        start_seconds=start_seconds,
        sound_samples=min(len(part), samples),
        repeats=asked.repeats,
        layers={
            layer: PeeledLayer(
                _shown(layer, answers[layer][0]).movedim(-1, 0).contiguous().numpy(),
                network.receptive_field(layer) or everything,
            )
            for layer in network.layers
        },
        heads={
            head: _peeled_head(module, network.class_names[head], inputs[head][0])
            for head, module in network.heads.items()
        },
        filters=_first_filters(network),
    )


def _shown(layer: str, activations: Tensor) -> Tensor:
    """Return a layer as it is looked at: mel bands as the rows of one picture."""
    return activations[None] if layer == FIRST_LAYER else activations


def _part(sound: Path, asked: Preprocessing, start_seconds: float, seconds: float) -> NDArray[np.float32]:
    """Read a part of a sound, and no more than that of a long one."""
    start, wanted = round(start_seconds * asked.sample_rate), max(1, round(seconds * asked.sample_rate))
    kept: list[NDArray[np.float32]] = []
    samples = 0
    with closing(stream_audio(sound, asked.sample_rate, asked.channel)) as blocks:
        for block in blocks:
            kept.append(block[max(start - samples, 0) :])
            samples += len(block)
            if samples >= start + wanted:
                break
    if samples <= start:
        end = samples / asked.sample_rate
        raise SettingsError(f"{sound} ends at {end:.2f} s; choose start_seconds before that, not {start_seconds:g}")
    return np.concatenate(kept)[:wanted]


def _first_filters(network: Network) -> PeeledFilters | None:
    """Return the filters of the first convolution, if they can be looked at as waves or as pictures."""
    convolutions = ((name, each) for name, each in network.named_modules() if isinstance(each, nn.Conv1d | nn.Conv2d))
    name, first = next(convolutions, ("", None))
    if first is None or first.in_channels != 1 or max(first.kernel_size) == 1:
        return None
    front_end = next((module for module in network.modules() if isinstance(module, FrontEnd)), None)
    return PeeledFilters(
        weight=first.weight.detach()[:, 0].float().numpy(),
        layer=next(layer for layer in network.layers if layer != FRONT_END and layer in name.split(".")),
        sample_rate=network.preprocessing.sample_rate if front_end is None else front_end.sample_rate,
    )


def _remember(inputs: dict[str, Tensor], head: str, module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
    inputs[head] = arguments[0]


def _peeled_head(module: nn.Module, class_names: Sequence[str], hidden: Tensor) -> PeeledHead:
    """Average what a head's kernel meets: (channels, steps) for a convolution, (channels,) for a linear head."""
    if isinstance(module, nn.Conv1d):
        padding = int(module.padding[0])
        padded = nn.functional.pad(hidden, (padding, padding))
        inputs = padded.unfold(1, module.kernel_size[0], module.stride[0]).mean(dim=1)
        weight = module.weight.detach()
    else:
        assert isinstance(module, nn.Linear)
        inputs, weight = hidden[:, None], module.weight.detach()[:, :, None]
    bias = torch.zeros(len(weight)) if module.bias is None else module.bias.detach()
    return PeeledHead(tuple(class_names), weight.numpy(), bias.numpy(), inputs.numpy())
