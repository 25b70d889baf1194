"""X-ARES: a network as an encoder that its tasks call, of whole clips or of frames.

X-ARES takes the only name of a file that ends in Encoder, a class without arguments::

    from soundnet_kd.interfaces.xares import clip_encoder

    SoundNetEncoder = clip_encoder("run/student", features="sqrt")

and `python -m xares.run that_file.py TASK.py …`. It keeps encodings and scores by the name of the class. That name says
the student, the layer and what is taken of it, and holds the fingerprint of all that decides the answer, so that no
student is given the scores of another one.
"""

import re
from copy import deepcopy
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

from soundnet_kd.errors import SettingsError
from soundnet_kd.interfaces.hear import HearModel, get_scene_embeddings, get_scene_steps, get_timestamp_embeddings
from soundnet_kd.interfaces.listening import Features, Listener, fingerprint_of
from soundnet_kd.interfaces.suites import XARES
from soundnet_kd.models import Network

FINGERPRINT_CHARACTERS = 16
"""Of the fingerprint in a class's name: two of a thousand million students have the same once in 37 times."""


class SoundNetEncoder(nn.Module):
    """What the encoders of this module have in common; `clip_encoder` and `frame_encoder` make classes of it.

    Attributes
    ----------
    sampling_rate : int
        In Hz.
    output_dim : int
        Channels of the layer.
    hop_size_in_ms : float
        From one step of the layer to the next.
    """

    made_of: ClassVar[HearModel]
    sampling_rate: ClassVar[int]
    output_dim: ClassVar[int]
    hop_size_in_ms: ClassVar[float]

    def __init__(self) -> None:
        super().__init__()
        self.model = deepcopy(self.made_of)


class _Clips(SoundNetEncoder):
    def forward(self, audio: Tensor) -> Tensor:
        """Describe clips.

        Parameters
        ----------
        audio : (clips, samples) float32
            In ±1, at `sampling_rate`.

        Returns
        -------
        (clips, steps, output_dim) float32
            The steps of the layer in the sound as the network hears it, short ones repeated, so that their mean, which
            X-ARES takes, is what all other doors give; of square roots, and of a network whose steps cannot be had one
            by one, a single step.

        Raises
        ------
        SettingsError, MediaError
            As `get_scene_embeddings`.
        """
        if self.model.features == "mean" and self.model.network.trunk is not None:
            return get_scene_steps(audio, self.model).transpose(1, 2).contiguous()
        return get_scene_embeddings(audio, self.model)[:, None]


class _Frames(SoundNetEncoder):
    def forward(self, audio: Tensor) -> Tensor:
        """Describe frames.

        Parameters
        ----------
        audio : (clips, samples) float32
            In ±1, at `sampling_rate`.

        Returns
        -------
        (clips, frames, output_dim) float32
            Those whose middle lies in the sound, `hop_size_in_ms` apart; at least one.

        Raises
        ------
        SettingsError, MediaError
            As `get_timestamp_embeddings`.
        """
        return get_timestamp_embeddings(audio, self.model)[0]


def clip_encoder(
    student: str | Path | Network = "soundnet8", layer: str | None = None, features: Features = "mean"
) -> type[SoundNetEncoder]:
    """Return an encoder for tasks of whole clips (pool5 of SoundNet8, a step every 371 ms).

    Parameters
    ----------
    student : str, Path or Network
        As `load_network` takes it.
    layer : str, optional
        [default: what HEAR's scenes are]
    features : {"mean", "sqrt"}
        mean gives the steps of the layer, which X-ARES averages; sqrt one step, the square root of their average, which
        is worth 2 to 4 points on ESC-50.

    Raises
    ------
    SettingsError
        If X-ARES is not installed, is of an incompatible version, or there is no such network or layer.
    """
    XARES.check()
    listener = Listener(student, layer, features, device="cpu")
    model = HearModel(listener.network, features, listener.layer)
    return _encoder(_Clips, model, listener, listener.layer, listener.name, listener.fingerprint)


def frame_encoder(student: str | Path | Network = "soundnet8") -> type[SoundNetEncoder]:
    """Return an encoder for tasks of frames (conv4 of SoundNet8, every 46 ms).

    Frames are no averages, so that there are no square roots of these.

    Parameters
    ----------
    student : str, Path or Network
        As `load_network` takes it.

    Raises
    ------
    SettingsError
        If X-ARES is not installed, is of an incompatible version, there is no such network, or it has no frames.
    """
    XARES.check()
    listener = Listener(student, device="cpu")
    model = HearModel(listener.network)
    layer = model.timestamp_layer
    if layer is None:
        raise SettingsError(
            f"{listener.network.architecture} has no layer of frames; clip_encoder describes whole clips"
        )
    fingerprint = fingerprint_of(listener.network, layer, "frames")
    return _encoder(_Frames, model, listener, layer, f"{listener.student}-{layer}-frames", fingerprint)


def _encoder(
    kind: type[SoundNetEncoder], model: HearModel, listener: Listener, layer: str, name: str, fingerprint: str
) -> type[SoundNetEncoder]:
    field = listener.network.receptive_field(layer)
    rate = listener.sample_rate
    stride = field.stride if field is not None else listener.network.preprocessing.least_samples
    words = re.sub(r"\W", "", name.replace("-", "_"))
    made = {
        "__doc__": f"{name} of the network {fingerprint}.",
        "made_of": model,
        "sampling_rate": rate,
        "output_dim": listener.network.channels(layer),
        "hop_size_in_ms": 1000 * stride / rate,
    }
    return type(f"{words}_{fingerprint[:FINGERPRINT_CHARACTERS]}_Encoder", (kind,), made)
