"""A sound in pieces gives what it gives at once, wherever it is cut."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from soundnet_kd.errors import SettingsError
from soundnet_kd.features.streaming import stream_layers
from soundnet_kd.inference.prepared import fold
from soundnet_kd.models import LogMelCNN, SoundNet, SoundNet5, SoundNet8, Student
from soundnet_kd.models.layers import over_rows

SAMPLES = 480_007
"""An odd number, over twice the 9.5 s that conv8 needs: the last pooling windows are not full."""


@pytest.fixture(scope="module", params=[SoundNet8, SoundNet5, LogMelCNN])
def student(request: pytest.FixtureRequest) -> Student:
    """A student whose batch norm, biases and both signs matter, as in a trained one."""
    torch.manual_seed(0)
    student: Student = request.param({"objects": 3, "scenes": 2})
    for module in student.modules():
        if isinstance(module, torch.nn.Conv1d) and isinstance(student, SoundNet):
            torch.nn.init.normal_(module.weight, 0, (module.in_channels * module.kernel_size[0]) ** -0.5)
            assert module.bias is not None
            torch.nn.init.normal_(module.bias, 0, 0.1)
        elif isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d) and module.num_features != 64:
            assert module.running_mean is not None
            module.running_mean.normal_(0, 0.1)
    return student.eval()


@pytest.fixture(scope="module")
def sound() -> Tensor:
    return torch.randn(1, 1, SAMPLES, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def at_once(student: Student, sound: Tensor) -> dict[str, Tensor]:
    with torch.inference_mode():
        answers: dict[str, Tensor] = student(sound, student.layers)
    return {layer: over_rows(steps) for layer, steps in answers.items()}


@pytest.mark.parametrize("lengths", [(SAMPLES,), (10_007,), (65_537,), (220_500,), (1, 63, 40_001, 3, 99_999)])
def test_every_layer_is_the_same_in_pieces(
    student: Student, sound: Tensor, at_once: dict[str, Tensor], lengths: tuple[int, ...]
) -> None:
    with torch.inference_mode():
        answers = list(stream_layers(fold(student, student.layers, "32"), _cut(sound, lengths)))
    for layer in student.layers:
        steps = torch.cat([answer[layer] for answer in answers], dim=-1)
        assert steps.shape == at_once[layer].shape == (1, student.channels(layer), student.steps(SAMPLES, layer))
        assert (steps - at_once[layer]).abs().max() <= 1e-5 * at_once[layer].abs().max(), layer


def test_padding_acts_at_the_ends_only(student: Student, sound: Tensor, at_once: dict[str, Tensor]) -> None:
    """Pieces heard one by one, as if each were a sound, do give something else: the test above can fail."""
    with torch.inference_mode():
        apart = torch.cat([over_rows(student(piece, ["conv1"])["conv1"]) for piece in _cut(sound, (80_000,))], dim=-1)
    steps = min(apart.shape[-1], at_once["conv1"].shape[-1])
    assert (apart[..., :steps] - at_once["conv1"][..., :steps]).abs().max() > 1e-2 * at_once["conv1"].abs().max()


def test_several_sounds_at_a_time_and_some_layers(student: Student) -> None:
    sounds = torch.randn(2, 1, 100_000, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        answers = list(stream_layers(fold(student, ["pool2", "conv1"], "32"), _cut(sounds, (30_001,))))
        wanted = student(sounds, ["conv1", "pool2"])
    assert all(answer.keys() == {"conv1", "pool2"} for answer in answers)
    for layer, expected in wanted.items():
        steps = torch.cat([answer[layer] for answer in answers], dim=-1)
        torch.testing.assert_close(steps, over_rows(expected), rtol=1e-5, atol=1e-5)


def test_no_more_is_kept_than_the_next_steps_need(student: Student, sound: Tensor) -> None:
    from soundnet_kd.features.streaming import _Stages

    stages = _Stages(fold(student, student.layers, "32"))
    with torch.inference_mode():
        stages.extract(sound, last=False)
    for window in stages._windows.values():
        assert window._held is not None
        assert window._held.shape[-1] < window.kernel
        assert window._held.untyped_storage().nbytes() == window._held.numel() * 4


def test_too_short_a_sound_has_no_deep_steps(student: Student) -> None:
    with torch.inference_mode():
        answers = list(stream_layers(fold(student, student.layers, "32"), iter([torch.zeros(1, 1, 500)])))
    deep = torch.cat([answer[student.output_layer] for answer in answers], dim=-1)
    assert deep.shape == (1, 5, 0)
    # (500 + 2 * 32 - 64) / 2 + 1, or of 500 // 430 + 1 columns every other one.
    assert sum(answer["conv1"].shape[-1] for answer in answers) == (251 if isinstance(student, SoundNet) else 1)


def test_an_unknown_layer_is_named(student: Student) -> None:
    with pytest.raises(SettingsError, match="did you mean 'conv1'"):
        fold(student, ["con1"], "32")


@pytest.mark.parametrize(
    ("network", "layer", "samples", "stride", "start"),
    [
        (SoundNet8, "conv1", 64, 2, -32),
        (SoundNet8, "pool1", 64 + 7 * 2, 16, -32),
        (SoundNet8, "conv2", 78 + 31 * 16, 32, -32 - 16 * 16),
        (SoundNet8, "pool2", 574 + 7 * 32, 256, -288),
        (SoundNet8, "conv3", 798 + 15 * 256, 512, -288 - 8 * 256),
        (SoundNet8, "conv4", 4638 + 7 * 512, 1024, -2336 - 4 * 512),
        (SoundNet8, "conv5", 8222 + 3 * 1024, 2048, -4384 - 2 * 1024),
        (SoundNet8, "pool5", 11_294 + 3 * 2048, 8192, -6432),
        (SoundNet8, "conv6", 17_438 + 3 * 8192, 16_384, -6432 - 2 * 8192),
        (SoundNet8, "conv7", 42_014 + 3 * 16_384, 32_768, -22_816 - 2 * 16_384),
        (SoundNet8, "conv8", 91_166 + 7 * 32_768, 65_536, -55_584),
        (SoundNet5, "pool3", 798 + 15 * 256 + 7 * 512, 4096, -2336),
        (SoundNet5, "conv4", 8222 + 7 * 4096, 8192, -2336 - 4 * 4096),
        (SoundNet5, "conv5", 36_894 + 15 * 8192, 98_304, -18_720 - 4 * 8192),
    ],
)
def test_receptive_fields_worked_out_by_hand(
    network: type[SoundNet], layer: str, samples: int, stride: int, start: int
) -> None:
    """FACTS.md's table: a field grows by (kernel - 1) strides and starts padding strides earlier."""
    field = network({"objects": 2}).receptive_field(layer)
    assert (field.samples, field.stride, field.start) == (samples, stride, start)


