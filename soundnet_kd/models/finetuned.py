"""A network that tells classes of whole clips: the layers of a student up to some layer, and a new head on these."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from soundnet_kd.errors import SettingsError
from soundnet_kd.models.network import HEAD, OUTPUT, Network, tensors_sha256
from soundnet_kd.models.receptive_field import ReceptiveField
from soundnet_kd.models.soundnet import SoundNet, block_number


class FinetunedNetwork(Network):
    """A layer of a student, averaged over time, and a linear head on the average.

    Its layers are those of the student up to this one, then `answer`: one step of logits for the whole clip. The keys
    of `state_dict` are `network.KEY` for each key of the student that is left, `head.weight` and `head.bias`.

    Layers before `from_layer` are frozen: their weights stay as they are, and their batch norm goes on using the
    statistics that it brought along, whatever it is given.

    Parameters
    ----------
    network : SoundNet
        Taken over, with its preprocessing; what follows `layer` is cut off, since no answer depends on it.
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

    kind = "finetuned"

    def __init__(
        self, network: SoundNet, layer: str, class_names: Sequence[str], from_layer: str | None = None
    ) -> None:
        super().__init__()
        self._channels = network.channels(layer)
        if layer == network.output_layer:
            raise SettingsError(f"{layer} is the student's own head; put the new one on a layer before it")
        last, first = block_number(layer), 1 if from_layer is None else _first_block(network, layer, from_layer)
        for name, _ in list(network.named_children()):
            if block_number(name) > last:
                delattr(network, name)
        self.network = network
        self.preprocessing = network.preprocessing
        self.layer = layer
        self.class_names = {HEAD: tuple(class_names)}
        self.head = nn.Linear(self._channels, len(self.class_names[HEAD]))
        self._frozen = [name for name, _ in network.named_children() if block_number(name) < first]
        for name in self._frozen:
            network.get_submodule(name).requires_grad_(False)

    @property
    def architecture(self) -> str:
        """Name of the student's stack of layers."""
        return self.network.architecture

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of all layers, from the input on."""
        return (*self.network.layers[: self.network.depth(self.layer) + 1], OUTPUT)

    @property
    def trunk(self) -> SoundNet:
        """The student that the head sits on."""
        return self.network

    @property
    def heads(self) -> Mapping[str, nn.Module]:
        """The linear head."""
        return {HEAD: self.head}

    def channels(self, layer: str) -> int:
        """Return the number of channels of a layer."""
        self.depth(layer)
        return self.head.out_features if layer == OUTPUT else self.network.channels(layer)

    def receptive_field(self, layer: str) -> ReceptiveField | None:
        """Return the receptive field of a layer's steps; None for the answer, which depends on the whole input."""
        self.depth(layer)
        return None if layer == OUTPUT else self.network.receptive_field(layer)

    @property
    def identity(self) -> dict[str, str]:
        """What tells this network from others: its architecture is the student's, its weights and answers are not."""
        return {**super().identity, "kind": self.kind}

    def train(self, mode: bool = True) -> "FinetunedNetwork":
        """Go into training mode; frozen layers do not."""
        super().train(mode)
        for name in self._frozen:
            self.network.get_submodule(name).eval()
        return self

    def forward(self, waveform: Tensor, layers: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Compute layers, as every `Network` does; without `layers`, {"classes": logits (batch, classes)}."""
        wanted = sorted((OUTPUT,) if layers is None else layers, key=self.depth)
        hidden = {layer for layer in wanted if layer != OUTPUT}
        below: dict[str, Tensor] = self.network(waveform, hidden | {self.layer} if OUTPUT in wanted else hidden)
        if OUTPUT not in wanted:
            return below
        logits: Tensor = self.head(below[self.layer].mean(dim=2))
        if layers is None:
            return {HEAD: logits}
        return {layer: logits[:, :, None] if layer == OUTPUT else below[layer] for layer in wanted}

    def fingerprint(self) -> str:
        """Sha256 over the weights, which differ between any two trainings."""
        # The head is called as its layer is, since the first version did so.
        names = {f"head.{part}": f"{OUTPUT}.{HEAD}.{part}" for part, _ in self.head.named_parameters()}
        return tensors_sha256({names.get(name, name): tensor for name, tensor in self.state_dict().items()})


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
    return block_number(from_layer)
