"""The student over log-mel spectrograms: its sizes by hand, its spectrogram as librosa's, its layers said once more."""

from dataclasses import replace
from itertools import pairwise

import librosa
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from soundnet_kd.errors import SettingsError, TooShortError
from soundnet_kd.inference.prepared import fold
from soundnet_kd.models import LogMelCNN, Preprocessing
from soundnet_kd.models.receptive_field import ReceptiveField

SECOND = 22_050
HEADS = {"objects": 5, "scenes": 3}
ROWS = {"conv1": 32, "conv2": 32, "pool2": 16, "conv3": 16, "pool3": 8, "conv4": 8, "pool4": 4, "conv5": 4}
CHANNELS = {
    **{"logmel": 64, "conv1": 32, "conv2": 64, "pool2": 64, "conv3": 128, "pool3": 128},
    **{"conv4": 256, "pool4": 256, "conv5": 512, "pool5": 512, "conv6": 8},
}

# By hand: floor(n / 430) + 1 columns, half of them after conv1 (rounded up) and after each pooling (rounded down), and
# a step of the output for 16 of pool5.
LENGTHS = {
    60 * SECOND: (3077, 1539, 1539, 769, 769, 384, 384, 192, 192, 192, 12),
    20 * SECOND: (1026, 513, 513, 256, 256, 128, 128, 64, 64, 64, 4),
    10 * SECOND: (513, 257, 257, 128, 128, 64, 64, 32, 32, 32, 2),
    5 * SECOND: (257, 129, 129, 64, 64, 32, 32, 16, 16, 16, 1),
    123_457: (288, 144, 144, 72, 72, 36, 36, 18, 18, 18, 1),
    SECOND: (52, 26, 26, 13, 13, 6, 6, 3, 3, 3, 0),
}


@pytest.fixture(scope="module")
def student() -> LogMelCNN:
    """A student whose batch norm has heard something."""
    torch.manual_seed(0)
    network = LogMelCNN(HEADS)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.normal_(1, 0.2)
                module.bias.normal_(0, 0.2)
        for _ in range(3):
            network(noise(5 * SECOND))
    return network.eval()


