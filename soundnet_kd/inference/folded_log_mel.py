"""A `LogMelCNN` as it is run when nothing learns: batch norm in the convolutions, and in the decibels of the bands."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from soundnet_kd.inference.backends import Precision
from soundnet_kd.inference.folded_student import FoldedStudent, affine
from soundnet_kd.models import LogMelCNN
from soundnet_kd.models.log_mel_cnn import FIRST_LAYER, as_picture


class FoldedLogMelCNN(FoldedStudent):
    """Layers of a `LogMelCNN` in evaluation mode.

    Parameters
    ----------
    student : LogMelCNN
    layers : sequence of str
    precision : {"32", "bf16"}
        As `FoldedStudent`'s; the spectrogram is computed in 32 bit.
    """

    student: LogMelCNN

    def __init__(self, student: LogMelCNN, layers: Sequence[str], precision: Precision = "32") -> None:
        super().__init__(student, layers, precision)
        own = next(student.parameters())
        self._bands = [each.to(own.device, own.dtype)[:, None] for each in affine(student.batchnorm0)]
        self._weights: dict[str, tuple[Tensor, Tensor]] = {}
        for layer in self.computed:
            if layer == student.output_layer:
                self._weights[layer] = self.output_weights()
            elif layer.startswith("conv"):
                weight, bias = self.folded(layer)
                self._weights[layer] = weight.contiguous(memory_format=torch.channels_last), bias

    def step(self, layer: str, steps: Tensor, padded: bool = False) -> Tensor:
        """Return a layer's steps, as `FoldedStudent.step` does."""
        student = self.student
        if layer == FIRST_LAYER:
            scale, shift = self._bands
            return student.decibels(steps, padded) * scale + shift
        window = student.windows[layer]
        if layer == student.output_layer:
            weight, bias = self._weights[layer]
            return functional.conv1d(functional.avg_pool1d(steps.to(self.dtype), window.kernel), weight, bias)
        if layer.startswith("pool"):
            return student.pool(layer, steps)
        weight, bias = self._weights[layer]
        padding = (window.padding, 0 if padded else window.padding)
        return functional.relu_(
            functional.conv2d(as_picture(steps.to(self.dtype)), weight, bias, window.stride, padding)
        )
