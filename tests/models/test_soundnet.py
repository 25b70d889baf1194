"""SoundNet's layout, by hand from FACTS.md, section 1, and its numbers against the released network's."""

from pathlib import Path

import numpy as np
import pytest
import torch

from soundnet_kd import SoundNet5, SoundNet8
from soundnet_kd.errors import SettingsError, TooShortError
from soundnet_kd.models import Preprocessing
from tests.reference_clips import hear_clips, notebooks, relative_errors

SECOND = 22_050

# By hand: a convolution gives floor((n + 2 padding - kernel) / stride) + 1 steps, a pooling floor(n / size).
LENGTHS_8 = {
    20 * SECOND: {
        "conv1": 220_501,
        "pool1": 27_562,
        "conv2": 13_782,
        "pool2": 1722,
        "conv3": 862,
        "conv4": 432,
        "conv5": 217,
        "pool5": 54,
        "conv6": 28,
        "conv7": 15,
        "conv8": 4,
    },
    10 * SECOND: {
        "conv1": 110_251,
        "pool1": 13_781,
        "conv2": 6891,
        "pool2": 861,
        "conv3": 431,
        "conv4": 216,
        "conv5": 109,
        "pool5": 27,
        "conv6": 14,
        "conv7": 8,
        "conv8": 1,
    },
    5 * SECOND: {
        "conv1": 55_126,
        "pool1": 6890,
        "conv2": 3446,
        "pool2": 430,
        "conv3": 216,
        "conv4": 109,
        "conv5": 55,
        "pool5": 13,
        "conv6": 7,
        "conv7": 4,
        "conv8": 0,
    },
    123_457: {
        "conv1": 61_729,
        "pool1": 7716,
        "conv2": 3859,
        "pool2": 482,
        "conv3": 242,
        "conv4": 122,
        "conv5": 62,
        "pool5": 15,
        "conv6": 8,
        "conv7": 5,
        "conv8": 0,
    },
    331_777: {
        "conv1": 165_889,
        "pool1": 20_736,
        "conv2": 10_369,
        "pool2": 1296,
        "conv3": 649,
        "conv4": 325,
        "conv5": 163,
        "pool5": 40,
        "conv6": 21,
        "conv7": 11,
        "conv8": 2,
    },
}
LENGTHS_5 = {
    20 * SECOND: (220_501, 27_562, 13_782, 1722, 862, 107, 54, 4),
    10 * SECOND: (110_251, 13_781, 6891, 861, 431, 53, 27, 2),
    5 * SECOND: (55_126, 6890, 3446, 430, 216, 27, 14, 1),
    123_457: (61_729, 7716, 3859, 482, 242, 30, 16, 1),
}


@pytest.mark.parametrize("samples", LENGTHS_8)
def test_soundnet8_has_the_papers_lengths(samples: int) -> None:
    student = SoundNet8()
    assert {layer: student.steps(samples, layer) for layer in student.layers} == LENGTHS_8[samples]
    deep = [layer for layer in student.layers if LENGTHS_8[samples][layer]]
    with torch.inference_mode():
        answers = student(torch.zeros(1, 1, samples), deep)
    channels = {
        "conv1": 16,
        "pool1": 16,
        "conv2": 32,
        "pool2": 32,
        "conv3": 64,
        "conv4": 128,
        "conv5": 256,
        "pool5": 256,
        "conv6": 512,
        "conv7": 1024,
        "conv8": 1401,
    }
    assert {layer: tuple(answer.shape) for layer, answer in answers.items()} == {
        layer: (1, channels[layer], LENGTHS_8[samples][layer]) for layer in deep
    }
    assert {layer: student.channels(layer) for layer in student.layers} == channels


@pytest.mark.parametrize("samples", LENGTHS_5)
def test_soundnet5_has_the_papers_lengths(samples: int) -> None:
    student = SoundNet5({"objects": 1000, "scenes": 401})
    assert student.layers == ("conv1", "pool1", "conv2", "pool2", "conv3", "pool3", "conv4", "conv5")
    assert tuple(student.steps(samples, layer) for layer in student.layers) == LENGTHS_5[samples]
    with torch.inference_mode():
        answer = student(torch.zeros(2, 1, samples))
    steps = LENGTHS_5[samples][-1]
    assert {name: tuple(logits.shape) for name, logits in answer.items()} == {
        "objects": (2, 1000, steps),
        "scenes": (2, 401, steps),
    }


def test_parameter_count() -> None:
    # Per block: kernel x in x out + out (bias) + 2 x out (batch norm); the two heads 8 x 1024 x classes + classes.
    blocks = [(64, 1, 16), (32, 16, 32), (16, 32, 64), (8, 64, 128), (4, 128, 256), (4, 256, 512), (4, 512, 1024)]
    expected = sum(k * i * o + 3 * o for k, i, o in blocks) + sum(8 * 1024 * c + c for c in (1000, 401))
    assert sum(parameter.numel() for parameter in SoundNet8().parameters()) == expected


def test_first_weights_are_the_papers() -> None:
    torch.manual_seed(0)
    student = SoundNet8()
    for name, parameter in student.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any()
        elif name.startswith("batchnorm"):
            assert abs(float(parameter.mean()) - 1.0) < 0.03
            assert float(parameter.std()) == pytest.approx(0.02, rel=0.5)
        else:
            assert abs(float(parameter.mean())) < 0.001
            assert float(parameter.std()) == pytest.approx(0.01, rel=0.1)


