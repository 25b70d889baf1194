"""A prepared network gives what the network gives: every layer, batch, length and engine."""

from collections.abc import Sequence
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from soundnet_kd.errors import SettingsError, TooShortError
from soundnet_kd.features.streaming import stream_layers
from soundnet_kd.inference import backends
from soundnet_kd.inference.backends import Backend
from soundnet_kd.inference.first_block import FirstBlock
from soundnet_kd.inference.folded import FoldedSoundNet
from soundnet_kd.inference.pool import Pooling
from soundnet_kd.inference.prepared import Engine, PreparedNetwork
from soundnet_kd.models import FinetunedNetwork, Network, SoundNet, SoundNet5, SoundNet8
from soundnet_kd.models.classifiers.light_cnn import LightCNN
from soundnet_kd.models.receptive_field import Block

POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
HEADS = {"objects": 7, "scenes": 5}


def _learned(network: nn.Module) -> None:
    """Give batch norm statistics and weights as far from those of a new network as training brings them."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.normal_(module.bias, 0.3, 0.5)
            nn.init.normal_(module.running_mean, 0.0, 0.2)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.05, 3.0)  # type: ignore[arg-type]
        elif isinstance(module, nn.Conv1d):
            nn.init.kaiming_normal_(module.weight)
            nn.init.normal_(module.bias, 0.0, 0.1)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=[SoundNet8, SoundNet5])
def student(request: pytest.FixtureRequest) -> SoundNet:
    torch.manual_seed(0)
    network: SoundNet = request.param(HEADS).eval()
    _learned(network)
    return network


def _sound(batch: int, samples: int) -> Tensor:
    return torch.randn(batch, 1, samples, generator=torch.Generator().manual_seed(samples)) * 40


def _exact(network: SoundNet, waveform: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Compute in double precision, as the network itself does it."""
    with torch.no_grad():
        wide = type(network)(network.class_names).double().eval()
        wide.load_state_dict({name: tensor.double() for name, tensor in network.state_dict().items()})
        found: dict[str, Tensor] = wide(waveform.double(), layers)
    return found


def _error(found: Tensor | np.ndarray, wanted: Tensor) -> float:
    assert tuple(found.shape) == tuple(wanted.shape)
    return float((torch.as_tensor(found).double() - wanted).norm() / wanted.norm())


@pytest.mark.parametrize(("batch", "samples"), [(1, 220_500), (3, 220_501), (2, 300_017)])
def test_steps_of_every_layer(student: SoundNet, batch: int, samples: int) -> None:
    waveform = _sound(batch, samples)
    found = PreparedNetwork(student, student.layers)(waveform)
    wanted = _exact(student, waveform, student.layers)
    assert list(found) == list(student.layers)
    for layer in student.layers:
        assert _error(found[layer], wanted[layer]) < 1e-5, layer


@pytest.mark.parametrize(
    ("samples", "repeats"), [(110_250, 5), (110_251, 3), (73_500, 4), (1_000, 300), (99, 3_000), (300_000, 1)]
)
def test_a_sound_that_is_repeated_is_pooled_as_if_it_were_long(student: SoundNet, samples: int, repeats: int) -> None:
    """Odd lengths and very short sounds go another way than even ones."""
    period = _sound(2, samples)
    found = PreparedNetwork(student, student.layers, POOLINGS).pooled(period, repeats)
    for layer, steps in _exact(student, period.repeat(1, 1, repeats), student.layers).items():
        mean, highest, deviation = found[layer]
        assert _error(mean, steps.mean(2)) < 1e-5, layer
        assert _error(highest, steps.amax(2)) < 1e-5, layer
        assert _error(deviation, steps.std(2, correction=0)) < 1e-5, layer


@pytest.mark.parametrize("layers", [["conv1"], ["pool1"], ["conv1", "conv3"], ["pool2", "conv4"], []])
def test_some_layers_averaged(student: SoundNet, layers: list[str]) -> None:
    """Without any named, all: the average of the output is computed in another way than its steps."""
    layers = layers or list(student.layers)
    period = _sound(2, 110_250)
    wanted = _exact(student, period.repeat(1, 1, 3), layers)
    found = PreparedNetwork(student, layers, ["mean"]).pooled(period, 3)
    assert set(found) == set(layers)
    for layer in layers:
        assert _error(found[layer][0], wanted[layer].mean(2)) < 1e-5


