"""What a front end is: waveforms in, something easier to learn from out, in batches on any device."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from soundnet_kd.errors import SettingsError, TooShortError
from soundnet_kd.models.receptive_field import ReceptiveField


class FrontEnd(nn.Module, ABC):
    """Signal processing in front of a network; without weights that learn.

    Parameters
    ----------
    **settings
        What the front end was made with besides the rate of its input, to be written down.

    Attributes
    ----------
    settings : dict
    sample_rate : int, optional
        Sample rate of the output, if it is a waveform (batch, 1, samples).
    rows : int
        Rows of the output, if it is a picture (batch, 1, rows, steps); 0 for a waveform.
    """

    def __init__(self, sample_rate: int | None, rows: int, **settings: Any) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.rows = rows
        self.settings = settings

    @abstractmethod
    def forward(self, waveform: Tensor) -> Tensor:
        """Return the picture or the waveform of waveforms (batch, 1, samples)."""

    @abstractmethod
    def steps(self, samples: int) -> int:
        """Return how many steps it makes of a number of samples (or steps); below 1 where they are too few."""

    @abstractmethod
    def field_after(self, field: ReceptiveField) -> ReceptiveField | None:
        """Return the receptive field of its steps, given that of its input's; None if each depends on everything."""


def require_positive(**settings: float) -> None:
    """Check that settings are above 0.

    Raises
    ------
    SettingsError
        If one is not.
    """
    for name, value in settings.items():
        if not value > 0:
            raise SettingsError(f"{name} is {value}; it has to be above 0")


def require_length(waveform: Tensor, samples: int, what: str) -> None:
    """Check that there is enough of a waveform, and that it is of floats.

    Raises
    ------
    SettingsError
        If it is of whole numbers, which no preprocessing has brought to ±1.
    TooShortError
        If it has fewer samples than that.
    """
    if not waveform.is_floating_point():
        raise SettingsError(f"{what} was given {waveform.dtype}; give each sound to the network's preprocessing first")
    if waveform.shape[-1] < samples:
        raise TooShortError(
            f"{waveform.shape[-1]} samples are too few for {what}, which needs {samples}; "
            "let the network's preprocessing fill the sound up (least_samples)"
        )