def noise(samples: int, sounds: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(samples)
    loudness = torch.rand(sounds, 1, 1, generator=generator) * 0.3
    return (loudness * torch.randn(sounds, 1, samples, generator=generator)).cumsum(-1).sin() * loudness


@pytest.mark.parametrize("samples", LENGTHS)
def test_layers_have_the_sizes_worked_out_by_hand(student: LogMelCNN, samples: int) -> None:
    assert student.layers == tuple(CHANNELS)
    assert tuple(student.steps(samples, layer) for layer in student.layers) == LENGTHS[samples]
    deep = [layer for layer, steps in zip(student.layers, LENGTHS[samples], strict=True) if steps]
    with torch.inference_mode():
        answers = student(noise(samples), deep)
    for layer, steps in zip(student.layers, LENGTHS[samples], strict=True):
        if steps:
            rows = (ROWS[layer],) if layer in ROWS else ()
            assert answers[layer].shape == (2, CHANNELS[layer], *rows, steps)
            assert student.shape(layer) == (CHANNELS[layer], *rows)
    if not LENGTHS[samples][-1]:
        with pytest.raises(TooShortError, match="too few for conv6"):
            student(noise(samples))


def test_parameter_count() -> None:
    filters = (1, 32, 64, 128, 256, 512)
    convolutions = sum(9 * before * after + 2 * after for before, after in pairwise(filters))
    assert sum(each.numel() for each in LogMelCNN(HEADS).parameters()) == 2 * 64 + convolutions + 8 * 512 + 8
    assert 2 * 64 + convolutions < 5_000_000


@pytest.mark.parametrize("rate", [4000, 8000, 11_025, 16_000, 16_001, 44_100, 48_000])
def test_at_any_rate_each_5_s_have_an_answer(rate: int) -> None:
    network = LogMelCNN(HEADS, replace(LogMelCNN.usual_preprocessing, sample_rate=rate))
    assert [network.steps(5 * count * rate, "conv6") for count in (1, 4, 24, 120)] == [1, 4, 24, 120]


def test_the_first_layer_is_librosas_spectrogram_on_one_scale() -> None:
    """Before it has learned, with the mean and the deviation that it begins with: -31 dB and 28 dB."""
    sound = noise(5 * SECOND, sounds=1)
    with torch.inference_mode():
        found = LogMelCNN(HEADS).eval()(sound, ["logmel"])["logmel"][0]
    power = librosa.feature.melspectrogram(
        y=sound[0, 0].numpy(), sr=SECOND, n_fft=1024, hop_length=430, n_mels=64, pad_mode="constant"
    )
    wanted = (librosa.power_to_db(power, ref=1.0, amin=1e-8, top_db=None) + 31) / 28
    np.testing.assert_allclose(found.numpy(), wanted, atol=2e-4)


def test_layers_are_what_their_description_says(student: LogMelCNN) -> None:
    """The stack once more, in double precision: convolution, batch norm, ReLU, max-pool, means."""
    sound = noise(12 * SECOND)
    state = {name: tensor.double() for name, tensor in student.state_dict().items()}

    def normalised(hidden: Tensor, number: int) -> Tensor:
        parts = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(hidden, *(state[f"batchnorm{number}.{part}"] for part in parts))

    with torch.inference_mode():
        found = student(sound, student.layers)
        logits = student(sound)
        hidden = found["logmel"].double()[:, None]
        wanted = {}
        for number in range(1, 6):
            weight = state[f"conv{number}.weight"]
            hidden = functional.conv2d(hidden, weight, stride=2 if number == 1 else 1, padding=1)
            wanted[f"conv{number}"] = hidden = normalised(hidden, number).relu()
            if 2 <= number <= 4:
                wanted[f"pool{number}"] = hidden = functional.max_pool2d(hidden, 2)
        wanted["pool5"] = hidden = hidden.mean(dim=2)
        means = hidden[:, :, : hidden.shape[2] // 16 * 16].unflatten(2, (-1, 16)).mean(dim=3)
        for head, answer in logits.items():
            of_head = functional.conv1d(means, state[f"conv6.{head}.weight"], state[f"conv6.{head}.bias"])
            torch.testing.assert_close(answer.double(), of_head, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["conv6"], torch.cat([logits["objects"], logits["scenes"]], dim=1))
    for layer, steps in wanted.items():
        torch.testing.assert_close(found[layer].double(), steps, rtol=1e-4, atol=1e-5)


def test_no_sound_depends_on_the_others_nor_a_step_on_what_is_far(student: LogMelCNN) -> None:
    sounds = noise(10 * SECOND)
    loud = torch.cat([sounds[:1], sounds[1:] * 3])
    loud[..., 8 * SECOND :] = 1
    steps = student.steps(6 * SECOND, "pool5")
    with torch.inference_mode():
        alone = student(sounds[:1], ["pool5"])["pool5"]
        together = student(loud, ["pool5"])["pool5"]
    torch.testing.assert_close(together[:1, :, :steps], alone[..., :steps], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "samples", "stride", "start"),
    [
        ("logmel", 1024, 430, -512),
        ("conv1", 1024 + 2 * 430, 860, -512 - 430),
        ("pool2", 1884 + 2 * 860 + 860, 1720, -942 - 860),
        ("pool5", 1024 + 76 * 430, 16 * 430, -512 - 31 * 430),
        ("conv6", 33_704 + 15 * 6880, 256 * 430, -13_842),
    ],
)
def test_receptive_fields_worked_out_by_hand(
    student: LogMelCNN, layer: str, samples: int, stride: int, start: int
) -> None:
    assert student.receptive_field(layer) == ReceptiveField(samples, stride, start)


def test_a_step_hears_its_field_and_nothing_else(student: LogMelCNN) -> None:
    field, step = student.receptive_field("conv3"), 20
    first = field.start + step * field.stride
    sound = noise(2 * SECOND, sounds=1)
    others = sound.flip(-1)
    others[..., first : first + field.samples] = sound[..., first : first + field.samples]
    # The window of a spectrum is 0 at its first sample.
    left, right = others.clone(), others.clone()
    left[..., first + 30] = 50
    right[..., first + field.samples - 30] = 50
    with torch.inference_mode():
        whole, same, one, other = (
            student(each, ["conv3"])["conv3"][..., step] for each in (sound, others, left, right)
        )
    torch.testing.assert_close(same, whole)
    assert not torch.allclose(one, whole, rtol=1e-3)
    assert not torch.allclose(other, whole, rtol=1e-3)


def test_every_parameter_gets_a_gradient() -> None:
    network = LogMelCNN(HEADS)
    sum(answer.square().sum() for answer in network(noise(5 * SECOND)).values()).backward()
    assert [name for name, each in network.named_parameters() if each.grad is None] == []


def test_first_weights_are_those_of_he() -> None:
    """Deviation sqrt(2 / fan in): He, Zhang, Ren, Sun (2015)."""
    torch.manual_seed(0)
    network = LogMelCNN(HEADS)
    for number, before in enumerate((32, 64, 128, 256), start=2):
        weight = network.get_parameter(f"conv{number}.weight")
        assert float(weight.detach().std()) == pytest.approx((2 / (9 * before)) ** 0.5, rel=0.05)


def test_folded_it_gives_the_same(student: LogMelCNN) -> None:
    sound = noise(6 * SECOND)
    with torch.inference_mode():
        wanted = student(sound, student.layers)
        exact, coarse = (fold(student, student.layers, precision)(sound) for precision in ("32", "bf16"))
    for layer, steps in wanted.items():
        means = steps.mean(dim=2) if steps.ndim == 4 else steps
        assert (exact[layer] - means).norm() < 1e-5 * means.norm(), layer
        assert (coarse[layer] - means).norm() < 2e-2 * means.norm(), layer
        assert coarse[layer].dtype == torch.float32


def test_it_goes_on_from_the_last_layer_of_a_block(student: LogMelCNN) -> None:
    sound = noise(6 * SECOND)
    with torch.inference_mode():
        layers = student(sound, student.layers)
        for layer in ("logmel", "conv1", "pool3", "pool5"):
            found = student.continue_from(layer, layers[layer], [layer, "conv6"])
            torch.testing.assert_close(found["conv6"], layers["conv6"])


def test_another_rate_has_steps_of_5_s_too() -> None:
    network = LogMelCNN(HEADS, Preprocessing(sample_rate=16_000, amplitude=1.0, least_samples=320_000))
    assert network.steps(320_000, "conv6") == 4
    assert network.receptive_field("conv6").stride / 16_000 == pytest.approx(5, rel=0.01)


def test_silence_is_heard(student: LogMelCNN) -> None:
    with torch.inference_mode():
        assert all(bool(each.isfinite().all()) for each in student(torch.zeros(1, 1, 5 * SECOND)).values())
    with pytest.raises(SettingsError, match="did you mean 'conv5'"):
        student(noise(SECOND), ["con5"])
