"""A student that takes a sound segment by segment, and answers as if it had been given it at once.

Each convolution and each pooling keeps the end of its input that its next steps need too, and no more. So segments may
be cut anywhere, nothing is computed twice, zeros are padded at the true start and the true end of the sound only, and
pooling windows stay where they are in one pass over the whole sound.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from soundnet_kd.inference.folded_student import FoldedStudent
from soundnet_kd.models.receptive_field import Window


def stream_layers(student: FoldedStudent, segments: Iterable[Tensor]) -> Iterator[dict[str, Tensor]]:
    """Return a student's layers for a sound of any length in bounded memory.

    Parameters
    ----------
    student : FoldedStudent
        It says which layers are wanted.
    segments : iterable of (batch, 1, samples) float32
        The sound, scaled by the student's preprocessing, in segments of any length.

    Yields
    ------
    dict from layer to (batch, channels, steps)
        The steps that a segment completes, none of a deep layer for most segments. Put together they are what
        `student(sound)` gives, as far as the rounding of float32 goes; a sound too short for a layer gives no step of
        it.
    """
    stages = _Stages(student)
    silence: Tensor | None = None
    for segment in segments:
        silence = segment[..., :0]
        yield stages.extract(segment, last=False)
    # What was the last segment shows only when no other follows.
    if silence is not None:
        yield stages.extract(silence, last=True)


class _Window:
    """The input of a convolution or a pooling, as far as its next steps need it."""

    def __init__(self, window: Window) -> None:
        self.kernel, self.stride, self.padding = window.kernel, window.stride, window.padding
        if self.kernel < self.stride:
            raise ValueError(f"{window} has a stride greater than its kernel: samples between steps would be kept")
        self._held: Tensor | None = None
        self._samples = 0

    def take(self, new: Tensor, last: bool) -> Tensor:
        """Return the input of the steps that can be computed now, which is empty if none can."""
        joined = functional.pad(new, (self.padding, 0)) if self._held is None else torch.cat([self._held, new], dim=-1)
        self._samples += new.shape[-1]
        # Of padding alone there are no steps.
        if last and self._samples:
            joined = functional.pad(joined, (0, self.padding))
        steps = max(0, (joined.shape[-1] - self.kernel) // self.stride + 1)
        # A view would keep the whole segment in memory.
        self._held = joined[..., steps * self.stride :].clone()
        return joined[..., : (steps - 1) * self.stride + self.kernel if steps else 0]


class _Stages:
    """The layers of a student, each with what it holds of its input."""

    def __init__(self, folded: FoldedStudent) -> None:
        self.folded = folded
        self._windows = {layer: _Window(window) for layer, window in folded.student.windows.items()}

    def extract(self, segment: Tensor, last: bool) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        hidden = segment
        for layer in self.folded.computed:
            ready = self._windows[layer].take(hidden, last)
            if ready.shape[-1]:
                hidden = self.folded.step(layer, ready, padded=True)
            else:
                hidden = self.folded.no_steps(layer, segment)
            if layer in self.folded.layers:
                found[layer] = self.folded.given_out(hidden).to(segment.dtype)
        return found
