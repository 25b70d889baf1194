"""A network that tells classes of whole clips: the layers of another one up to some layer, and a new head on these."""

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from tqdm import tqdm

from soundnet_kd.errors import SettingsError
from soundnet_kd.features.extractor import FeatureExtractor
from soundnet_kd.features.reading import batches_of_equal_length
from soundnet_kd.media import RawAudioFile
from soundnet_kd.models import SoundNet

HEARD_TOGETHER = 8
"""Clips of equal length that are tested together."""


class ClipClassifier(nn.Module):
    """A layer of a network, averaged over time, and a linear head on the average.

    Layers before `from_layer` are frozen: their weights stay as they are, and their batch norm goes on using the
    statistics that it brought along, whatever it hears.

    Parameters
    ----------
    network : SoundNet
        Taken over; what follows `layer` is cut off, since it would only lie in every checkpoint.
    layer : str
        The one that the head sits on.
    class_names : sequence of str
    from_layer : str, optional
        The first layer that learns, a convolution; all do if not given.

    Raises
    ------
    SettingsError
        If there is no such layer, or none is left to learn, or `layer` is the network's output.
    """

    def __init__(
        self, network: SoundNet, layer: str, class_names: Sequence[str], from_layer: str | None = None
    ) -> None:
        super().__init__()
        if layer == network.output_layer:
            raise SettingsError(f"{layer} is the student's own head; put the new one on a layer before it")
        last, first = _block(layer), 1 if from_layer is None else _first_block(network, layer, from_layer)
        for name, _ in list(network.named_children()):
            if _block(name) > last:
                delattr(network, name)
        self.network = network
        self.layer = layer
        self.class_names = tuple(class_names)
        self.head = nn.Linear(network.channels(layer), len(self.class_names))
        self._frozen = [name for name, _ in network.named_children() if _block(name) < first]
        for name in self._frozen:
            network.get_submodule(name).requires_grad_(False)

    def train(self, mode: bool = True) -> "ClipClassifier":
        """Go into training mode; frozen layers do not."""
        super().train(mode)
        for name in self._frozen:
            self.network.get_submodule(name).eval()
        return self

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the logits (batch, classes) of clips (batch, 1, samples) that have gone through the preprocessing."""
        steps = self.network(waveform, (self.layer,))[self.layer]
        logits: Tensor = self.head(steps.mean(dim=2))
        return logits

    def answers(self, sounds: Sequence[RawAudioFile]) -> Tensor:
        """Tell the classes of whole sounds of any length, tiled as the network's preprocessing says.

        Parameters
        ----------
        sounds : sequence of RawAudioFile

        Returns
        -------
        (sounds, classes) float32
            Logits, computed in 32 bit, on the CPU.
        """
        extractor = FeatureExtractor(self.network.eval(), (self.layer,), "mean")
        averages = torch.empty(len(sounds), self.head.in_features)
        with tqdm(total=len(sounds), desc="test", unit="sound") as progress:
            for batch in batches_of_equal_length(enumerate(sounds), HEARD_TOGETHER, extractor.longest):
                averages[list(batch)] = torch.from_numpy(extractor.extract(list(batch.values()))[self.layer])
                progress.update(len(batch))
        with torch.inference_mode():
            logits: Tensor = self.head(averages.to(self.head.weight.device)).cpu()
        return logits


def default_layer(network: SoundNet) -> str:
    """Return the layer that a head sits on best: pool5, or else the last one before the output.

    Pool5 is one of the two best layers of ESC-50 in SoundNet's paper (Aytar, Vondrick, Torralba, 2016). Of ESC-10 in
    two folds it had 85 % right where conv7 had 83 %, and from scratch 74 % where conv7 had 63 %.
    """
    return "pool5" if "pool5" in network.layers else network.layers[-2]


def _first_block(network: SoundNet, layer: str, from_layer: str) -> int:
    if network.depth(from_layer) > network.depth(layer):
        raise SettingsError(
            f"from_layer {from_layer} lies behind {layer}, which the head sits on; nothing else would learn "
            "(`soundnet-kd evaluate` trains classifiers on fixed layers)"
        )
    if not from_layer.startswith("conv"):
        raise SettingsError(f"from_layer is {from_layer!r}, which has no weights; give a convolution, such as conv5")
    return _block(from_layer)


def _block(name: str) -> int:
    """Return the number of the block that a layer or a module belongs to: 5 for conv5, batchnorm5 and pool5."""
    number = re.search(r"\d+$", name)
    assert number is not None
    return int(number[0])
