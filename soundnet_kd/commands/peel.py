"""The command `peel`: one sound through a network, layer by layer, as arrays and figures."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from soundnet_kd.analysis.layers.figures import draw_head, draw_layers, draw_pictures, draw_pooled
from soundnet_kd.errors import SettingsError, counted
from soundnet_kd.features.activation_file import (
    PEEL_FILE,
    SETTINGS_FILE,
    Peeled,
    PeelSource,
    peel_source,
    read_peel,
    write_peel,
)
from soundnet_kd.features.activations import peel_sound
from soundnet_kd.figures.filters import draw_filter_pictures, draw_filters
from soundnet_kd.media import as_source, local_file
from soundnet_kd.media.tar_shards import names_tars
from soundnet_kd.models import FinetunedNetwork, Network
from soundnet_kd.pretrained import load_network
from soundnet_kd.storage import ensure_same_settings, versions


@dataclass(frozen=True, eq=False)
class PeelResult:
    """What a network makes of a sound, and where it is written."""

    out: Path
    peeled: Peeled = field(repr=False)

    def __str__(self) -> str:
        output = tuple(self.peeled.layers)[-1]
        classes = [each for head in self.peeled.heads.values() for each in head.class_names]
        width = max(8, *(len(name) for name in self.peeled.layers))
        lines = [f"{'layer':<{width}} {'channels':>8} {'steps':>8} {'never active':>12}   strongest on average"]
        for name, layer in self.peeled.layers.items():
            pooled = layer.pooled
            # A logit below 0 is an answer like others.
            of_channels = np.moveaxis(layer.activations, 1, 0).reshape(len(pooled), -1)
            silent = "" if name == output else int((of_channels <= 0).all(axis=1).sum())
            # A channel at 0, as all are where the sound is silence, does not answer.
            answering = [index for index in np.argsort(-pooled)[:3] if name == output or pooled[index] != 0]
            names, unit = (classes, "logit ") if name == output else (range(len(pooled)), "")
            strongest = ", ".join(f"{names[index]} ({unit}{pooled[index]:.3g})" for index in answering) or "-"
            lines.append(f"{name:<{width}} {len(pooled):>8} {len(layer.activations):>8} {silent:>12}   {strongest}")
        seconds = self.peeled.sound_samples / self.peeled.sample_rate
        return "\n".join(
            [*lines, f"wrote {self.out}: {counted(len(self.peeled.layers), 'layer')} for {seconds:.4g} s of sound"]
        )


def peel(
    sound: str | Path,
    student: str | Path | Network = "soundnet8",
    out: str | Path = "peeled",
    start_seconds: float = 0.0,
    seconds: float | None = None,
) -> PeelResult:
    """Show what every layer of a network makes of one sound, and its weights at both ends.

    Figures show the activations of each layer under the waveform, their averages over time, the channels that
    contribute most to the likeliest classes, and the first convolution's filters with their frequency responses; all of
    it is in peel.h5 as arrays.

    Parameters
    ----------
    sound : str or Path
        A sound or video file, also in a tar (tar://clip.mp4::shards/00001.tar) or under an address (s3://bucket/a.wav).
    student : str or Path or Network
        A network: the file of a student, a fine-tuned network or one from scratch, the run folder of `soundnet-kd
        distill`, `finetune` or `train` that holds one, or a name (`soundnet-kd weights list`); soundnet8, the released
        network, is fetched when it is first needed (54 MB).
    out : str or Path
        Folder for the arrays and the figures.
    start_seconds : float
        Where in the sound to start.
    seconds : float, optional
        How much of the sound to hear, at most. [default: as much as the network asks for, 20 s for a student]

    Raises
    ------
    RunConflictError
        If `out` holds another sound, network or part.
    """
    out, place = Path(out), as_source(sound)
    if names_tars(sound):
        raise SettingsError(f"{sound} may hold many sounds; name one of them, such as tar://clip.wav::{sound}")
    network = load_network(student)
    with local_file(place) as file:
        peeled = peel_sound(file, network, start_seconds, seconds)
    about = PeelSource(place.name, _named_by_first_version(network))
    settings = {"start_seconds": start_seconds, "seconds": seconds}
    source = peel_source(peeled, about, network.fingerprint(), settings, versions())
    ensure_same_settings(out / SETTINGS_FILE, source)
    write_peel(out / PEEL_FILE, peeled, source)
    _draw(out / PEEL_FILE, place.name, network.architecture)
    return PeelResult(out, peeled)


def _named_by_first_version(network: Network) -> str:
    """Return what peel.json calls a network: of a fine-tuned one a name that the first version wrote."""
    return "LayeredClipClassifier" if isinstance(network, FinetunedNetwork) else network.architecture


def _draw(file: Path, sound: str, network: str) -> None:
    """Draw the figures of a `peel.h5` beside it, with the names of the sound and the network in their titles."""
    peeled, folder = read_peel(file), file.parent
    layers = tuple(peeled.layers)
    draw_layers(peeled, sound, network, folder / "layers.png")
    draw_pooled(peeled, sound, network, folder / "pooled.png")
    for name, head in peeled.heads.items():
        draw_head(head, name, layers[-2], folder / f"head_{name}.png")
    draw_pictures(peeled, sound, network, folder / "pictures.png")
    filters = peeled.filters
    if filters is not None and filters.sample_rate is not None:
        draw_filters(filters.weight, filters.sample_rate, filters.layer, folder / "filters.png")
    elif filters is not None:
        draw_filter_pictures(filters.weight, filters.layer, folder / "filters.png")
