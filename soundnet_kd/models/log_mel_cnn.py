"""A student over log-mel spectrograms: the kind of network that sounds are heard with today, small enough for a CPU."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from soundnet_kd.models.front_ends import MelSpectrogram
from soundnet_kd.models.preprocessing import Preprocessing
from soundnet_kd.models.receptive_field import Window
from soundnet_kd.models.student import Heads, Student, block_number, scaled

FIRST_LAYER = "logmel"
BANDS = 64
"""Mel bands, as of PANNs (Kong et al., 2020)."""
WINDOW_SAMPLES = 1024
"""Length of a window, as of PANNs; 46 ms at 22 050 Hz."""
ANSWER_SECONDS, ANSWER_COLUMNS = 5.0, 256
"""A step of the output, and the columns of the spectrogram in it: 19.5 ms each, so that 20 s have 4 steps."""
LEAST_POWER = 1e-8
"""Is silence: -80 dB, nine above the noise of 16 bit, so that no answer depends on what engines round off."""
MEAN_DB, SPREAD_DB = -31.0, 28.0
"""Mean and standard deviation of the bands over all of ESC-50 (16 kHz, 8 bit), which the first batch norm begins
with."""


@dataclass(frozen=True)
class PictureBlock:
    """A 3 x 3 convolution without bias, batch norm and ReLU, then max-pooling where `pool` is more than 1.

    Attributes
    ----------
    filters : int
    stride : int
        Over rows and steps.
    pool : int
        Over rows and steps.
    """

    filters: int
    stride: int = 1
    pool: int = 1


KERNEL, PADDING = 3, 1


class LogMelCNN(Student):
    """A log-mel spectrogram, and 2-D convolutions over frequency and time, with one output for each teacher.

    Layers are called as those of `SoundNet`: `conv1`, `conv2` … (after ReLU) and `pool2`, `pool3` … (after the
    max-pool), which have rows of frequencies, the lowest first: (batch, channels, rows, steps). Before them comes
    `logmel`, the bands in dB, each standardised by a batch norm: (batch, bands, steps). `pool5` is the mean
    over the rows of `conv5`, (batch, channels, steps), a step for each 0.31 s: the layer for transfer. The output,
    `conv6`, is linear in the means of pool5 over 5 s.

    Spectra are as librosa's, on Slaney's mel scale from 0 Hz to half the rate; decibels are absolute, so that no step
    depends on how loud the rest of a sound is.

    Parameters
    ----------
    heads : mapping from head to class names, or to the number of classes, optional
    preprocessing : Preprocessing, optional
    width : float
        As `Student`'s.
    """

    usual_preprocessing = Preprocessing(amplitude=1.0)

    blocks: tuple[PictureBlock, ...] = (
        PictureBlock(32, stride=2),
        PictureBlock(64, pool=2),
        PictureBlock(128, pool=2),
        PictureBlock(256, pool=2),
        PictureBlock(512),
    )

    def __init__(
        self, heads: Heads | None = None, preprocessing: Preprocessing | None = None, width: float = 1.0
    ) -> None:
        super().__init__(heads, preprocessing, width)
        rate = self.preprocessing.sample_rate
        # Rounded down: a sound of so many times 5 s has an answer for each of them, at any rate.
        self.front_end = MelSpectrogram(rate, BANDS, WINDOW_SAMPLES, int(rate * ANSWER_SECONDS / ANSWER_COLUMNS))
        self.batchnorm0 = nn.BatchNorm1d(BANDS)
        channels, rows, columns = 1, BANDS, 1
        self._shapes: dict[str, tuple[int, ...]] = {FIRST_LAYER: (BANDS,)}
        self._windows = {
            FIRST_LAYER: Window(self.front_end.window_samples, self.front_end.step_samples, WINDOW_SAMPLES // 2)
        }
        for number, block in enumerate(self.blocks, start=1):
            filters = scaled(block.filters, self.width)
            convolution = nn.Conv2d(channels, filters, KERNEL, block.stride, PADDING, bias=False)
            self.add_module(f"conv{number}", convolution)
            self.add_module(f"batchnorm{number}", nn.BatchNorm2d(filters))
            window = Window(KERNEL, block.stride, PADDING)
            channels, rows, columns = filters, window.steps(rows), columns * block.stride * block.pool
            self._shapes[f"conv{number}"], self._windows[f"conv{number}"] = (channels, rows), window
            rows //= block.pool
            if number == len(self.blocks):
                self._shapes[f"pool{number}"], self._windows[f"pool{number}"] = (channels,), Window(1, 1)
            elif block.pool > 1:
                window = Window(block.pool, block.pool)
                self._shapes[f"pool{number}"], self._windows[f"pool{number}"] = (channels, rows), window
        output = f"conv{len(self.blocks) + 1}"
        self._shapes[output] = (self.classes(),)
        self._windows[output] = Window(ANSWER_COLUMNS // columns, ANSWER_COLUMNS // columns)
        self.add_module(
            output,
            nn.ModuleDict({name: nn.Conv1d(channels, len(names), 1) for name, names in self.class_names.items()}),
        )
        self.reset_parameters()

    @property
    def windows(self) -> Mapping[str, Window]:
        """Of each layer, from the input on, what a step of it is computed from."""
        return self._windows

    def shape(self, layer: str) -> tuple[int, ...]:
        """Return what a layer has of each step: (channels,), or (channels, rows) where it has rows of frequencies."""
        self.depth(layer)
        return self._shapes[layer]

    def reset_parameters(self) -> None:
        """Draw all weights anew: convolutions as He et al. (2015) do for ReLU, heads N(0, 0.01), biases 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif isinstance(module, nn.Conv1d):
                nn.init.normal_(module.weight, 0.0, 0.01)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.reset_parameters()
        nn.init.constant_(self.batchnorm0.get_buffer("running_mean"), MEAN_DB)
        nn.init.constant_(self.batchnorm0.get_buffer("running_var"), SPREAD_DB**2)

    def compute(
        self, hidden: Tensor, layers: Sequence[str] | None, deepest: str, first_block: int
    ) -> dict[str, Tensor]:
        """Compute layers as far as the deepest, from the first block that is not known yet."""
        found: dict[str, Tensor] = {}
        for layer in self.layers[: self.depth(deepest) + 1]:
            if block_number(layer) < first_block:
                continue
            if layer == self.output_layer:
                means = functional.avg_pool1d(hidden, self.windows[layer].kernel)
                logits: dict[str, Tensor] = {name: head(means) for name, head in self.heads.items()}
                if layers is None:
                    return logits
                hidden = torch.cat(list(logits.values()), dim=1)
            elif layer == FIRST_LAYER:
                hidden = self.batchnorm0(self.decibels(hidden))
            elif layer.startswith("conv"):
                convolution, norm = (
                    self.get_submodule(f"{kind}{block_number(layer)}") for kind in ("conv", "batchnorm")
                )
                hidden = functional.relu(norm(convolution(as_picture(hidden))))
            else:
                hidden = self.pool(layer, hidden)
            if layers is not None and layer in layers:
                found[layer] = hidden
        return found

    def decibels(self, waveform: Tensor, padded: bool = False) -> Tensor:
        """Return the bands in dB, (batch, bands, steps), of waveforms (batch, 1, samples).

        Where they are `padded`, the silence beyond both ends is there already.
        """
        return self.front_end.decibels(waveform, padded, LEAST_POWER).squeeze(1)

    def pool(self, layer: str, steps: Tensor) -> Tensor:
        """Return a pooling's steps from those of the convolution before it, (batch, channels, rows, steps)."""
        if len(self.shape(layer)) == 1:
            return steps.mean(dim=2)
        return functional.max_pool2d(steps, self.windows[layer].kernel)


def as_picture(steps: Tensor) -> Tensor:
    """Return what a 2-D convolution takes: bands as the rows of a single channel."""
    return steps.unsqueeze(1) if steps.ndim == 3 else steps
