"""Pieces of a clip that are classified one by one."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.transfer.validation import features_of

WindowPooling = Literal["flatten", "mean", "max"]


@dataclass(frozen=True)
class Windows:
    """How a clip's sequence of steps is cut into pieces.

    A classifier is trained on every window with its clip's label, which shows it each sound from several moments on,
    and a clip's answer is the average over its windows.

    Attributes
    ----------
    seconds : float
        Length of a window, rounded to whole steps of the layer, at least one.
    hop_seconds : float, optional
        From one window to the next, rounded likewise. [default: one step]
    pooling : str
        What becomes of a window's steps: flatten (side by side), mean or max.
    clip_seconds : float, optional
        Only so much of each clip, from its start. [default: all]
    """

    seconds: float
    hop_seconds: float | None = None
    pooling: WindowPooling = "mean"
    clip_seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("seconds", "hop_seconds", "clip_seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise SettingsError(f"windows.{name} is {value}; it is a time above 0")
        if self.pooling not in get_args(WindowPooling):
            raise SettingsError(
                f"windows.pooling is {self.pooling!r}; it is one of {', '.join(get_args(WindowPooling))}"
            )

    def of(self, steps: ArrayLike, step_seconds: float) -> NDArray[np.floating]:
        """Cut a sequence.

        Parameters
        ----------
        steps : (steps, channels) float32
            Or lists, a tensor, a table of them.
        step_seconds : float
            From one step to the next.

        Returns
        -------
        (windows, features) float32
            Features are the channels, times the steps of a window where they are flattened. A clip shorter than a
            window is one window by itself, unless they are flattened.

        Raises
        ------
        FormatError
            If `steps` have another shape, or are no numbers.
        SettingsError
            If a clip has fewer steps than a flattened window.
        """
        heard = features_of(steps)
        if heard.ndim != 2 or not len(heard):
            raise FormatError(f"steps have shape {heard.shape}; expected (steps, channels), one step or more")
        length, hop = (max(1, round((time or 0) / step_seconds)) for time in (self.seconds, self.hop_seconds))
        if self.clip_seconds is not None:
            heard = heard[: max(1, round(self.clip_seconds / step_seconds))]
        if len(heard) < length:
            if self.pooling == "flatten":
                raise SettingsError(
                    f"a clip has {len(heard)} steps where a window has {length}; shorten windows.seconds, or take a "
                    "shallower layer"
                )
            length = len(heard)
        windows = np.lib.stride_tricks.sliding_window_view(heard, length, axis=0)[::hop]
        if self.pooling == "flatten":
            return windows.transpose(0, 2, 1).reshape(len(windows), -1)
        return np.asarray(windows.mean(axis=-1) if self.pooling == "mean" else windows.max(axis=-1))
