"""A block whose steps are never in memory gives what PyTorch's four modules give, and the same gradients."""

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from soundnet_kd.models import SoundNet8, pooled_convolution
from soundnet_kd.models.layers import convolve
from soundnet_kd.models.pooled_convolution import can_be_pooled_at_once, normalised_maxima

FILTERS = 3


@pytest.fixture(autouse=True)
def _short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several stretches in each clip, the last of which is shorter."""
    monkeypatch.setattr(pooled_convolution, "STRETCH_VALUES", 500)


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    assert torch.get_num_threads() == request.param
    torch.set_num_threads(before)


def _modules(kernel: int, stride: int, padding: int, dtype: torch.dtype) -> tuple[nn.Conv1d, nn.BatchNorm1d]:
    torch.manual_seed(0)
    convolution, batchnorm = nn.Conv1d(1, FILTERS, kernel, stride, padding), nn.BatchNorm1d(FILTERS)
    with torch.no_grad():
        # Of the weights of batch norm one turns the steps round.
        batchnorm.weight.copy_(torch.tensor([0.7, -1.3, 2.0]))
        batchnorm.bias.copy_(torch.tensor([0.1, 0.3, -0.2]))
    return convolution.to(dtype), batchnorm.to(dtype)


def _plain(convolution: nn.Conv1d, batchnorm: nn.BatchNorm1d, waveform: Tensor, pool: int) -> Tensor:
    return nn.functional.max_pool1d(nn.functional.relu(batchnorm(convolution(waveform))), pool)


def _answers_and_gradients(
    waveform: Tensor, kernel: int, stride: int, padding: int, pool: int
) -> list[dict[str, Tensor]]:
    found = []
    for compute in (normalised_maxima, _plain):
        convolution, batchnorm = _modules(kernel, stride, padding, waveform.dtype)
        answer = compute(convolution, batchnorm, waveform, pool)
        weights = torch.linspace(-1, 2, answer.numel(), dtype=waveform.dtype).view_as(answer)
        (answer * weights).sum().backward()  # type: ignore[no-untyped-call]
        gradients = {
            name: parameter.grad
            for module in (convolution, batchnorm)
            for name, parameter in module.named_parameters(type(module).__name__)
            if name != "Conv1d.bias" and parameter.grad is not None
        }
        found.append({"answer": answer.detach(), **gradients, **dict(batchnorm.named_buffers())})
    return found


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("samples", [1000, 1001, 1007, 1010, 1015])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "pool"), [(64, 2, 32, 8), (9, 3, 0, 2), (8, 4, 3, 1), (5, 1, 2, 4), (2, 3, 0, 5)]
)
def test_it_is_what_four_modules_give(samples: int, kernel: int, stride: int, padding: int, pool: int) -> None:
    torch.manual_seed(1)
    waveform = torch.randn(4, 1, samples, dtype=torch.float64) + 5
    ours, plain = _answers_and_gradients(waveform, kernel, stride, padding, pool)
    assert ours.keys() == plain.keys() >= {"answer", "Conv1d.weight", "BatchNorm1d.weight", "running_var"}
    for name, expected in plain.items():
        torch.testing.assert_close(ours[name], expected, rtol=1e-10, atol=1e-10, msg=name)


def test_its_gradients_are_its_slopes() -> None:
    torch.manual_seed(1)
    waveform = torch.randn(2, 1, 90, dtype=torch.float64)
    convolution, batchnorm = _modules(8, 2, 4, torch.float64)

    learning = (convolution.weight, batchnorm.weight, batchnorm.bias)
    # It moves them in place.
    assert torch.autograd.gradcheck(lambda *moved: normalised_maxima(convolution, batchnorm, waveform, 4), learning)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_of_equal_steps_the_first_gets_the_gradient(level: float) -> None:
    # A constant sound: all steps that no padding reaches are equal.
    waveform = torch.full((2, 1, 400), level, dtype=torch.float64)
    waveform[0, 0, 100:140] = torch.linspace(-3, 3, 40, dtype=torch.float64)
    ours, plain = _answers_and_gradients(waveform, 4, 2, 0, 4)
    for name, expected in plain.items():
        torch.testing.assert_close(ours[name], expected, rtol=1e-9, atol=1e-9, msg=name)


def test_a_sound_far_from_zero_has_its_variance() -> None:
    torch.manual_seed(1)
    waveform = torch.randn(4, 1, 4000) + 1000
    convolution, batchnorm = _modules(8, 2, 4, torch.float32)
    normalised_maxima(convolution, batchnorm, waveform, 4)
    steps = convolution.double()(waveform.double())
    expected = 0.9 + 0.1 * steps.var(dim=(0, 2))
    assert batchnorm.running_var is not None
    torch.testing.assert_close(batchnorm.running_var.double(), expected, rtol=1e-4, atol=0.0)


def test_a_student_in_training_answers_and_learns_as_its_plain_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    student = SoundNet8({"objects": 3}).double().train()
    waveform = torch.randn(2, 1, 250_000, dtype=torch.float64) * 30
    other = copy.deepcopy(student)
    first = (student.get_submodule("conv1"), student.get_submodule("batchnorm1"))
    assert can_be_pooled_at_once(*first, waveform)
    _learn(student, waveform)
    monkeypatch.setattr("soundnet_kd.models.soundnet.can_be_pooled_at_once", lambda *arguments: False)
    monkeypatch.setattr("soundnet_kd.models.soundnet.convolve", lambda convolution, hidden: convolution(hidden))
    _learn(other, waveform)
    for name, value in other.state_dict().items():
        torch.testing.assert_close(student.state_dict()[name], value, rtol=1e-9, atol=1e-9, msg=name)
    for name, parameter in other.named_parameters():
        assert parameter.grad is not None
        gradient = student.get_parameter(name).grad
        assert gradient is not None
        assert float((gradient - parameter.grad).norm()) <= 1e-9 * float(parameter.grad.norm()) + 1e-9, name


def test_layers_that_are_asked_for_are_there_in_training() -> None:
    torch.manual_seed(0)
    student = SoundNet8({"objects": 3}).train()
    waveform = torch.randn(2, 1, 50_000) * 30
    both = student(waveform, ["conv1", "pool1", "pool2"])
    alone = student(waveform, ["pool1", "pool2"])
    assert list(both) == ["conv1", "pool1", "pool2"]
    for layer in ("pool1", "pool2"):
        torch.testing.assert_close(alone[layer], both[layer], rtol=1e-4, atol=1e-4)


def test_what_learns_from_its_gradient_gets_one() -> None:
    student = SoundNet8({"objects": 3}).train()
    waveform = (torch.randn(2, 1, 50_000) * 30).requires_grad_()
    student(waveform, ["pool2"])["pool2"].sum().backward()
    assert waveform.grad is not None
    assert bool(waveform.grad.any())


def _learn(student: SoundNet8, waveform: Tensor) -> None:
    logits = student(waveform)["objects"]
    (logits * torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).view_as(logits)).sum().backward()


@pytest.mark.parametrize(("channels", "steps"), [(4, 100), (4, 101), (4, 4)])
def test_channels_beside_each_other_change_nothing(channels: int, steps: int) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv1d(channels, 5, 4, 2, 2).double()
    hidden = torch.randn(3, channels, steps, dtype=torch.float64)
    found = []
    for compute in (convolve, lambda module, given: module(given)):
        given = hidden.clone().requires_grad_()
        convolution.zero_grad()
        answer = compute(convolution, given)
        assert answer.is_contiguous()
        answer.square().sum().backward()
        found.append((answer.detach(), given.grad, *(each.grad for each in convolution.parameters())))
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain)
