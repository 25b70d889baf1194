"""What students are: named layers over time, with heads that answer step by step, one for each teacher."""

import hashlib
import json
import math
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import ClassVar

from torch import Tensor, nn

from soundnet_kd.errors import SettingsError, TooShortError
from soundnet_kd.models.network import Network, state_sha256
from soundnet_kd.models.preprocessing import Preprocessing, as_input
from soundnet_kd.models.receptive_field import ReceptiveField, Window

LEAST_FILTERS = 4
"""Filters that a layer keeps at any width."""
WIDTHS = (0.05, 4.0)
"""The least and the greatest width."""

Heads = Mapping[str, int | Sequence[str]]
"""Of each head its class names, or their number."""


class Student(Network):
    """A stack of layers over time, each of windows of the one before, the last of which are the logits of all heads.

    Layers are called `convN` (after ReLU) and, where a block ends in a pooling, `poolN`; the last one is the output, of
    all heads, one head after the other. Modules bear the number of the block that they belong to at their end; what
    has none comes before the first. The keys of `state_dict` are `convN.*` and `batchnormN.*`, and of the output layer
    L `convL.HEAD.weight`, `convL.HEAD.bias`.

    Parameters
    ----------
    heads : mapping from head to class names, or to the number of classes, optional
        [default: `{"objects": 1000, "scenes": 401}`, as in the released network]
    preprocessing : Preprocessing, optional
        What the input must have gone through; kept with the weights. [default: `usual_preprocessing`]
    width : float
        Factor by which each layer's number of filters is multiplied, at least four filters a layer; heads keep their
        classes.

    Raises
    ------
    SettingsError
        If there is no head, or one without a class, or the width is out of range.
    """

    kind = "student"

    usual_preprocessing: ClassVar[Preprocessing] = Preprocessing()
    """What its input goes through, where nothing else is asked for."""

    def __init__(
        self, heads: Heads | None = None, preprocessing: Preprocessing | None = None, width: float = 1.0
    ) -> None:
        super().__init__()
        heads = {"objects": 1000, "scenes": 401} if heads is None else heads
        least, greatest = WIDTHS
        if isinstance(width, bool) or not isinstance(width, int | float) or not least <= width <= greatest:
            raise SettingsError(f"width is {width!r}; give a number from {least:g} to {greatest:g}, 1 for all filters")
        self.width = float(f"{width:g}")
        self.preprocessing = preprocessing or self.usual_preprocessing
        self.class_names = {
            name: tuple(f"{name} {index}" for index in range(classes)) if isinstance(classes, int) else tuple(classes)
            for name, classes in heads.items()
        }
        if not self.class_names or not all(self.class_names.values()):
            raise SettingsError("a student needs at least one head, and each head at least one class")

    @property
    @abstractmethod
    def windows(self) -> Mapping[str, Window]:
        """Of each layer, from the input on, what a step of it is computed from."""

    @abstractmethod
    def shape(self, layer: str) -> tuple[int, ...]:
        """Return what a layer has of each step: (channels,), or (channels, rows) where it has rows of frequencies."""

    @abstractmethod
    def reset_parameters(self) -> None:
        """Draw all weights anew."""

    @abstractmethod
    def compute(
        self, hidden: Tensor, layers: Sequence[str] | None, deepest: str, first_block: int
    ) -> dict[str, Tensor]:
        """Compute layers as far as the deepest, from the first block that is not known yet.

        Parameters
        ----------
        hidden : Tensor
            The last layer of the block before; of block 0 the waveform (batch, 1, samples).
        layers : sequence of str, optional
            None for the logits of each head.
        deepest : str
        first_block : int
        """

    @property
    def architecture(self) -> str:
        """Name of the stack of layers, with its width where that is not 1: SoundNet8x0.25."""
        return full_name(type(self).__name__, self.width)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of all layers, from the input on."""
        return tuple(self.windows)

    @property
    def trunk(self) -> "Student":
        """Itself."""
        return self

    @property
    def heads(self) -> Mapping[str, nn.Module]:
        """The output convolution of each head."""
        heads = self.get_submodule(self.output_layer)
        assert isinstance(heads, nn.ModuleDict)
        return dict(heads.items())

    def channels(self, layer: str) -> int:
        """Return the number of channels of a layer."""
        return self.shape(layer)[0]

    def classes(self) -> int:
        """Return how many classes all heads have together."""
        return sum(len(names) for names in self.class_names.values())

    def last_layer(self, number: int) -> str:
        """Return the name of the last layer of a block: pool5 of the fifth of `SoundNet8`."""
        return next(layer for layer in reversed(self.layers) if block_number(layer) == number)

    def steps(self, samples: int, layer: str) -> int:
        """Return the number of time steps that a layer has for an input of `samples`."""
        self.depth(layer)
        for name, window in self.windows.items():
            samples = window.steps(samples)
            if name == layer:
                break
        return samples

    def require_steps(self, samples: int, layer: str) -> None:
        """Check that a layer has a step for an input of `samples`.

        Raises
        ------
        TooShortError
            If it has none.
        """
        if self.steps(samples, layer) < 1:
            raise TooShortError(
                f"{samples} samples are too few for {layer}; let the student's preprocessing tile the "
                "sound (to its least_samples), or take shallower layers"
            )

    def receptive_field(self, layer: str) -> ReceptiveField:
        """Return the receptive field of a layer's steps; a step's middle is at `start + i * stride + samples / 2`."""
        self.depth(layer)
        field = ReceptiveField(samples=1, stride=1, start=0)
        for name, window in self.windows.items():
            field = field.after(window.kernel, window.stride, window.padding)
            if name == layer:
                break
        return field

    def modules_before(self, layer: str) -> tuple[str, ...]:
        """Name the convolutions and batch norms of the blocks before a layer's, and what else learns there."""
        if not self.depth(layer):
            return ()
        number = block_number(layer)
        if layer.startswith("pool"):
            # A pooling comes after the convolution of its block.
            number += 1
        return tuple(
            name for name, module in self.named_children() if block_number(name) < number and len(module.state_dict())
        )

    def forward(self, waveform: Tensor, layers: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Compute layers, as every `Network` does; without `layers`, logits (batch, classes, steps) of each head."""
        waveform = as_input(waveform, self)
        deepest = self.output_layer if layers is None else max(layers, key=self.depth)
        self.require_steps(waveform.shape[-1], deepest)
        return self.compute(waveform, layers, deepest, first_block=0)

    def continue_from(self, layer: str, steps: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Compute layers from one on whose steps are known.

        Parameters
        ----------
        layer : str
            The last layer of its block: conv3 or pool5, not conv5.
        steps : (batch, channels, steps) float32
            Of this layer; its rows, if it has some, may be side by side, as so many more channels.
        layers : sequence of str
            This one or later ones.

        Returns
        -------
        dict from layer to (batch, channels, steps), or with rows
        """
        if steps.ndim == 3:
            steps = steps.reshape(len(steps), *self.shape(layer), steps.shape[2])
        deepest = max(layers, key=self.depth)
        found = {layer: steps} if layer in layers else {}
        if deepest == layer:
            return found
        return found | self.compute(steps, layers, deepest, block_number(layer) + 1)

    def fingerprint(self) -> str:
        """SHA-256 over everything that decides what this network answers: weights, layout and preprocessing."""
        description = [self.architecture, self.class_names, asdict(self.preprocessing)]
        text = json.dumps(description, sort_keys=True)
        return hashlib.sha256(f"{text}{state_sha256(self)}".encode()).hexdigest()


def scaled(filters: int, width: float) -> int:
    """Return the filters of a layer at a width: rounded half up, at least four, or as many as there are."""
    return filters if width == 1 else max(min(LEAST_FILTERS, filters), math.floor(width * filters + 0.5))


def full_name(architecture: str, width: float) -> str:
    """Return the name of an architecture at a width, which is not told where it is 1."""
    return architecture if width == 1 else f"{architecture}x{width:g}"


def block_number(name: str) -> int:
    """Return the number of the block that a layer or a module belongs to: 5 for conv5, batchnorm5 and pool5.

    It is 0 for what comes before the first block and bears no number.
    """
    number = re.search(r"\d+$", name)
    return int(number[0]) if number else 0
