"""A student as it is run when nothing learns: batch norm in the convolutions, and these in phases on a CPU."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from soundnet_kd.inference.backends import Precision
from soundnet_kd.inference.first_block import FirstBlock
from soundnet_kd.inference.folded_student import FoldedStudent, readable
from soundnet_kd.inference.pool import Pooling, pool_pieces
from soundnet_kd.models import SoundNet
from soundnet_kd.models.receptive_field import Block
from soundnet_kd.models.student import block_number


class FoldedSoundNet(FoldedStudent):
    """Layers of a `SoundNet` in evaluation mode.

    On a CPU a convolution of stride 2 is computed as one of stride 1 over twice as many channels, even and odd steps:
    where the channels of a step lie side by side in memory, this only gives another shape to what is there. Other
    devices have kernels of their own for strides.

    Parameters
    ----------
    student : SoundNet
    layers : sequence of str
    precision : {"32", "bf16"}
        As `FoldedStudent`'s.
    """

    student: SoundNet

    def __init__(self, student: SoundNet, layers: Sequence[str], precision: Precision = "32") -> None:
        super().__init__(student, layers, precision)
        in_phases = self.device.type == "cpu"
        self._convolutions: dict[str, _Convolution | FirstBlock] = {}
        for layer in self.computed:
            if layer == student.output_layer:
                self._output = self.output_weights()
            elif layer.startswith("conv"):
                block = student.blocks[block_number(layer) - 1]
                first = layer == student.layers[0] and in_phases
                make = FirstBlock if first else _PhaseConvolution if in_phases else _Convolution
                self._convolutions[layer] = make(block, *self.folded(layer))

    def pooled(
        self, waveform: Tensor, repeats: int, poolings: Sequence[Pooling]
    ) -> dict[str, list[NDArray[np.float32]]]:
        """Pool as `FoldedStudent.pooled` does; the first block of what is repeated is computed once."""
        waveform = self.accepted(waveform, repeats)
        conv1, *later = self.computed
        first = self._convolutions[conv1]
        found: dict[str, list[NDArray[np.float32]]] = {}
        if isinstance(first, FirstBlock):
            if not first.takes_repeats(waveform.shape[-1]):
                waveform, repeats = waveform.repeat(1, 1, repeats), 1
            block = self.student.blocks[0]
            _, steps = block.steps(repeats * waveform.shape[-1])
            rows = waveform.new_empty(len(waveform), steps, block.filters, dtype=self.dtype)
            pooled = []
            # One sound after the other, whose steps are still near the processor when they are pooled.
            for sound, row in zip(torch.split(waveform[:, 0].to(self.dtype), 1), torch.split(rows, 1), strict=True):
                pieces, maxima = first.pooled_repeats(sound, repeats) if repeats > 1 else first.pooled(sound)
                if conv1 in self.layers:
                    pooled.append(pool_pieces([(readable(each), times) for each, times in pieces], poolings))
                torch.cat([each.transpose(1, 2) for each in maxima], dim=1, out=row)
            if pooled:
                found[conv1] = [np.concatenate(same) for same in zip(*pooled, strict=True)]
            if not later:
                return found
            pool1, *later = later
            hidden = rows.transpose(1, 2)
            kept = {pool1: readable(hidden)} if pool1 in self.layers else {}
            kept |= self.following(hidden, later, means=tuple(poolings) == ("mean",))
        else:
            kept = self.following(waveform.repeat(1, 1, repeats), self.computed, means=tuple(poolings) == ("mean",))
        return found | {layer: pool_pieces([(each, 1)], poolings) for layer, each in kept.items()}

    def step(self, layer: str, steps: Tensor, padded: bool = False) -> Tensor:
        """Return a layer's steps, (batch, channels, steps), from those of the layer before.

        Parameters
        ----------
        layer : str
        steps : (batch, channels, steps)
        padded : bool
            What a convolution pads stands before and behind them already.
        """
        if layer == self.student.output_layer:
            output = self.student.output
            weight, bias = self._output
            return functional.conv1d(steps.to(self.dtype), weight, bias, output.stride, 0 if padded else output.padding)
        block = self.student.blocks[block_number(layer) - 1]
        if layer.startswith("conv"):
            return self._convolutions[layer].steps(steps.to(self.dtype), 0 if padded else block.padding)
        if steps.stride(1) != 1:
            return functional.max_pool1d(steps, block.pool)
        # The channels of a step lie side by side.
        count = steps.shape[2] // block.pool
        rows = steps.transpose(1, 2)[:, : count * block.pool]
        return rows.reshape(len(rows), count, block.pool, -1).amax(2).transpose(1, 2)

    def _mean_output(self, hidden: Tensor) -> Tensor:
        """Return the average step of the output layer, (batch, channels, 1).

        It has no ReLU, so that this is its answer to the average of what its steps hear.
        """
        output = self.student.output
        weight, bias = self._output
        heard = functional.pad(hidden, (output.padding, output.padding)).unfold(2, output.kernel, output.stride)
        return functional.linear(heard.mean(2).flatten(1), weight.flatten(1), bias)[:, :, None]

    def following(self, hidden: Tensor, following: Sequence[str], means: bool = False) -> dict[str, Tensor]:
        """Return those of layers that are wanted, given what comes before the first.

        Where only `means` over time are asked for, the output layer has a single step.
        """
        found: dict[str, Tensor] = {}
        for layer in following:
            alone = means and layer == self.student.output_layer
            hidden = self._mean_output(hidden) if alone else self.step(layer, hidden)
            if layer in self.layers:
                found[layer] = readable(hidden)
        return found


class _Convolution:
    """A convolution with ReLU."""

    def __init__(self, block: Block, weight: Tensor, bias: Tensor) -> None:
        self.block = block
        self.weight, self.bias = weight, bias

    def steps(self, steps: Tensor, padding: int) -> Tensor:
        """Convolve (batch, channels, steps), with so many zeros before and behind them."""
        return functional.relu_(functional.conv1d(steps, self.weight, self.bias, self.block.stride, padding))


class _PhaseConvolution(_Convolution):
    """The same in phases; the stride divides kernel and padding."""

    def __init__(self, block: Block, weight: Tensor, bias: Tensor) -> None:
        filters, channels, kernel = weight.shape
        phases = weight.reshape(filters, channels, kernel // block.stride, block.stride).permute(0, 3, 1, 2)
        flat = phases.flatten(1, 2)[:, :, None]
        super().__init__(block, flat.contiguous(memory_format=torch.channels_last), bias)

    def steps(self, steps: Tensor, padding: int) -> Tensor:
        """Convolve, fastest where the channels of a step lie side by side, as they do in the answer."""
        stride = self.block.stride
        count = (steps.shape[2] + 2 * padding - self.block.kernel) // stride + 1
        rows = steps.transpose(1, 2)
        if surplus := -steps.shape[2] % stride:
            rows = functional.pad(rows, (0, 0, 0, surplus))
        phases = rows.reshape(len(rows), 1, rows.shape[1] // stride, stride * rows.shape[2]).permute(0, 3, 1, 2)
        found = functional.conv2d(phases, self.weight, self.bias, padding=(0, padding // stride))
        return functional.relu_(found)[:, :, 0, :count]
