"""Voice activity: where in a sound somebody speaks, and the silence before and after that.

The detector knows four rates only. A sound of another rate, which is in memory as a whole, is resampled for it by
SciPy's polyphase filter; what is kept of the sound is at its own rate. How files are resampled as they are read is in
`soundnet_kd.media.resampling`.
"""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.errors import SettingsError
from soundnet_kd.storage import write_csv

VOICE_FILE = "voice.csv"
FRAME_SECONDS = 0.03
"""The longest frames that the detector takes."""
RATES = (8_000, 16_000, 32_000, 48_000)
"""In Hz; sounds of other rates are resampled to the second one for the detector."""

Span = tuple[int, int]
"""First sample, and the one after the last."""


@dataclass(frozen=True)
class VoiceActivity:
    """Cut off what comes before the first and after the last voice, found by WebRTC's detector; pauses stay.

    A sound without a voice stays whole. The detector looks for sound above the background with a spectrum like that of
    speech; it takes loud noise and tones for a voice too.

    Attributes
    ----------
    aggressiveness : int
        From 0, which accepts most sounds as a voice, to 3, which accepts the fewest.
    margin_seconds : float
        Time that is kept before and after the voice, for its quiet beginning and end.
    """

    aggressiveness: int = 2
    margin_seconds: float = 0.1

    def __post_init__(self) -> None:
        if self.aggressiveness not in range(4):
            raise SettingsError(f"voice_activity.aggressiveness is {self.aggressiveness}; give 0, 1, 2 or 3")
        if not 0 <= self.margin_seconds < math.inf:
            raise SettingsError(f"voice_activity.margin_seconds is {self.margin_seconds}; it has to be at least 0")

    def span(self, waveform: NDArray[np.float32], sample_rate: int) -> Span | None:
        """Return where the voice is, with its margins; None where there is none.

        Parameters
        ----------
        waveform : (samples,) float32 in ±1
        sample_rate : int
            In Hz.
        """
        voiced = np.flatnonzero(self._frames(waveform, sample_rate))
        if not len(voiced):
            return None
        first, last = float(voiced[0]) * FRAME_SECONDS, float(voiced[-1] + 1) * FRAME_SECONDS
        start = round((first - self.margin_seconds) * sample_rate)
        end = round((last + self.margin_seconds) * sample_rate)
        return max(0, start), min(len(waveform), end)

    def _frames(self, waveform: NDArray[np.float32], sample_rate: int) -> list[bool]:
        """Return whether there is a voice in each frame; the last one is filled up with silence."""
        import webrtcvad
        from scipy.signal import resample_poly

        rate = sample_rate if sample_rate in RATES else RATES[1]
        if rate != sample_rate:
            common = math.gcd(rate, sample_rate)
            waveform = resample_poly(waveform, rate // common, sample_rate // common)
        length = round(FRAME_SECONDS * rate)
        filled = np.pad(waveform, (0, -len(waveform) % length))
        frames = np.round(np.clip(filled, -1.0, 1.0) * (2**15 - 1)).astype(np.int16).reshape(-1, length)
        detector = webrtcvad.Vad(self.aggressiveness)
        # It begins by taking any background for a voice: the first pass is for learning this sound's own.
        for frame in frames:
            detector.is_speech(frame.tobytes(), rate)
        return [detector.is_speech(frame.tobytes(), rate) for frame in frames]


def write_spans(path: str | Path, spans: Mapping[str, Span | None], sample_rate: int) -> None:
    """Write what is kept of each sound, a row each, in seconds; nothing where it has no voice and stays whole."""
    path = Path(path)
    write_csv(
        path,
        ("id", "start", "end"),
        (
            (name, *([f"{place / sample_rate:.4f}" for place in span] if span else ["", ""]))
            for name, span in spans.items()
        ),
    )


def count_voiceless(path: Path) -> int:
    """Count the sounds of such a table that have no voice."""
    with path.open(newline="", encoding="utf-8") as handle:
        return sum(not row["start"] for row in csv.DictReader(handle))
