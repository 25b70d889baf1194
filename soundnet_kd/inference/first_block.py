"""The first block of a student, which is more than half of its work, computed window of pooling by window.

A first convolution of stride 2 before a pooling over 8 steps is one of stride 16 that gives the 8 steps of a window
as so many channels: the same sums, but the greatest of a window are then those of channels that lie side by side in
memory, and samples need no other order than they have.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from soundnet_kd.models.receptive_field import Block


class FirstBlock:
    """Convolution, ReLU and pooling over samples.

    Parameters
    ----------
    block : Block
        Its padding is a whole number of windows, its stride divides its kernel.
    weight : (filters, 1, kernel)
        Batch norm is folded into it.
    bias : (filters,)
    """

    def __init__(self, block: Block, weight: Tensor, bias: Tensor) -> None:
        self.block = block
        self.window_samples = block.stride * block.pool
        """From the start of a window of steps to that of the next."""
        assert block.padding % self.window_samples == 0
        reach = block.kernel + block.stride * (block.pool - 1)
        self.reach = -(-reach // self.window_samples) * self.window_samples
        """Samples that a window hears, up to a whole number of strides; nothing depends on the last of them."""
        kernels = weight.new_zeros(block.filters, block.pool, self.reach)
        for step in range(block.pool):
            kernels[:, step, step * block.stride : step * block.stride + block.kernel] = weight[:, 0]
        by_phase = kernels.reshape(block.filters * block.pool, -1, self.window_samples)
        self.weight = by_phase.transpose(1, 2).contiguous()
        self.bias = bias.repeat_interleave(block.pool)

    def windows(self, samples: Tensor, count: int) -> Tensor:
        """Return the first windows of steps, (sounds, filters, pool, count), of (sounds, samples) without padding."""
        needed = (count - 1) * self.window_samples + self.reach
        if needed > samples.shape[1]:
            samples = functional.pad(samples, (0, needed - samples.shape[1]))
        phases = samples[:, :needed].reshape(len(samples), -1, self.window_samples).transpose(1, 2)
        steps = functional.relu_(functional.conv1d(phases, self.weight, self.bias))
        return steps.view(len(samples), self.block.filters, self.block.pool, count)

    def steps(self, samples: Tensor, padding: int) -> Tensor:
        """Return all steps of the convolution, (sounds, filters, steps).

        Parameters
        ----------
        samples : (sounds, 1, samples)
        padding : int
            So many zeros stand before and behind them.
        """
        padded = functional.pad(samples[:, 0], (padding, padding))
        count = (padded.shape[1] - self.block.kernel) // self.block.stride + 1
        windows = self.windows(padded, -(-count // self.block.pool))
        return windows.transpose(2, 3).flatten(2)[..., :count]

    def pooled(self, samples: Tensor) -> tuple[list[tuple[Tensor, int]], list[Tensor]]:
        """Return what a sound gives.

        Parameters
        ----------
        samples : (sounds, samples)

        Returns
        -------
        pieces : list of ((sounds, filters, ...), times)
            All steps of the convolution.
        pooled : list of (sounds, filters, steps)
            One after the other.
        """
        padding = self.block.padding
        return self._ended(functional.pad(samples, (padding, padding)), self.block.steps(samples.shape[1])[0])

    def pooled_repeats(self, period: Tensor, repeats: int) -> tuple[list[tuple[Tensor, int]], list[Tensor]]:
        """Return what `pooled` gives for a sound that is repeated, from the steps of one period.

        Parameters
        ----------
        period : (sounds, samples)
            Its length is a whole number of strides, and enough for `takes_repeats`.
        repeats : int
            At least 2.
        """
        block = self.block
        length, padding = period.shape[1], block.padding
        steps_of_period = length // block.stride
        first = padding // block.stride
        # Windows that hear neither the zeros before the sound nor those behind it.
        inner = ((repeats * length - block.kernel) // block.stride + 1) // block.pool
        count = -(-(steps_of_period + block.pool) // block.pool)
        around = torch.cat([period, period[:, : (count - 1) * self.window_samples + self.reach - length]], dim=1)
        windows = self.windows(around, count)
        start = self.windows(functional.pad(period, (padding, 0)), first // block.pool)
        rest = period[:, -(repeats * length - inner * self.window_samples) :]
        last_steps = block.steps(repeats * length)[0] - first - inner * block.pool
        end_pieces, end = self._ended(functional.pad(rest, (0, padding)), last_steps)

        times, more = divmod(inner * block.pool, steps_of_period)
        pieces = [(start, 1), *_cut(windows, 0, more, times + 1), *_cut(windows, more, steps_of_period, times)]
        return pieces + end_pieces, [start.amax(2), *self._inner_pooled(windows, inner, steps_of_period), *end]

    def takes_repeats(self, samples: int) -> bool:
        """Whether a sound of so many samples that is repeated can be computed from one period."""
        return samples % self.block.stride == 0 and samples >= 4 * self.reach

    def _ended(self, samples: Tensor, count: int) -> tuple[list[tuple[Tensor, int]], list[Tensor]]:
        """Return the first `count` steps of samples that are padded already, and these pooled."""
        whole, more = divmod(count, self.block.pool)
        if whole:
            windows = self.windows(samples, whole)
        else:
            windows = samples.new_zeros(len(samples), self.block.filters, self.block.pool, 0)
        pieces = [(windows, 1)] if whole else []
        if more:
            rest = self.windows(samples[:, whole * self.window_samples :], 1)
            pieces.append((rest[:, :, :more], 1))
        return pieces, [windows.amax(2)]

    def _inner_pooled(self, windows: Tensor, inner: int, steps_of_period: int) -> Iterator[Tensor]:
        """Pool windows that begin at each `pool`-th step of a period, again and again.

        In each period they begin at another step of their first window: they hear the end of one window and the start
        of the next.
        """
        pool = self.block.pool
        ends, starts = [windows[:, :, pool - 1]], [windows[:, :, 0]]
        for step in range(1, pool):
            ends.insert(0, torch.maximum(ends[0], windows[:, :, pool - 1 - step]))
            starts.append(torch.maximum(starts[-1], windows[:, :, step]))
        done = 0
        while done < inner:
            begin = done * pool % steps_of_period
            count = min(inner - done, -(-(steps_of_period - begin) // pool))
            window, step = divmod(begin, pool)
            until = window + count
            greatest = ends[step][..., window:until]
            if step:
                greatest = torch.maximum(greatest, starts[step - 1][..., window + 1 : until + 1])
            yield greatest
            done += count


def _cut(windows: Tensor, begin: int, end: int, times: int) -> Iterator[tuple[Tensor, int]]:
    """Return the steps from one on up to another, which may lie within windows."""
    pool = windows.shape[2]
    (first, skipped), (last, more) = divmod(begin, pool), divmod(end, pool)
    if not times or begin == end:
        return
    if first == last:
        yield windows[:, :, skipped:more, first], times
        return
    if skipped:
        yield windows[:, :, skipped:, first], times
        first += 1
    if first < last:
        yield windows[:, :, :, first:last], times
    if more:
        yield windows[:, :, :more, last], times
