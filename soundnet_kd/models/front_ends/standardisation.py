"""Standardisation by the mean and the standard deviation of a data set."""

from collections.abc import Iterable

import torch
from torch import Tensor

from soundnet_kd.errors import SettingsError
from soundnet_kd.models.front_ends.front_end import FrontEnd
from soundnet_kd.models.receptive_field import ReceptiveField


class Standardisation(FrontEnd):
    """Bring what a front end gives to a mean of 0 and a standard deviation of 1 over a data set, row by row.

    Both are buffers, 0 and 1 until `fit` is called: they travel with a network's weights.

    Parameters
    ----------
    sample_rate : int, optional
        Sample rate of the input, if it is a waveform.
    rows : int
        Rows of the input, if it is a picture; 0 for a waveform, which has one mean and one standard deviation.
    """

    def __init__(self, sample_rate: int | None, rows: int) -> None:
        super().__init__(sample_rate, rows)
        shape = (1, 1, rows, 1) if rows else (1, 1, 1)
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("deviation", torch.ones(shape))

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Take mean and standard deviation of a data set, the training clips.

        Parameters
        ----------
        batches : iterable of (batch, 1, samples) or (batch, 1, rows, steps)
            What it will be given.

        Raises
        ------
        SettingsError
            If there is none.
        """
        mean = self.get_buffer("mean")
        count, total, squares = 0, torch.zeros(()), torch.zeros(())
        for batch in batches:
            # In double precision, which Apple's GPUs lack; rows of a power spectrum differ by many orders.
            values = batch.cpu().double()
            count += values.numel() // mean.numel()
            total = total + values.sum(dim=(0, -1), keepdim=True)
            squares = squares + values.square().sum(dim=(0, -1), keepdim=True)
        if not count:
            raise SettingsError("there is nothing to compute mean and standard deviation of; give a training clip")
        centre = total / count
        deviation = (squares / count - centre.square()).clamp(min=0).sqrt()
        mean.copy_(centre)
        # A row that never changes is moved to 0 only.
        self.get_buffer("deviation").copy_(torch.where(deviation > 1e-6 * centre.abs().clamp(min=1e-6), deviation, 1.0))

    def forward(self, waveform: Tensor) -> Tensor:
        """Return its input, standardised."""
        standardised: Tensor = (waveform - self.get_buffer("mean")) / self.get_buffer("deviation")
        return standardised

    def steps(self, samples: int) -> int:
        """Return as many as there are."""
        return samples

    def field_after(self, field: ReceptiveField) -> ReceptiveField:
        """Return the receptive field of its input's steps."""
        return field
