"""What a student is as it is run when nothing learns, layer after layer: the same for every architecture."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from soundnet_kd.inference.backends import Precision
from soundnet_kd.inference.pool import Pooling, pool_pieces
from soundnet_kd.models import Student
from soundnet_kd.models.layers import over_rows
from soundnet_kd.models.preprocessing import as_input


class FoldedStudent(ABC):
    """Layers of a student in evaluation mode, equal to its own as far as the rounding of float32 goes.

    Layers that have rows of frequencies give the means over these, or all of them (`keeps_rows`).

    Parameters
    ----------
    student : Student
        On its device; what it learns later does not come here.
    layers : sequence of str
        The layers wanted; nothing deeper than the deepest of them is prepared or computed.
    precision : {"32", "bf16"}
        bf16 keeps 8 bits of weights and steps; what is given out is float32.

    Attributes
    ----------
    computed : tuple of str
        All layers that the wanted ones take.
    keeps_rows : bool
        Give out rows side by side, as so many more channels: (batch, channels x rows, steps). At first they are not.

    Raises
    ------
    SettingsError
        If a layer does not exist.
    """

    def __init__(self, student: Student, layers: Sequence[str], precision: Precision = "32") -> None:
        self.student = student
        self.layers = tuple(layers)
        self.keeps_rows = False
        self.computed = student.layers[: max(map(student.depth, layers)) + 1]
        own = next(student.parameters())
        self.device = own.device
        self.dtype = torch.bfloat16 if precision == "bf16" else own.dtype

    @abstractmethod
    def step(self, layer: str, steps: Tensor, padded: bool = False) -> Tensor:
        """Return a layer's steps, (batch, channels, steps) or with rows, from those of the layer before.

        Parameters
        ----------
        layer : str
        steps : (batch, channels, steps) or (batch, channels, rows, steps)
        padded : bool
            What its window pads stands before and behind them already.
        """

    def __call__(self, waveform: Tensor) -> dict[str, Tensor]:
        """Return the layers, (batch, channels, steps) each, of preprocessed waveforms (batch, 1, samples).

        Raises
        ------
        TooShortError
            If there are too few samples for a layer.
        """
        return self.following(self.accepted(waveform), self.computed)

    def pooled(
        self, waveform: Tensor, repeats: int, poolings: Sequence[Pooling]
    ) -> dict[str, list[NDArray[np.float32]]]:
        """Return the layers pooled over time in several ways, (batch, channels) each, of sounds that are repeated.

        Parameters
        ----------
        waveform : (batch, 1, samples) float32
            Preprocessed, but for being repeated.
        repeats : int
            How often each is heard.
        poolings : sequence of {"mean", "max", "std"}

        Raises
        ------
        TooShortError
            If there are too few samples for a layer.
        """
        found = self(waveform.repeat(1, 1, repeats))
        return {layer: pool_pieces([(steps, 1)], poolings) for layer, steps in found.items()}

    def accepted(self, waveform: Tensor, repeats: int = 1) -> Tensor:
        """Return a waveform in the type of the weights, if it is long enough when it is repeated."""
        waveform = as_input(waveform, self.student)
        self.student.require_steps(repeats * waveform.shape[-1], self.computed[-1])
        return waveform

    def following(self, hidden: Tensor, following: Sequence[str]) -> dict[str, Tensor]:
        """Return those of layers that are wanted, given what comes before the first."""
        found: dict[str, Tensor] = {}
        for layer in following:
            hidden = self.step(layer, hidden)
            if layer in self.layers:
                found[layer] = self.given_out(hidden)
        return found

    def no_steps(self, layer: str, like: Tensor) -> Tensor:
        """Return a layer of as many sounds as there are in another tensor, without a step."""
        return like.new_zeros(len(like), *self.student.shape(layer), 0)

    def given_out(self, steps: Tensor) -> Tensor:
        """Return a layer as it is given out: in float32, (batch, channels, steps)."""
        steps = readable(steps)
        return steps.flatten(1, -2) if self.keeps_rows else over_rows(steps)

    def output_weights(self) -> tuple[Tensor, Tensor]:
        """Return the weight and bias of the output layer, which has no batch norm, of all heads one after the other."""
        heads = [head.state_dict() for head in self.student.heads.values()]
        weight, bias = (torch.cat([head[part] for head in heads]) for part in ("weight", "bias"))
        return weight.to(self.device, self.dtype), bias.to(self.device, self.dtype)

    def folded(self, layer: str) -> tuple[Tensor, Tensor]:
        """Return the weight and bias of a convolution that its batch norm has gone into."""
        convolution = self.student.get_submodule(layer)
        bias = _wide(convolution, "bias")[0] if "bias" in convolution.state_dict() else 0.0
        scale, shift = affine(self.student.get_submodule(layer.replace("conv", "batchnorm")), bias)
        weight = convolution.state_dict()["weight"]
        folded = weight * scale.reshape(-1, *[1] * (weight.ndim - 1)).to(weight.device, weight.dtype)
        return folded.to(self.device, self.dtype), shift.to(self.device, self.dtype)


def affine(norm: nn.Module, bias: Tensor | float = 0.0) -> tuple[Tensor, Tensor]:
    """Return what a batch norm in evaluation mode multiplies each channel by and adds to it, in double precision.

    The channels are those of a convolution whose `bias` is not added yet.
    """
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    scale, shift, mean, variance = _wide(norm, "weight", "bias", "running_mean", "running_var")
    factor = scale / torch.sqrt(variance + norm.eps)
    return factor, (bias - mean) * factor + shift


def readable(steps: Tensor) -> Tensor:
    """Return float32 of bfloat16, and anything else as it is."""
    return steps.float() if steps.dtype == torch.bfloat16 else steps


def _wide(module: nn.Module, *names: str) -> list[Tensor]:
    """Return tensors of a module in double precision, which Apple's GPUs lack."""
    state = module.state_dict()
    return [state[name].cpu().double() for name in names]
