"""Mel-frequency cepstral coefficients (MFCC), with their slopes over time."""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from soundnet_kd.errors import SettingsError, TooShortError
from soundnet_kd.models.front_ends.front_end import require_positive
from soundnet_kd.models.front_ends.spectra import MelSpectrogram
from soundnet_kd.models.receptive_field import ReceptiveField

DELTA_STEPS = 9
"""Columns that a slope is fitted to (librosa's default)."""


class MFCC(MelSpectrogram):
    """Cosine transform of the mel spectrogram in dB, as librosa's `feature.mfcc`; and `feature.delta` of it.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    coefficients : int
        Number of coefficients, from the first on.
    deltas : int
        0: none; 1: the slopes follow as further rows; 2: and then the curvatures.
    bands, window_samples, step_samples : int
        Settings of the mel spectrogram.
    """

    def __init__(
        self,
        sample_rate: int,
        coefficients: int = 13,
        deltas: int = 0,
        bands: int = 128,
        window_samples: int = 2048,
        step_samples: int = 512,
    ) -> None:
        require_positive(coefficients=coefficients)
        if deltas not in (0, 1, 2):
            raise SettingsError(f"deltas is {deltas}; give 0, 1 (slopes) or 2 (slopes and curvatures)")
        if coefficients > bands:
            raise SettingsError(f"{bands} bands have no more than {bands} coefficients, not {coefficients}")
        from scipy.fft import dct

        super().__init__(sample_rate, bands, window_samples, step_samples)
        self.settings = {"coefficients": coefficients, "deltas": deltas, **self.settings}
        self.rows = coefficients * (1 + deltas)
        self.deltas = deltas
        cosines = dct(np.eye(bands), axis=0, norm="ortho")[:coefficients].astype(np.float32)
        self.register_buffer("cosines", torch.from_numpy(cosines), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return coefficients.

        Parameters
        ----------
        waveform : (batch, 1, samples) float32

        Returns
        -------
        (batch, 1, coefficients * (1 + deltas), samples // step + 1) float32

        Raises
        ------
        TooShortError
            If there are fewer than 9 columns to fit slopes to.
        """
        cepstra: Tensor = self.get_buffer("cosines") @ super().forward(waveform)
        columns = cepstra.shape[-1]
        if self.deltas and columns < DELTA_STEPS:
            raise TooShortError(
                f"{columns} columns are too few for deltas, which need {DELTA_STEPS}; lengthen the sound"
            )
        slopes = [
            cepstra @ torch.from_numpy(_derivative(columns, order)).to(cepstra) for order in range(1, self.deltas + 1)
        ]
        return torch.cat([cepstra, *slopes], dim=2)

    def field_after(self, field: ReceptiveField) -> ReceptiveField:
        """Return the receptive field of a column; slopes are fitted to 4 more on each side."""
        of_cepstra = super().field_after(field)
        return of_cepstra.after(DELTA_STEPS, 1, DELTA_STEPS // 2) if self.deltas else of_cepstra


@lru_cache(maxsize=8)
def _derivative(columns: int, order: int) -> NDArray[np.float32]:
    """Return the matrix (columns, columns) that a row is multiplied with from the right to be derived.

    The filter is linear also at the ends, where the polynomial of the nearest whole window is derived.
    """
    from scipy.signal import savgol_filter

    filtered = savgol_filter(np.eye(columns), DELTA_STEPS, polyorder=order, deriv=order, axis=-1, mode="interp")
    return np.asarray(filtered, dtype=np.float32)