def test_a_step_hears_its_field_and_nothing_else(student: Student) -> None:
    field = student.receptive_field("conv3")
    step = 20
    first = field.start + step * field.stride
    sound = torch.randn(1, 1, 40_000, generator=torch.Generator().manual_seed(3))
    outside = sound.clone()
    outside[..., :first] = 0
    outside[..., first + field.samples :] = 0
    # Pooling takes the loudest, so a sample at the rim is heard by a step if it is loud; windows of spectra end in 0.
    rim_left, rim_right = outside.clone(), outside.clone()
    rim = 0 if isinstance(student, SoundNet) else 40
    rim_left[..., first + rim] = 1e4
    rim_right[..., first + field.samples - 1 - rim] = 1e4
    with torch.inference_mode():
        whole, same, left, right = (
            student(heard, ["conv3"])["conv3"][..., step] for heard in (sound, outside, rim_left, rim_right)
        )
    torch.testing.assert_close(same, whole)
    assert not torch.allclose(left, whole, rtol=1e-3)
    assert not torch.allclose(right, whole, rtol=1e-3)


def _cut(sound: Tensor, lengths: tuple[int, ...]) -> Iterator[Tensor]:
    start, turn = 0, 0
    while start < sound.shape[-1]:
        length = lengths[turn % len(lengths)]
        yield sound[..., start : start + length]
        start, turn = start + length, turn + 1
