"""A classifier of clips as a network of named layers, so that it can be peeled like a student."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from soundnet_kd.models import Preprocessing, state_sha256
from soundnet_kd.models.classifiers import HEAD, OUTPUT
from soundnet_kd.models.receptive_field import ReceptiveField
from soundnet_kd.supervised.clip_classifier import ClipClassifier


class LayeredClipClassifier(nn.Module):
    """The layers of a classifier's network, then its answer: one step of logits for the whole clip.

    Parameters
    ----------
    classifier : ClipClassifier
        Shared, not copied.
    """

    def __init__(self, classifier: ClipClassifier) -> None:
        super().__init__()
        self.network = classifier.network
        self.add_module(OUTPUT, nn.ModuleDict({HEAD: classifier.head}))
        self.hidden = classifier.layer
        self.class_names: Mapping[str, Sequence[str]] = {HEAD: classifier.class_names}

    @property
    def preprocessing(self) -> Preprocessing:
        """What a sound goes through before it is heard."""
        return self.network.preprocessing

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of all layers, from the input on."""
        return (*self.network.layers[: self.network.depth(self.hidden) + 1], OUTPUT)

    def receptive_field(self, layer: str) -> ReceptiveField | None:
        """Return what a layer's steps hear of the input; None for the answer, which hears all of it."""
        return None if layer == OUTPUT else self.network.receptive_field(layer)

    def fingerprint(self) -> str:
        """Hash the weights, which differ between any two trainings."""
        return state_sha256(self)

    def forward(self, waveform: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return layers, (batch, channels, steps) each, for waveforms (batch, 1, samples)."""
        inner: dict[str, Tensor] = self.network(waveform, {self.hidden, *layers} - {OUTPUT})
        logits: Tensor = self.get_submodule(f"{OUTPUT}.{HEAD}")(inner[self.hidden].mean(dim=2))
        answers = {**inner, OUTPUT: logits[:, :, None]}
        return {layer: answers[layer] for layer in layers}