@pytest.mark.parametrize("backend", get_args(Backend))
def test_engines_give_the_same(student: SoundNet, backend: Backend) -> None:
    prepared = PreparedNetwork(student, student.layers, POOLINGS, Engine(backend))
    assert prepared.backend == backend
    assert prepared.made_by.startswith(f"{backend} ")
    for samples, repeats in ((110_250, 5), (481_001, 1)):
        period = _sound(2, samples)
        found = prepared.pooled(period, repeats)
        for layer, steps in _exact(student, period.repeat(1, 1, repeats), student.layers).items():
            mean, highest, deviation = found[layer]
            assert _error(mean, steps.mean(2)) < 1e-5, layer
            assert _error(highest, steps.amax(2)) < 1e-5, layer
            assert _error(deviation, steps.std(2, correction=0)) < 1e-5, layer


def test_bf16_is_within_a_hundredth(student: SoundNet) -> None:
    period = _sound(2, 110_250)
    found = PreparedNetwork(student, student.layers, ["mean"], Engine("torch", "bf16"))
    assert found.made_by.endswith(" in bf16")
    for layer, (mean,) in found.pooled(period, 5).items():
        steps = _exact(student, period.repeat(1, 1, 5), [layer])[layer]
        assert 1e-6 < _error(mean, steps.mean(2)) < 1e-2, layer