def test_every_parameter_gets_a_gradient() -> None:
    student = SoundNet8({"objects": 3, "scenes": 2})
    answers = student(torch.randn(2, 1, 20 * SECOND) * 30)
    sum(answer.square().sum() for answer in answers.values()).backward()
    without = [name for name, parameter in student.named_parameters() if parameter.grad is None]
    assert without == []


def test_stops_after_the_deepest_layer_asked_for() -> None:
    student = SoundNet8().eval()
    for name in ("conv3", "conv4", "conv5", "conv6", "conv7"):
        student.get_submodule(name).forward = None  # type: ignore[assignment]
    answers = student(torch.zeros(1, 1, SECOND), ["pool1", "pool2"])
    assert list(answers) == ["pool1", "pool2"]


def test_one_pass_gives_what_single_passes_give() -> None:
    student = SoundNet8({"objects": 5}).eval()
    sound = torch.randn(1, 1, 20 * SECOND) * 40
    with torch.inference_mode():
        together = student(sound, list(student.layers))
        for layer in student.layers:
            torch.testing.assert_close(student(sound, [layer])[layer], together[layer])
        torch.testing.assert_close(student(sound)["objects"], together["conv8"])


def test_a_sound_too_short_is_refused_with_the_cure() -> None:
    with pytest.raises(TooShortError, match=r"too few for conv8; .* preprocessing"):
        SoundNet8()(torch.zeros(1, 1, 5 * SECOND))


@pytest.mark.parametrize("samples", [1, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 210_000])
def test_a_layer_is_given_or_refused_at_any_length(samples: int) -> None:
    student = SoundNet8({"objects": 2}).eval()
    for layer in student.layers:
        if student.steps(samples, layer):
            answer = student(torch.zeros(1, 1, samples), [layer])[layer]
            assert answer.shape[-1] == student.steps(samples, layer)
        else:
            with pytest.raises(TooShortError, match=rf"{samples} samples are too few for {layer}"):
                student(torch.zeros(1, 1, samples), [layer])


def test_an_unknown_layer_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean 'conv5'"):
        SoundNet8()(torch.zeros(1, 1, 20 * SECOND), ["con5"])


def test_fingerprint_tells_weights_and_preprocessing_apart() -> None:
    torch.manual_seed(0)
    first = SoundNet8({"objects": 2})
    same = SoundNet8({"objects": 2})
    same.load_state_dict(first.state_dict())
    assert first.fingerprint() == same.fingerprint()
    other = SoundNet8({"objects": 2}, Preprocessing(amplitude=512.0))
    other.load_state_dict(first.state_dict())
    assert first.fingerprint() != other.fingerprint()
    with torch.no_grad():
        same.get_parameter("conv1.bias")[0] += 1
    assert first.fingerprint() != same.fingerprint()


@pytest.mark.real
def test_the_released_weights_give_the_reference_features(real_data: Path) -> None:
    """40 real clips at 44.1 kHz, cut or padded to 220 500 samples, x 256, tiled 3 x (shared data README)."""
    student, kept = _released(real_data / "soundnet_reference")
    for layer, found in hear_clips(student, real_data, ("pool1", "pool2", "conv3")).items():
        channels = kept if layer == "conv3" else slice(None)
        error = relative_errors(found[:, channels], notebooks(real_data, layer)[:, channels])
        assert error.max() < 5e-5, layer


def _released(folder: Path) -> tuple[SoundNet8, np.ndarray]:
    """SoundNet8 with the weights that there are of the released network, and which filters of conv3 they are."""
    weights = np.load(folder / "soundnet8_conv1_conv2_conv3part.npz")
    student = SoundNet8().eval()
    kept = weights["conv3_kept_filter_index"]
    state = student.state_dict()
    parts = {
        "bn_gamma": "weight",
        "bn_beta": "bias",
        "bn_moving_mean": "running_mean",
        "bn_moving_variance": "running_var",
    }
    for number, filters in ((1, np.arange(16)), (2, np.arange(32)), (3, kept)):
        kernel = weights[f"conv{number}_kernel"].transpose(2, 1, 0)
        state[f"conv{number}.weight"][filters] = torch.from_numpy(kernel.copy())
        state[f"conv{number}.bias"][filters] = torch.from_numpy(weights[f"conv{number}_bias"])
        for part, key in parts.items():
            state[f"batchnorm{number}.{key}"][filters] = torch.from_numpy(weights[f"conv{number}_{part}"])
    return student, kept


def test_the_student_can_be_exported_and_traced() -> None:
    torch.manual_seed(0)
    student = SoundNet8({"objects": 3, "scenes": 2}).eval()
    sound = torch.randn(2, 1, 12 * SECOND) * 50
    with torch.inference_mode():
        expected = student(sound)
    exported = torch.export.export(student, (sound,), dynamic_shapes={"waveform": {0: torch.export.Dim("batch")}})
    for name, logits in exported.module()(sound[:1].repeat(3, 1, 1)).items():
        torch.testing.assert_close(logits[2], expected[name][0], rtol=1e-4, atol=1e-5)
    traced = torch.jit.trace(student, (sound,), strict=False)  # type: ignore[no-untyped-call]
    for name, logits in traced(sound).items():
        torch.testing.assert_close(logits, expected[name], rtol=1e-4, atol=1e-5)
