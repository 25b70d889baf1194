"""What the teachers say of a stretch of a video: the labelled clip, its steps, and how it is made as long as others."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.errors import FormatError, SettingsError

Sample = TypeVar("Sample", bound=np.generic)
Rows = Mapping[str, NDArray[np.float32]]
"""Arrays by the names of teachers."""

CLIP_SECONDS = 20.0
"""Length of a training clip (SoundNet, section 4)."""
STEP_SECONDS = 5.0
"""Length of the sound that one label is for, as in the paper; 20 s make four steps, as many as the student outputs."""
LEAST_STEP_SECONDS = 0.5
"""A shorter step tells little more: pictures change slowly, and so does what a student's deep layers hear."""
_USUAL_STEPS = (5, 4, 2.5, 2, 1.25, 1, 0.8, 0.5)


def count_clip_steps(step_seconds: float) -> int:
    """Return how many steps a clip of 20 s has.

    Raises
    ------
    SettingsError
        If steps of this length do not fill it, or are longer or shorter than they may be.
    """
    steps = round(CLIP_SECONDS / step_seconds) if step_seconds > 0 else 0
    if not LEAST_STEP_SECONDS <= step_seconds <= STEP_SECONDS or abs(steps * step_seconds - CLIP_SECONDS) > 1e-6:
        near = min(_USUAL_STEPS, key=lambda usual: abs(usual - step_seconds))
        raise SettingsError(
            f"step_seconds is {step_seconds:g}; it is from {LEAST_STEP_SECONDS:g} to {STEP_SECONDS:g}, and a whole "
            f"number of steps makes {CLIP_SECONDS:g} s: {', '.join(f'{usual:g}' for usual in _USUAL_STEPS)}; the "
            f"nearest is {near:g}"
        )
    return steps


def count_steps(span_seconds: float, step_seconds: float = STEP_SECONDS) -> int:
    """Return how many label steps a clip of up to 20 s has: as many as its length comes nearest to, at least one."""
    return min(max(1, int(span_seconds / step_seconds + 0.5)), round(CLIP_SECONDS / step_seconds))


def tile_to_clip(
    sound: NDArray[Sample], steps: int, sample_rate: int, step_seconds: float = STEP_SECONDS
) -> NDArray[Sample]:
    """Make the sound of some label steps 20 s long, as the paper's data loader did.

    It is padded with zeros (or cut) to `steps` x `step_seconds`, then repeated from its start until it fills 20 s.

    Parameters
    ----------
    sound : (samples,)
    steps : int
    sample_rate : int
        In Hz.
    step_seconds : float

    Returns
    -------
    (20 s of samples,) of the same type
    """
    span = round(steps * step_seconds * sample_rate)
    kept = sound[:span]
    return np.resize(np.pad(kept, (0, span - len(kept))), round(CLIP_SECONDS * sample_rate))


@dataclass(frozen=True)
class LabelledClip:
    """Up to 20 s of one video's sound, with what the teachers saw at each of its steps.

    Attributes
    ----------
    source : str
        The video, relative to the folder that was labelled.
    start_seconds : float
        Where the clip starts in its video.
    sound : (samples,) int16
        Mono, at the targets' sample rate, at most `steps` x `step_seconds`.
    frame_seconds : (steps,) float64, or (steps, frames)
        Time of the frame, or of the frames, that each step was labelled from.
    distributions : mapping from teacher to (steps, classes) float32
        Each row is a distribution, of several frames their mean.
    features : mapping from teacher to (steps, dims) float32
        What the teacher had before its last layer, of several frames their mean; empty where it was not kept.
    step_seconds : float
        Length of a step.
    frame_distributions : mapping from teacher to (steps, frames, classes) float32
        Those of the frames one by one; empty where they were not kept, or not asked for.
    frame_features : mapping from teacher to (steps, frames, dims) float32
        Those of the frames one by one; likewise.
    """

    source: str
    start_seconds: float
    sound: NDArray[np.int16]
    frame_seconds: NDArray[np.float64]
    distributions: Rows
    features: Rows = field(default_factory=dict)
    step_seconds: float = STEP_SECONDS
    frame_distributions: Rows = field(default_factory=dict)
    frame_features: Rows = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.sound.ndim != 1 or self.sound.dtype != np.int16:
            raise FormatError(f"sound must be (samples,) int16, not {self.sound.shape} {self.sound.dtype}")
        for what, of_steps, of_frames in (
            ("distribution", self.distributions, self.frame_distributions),
            ("feature", self.features, self.frame_features),
        ):
            for name, rows in of_steps.items():
                if rows.ndim != 2 or len(rows) != len(self.frame_seconds):
                    raise FormatError(f"{name}: {rows.shape} does not give one {what} for each step")
            for name, rows in of_frames.items():
                if rows.ndim != 3 or rows.shape[:2] != self.frame_seconds.shape:
                    raise FormatError(f"{name}: {rows.shape} does not give one {what} for each frame of each step")

    def __repr__(self) -> str:
        teachers = ", ".join(f"{name} {rows.shape}" for name, rows in self.distributions.items())
        features = "".join(f", features of {name} {rows.shape}" for name, rows in self.features.items())
        seen = f"{teachers}{features}"
        return f"LabelledClip({self.source!r} from {self.start_seconds:g} s, sound {self.sound.shape}, {seen})"


@dataclass(frozen=True)
class LabelledVideo:
    """What was used of a video.

    Attributes
    ----------
    source : str
        As the clips name it.
    fingerprint : str
        Tells its file from others.
    seconds : float
        How much sound with pictures was looked at.
    silent_seconds, rest_seconds, behind_jump_seconds : float
        How much of it was left out: silent clips, ends too short for a step, and what lies behind a jump of the clock.
    failed_steps : int
        How many steps were left out since there was no frame of them, or since a teacher's answer was not finite.
    """

    source: str
    fingerprint: str
    seconds: float
    silent_seconds: float
    rest_seconds: float
    behind_jump_seconds: float
    failed_steps: int = 0


@dataclass(frozen=True)
class RefusedVideo:
    """A video that could not be used.

    Attributes
    ----------
    source : str
        As clips would name it.
    reason : str
    bytes, modified_ns, sha256 : str
        Which file it was: its length, when it was changed, its hash. Empty where the machine may be the cause.
    """

    source: str
    reason: str
    bytes: str = ""
    modified_ns: str = ""
    sha256: str = ""


SMALLEST_WHOLE = 2.0**-10
"""Below this float16 begins to lose digits of what is a thousandth of it."""


def to_half(rows: NDArray[np.float32]) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """Return rows as float16, and what each is to be multiplied by: 1, but where it is too large or too small for that.

    The factors are powers of two, so that they cost no digit.

    Parameters
    ----------
    rows : (..., dims) float32
        Finite.

    Returns
    -------
    (..., dims) float16, (...) float32
    """
    largest = np.abs(rows).max(axis=-1, initial=0)
    fits = (largest <= np.finfo(np.float16).max) & ((largest >= SMALLEST_WHOLE) | (largest == 0))
    factor = np.where(fits, 1, np.ldexp(np.float32(1), np.frexp(largest)[1] - 1)).astype(np.float32)
    return (rows / factor[..., None]).astype(np.float16), factor


def from_half(rows: NDArray[np.float16], factor: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows as they were before `to_half`, to half precision."""
    wide: NDArray[Any] = rows.astype(np.float32) * factor[..., None]
    return np.asarray(wide, dtype=np.float32)
