"""The first convolution gives what PyTorch's own gives, and the same gradients."""

import pytest
import torch
from torch import nn

from soundnet_kd.models.layers import FirstConv1d, SameConv1d


@pytest.mark.parametrize("samples", [9, 10, 63, 64, 1000, 1001])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(64, 2, 32), (9, 3, 0), (8, 4, 3)])
def test_it_is_torchs_convolution(samples: int, kernel: int, stride: int, padding: int) -> None:
    torch.manual_seed(0)
    ours = FirstConv1d(5, kernel, stride, padding)
    torchs = nn.Conv1d(1, 5, kernel, stride, padding)
    torchs.load_state_dict(ours.state_dict())
    sound = torch.randn(3, 1, samples)
    answers = [convolution(sound) for convolution in (ours, torchs)]
    torch.testing.assert_close(answers[0], answers[1])
    for answer in answers:
        answer.square().sum().backward()
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, torchs.get_parameter(name).grad, rtol=1e-4, atol=1e-4)


def test_a_kernel_that_the_stride_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="kernel 5 is no multiple of stride 2"):
        FirstConv1d(1, kernel=5, stride=2, padding=0)


@pytest.mark.parametrize(("kernel", "stride"), [(4, 2), (5, 2), (4, 3), (3, 1), (7, 4)])
def test_same_padding_is_tensorflows(kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    convolution = SameConv1d(2, 3, kernel, stride)
    for samples in range(1, 30):
        sound = torch.randn(2, 2, samples)
        steps = -(-samples // stride)
        padding = max((steps - 1) * stride + kernel - samples, 0)
        padded = nn.functional.pad(sound, (padding // 2, padding - padding // 2))
        expected = nn.functional.conv1d(padded, convolution.weight, convolution.bias, stride)
        assert expected.shape[2] == steps
        torch.testing.assert_close(convolution(sound), expected)
