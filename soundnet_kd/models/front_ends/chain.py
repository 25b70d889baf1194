"""Front ends one after the other, made from settings that a recipe or a checkpoint holds."""

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from soundnet_kd.errors import SettingsError, nearest
from soundnet_kd.models.front_ends.cepstra import MFCC
from soundnet_kd.models.front_ends.front_end import FrontEnd
from soundnet_kd.models.front_ends.resampling import FourierResampling
from soundnet_kd.models.front_ends.spectra import LogMel, LogSpectrogram, MagnitudeSpectrum
from soundnet_kd.models.front_ends.standardisation import Standardisation
from soundnet_kd.models.receptive_field import ReceptiveField

Step = Mapping[str, Any]
"""A front end's `name`, one of `FRONT_ENDS`, and its settings."""

FRONT_ENDS: dict[str, type[FrontEnd]] = {
    "LogSpectrogram": LogSpectrogram,
    "LogMel": LogMel,
    "MFCC": MFCC,
    "MagnitudeSpectrum": MagnitudeSpectrum,
    "FourierResampling": FourierResampling,
    "Standardisation": Standardisation,
}
"""What may come before a network, by the names that recipes use."""


class FrontEndChain(FrontEnd):
    """Front ends, each on what the one before gives.

    Parameters
    ----------
    steps : sequence of mapping
        Such as `[{"name": "FourierResampling", "target_rate": 8000}, {"name": "LogSpectrogram"}]`.
    sample_rate : int
        Sample rate of the waveforms, in Hz.

    Raises
    ------
    SettingsError
        If there is no such front end or setting, or one that wants a waveform follows one that gives a picture.
    """

    def __init__(self, steps: Sequence[Step], sample_rate: int) -> None:
        parts: list[FrontEnd] = []
        rate, rows = sample_rate, 0
        for step in steps:
            part = _build(step, rate, rows)
            rate, rows = part.sample_rate or rate, part.rows
            parts.append(part)
        super().__init__(None if rows else rate, rows)
        self.parts = nn.ModuleList(parts)

    @property
    def description(self) -> list[dict[str, Any]]:
        """What it was made from, with every setting."""
        return [{"name": type(part).__name__, **part.settings} for part in self._parts()]

    def forward(self, waveform: Tensor) -> Tensor:
        """Return what the last front end gives, for waveforms (batch, 1, samples)."""
        for part in self.parts:
            waveform = part(waveform)
        return waveform

    @torch.no_grad()
    def fit(self, waveforms: Iterable[Tensor]) -> None:
        """Set mean and standard deviation of each standardisation.

        Parameters
        ----------
        waveforms : iterable of (batch, 1, samples)
            Waveforms of the training clips; read once per standardisation, so not a generator if there are several.
        """
        for place, part in enumerate(self._parts()):
            if isinstance(part, Standardisation):
                part.fit(self._through(waveform, place) for waveform in waveforms)

    def steps(self, samples: int) -> int:
        """Return the number of steps that the last one makes."""
        for part in self._parts():
            samples = part.steps(samples)
        return samples

    def field_after(self, field: ReceptiveField) -> ReceptiveField | None:
        """Return the receptive field of the last one's steps."""
        found: ReceptiveField | None = field
        for part in self._parts():
            found = None if found is None else part.field_after(found)
        return found

    def _through(self, waveform: Tensor, parts: int) -> Tensor:
        for part in self.parts[:parts]:
            waveform = part(waveform)
        return waveform

    def _parts(self) -> Iterator[FrontEnd]:
        for part in self.parts:
            assert isinstance(part, FrontEnd)
            yield part


def _build(step: Step, rate: int, rows: int) -> FrontEnd:
    settings = dict(step)
    name = settings.pop("name", None)
    if name not in FRONT_ENDS:
        raise SettingsError(f"there is no front end {name!r}{nearest(str(name), FRONT_ENDS)}")
    if name == "Standardisation":
        given: dict[str, Any] = {"sample_rate": None if rows else rate, "rows": rows}
    elif rows:
        raise SettingsError(f"{name} hears a waveform, but a picture comes before it; put it first")
    else:
        given = {"sample_rate": rate}
    known = [key for key in inspect.signature(FRONT_ENDS[name]).parameters if key not in given]
    for key in settings:
        if key not in known:
            raise SettingsError(f"{name} has no setting {key!r}{nearest(key, known) if known else '; it takes none'}")
    try:
        return FRONT_ENDS[name](**given, **settings)
    except TypeError as error:
        raise SettingsError(f"{name}: {error}") from error
