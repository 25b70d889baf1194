"""What Keras does where PyTorch does something else."""

from torch import Tensor, nn
from torch.nn import functional

from soundnet_kd.models.blocks import ReceptiveField


class SameConv1d(nn.Conv1d):
    """A convolution with TensorFlow's "same" padding: `ceil(samples / stride)` steps, the odd zero at the end.

    Parameters
    ----------
    channels, filters, kernel, stride : int
        The kernel is at least as long as the stride.
    """

    def __init__(self, channels: int, filters: int, kernel: int, stride: int = 1) -> None:
        if kernel < stride:
            raise ValueError(f"kernel {kernel} is shorter than stride {stride}")
        super().__init__(channels, filters, kernel, stride)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (batch, channels, samples) to (batch, filters, ceil(samples / stride))."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        padding = kernel - (input.shape[-1] % stride or stride)
        return super().forward(functional.pad(input, (padding // 2, padding - padding // 2)))

    def field_after(self, field: ReceptiveField) -> ReceptiveField:
        """Give what its steps hear, of an input that is a whole number of strides."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        return field.after(kernel, stride, (kernel - stride) // 2)


def batch_norm_1d(channels: int) -> nn.BatchNorm1d:
    """Give batch norm with Keras's defaults: eps 1e-3 and momentum 0.99, which PyTorch calls 0.01."""
    return nn.BatchNorm1d(channels, eps=1e-3, momentum=0.01)


def batch_norm_2d(channels: int) -> nn.BatchNorm2d:
    """Give batch norm with Keras's defaults over rows and steps."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
