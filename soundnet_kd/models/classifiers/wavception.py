"""WavCeption: speech commands from the raw waveform, by inception blocks in one dimension."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from soundnet_kd.errors import SettingsError
from soundnet_kd.models.classifiers.sound_classifier import SoundClassifier, dense
from soundnet_kd.models.preprocessing import ClipPreprocessing
from soundnet_kd.models.receptive_field import ReceptiveField

DEPTHS = (1, 1, 2, 2, 3, 3, 4, 4, 4)
"""One for each stage."""


class Inception1d(nn.Module):
    """Eight branches over the normalised input, one channel after the other.

    Convolutions of 1, 3, 5 and 5 samples (the last one was called "7", but had 5), of which all but the first follow
    one of a single sample; the greatest and the mean of 3 and of 5 samples, each followed by batch norm and a
    convolution of a single sample. Time stays as long as it is.

    Parameters
    ----------
    channels : int
        Channels of the input.
    depth : int
        Gives `112 * depth + 64` channels.
    """

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.filters = 112 * depth + 64
        self.norm = nn.BatchNorm1d(channels)
        self.branches = nn.ModuleList(
            [
                nn.Sequential(*_convolution(channels, 16 * depth, 1)),
                *(
                    nn.Sequential(*_convolution(channels, 16, 1), *_convolution(16, 32 * depth, kernel))
                    for kernel in (3, 5, 5)
                ),
                *(
                    nn.Sequential(pool, nn.BatchNorm1d(channels), nn.Conv1d(channels, 16, 1))
                    for pool in (
                        nn.MaxPool1d(3, 1, 1),
                        nn.MaxPool1d(5, 1, 2),
                        nn.AvgPool1d(3, 1, 1, count_include_pad=False),
                        nn.AvgPool1d(5, 1, 2, count_include_pad=False),
                    )
                ),
            ]
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """Return (batch, 112 * depth + 64, steps) for (batch, channels, steps)."""
        normalised = self.norm(hidden)
        return torch.cat([branch(normalised) for branch in self.branches], dim=1)

    def field_after(self, field: ReceptiveField) -> ReceptiveField:
        """Return the receptive field of the widest of its branches."""
        return field.after(5, 1, 2)


class WavCeption(SoundClassifier):
    """Nine stages of two inception blocks, each halving the time, then every moment of what is left.

    Layers: `inception1_1`, `inception1_2`, `pool1` … `pool9`, `dense`, `answer`.

    Batch norm has PyTorch's momentum 0.1, not Keras's 0.01: with that, the running statistics of so many norms, one
    after the other, lagged so far behind that a network that had learned for 250 steps still answered at chance.

    Parameters
    ----------
    class_names : sequence of str
    preprocessing : ClipPreprocessing, optional
        1 s at 16 kHz if not given.
    """

    def __init__(self, class_names: Sequence[str], preprocessing: ClipPreprocessing | None = None) -> None:
        asked = preprocessing or ClipPreprocessing()
        super().__init__(class_names, asked)
        channels = 1
        for stage, depth in enumerate(DEPTHS, start=1):
            for number in (1, 2):
                block = Inception1d(channels, depth)
                channels = block.filters
                self.add_stage(f"inception{stage}_{number}", block, channels)
            self.add_stage(f"pool{stage}", nn.MaxPool1d(2), channels)
        # As `flat_size` would find, which takes seconds here.
        flat = channels * (asked.least_samples // 2 ** len(DEPTHS))
        if not (asked.exact and flat):
            raise SettingsError(
                f"WavCeption has weights for every moment of its input, at least {2 ** len(DEPTHS)} samples; "
                "its preprocessing has to be exact and as long as that"
            )
        hidden = dense(flat, 128, nn.BatchNorm1d(128))
        self.add_stage("dense", nn.Sequential(nn.Flatten(), nn.BatchNorm1d(flat), *hidden), 128)
        self.add_answer(128)


def _convolution(channels: int, filters: int, kernel: int) -> tuple[nn.Module, ...]:
    return nn.Conv1d(channels, filters, kernel, padding=kernel // 2), nn.BatchNorm1d(filters), nn.ReLU()