@pytest.mark.parametrize("head", ["linear", "roots"])
def test_a_head_on_pooled_layers(student: SoundNet, head: str) -> None:
    torch.manual_seed(1)
    trunk = type(student)(HEADS)
    trunk.load_state_dict(student.state_dict())
    layer = f"{student.layers[-3]}+{student.layers[-2]}"
    network = FinetunedNetwork(trunk, layer, ["a", "b", "c"], head=head).eval()  # type: ignore[arg-type]
    period = _sound(2, 110_250)
    with torch.no_grad():
        wanted = network(period.repeat(1, 1, 5), ["pool1", "answer"])
    asked = PreparedNetwork(network, ["pool1", "answer"], ["mean", "max"])
    found = asked.pooled(period, 5)
    assert list(found) == ["pool1", "answer"]
    torch.testing.assert_close(torch.from_numpy(found["answer"][0]), wanted["answer"][:, :, 0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.from_numpy(found["pool1"][1]), wanted["pool1"].amax(2), rtol=1e-5, atol=1e-5)
    steps = PreparedNetwork(network, ["answer"])(period.repeat(1, 1, 5))
    torch.testing.assert_close(steps["answer"], wanted["answer"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backend", get_args(Backend))
def test_a_network_without_a_student(backend: Backend) -> None:
    torch.manual_seed(0)
    network: Network = LightCNN(["a", "b"]).eval()
    prepared = PreparedNetwork(network, network.layers, ["mean"], Engine(backend))
    assert prepared.folded is None
    for batch in (1, 3):
        waveform = torch.randn(batch, 1, network.preprocessing.least_samples)
        with torch.no_grad():
            wanted = network(waveform, network.layers)
        for layer, steps in prepared(waveform).items():
            exact = wanted[layer].mean(2) if wanted[layer].ndim == 4 else wanted[layer]
            assert _error(steps, exact.double()) < 1e-5, layer


def test_in_segments_of_any_length_as_at_once(student: SoundNet) -> None:
    waveform = _sound(1, 400_003)
    folded = FoldedSoundNet(student, student.layers)
    pieces = list(stream_layers(folded, torch.split(waveform, 70_001, dim=2)))
    for layer, steps in _exact(student, waveform, student.layers).items():
        assert _error(torch.cat([piece[layer] for piece in pieces], dim=2), steps) < 1e-5


def test_in_bf16_in_segments_of_which_some_give_no_step() -> None:
    torch.manual_seed(0)
    network = SoundNet8(HEADS).eval()
    _learned(network)
    waveform = _sound(1, 400_003)
    folded = FoldedSoundNet(network, ["conv8"], "bf16")
    pieces = list(stream_layers(folded, torch.split(waveform, [390_000, 2_000, 8_003], dim=2)))
    found = torch.cat([piece["conv8"] for piece in pieces], dim=2)
    assert _error(found, _exact(network, waveform, ["conv8"])["conv8"]) < 3e-2


@pytest.mark.parametrize("samples", [14, 15, 33, 77, 2_000])
def test_a_few_samples_of_the_first_layer(student: SoundNet, samples: int) -> None:
    waveform = _sound(2, samples)
    (mean,) = PreparedNetwork(student, ["conv1"], ["mean"]).pooled(waveform)["conv1"]
    assert _error(mean, _exact(student, waveform, ["conv1"])["conv1"].mean(2)) < 1e-5


def test_a_head_in_double_precision(student: SoundNet) -> None:
    trunk = type(student)(HEADS)
    trunk.load_state_dict(student.state_dict())
    network = FinetunedNetwork(trunk, "pool1", ["a", "b"]).double().eval()
    waveform = _sound(2, 5_000)
    with torch.no_grad():
        wanted = network(waveform, ["answer"])["answer"]
    (answer,) = PreparedNetwork(network, ["answer"], ["mean"]).pooled(waveform)["answer"]
    assert _error(answer, wanted[:, :, 0]) < 1e-5


def test_an_engine_that_cannot_leaves_it_to_the_fast_way(student: SoundNet, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(*_: object) -> None:
        raise RuntimeError("it knows no convolution")

    monkeypatch.setattr(backends, "_openvino", cannot)
    prepared = PreparedNetwork(student, ["pool2"], ["mean"], Engine("openvino"))
    assert prepared.backend == "torch"
    assert prepared._compiled is None


def test_a_network_stays_in_its_mode() -> None:
    network = LightCNN(["a", "b"]).train()
    PreparedNetwork(network, network.layers)
    assert network.training


def test_what_is_learned_later_is_not_heard(student: SoundNet) -> None:
    network = type(student)(HEADS).eval()
    waveform = _sound(1, 220_500)
    prepared = PreparedNetwork(network, ["pool2"])
    before = prepared(waveform)["pool2"]
    with torch.no_grad():
        network.get_submodule("conv1").weight.mul_(2)  # type: ignore[operator]
    torch.testing.assert_close(prepared(waveform)["pool2"], before, rtol=0, atol=0)
    assert not torch.allclose(PreparedNetwork(network, ["pool2"])(waveform)["pool2"], before)


def test_what_cannot_be_is_refused(student: SoundNet) -> None:
    with pytest.raises(SettingsError, match="no layer 'con1'"):
        PreparedNetwork(student, ["con1"])
    with pytest.raises(TooShortError, match="1000 samples are too few"):
        PreparedNetwork(student, student.layers)(torch.zeros(1, 1, 1000))
    with pytest.raises(TooShortError, match="3000 samples are too few"):
        PreparedNetwork(student, student.layers, ["mean"]).pooled(torch.zeros(1, 1, 1000), 3)


def test_auto_is_pytorch_for_students_and_for_few_sounds(student: SoundNet) -> None:
    classifier = LightCNN(["a", "b"]).eval()
    assert Engine("auto").choose(student, 10_000) == "torch"
    assert Engine("auto").choose(classifier, 10) == "torch"
    assert Engine("auto").choose(classifier, 10_000) == "openvino"
    assert Engine("onnxruntime").choose(student, 1) == "onnxruntime"


@pytest.mark.parametrize("samples", [320, 322, 1_000, 1_002, 1_016, 5_000])
@pytest.mark.parametrize("repeats", [2, 3, 9])
def test_first_block_of_a_period_by_the_plain_formula(samples: int, repeats: int) -> None:
    """Periods whose steps are any rest of a window's, in double precision."""
    torch.manual_seed(0)
    block = Block(4, kernel=64, stride=2, padding=32, pool=8)
    weight, bias = torch.randn(4, 1, 64).double(), torch.randn(4).double()
    period = torch.randn(2, samples).double()
    steps = functional.relu(functional.conv1d(period.repeat(1, repeats)[:, None], weight, bias, 2, 32))
    first = FirstBlock(block, weight, bias)
    assert first.takes_repeats(samples)
    pieces, pooled = first.pooled_repeats(period, repeats)
    torch.testing.assert_close(torch.cat(pooled, dim=2), functional.max_pool1d(steps, 8))
    values = torch.cat([each.flatten(2) for each, times in pieces for _ in range(times)], dim=2)
    torch.testing.assert_close(values.sort(dim=2).values, steps.sort(dim=2).values)
