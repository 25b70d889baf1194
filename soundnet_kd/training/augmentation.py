"""Changes to a training clip that keep true what its sound and its labels say of each other."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data.noise import COLOURS, add_noise, colored_noise, root_mean_square
from soundnet_kd.errors import SettingsError

LOUDEST_NOISE_DB, SOFTEST_NOISE_DB = 5.0, 40.0
"""Signal-to-noise ratios between which noise is drawn."""
LOWEST_NOISE_HZ = 20.0
"""Below this the spectrum is flat, so that brown noise can be heard and does not only drift."""

Example = tuple[NDArray[np.float32], dict[str, NDArray[Any]]]
"""A clip's sound (samples,) in ±1 and, by their names, rows of each step: distributions or features (steps, numbers)
float32, and whole numbers (steps,) that tell where a step is from."""


@dataclass(frozen=True)
class Augmentation:
    """How training clips are varied; by default not at all, as in the paper.

    Attributes
    ----------
    shift : bool
        Shift each clip circularly, with its labels, by a random number of whole label steps: its end comes first.
    mix : float
        Share of the clips that are mixed with another one, their distributions and features in the same proportion
        (between-class learning; Tokozume, Ushiku, Harada, ICLR 2018).
    gain_db : float
        Each clip is made louder or softer by up to this many dB.
    noise : float
        Share of the clips that get noise of a random colour (violet to brown), 5 to 40 dB below their own level.
    """

    shift: bool = False
    mix: float = 0.0
    gain_db: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        for name, share in {"mix": self.mix, "noise": self.noise}.items():
            if not 0 <= share <= 1:
                raise SettingsError(f"augmentation.{name} is {share}; it is a share of the clips, from 0 to 1")
        if self.gain_db < 0:
            raise SettingsError(f"augmentation.gain_db is {self.gain_db}; give how many dB it may go up and down")

    def __bool__(self) -> bool:
        return bool(self.shift or self.mix or self.gain_db or self.noise)

    def __call__(
        self, example: Example, another: Callable[[], Example], sample_rate: int, rng: np.random.Generator
    ) -> Example:
        """Vary a clip.

        Parameters
        ----------
        example : Example
            All of its label steps are of the same length.
        another : callable
            Gives some other clip to mix with.
        sample_rate : int
            In Hz.
        rng : Generator
            Decides everything that is random.

        Returns
        -------
        Example
            New arrays of the same shapes, the sound within ±1.
        """
        if self.shift:
            example = shifted(example, int(rng.integers(_steps(example))))
        if rng.random() < self.mix:
            other = another()
            if self.shift:
                other = shifted(other, int(rng.integers(_steps(other))))
            example = mixed(example, other, share=float(rng.uniform()))
        waveform, distributions = example
        gain = 10 ** (rng.uniform(-self.gain_db, self.gain_db) / 20)
        waveform = waveform * np.float32(gain)
        if rng.random() < self.noise:
            ratio_db = rng.uniform(LOUDEST_NOISE_DB, SOFTEST_NOISE_DB)
            colour = str(rng.choice(COLOURS))
            noise = colored_noise(colour, len(waveform), rng, LOWEST_NOISE_HZ / sample_rate)
            waveform = add_noise(waveform, noise, ratio_db)
        return waveform.clip(-1, 1), distributions


UNCHANGED = Augmentation()


@dataclass(frozen=True)
class ClipAugmentation(Augmentation):
    """How the clips of a distillation are varied; by default not at all, as in the paper.

    Attributes
    ----------
    join : bool
        Fill a clip that is shorter than 20 s with others, one behind the other, each step with its own labels, instead
        of repeating it.
    """

    join: bool = False


UNCHANGED_CLIPS = ClipAugmentation()


def shifted(example: Example, steps: int) -> Example:
    """Turn a clip by whole label steps: what was step `steps` comes first, what was before it follows at the end."""
    waveform, distributions = example
    samples = len(waveform) // _steps(example)
    return np.roll(waveform, -steps * samples), {
        name: np.roll(rows, -steps, axis=0) for name, rows in distributions.items()
    }


def mixed(example: Example, other: Example, share: float) -> Example:
    """Mix two clips so that the first one makes up `share` of what is heard, and of the labels.

    The louder clip is weighed down first: with levels G in dB, the first is weighed by
    p = 1 / (1 + 10^((G1 - G2) / 20) (1 - r) / r) and the sum divided by sqrt(p^2 + (1 - p)^2)
    (Tokozume et al., equation 2; the level is the RMS here). Whole numbers stay those of the first clip.
    """
    (first, first_rows), (second, second_rows) = example, other
    share = float(np.clip(share, 1e-6, 1 - 1e-6))
    weight = 1 / (1 + max(root_mean_square(first), 1e-6) / max(root_mean_square(second), 1e-6) * (1 - share) / share)
    scale = np.hypot(weight, 1 - weight)
    waveform = first * np.float32(weight / scale) + second * np.float32((1 - weight) / scale)
    return waveform, {
        name: rows
        if np.issubdtype(rows.dtype, np.integer)
        else (share * rows + (1 - share) * second_rows[name]).astype(np.float32)
        for name, rows in first_rows.items()
    }


def _steps(example: Example) -> int:
    return len(next(iter(example[1].values())))
