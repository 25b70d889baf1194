"""Families of NSynth's instruments from the raw waveform of its notes: a simple network and a better one."""

from collections.abc import Sequence

from torch import nn

from soundnet_kd.models.classifiers.sound_classifier import SoundClassifier, average_over_time
from soundnet_kd.models.front_ends.chain import Step
from soundnet_kd.models.preprocessing import ClipPreprocessing

NOTE = ClipPreprocessing(sample_rate=16_000, least_samples=64_000)
"""A note of 4 s."""
TARGET_RATE = 2_000
"""The 64 000 samples of a note become 8 000."""
RESAMPLED: tuple[Step, ...] = ({"name": "FourierResampling", "target_rate": TARGET_RATE},)


class NSynthSimple(SoundClassifier):
    """Two convolutions, one ReLU and an average over time; 9 098 parameters for ten classes.

    Layers: `front_end` (the resampled waveform), `conv1` (linear), `conv2` (after ReLU), `average`, `answer`.

    Parameters
    ----------
    class_names : sequence of str
    preprocessing : ClipPreprocessing, optional
        4 s at 16 kHz if not given.
    front_end : sequence of mapping
        Gives a waveform.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        preprocessing: ClipPreprocessing | None = None,
        front_end: Sequence[Step] = RESAMPLED,
    ) -> None:
        super().__init__(class_names, preprocessing or NOTE, front_end)
        self.add_stage("conv1", nn.Conv1d(1, 64, kernel_size=2), 64)
        self.add_stage("conv2", nn.Sequential(nn.Conv1d(64, 64, kernel_size=2), nn.ReLU()), 64)
        self.add_stage("average", average_over_time(), 64)
        self.add_answer(64)


class NSynthBetter(SoundClassifier):
    """Three convolutions, one leaky ReLU, then every moment of the note; 8 838 158 parameters for ten classes.

    Layers: `front_end` (the resampled waveform), `conv1`, `conv2` (both linear), `conv3` (after leaky ReLU), `pool3`,
    `dense` (linear), `answer`.

    Parameters
    ----------
    class_names : sequence of str
    preprocessing : ClipPreprocessing, optional
        4 s at 16 kHz if not given.
    front_end : sequence of mapping
        Gives a waveform.
    dropout : float
        Dropout probability before `dense`, which the source does not say; nor does it say the slope of the leaky ReLU
        below 0, here 0.3, Keras's default.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        preprocessing: ClipPreprocessing | None = None,
        front_end: Sequence[Step] = RESAMPLED,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(class_names, preprocessing or NOTE, front_end, dropout=dropout)
        self.add_stage("conv1", nn.Conv1d(1, 64, kernel_size=2), 64)
        self.add_stage("conv2", nn.Conv1d(64, 32, kernel_size=2), 32)
        self.add_stage("conv3", nn.Sequential(nn.Conv1d(32, 92, kernel_size=2), nn.LeakyReLU(0.3)), 92)
        self.add_stage("pool3", nn.MaxPool1d(2), 92)
        self.add_stage("dense", nn.Sequential(nn.Dropout(dropout), nn.Flatten(), nn.Linear(self.flat_size(), 24)), 24)
        self.add_answer(24)
