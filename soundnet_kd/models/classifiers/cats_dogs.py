"""Cats and dogs from the raw waveform, by ten convolutions that can be peeled layer by layer."""

from collections.abc import Sequence

from torch import nn

from soundnet_kd.models.classifiers.sound_classifier import SoundClassifier, average_over_time
from soundnet_kd.models.layers import SameConv1d, batch_norm_1d
from soundnet_kd.models.preprocessing import ClipPreprocessing

BLOCKS = 10
FILTERS = 10


class CatsDogs(SoundClassifier):
    """Ten convolutions of ten filters, each halving the time, then the average over what is left of it.

    Layers: `conv1` … `conv10` (after batch norm and ReLU), `average`, `answer`. It takes sounds of any length.

    Parameters
    ----------
    class_names : sequence of str
        One for each logit; a single one for two classes, as there.
    preprocessing : ClipPreprocessing, optional
        Sounds at 16 kHz, each scaled to mean 0 and standard deviation 1, at least 1 s, if not given.
    """

    def __init__(self, class_names: Sequence[str], preprocessing: ClipPreprocessing | None = None) -> None:
        super().__init__(class_names, preprocessing or ClipPreprocessing(exact=False, standardise=True))
        channels = 1
        for number in range(1, BLOCKS + 1):
            convolution = SameConv1d(channels, FILTERS, kernel=4, stride=2)
            block = nn.Sequential(convolution, batch_norm_1d(FILTERS), nn.ReLU())
            self.add_stage(f"conv{number}", block, FILTERS)
            channels = FILTERS
        self.add_stage("average", average_over_time(), FILTERS)
        self.add_answer(FILTERS)
