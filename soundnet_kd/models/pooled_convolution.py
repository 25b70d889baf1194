"""A first convolution in training with its batch norm, ReLU and max-pool, without its steps ever being in memory.

The first layer of SoundNet8 makes 14 MB of each clip of 20 s, and its batch norm, ReLU and max-pool read and write them
ten times over in a training step: most of the time of a CPU. Here only the largest step of each window of the max-pool
is kept, with mean and variance of all steps. That is enough, since batch norm and ReLU never turn the order of two
steps round (a filter whose batch norm has a negative weight is taken with its sign turned). The steps themselves are
computed a stretch at a time, small enough for the processor's cache, and once more for the gradients.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.nn.grad import conv1d_weight
from torch.nn.modules.batchnorm import _BatchNorm

STRETCH_VALUES = 2**19
"""Values of a stretch: 2 MB in float32."""
Result = TypeVar("Result")


def normalised_maxima(convolution: nn.Module, batchnorm: nn.Module, waveform: Tensor, pool: int) -> Tensor:
    """Convolve, normalise over the batch, cut off below zero and pool, as the four modules do one after the other.

    The running statistics of the batch norm move as they do there.

    Parameters
    ----------
    convolution : Conv1d
        Of one channel.
    batchnorm : BatchNorm1d or BatchNorm2d
        In training.
    waveform : (batch, 1, samples) float32 or float64
        It gets no gradient.
    pool : int
        Steps of a window.

    Returns
    -------
    (batch, filters, windows), of the type of the waveform
    """
    assert isinstance(convolution, nn.Conv1d)
    assert isinstance(batchnorm, nn.BatchNorm1d)
    sign = torch.where(batchnorm.weight.detach() < 0, -1.0, 1.0).to(waveform.dtype)
    sizes = (convolution.kernel_size, convolution.stride, convolution.padding)
    kernel, stride, padding = (int(size[0]) for size in sizes)
    phases = _Phases(waveform.shape[2], kernel, stride, padding, pool)
    weight, bias = convolution.weight * sign[:, None, None], convolution.bias
    assert bias is not None
    maxima, mean, variance = _MaximaAndMoments.apply(waveform, weight, bias, phases)
    follow(batchnorm, sign * mean.detach() + bias.detach(), variance.detach(), len(waveform) * phases.steps)
    scale = sign * batchnorm.weight * torch.rsqrt(variance + batchnorm.eps)
    shift = batchnorm.bias - mean * scale
    return functional.relu(torch.addcmul(shift[:, None], maxima, scale[:, None]))


def can_be_pooled_at_once(convolution: nn.Module, batchnorm: nn.Module, waveform: Tensor) -> bool:
    """Tell whether `normalised_maxima` is for these modules and this waveform, and is faster: on a CPU it is."""
    return (
        isinstance(convolution, nn.Conv1d)
        and convolution.in_channels == 1
        and convolution.bias is not None
        # Not a batch norm over several processes.
        and type(batchnorm) is nn.BatchNorm1d
        and batchnorm.training
        and waveform.device.type == "cpu"
        and waveform.dtype in (torch.float32, torch.float64)
        and not waveform.requires_grad
        # Which fuses the plain layers itself.
        and not torch.compiler.is_compiling()
    )


def follow(batchnorm: _BatchNorm, mean: Tensor, variance: Tensor, count: int) -> None:
    """Move running statistics as torch does; that of the variance is of the unbiased one.

    Parameters
    ----------
    batchnorm : BatchNorm1d or BatchNorm2d
    mean, variance : (channels,)
        Over `count` steps.
    """
    assert batchnorm.running_mean is not None
    assert batchnorm.running_var is not None
    assert batchnorm.num_batches_tracked is not None
    assert batchnorm.momentum is not None
    with torch.no_grad():
        batchnorm.running_mean.lerp_(mean, batchnorm.momentum)
        batchnorm.running_var.lerp_(variance * count / (count - 1), batchnorm.momentum)
        batchnorm.num_batches_tracked += 1


@dataclass(frozen=True)
class _Phases:
    """A strided convolution of one channel with its windows, as one of stride 1.

    The samples that a window is ahead of the last one become as many channels, and the steps of a window as many
    filters; so the maximum of a window is one over filters, and oneDNN gets the channels that it is fast with.
    """

    samples: int
    kernel: int
    stride: int
    padding: int
    pool: int

    @property
    def steps(self) -> int:
        """Steps of the convolution."""
        return (self.samples + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def windows(self) -> int:
        """Windows, with a last one that is not full."""
        return -(-self.steps // self.pool)

    @property
    def surplus(self) -> int:
        """Steps that the last window lacks."""
        return self.windows * self.pool - self.steps

    @property
    def hop(self) -> int:
        """Samples from one window to the next."""
        return self.stride * self.pool

    @property
    def taps(self) -> int:
        """Length of the kernel in hops."""
        return -(-(self.kernel + self.hop - self.stride) // self.hop)

    def kernels(self, weight: Tensor) -> Tensor:
        """Return the kernels (steps of a window x filters, hop, taps) for weights (filters, 1, kernel)."""
        wide = weight.new_zeros(self.pool, len(weight), self.taps * self.hop)
        for step, place in enumerate(self._places()):
            wide[step, :, place] = weight[:, 0]
        return wide.view(-1, self.taps, self.hop).transpose(1, 2).contiguous()

    def weights(self, kernels: Tensor, filters: int) -> Tensor:
        """Return the sum (filters, 1, kernel) of what stands in the places of each weight."""
        wide = kernels.transpose(1, 2).reshape(self.pool, filters, -1)
        return torch.stack([wide[step, :, place] for step, place in enumerate(self._places())]).sum(0)[:, None]

    def stretches(self, clip: Tensor, kernels: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Convolve a clip, one stretch after the other.

        Parameters
        ----------
        clip : (1, samples)
        kernels : (steps of a window x filters, hop, taps)

        Yields
        ------
        windows : slice
        channels : (1, hop, windows + taps - 1)
            What was convolved.
        steps : (steps of a window, filters, windows)
            Those that the last window lacks are there, and mean nothing.
        """
        length = self.hop * (self.windows + self.taps - 1)
        channels = functional.pad(clip, (self.padding, length - self.padding - self.samples)).view(-1, self.hop).t()
        parts = -(-self.windows * len(kernels) // STRETCH_VALUES)
        at_once = -(-self.windows // parts)
        for first in range(0, self.windows, at_once):
            last = min(first + at_once, self.windows)
            part = channels[None, :, first : last + self.taps - 1].contiguous()
            yield slice(first, last), part, functional.conv1d(part, kernels).view(self.pool, -1, last - first)

    def clear(self, windows: slice, steps: Tensor) -> Tensor:
        """Set the steps that the last window lacks to 0, if it is among these, and return them all."""
        if self.surplus and windows.stop == self.windows:
            steps[-self.surplus :, :, -1] = 0
        return steps

    def _places(self) -> list[slice]:
        return [slice(step * self.stride, step * self.stride + self.kernel) for step in range(self.pool)]


class _MaximaAndMoments(torch.autograd.Function):
    """The largest step of each window of a convolution, and mean and variance of all of its steps over the batch.

    All are without the bias, which batch norm takes off again: its gradient is 0.
    """

    @staticmethod
    def forward(waveform: Tensor, weight: Tensor, bias: Tensor, phases: _Phases) -> tuple[Tensor, Tensor, Tensor]:
        """Return maxima (batch, filters, windows), mean (filters,) and variance (filters,)."""
        kernels = phases.kernels(weight)
        maxima = waveform.new_empty(len(waveform), len(weight), phases.windows)

        def compute(number: int) -> list[tuple[int, Tensor, Tensor]]:
            moments = []
            for windows, _, steps in phases.stretches(waveform[number], kernels):
                maxima[number, :, windows] = steps.amax(dim=0)
                count = phases.pool * steps.shape[2] - (phases.surplus if windows.stop == phases.windows else 0)
                mean = phases.clear(windows, steps).sum(dim=2).sum(dim=0) / count
                centred = phases.clear(windows, steps.sub_(mean[:, None]))
                moments.append((count, mean, torch.linalg.vector_norm(centred, dim=2).square().sum(dim=0)))
            return moments

        parts = [part for moments in _of_each_clip(compute, len(waveform)) for part in moments]
        count = torch.tensor([count for count, _, _ in parts], dtype=torch.float64)[:, None]
        means = torch.stack([mean for _, mean, _ in parts]).cpu().double()
        squares = torch.stack([square for _, _, square in parts]).cpu().double()
        mean = (count * means).sum(dim=0) / count.sum()
        variance = (squares + count * (means - mean).square()).sum(dim=0) / count.sum()
        full = phases.steps // phases.pool
        return maxima[:, :, :full], mean.to(weight.dtype), variance.to(weight.dtype)

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, _Phases], output: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        """Keep what the gradients need, which are not the steps."""
        waveform, weight, _, ctx.phases = inputs
        ctx.save_for_backward(waveform, weight, output[1])

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, of_maxima: Tensor, of_mean: Tensor, of_variance: Tensor
    ) -> tuple[None, Tensor, Tensor, None]:
        """Return the gradients of weights and bias."""
        waveform, weight, mean = ctx.saved_tensors
        phases: _Phases = ctx.phases
        kernels = phases.kernels(weight)
        # The mean moves by 1 / n for each step, the variance by 2 (step - mean) / n.
        count = len(waveform) * phases.steps
        slope = 2 * of_variance / count
        constant = of_mean / count - slope * mean
        # Of a window that is not full no step is the largest.
        of_maxima = functional.pad(of_maxima, (0, phases.windows - of_maxima.shape[2]))

        def compute(number: int) -> Tensor:
            gradient = torch.zeros_like(kernels)
            for windows, channels, steps in phases.stretches(waveform[number], kernels):
                # As numbers, 0 or 1: comparisons of numbers to numbers are several times faster than to booleans.
                largest = torch.eq(steps, steps.amax(dim=0), out=torch.empty_like(steps))
                if largest.sum(dim=0).amax() > 1:
                    # Of equal steps the first one is.
                    largest.mul_(largest.cumsum(dim=0) == 1)
                of_steps = steps.mul_(slope[:, None]).add_(constant[:, None])
                of_steps.add_(largest.mul_(of_maxima[number, :, windows]))
                flat = phases.clear(windows, of_steps).flatten(0, 1)[None]
                gradient += conv1d_weight(channels, kernels.shape, flat)  # type: ignore[no-untyped-call]
            return gradient

        total = torch.stack(_of_each_clip(compute, len(waveform))).sum(dim=0)
        return None, phases.weights(total, len(weight)), torch.zeros_like(mean), None


def _of_each_clip(compute: Callable[[int], Result], clips: int) -> list[Result]:
    """Compute something of each clip, as many at a time as PyTorch has threads, each of them with one thread.

    The steps of one clip are too little work to divide among threads that wait for each other at each operation.
    """
    threads = min(torch.get_num_threads(), clips)

    def alone(number: int) -> Result:
        # Both are settings of a thread.
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            return compute(number)

    if threads == 1:
        return [alone(number) for number in range(clips)]
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(alone, range(clips)))
    finally:
        # Threads that begin later take over what was set last.
        torch.set_num_threads(before)
