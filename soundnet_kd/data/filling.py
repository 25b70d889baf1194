"""Sound of any length as the clips of 20 s and four label steps that a student knows from its training."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Sample = TypeVar("Sample", bound=np.generic)

CLIP_SECONDS = 20.0
"""Length of a training clip (SoundNet, section 4)."""
STEP_SECONDS = 5.0
"""Span of sound that one frame labels; 20 s make four steps, as many as the student gives."""


def steps_of(span_seconds: float) -> int:
    """Give how many label steps a clip of up to 20 s has: as many as its length comes nearest to, at least one."""
    return min(max(1, int(span_seconds / STEP_SECONDS + 0.5)), round(CLIP_SECONDS / STEP_SECONDS))


def tiled_to_clip(sound: NDArray[Sample], steps: int, sample_rate: int) -> NDArray[Sample]:
    """Make the sound of some label steps 20 s long, as the paper's data loader did.

    It is padded with zeros (or cut) to `steps` x 5 s, then repeated from its start until it fills 20 s.

    Parameters
    ----------
    sound : (samples,)
    steps : int
    sample_rate : int
        In Hz.

    Returns
    -------
    (20 s of samples,) of the same type
    """
    span = round(steps * STEP_SECONDS * sample_rate)
    kept = sound[:span]
    return np.resize(np.pad(kept, (0, span - len(kept))), round(CLIP_SECONDS * sample_rate))
