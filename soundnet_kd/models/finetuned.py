"""A network that tells classes of whole clips: the layers of a student up to some layer, and a new head on these."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from soundnet_kd.errors import SettingsError
from soundnet_kd.models.layers import over_rows
from soundnet_kd.models.network import HEAD, OUTPUT, Network, tensors_sha256
from soundnet_kd.models.receptive_field import ReceptiveField
from soundnet_kd.models.student import Student, block_number

HeadKind = Literal["linear", "roots"]
DROPOUT = 0.5
LEAST = 1e-4
"""Is added before a root is drawn: of 0 it has no slope."""


class FinetunedNetwork(Network):
    """One or several layers of a student, pooled over time, and a head on what they give.

    Its layers are those of the student up to the last one that the head hears, then `answer`: one step of logits for
    the whole clip. The keys of `state_dict` are `network.KEY` for each key of the student that is left, `head.weight`
    and `head.bias`, and `norm.*` of a head of roots.

    Layers before `from_layer` are frozen: their weights and the running statistics of their batch norm stay as they
    are, whatever they are given.

    Parameters
    ----------
    network : Student
        Taken over, with its preprocessing; what follows `layer` is cut off, since no answer depends on it.
    layer : str
        The one that the head sits on, or several joined by a +: pool5+conv6.
    class_names : sequence of str
    from_layer : str, optional
        The first layer that learns, a convolution; all do if not given.
    head : {"linear", "roots"}
        linear: on the averages over time. roots: on square roots of the averages and the standard deviations, each
        standardised by a batch norm; while it learns, half of them are dropped out.
    keep_statistics : bool
        The batch norm of the layers that learn keeps its running statistics, too.

    Raises
    ------
    SettingsError
        If there is no such layer, or none is left to learn, or `layer` is the network's output.
    """

    kind = "finetuned"

    def __init__(
        self,
        network: Student,
        layer: str,
        class_names: Sequence[str],
        from_layer: str | None = None,
        head: HeadKind = "linear",
        keep_statistics: bool = False,
    ) -> None:
        super().__init__()
        if head not in get_args(HeadKind):
            raise SettingsError(f"head is {head!r}; choose one of {', '.join(get_args(HeadKind))}")
        self.head_layers = layers_of(network, layer)
        deepest = max(self.head_layers, key=network.depth)
        last, first = block_number(deepest), 0 if from_layer is None else _first_block(network, deepest, from_layer)
        for name, _ in list(network.named_children()):
            if block_number(name) > last:
                delattr(network, name)
        self.network = network
        self.preprocessing = network.preprocessing
        self.layer = layer
        self.head_kind = head
        self.class_names = {HEAD: tuple(class_names)}
        inputs = sum(network.channels(each) for each in self.head_layers) * len(self.head_poolings)
        if head == "roots":
            self.norm = nn.BatchNorm1d(inputs)
        self.head = nn.Linear(inputs, len(self.class_names[HEAD]))
        names = [name for name, _ in network.named_children()]
        frozen = [name for name in names if block_number(name) < first]
        for name in frozen:
            network.get_submodule(name).requires_grad_(False)
        self._evaluated = [name for name in names if name in frozen or (keep_statistics and name.startswith("batch"))]
        self.frozen_layer = network.last_layer(first - 1) if frozen else None
        """The last layer that stays as it is; None if all learn."""

    @property
    def architecture(self) -> str:
        """Name of the student's stack of layers."""
        return self.network.architecture

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of all layers, from the input on."""
        deepest = max(self.network.depth(layer) for layer in self.head_layers)
        return (*self.network.layers[: deepest + 1], OUTPUT)

    @property
    def trunk(self) -> Student:
        """The student that the head sits on."""
        return self.network

    @property
    def heads(self) -> Mapping[str, nn.Module]:
        """The linear head."""
        return {HEAD: self.head}

    @property
    def head_poolings(self) -> tuple[Literal["mean", "std"], ...]:
        """How the layers under the head are pooled over time."""
        return ("mean", "std") if self.head_kind == "roots" else ("mean",)

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
        for name in self._evaluated:
            self.network.get_submodule(name).eval()
        return self

    def forward(self, waveform: Tensor, layers: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Compute layers, as every `Network` does; without `layers`, {"classes": logits (batch, classes)}."""
        wanted = sorted((OUTPUT,) if layers is None else layers, key=self.depth)
        hidden = {layer for layer in wanted if layer != OUTPUT}
        if OUTPUT not in wanted:
            return dict(self.network(waveform, hidden))
        below: dict[str, Tensor] = self.network(waveform, hidden | set(self.head_layers))
        logits = self.answer_to(below)
        if layers is None:
            return {HEAD: logits}
        return {layer: logits[:, :, None] if layer == OUTPUT else below[layer] for layer in wanted}

    def logits_from(self, steps: Tensor, margin: int = 0) -> Tensor:
        """Return the logits (batch, classes) where the steps of `frozen_layer`, (batch, channels, steps), are known.

        Its rows, if it has some, are side by side, as so many more channels. What the first and the last `margin`
        steps, a multiple of `margin_steps`, give is not pooled.
        """
        assert self.frozen_layer is not None
        below = self.network.continue_from(self.frozen_layer, steps, self.head_layers)
        if margin:
            stride = self.network.receptive_field(self.frozen_layer).stride
            for layer, found in below.items():
                ratio = self.network.receptive_field(layer).stride // stride
                count = max(1, (steps.shape[2] - 2 * margin) // ratio)
                below[layer] = found[..., margin // ratio : margin // ratio + count]
        return self.answer_to(below)

    @property
    def margin_steps(self) -> int:
        """How many steps of `frozen_layer` before a piece, and behind it, its layers hear of its surroundings; or 0."""
        # PyTorch's tracer looks at every property.
        if self.frozen_layer is None:
            return 0
        first = self.network.receptive_field(self.frozen_layer)
        deepest = self.network.receptive_field(max(self.head_layers, key=self.network.depth))
        ratio = deepest.stride // first.stride
        return math.ceil((deepest.samples - first.samples) / 2 / deepest.stride) * ratio

    def answer(self, pooled: Sequence[Tensor]) -> Tensor:
        """Return the logits (batch, classes) for what the layers under the head give over the whole sound.

        Parameters
        ----------
        pooled : sequence of (batch, channels)
            Of each layer its mean and, for a head of roots, its standard deviation.
        """
        if self.head_kind == "linear":
            joined = torch.cat(list(pooled), dim=1)
        else:
            means, deviations = pooled[::2], pooled[1::2]
            roots = [
                root
                for mean, deviation in zip(means, deviations, strict=True)
                for root in ((mean.clamp_min(0) + LEAST).sqrt(), (deviation.square() + LEAST).sqrt().sqrt())
            ]
            joined = nn.functional.dropout(self.norm(torch.cat(roots, dim=1)), DROPOUT, self.training)
        logits: Tensor = self.head(joined)
        return logits

    def answer_to(self, below: Mapping[str, Tensor]) -> Tensor:
        """Return the logits (batch, classes) for the steps (batch, channels, steps) of each layer under the head."""
        pooled = []
        for layer in self.head_layers:
            steps = over_rows(below[layer])
            pooled.append(steps.mean(dim=2))
            if "std" in self.head_poolings:
                # Of 0 the root has no slope.
                pooled.append((steps.var(dim=2, unbiased=False) + LEAST**3).sqrt())
        return self.answer(pooled)

    def fingerprint(self) -> str:
        """SHA-256 over the weights, which differ between any two trainings."""
        # The head is called as its layer is, since the first version did so.
        names = {f"head.{part}": f"{OUTPUT}.{HEAD}.{part}" for part, _ in self.head.named_parameters()}
        return tensors_sha256({names.get(name, name): tensor for name, tensor in self.state_dict().items()})


def default_layer(network: Student) -> str:
    """Return the layer that a head sits on best: pool5, or else the last one before the output.

    Pool5 is one of the two best layers of ESC-50 in SoundNet's paper (Aytar, Vondrick, Torralba, 2016). On two folds of
    ESC-10 it had 85 % right where conv7 had 83 %, and from scratch 74 % where conv7 had 63 %.
    """
    return "pool5" if "pool5" in network.layers else network.layers[-2]


def layers_of(network: Student, joined: str) -> tuple[str, ...]:
    """Return the layers that a head is to sit on, from names joined by a +, the first of the network first.

    Raises
    ------
    SettingsError
        If one does not exist, is named twice, or is the network's output.
    """
    names = joined.split("+")
    layers = tuple(sorted(names, key=network.depth))
    if len(set(layers)) < len(layers):
        raise SettingsError(f"layer is {joined}; name each once")
    if network.output_layer in layers:
        raise SettingsError(f"{network.output_layer} is the student's own head; put the new one on a layer before it")
    return layers


def _first_block(network: Student, layer: str, from_layer: str) -> int:
    if network.depth(from_layer) > network.depth(layer):
        raise SettingsError(
            f"from_layer {from_layer} lies behind {layer}, which the head sits on; nothing else would learn "
            "(`soundnet-kd evaluate` trains classifiers on fixed layers)"
        )
    if not from_layer.startswith("conv"):
        raise SettingsError(f"from_layer is {from_layer!r}, which has no weights; give a convolution, such as conv5")
    return block_number(from_layer)
