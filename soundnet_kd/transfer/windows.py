"""Windows of a clip, which are classified one by one."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.features.pooling import Pooling, pool_array
from soundnet_kd.transfer.input_checks import features_of

WindowPooling = Literal["flatten", Pooling]


@dataclass(frozen=True)
class Windows:
    """How a clip's sequence of steps is cut into windows.

    A classifier is trained on every window, with the label of its clip; the decision values of a clip are the averages
    over its windows.

    Attributes
    ----------
    seconds : float
        Length of a window, rounded to steps of the layer; at least one step.
    hop_seconds : float, optional
        Distance from one window to the next, rounded likewise. [default: one step]
    pooling : str
        How the steps of a window are combined: flatten (side by side), mean, max or std (standard deviation).
    clip_seconds : float, optional
        Length of each clip that is used, from its start. [default: all]
    """

    seconds: float
    hop_seconds: float | None = None
    pooling: WindowPooling = "mean"
    clip_seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("seconds", "hop_seconds", "clip_seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise SettingsError(f"windows.{name} is {value}; it has to be above 0")
        if self.pooling not in get_args(WindowPooling):
            raise SettingsError(
                f"windows.pooling is {self.pooling!r}; choose one of {', '.join(get_args(WindowPooling))}"
            )

    def cut(self, steps: ArrayLike, step_seconds: float) -> NDArray[np.floating]:
        """Cut a sequence of steps into windows.

        Parameters
        ----------
        steps : (steps, channels) float32
            An array, lists, a tensor or a data frame.
        step_seconds : float
            Time from one step to the next.

        Returns
        -------
        (windows, features) float32
            One feature per channel; with `flatten`, one per channel and step. A clip shorter than a window is a single
            window, except with `flatten`.

        Raises
        ------
        FormatError
            If `steps` have another shape, or are not numbers.
        SettingsError
            If a clip has fewer steps than a flattened window.
        """
        used = features_of(steps)
        if used.ndim != 2 or not len(used):
            raise FormatError(f"steps have shape {used.shape}; expected (steps, channels), one step or more")
        length, hop = (max(1, round((time or 0) / step_seconds)) for time in (self.seconds, self.hop_seconds))
        if self.clip_seconds is not None:
            used = used[: max(1, round(self.clip_seconds / step_seconds))]
        if len(used) < length:
            if self.pooling == "flatten":
                raise SettingsError(
                    f"a clip has {len(used)} steps where a window has {length}; shorten windows.seconds, or take a "
                    "shallower layer"
                )
            length = len(used)
        windows = np.lib.stride_tricks.sliding_window_view(used, length, axis=0)[::hop]
        if self.pooling == "flatten":
            return windows.transpose(0, 2, 1).reshape(len(windows), -1)
        return pool_array(windows, self.pooling, -1)
