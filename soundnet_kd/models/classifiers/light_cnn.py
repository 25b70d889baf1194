"""Speech commands from spectrograms, by a light convolutional network."""

from collections.abc import Sequence

from torch import nn

from soundnet_kd.models.classifiers.sound_classifier import SoundClassifier, dense
from soundnet_kd.models.front_ends.chain import Step
from soundnet_kd.models.layers import batch_norm_1d, batch_norm_2d
from soundnet_kd.models.preprocessing import ClipPreprocessing

WORD = ClipPreprocessing(sample_rate=16_000, least_samples=16_000, amplitude=2.0**15)
"""One second in units of 16 bit, in which the constant of the log spectrogram, 1e-10, is below all that is audible."""
LOG_SPECTROGRAM_8_KHZ: tuple[Step, ...] = (
    {"name": "FourierResampling", "target_rate": 8_000},
    {"name": "LogSpectrogram", "window_seconds": 0.02, "step_seconds": 0.01},
)
"""A picture of 81 rows and 99 steps (99 x 81 x 1 in Keras's order)."""
DROPOUT = 0.2


class LightCNN(SoundClassifier):
    """Five small convolutions over a spectrogram and two dense layers.

    Layers: `front_end`, `conv1`, `conv2`, `pool2`, `conv3`, `conv4`, `pool4`, `conv5`, `pool5`, `dense1`, `dense2`,
    `answer`; convolutions and dense layers after ReLU, the latter after batch norm too.

    Parameters
    ----------
    class_names : sequence of str
    preprocessing : ClipPreprocessing, optional
        1 s at 16 kHz if not given.
    front_end : sequence of mapping
        Gives a picture.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        preprocessing: ClipPreprocessing | None = None,
        front_end: Sequence[Step] = LOG_SPECTROGRAM_8_KHZ,
    ) -> None:
        super().__init__(class_names, preprocessing or WORD, front_end)
        self.add_stage("conv1", nn.Sequential(batch_norm_2d(1), nn.Conv2d(1, 8, 2), nn.ReLU()), 8)
        self.add_stage("conv2", nn.Sequential(nn.Conv2d(8, 8, 2), nn.ReLU()), 8)
        self.add_stage("pool2", _pool(), 8)
        self.add_stage("conv3", nn.Sequential(nn.Conv2d(8, 16, 3), nn.ReLU()), 16)
        self.add_stage("conv4", nn.Sequential(nn.Conv2d(16, 16, 3), nn.ReLU()), 16)
        self.add_stage("pool4", _pool(), 16)
        self.add_stage("conv5", nn.Sequential(nn.Conv2d(16, 32, 3), nn.ReLU()), 32)
        self.add_stage("pool5", _pool(), 32)
        self.add_stage("dense1", nn.Sequential(nn.Flatten(), *dense(self.flat_size(), 128, batch_norm_1d(128))), 128)
        self.add_stage("dense2", dense(128, 128, batch_norm_1d(128)), 128)
        self.add_answer(128)


def _pool() -> nn.Sequential:
    return nn.Sequential(nn.MaxPool2d(2), nn.Dropout(DROPOUT))
