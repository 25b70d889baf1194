"""What all networks for labelled sounds have in common, and the layouts and numbers of FACTS.md, sections 2 to 5."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from soundnet_kd.errors import SettingsError, TooShortError
from soundnet_kd.models import ClipPreprocessing
from soundnet_kd.models.classifiers import (
    CLASSIFIERS,
    CatsDogs,
    FilmGenres,
    FilmGenresRecurrent,
    LightCNN,
    NSynthBetter,
    NSynthSimple,
    SoundClassifier,
    WavCeption,
    build_classifier,
)
from soundnet_kd.models.classifiers.film_genres import TILE_SAMPLES
from soundnet_kd.models.layers import SameConv1d

TEN = tuple(f"class {number}" for number in range(10))
TWELVE = tuple(f"word {number}" for number in range(12))
SHORT = ClipPreprocessing(sample_rate=16_000, least_samples=1_024)
"""Enough for two steps after WavCeption's nine poolings, so that tests take no minutes."""


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def small(name: str) -> SoundClassifier:
    """One of each, on the shortest input that it takes."""
    torch.manual_seed(0)
    short: dict[str, Any] = {
        "WavCeption": {"preprocessing": SHORT},
        "NSynthBetter": {"preprocessing": ClipPreprocessing(least_samples=1_600)},
    }
    return CLASSIFIERS[name](("a", "b", "c"), **short.get(name, {}))


def waveforms(network: SoundClassifier, count: int = 4, times: int = 1) -> Tensor:
    torch.manual_seed(1)
    asked = network.preprocessing
    return asked.amplitude * 0.3 * torch.randn(count, 1, times * asked.least_samples)


def test_cats_and_dogs_has_its_counts_and_lengths() -> None:
    """FACTS.md, section 2: conv1 50, the others 410, BN 40 a layer (half trainable), last 11; 16000 -> ... -> 16."""
    network = CatsDogs(("dog",)).eval()
    for number in range(1, 11):
        convolution, norm, _ = network.get_submodule(f"conv{number}").children()
        assert parameters(convolution) == (50 if number == 1 else 410)
        state = sum(tensor.numel() for name, tensor in norm.state_dict().items() if name != "num_batches_tracked")
        assert (parameters(norm), state) == (20, 40)
        assert isinstance(norm, nn.BatchNorm1d)
        # Keras's momentum 0.99 is what stays of the old, PyTorch's what comes of the new.
        assert (norm.eps, norm.momentum) == (1e-3, 0.01)
    assert parameters(network.get_submodule("answer")) == 11
    layers = tuple(f"conv{number}" for number in range(1, 11))
    assert network.layers == (*layers, "average", "answer")
    found = network(torch.zeros(2, 1, 16_000), network.layers)
    assert [found[layer].shape[-1] for layer in layers] == [8000, 4000, 2000, 1000, 500, 250, 125, 63, 32, 16]
    assert found["answer"].shape == (2, 1, 1)
    assert parameters(network) == 50 + 9 * 410 + 10 * 20 + 11


def test_same_padding_is_tensorflows() -> None:
    """By hand, with a kernel of ones: of even lengths one zero on each side, of odd ones the second one at the end."""
    convolution = SameConv1d(1, 1, kernel=4, stride=2)
    nn.init.ones_(convolution.weight)
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    for sound, expected in (
        ([1, 2, 3, 4, 5, 6], [6, 14, 15]),  # 0 1 2 3 | 2 3 4 5 | 4 5 6 0
        ([1, 2, 3, 4, 5], [6, 14, 9]),  # 0 1 2 3 | 2 3 4 5 | 4 5 0 0
    ):
        assert convolution(torch.tensor(sound, dtype=torch.float32)[None, None]).flatten().tolist() == expected


def test_nsynth_simple_has_its_counts_and_lengths() -> None:
    """FACTS.md, section 4: 192 + 8 256 + 650 = 9 098; 8000 -> 7999."""
    network = NSynthSimple(TEN).eval()
    assert [parameters(network.get_submodule(layer)) for layer in ("conv1", "conv2", "answer")] == [192, 8_256, 650]
    assert parameters(network) == 9_098
    found = network(torch.zeros(1, 1, 64_000), network.layers)
    assert tuple(found["front_end"].shape) == (1, 1, 8_000)
    assert tuple(found["conv1"].shape) == (1, 64, 7_999)


def test_nsynth_better_has_its_counts_and_lengths() -> None:
    """FACTS.md, section 4: 192, 4 128, 5 980, 8 827 608, 250 = 8 838 158; pooled 3 998, flat 367 816."""
    network = NSynthBetter(TEN).eval()
    layers = ("conv1", "conv2", "conv3", "dense", "answer")
    assert [parameters(network.get_submodule(layer)) for layer in layers] == [192, 4_128, 5_980, 8_827_608, 250]
    assert parameters(network) == 8_838_158
    found = network(torch.zeros(1, 1, 64_000), network.layers)
    assert tuple(found["pool3"].shape) == (1, 92, 3_998)
    assert found["pool3"].numel() == 367_816


def test_the_light_cnn_has_its_counts_and_shapes() -> None:
    """FACTS.md, section 5. By hand: kernel x in x out + out, 2 for each channel of a batch norm."""
    network = LightCNN(TWELVE).eval()
    found = network(waveforms(network, 2), network.layers)
    # 99 x 81 x 1 there; here frequency comes before time.
    assert tuple(found["front_end"].shape) == (2, 1, 81, 99)
    shapes = {layer: tuple(found[layer].shape[1:]) for layer in network.layers[1:]}
    assert shapes == {
        "conv1": (8, 80, 98),
        "conv2": (8, 79, 97),
        "pool2": (8, 39, 48),
        "conv3": (16, 37, 46),
        "conv4": (16, 35, 44),
        "pool4": (16, 17, 22),
        "conv5": (32, 15, 20),
        "pool5": (32, 7, 10),
        "dense1": (128, 1),
        "dense2": (128, 1),
        "answer": (12, 1),
    }
    convolutions = (2 + 4 * 8 + 8) + (4 * 64 + 8) + (9 * 8 * 16 + 16) + (9 * 16 * 16 + 16) + (9 * 16 * 32 + 32)
    dense = (32 * 7 * 10 * 128 + 128 + 256) + (128 * 128 + 128 + 256) + (128 * 12 + 12)
    assert parameters(network) == convolutions + dense


def inception_parameters(channels: int, depth: int) -> int:
    """By hand from FACTS.md, section 5: convolutions with bias, 2 for each channel of a batch norm."""
    single = channels * 16 * depth + 16 * depth + 2 * 16 * depth
    longer = sum(
        channels * 16 + 16 + 2 * 16 + kernel * 16 * 32 * depth + 32 * depth + 2 * 32 * depth for kernel in (3, 5, 5)
    )
    pools = 4 * (2 * channels + channels * 16 + 16)
    return 2 * channels + single + longer + pools


def test_wavception_has_its_counts_and_lengths() -> None:
    """FACTS.md, section 5: 9 stages of 2 blocks, max-pool 2, depths 1,1,2,2,3,3,4,4,4; dense 128, dense 12."""
    network = WavCeption(TWELVE)
    channels, expected = 1, 0
    for depth in (1, 1, 2, 2, 3, 3, 4, 4, 4):
        for _ in range(2):
            expected += inception_parameters(channels, depth)
            channels = 16 * depth + 3 * 32 * depth + 4 * 16
    flat = channels * 31  # 16000, halved nine times
    expected += 2 * flat + flat * 128 + 128 + 2 * 128 + 128 * 12 + 12
    assert parameters(network) == expected
    assert [network.channels(f"pool{stage}") for stage in (1, 3, 5, 9)] == [176, 288, 400, 512]
    short = WavCeption(TWELVE, SHORT).eval()
    found = short(torch.randn(1, 1, 1_024), short.layers)
    assert [found[f"pool{stage}"].shape[-1] for stage in range(1, 10)] == [512, 256, 128, 64, 32, 16, 8, 4, 2]
    assert found["inception1_1"].shape[-1] == 1_024


def test_the_running_statistics_of_wavception_follow_a_short_training() -> None:
    """With Keras's 0.01 an epoch of ESC-50 (250 steps) left a network that had learned at chance."""
    norms = [module for module in WavCeption(TWELVE, SHORT).modules() if isinstance(module, nn.BatchNorm1d)]
    assert {norm.momentum for norm in norms} == {0.1}


def test_film_genres_has_its_layers() -> None:
    """FACTS.md, section 3: 40 x 100; 32 (5x5), 64 (4x4), 128 (2x2), 256 (2x2), each pooled by 2; 50, 50, one answer."""
    network = FilmGenres(("drama",)).eval()
    found = network(waveforms(network, 2), network.layers)
    assert {layer: tuple(answer.shape[1:]) for layer, answer in found.items()} == {
        "front_end": (1, 40, 100),
        "conv1": (32, 36, 96),
        "pool1": (32, 18, 48),
        "conv2": (64, 15, 45),
        "pool2": (64, 7, 22),
        "conv3": (128, 6, 21),
        "pool3": (128, 3, 10),
        "conv4": (256, 2, 9),
        "pool4": (256, 1, 4),
        "dense1": (50, 1),
        "dense2": (50, 1),
        "answer": (1, 1),
    }
    dropouts = [module.p for module in network.modules() if isinstance(module, nn.Dropout)]
    assert dropouts == [0.1, 0.2, 0.3, 0.4, 0.5]
    convolutions = (25 * 32 + 32) + (16 * 32 * 64 + 64) + (4 * 64 * 128 + 128) + (4 * 128 * 256 + 256)
    assert parameters(network) == convolutions + (1024 * 50 + 50) + (50 * 50 + 50) + (50 + 1)
    assert parameters(FilmGenres(TEN)) == parameters(network) + 9 * 51


def test_the_recurrent_network_hears_tiles_in_order() -> None:
    torch.manual_seed(0)
    network = FilmGenresRecurrent(TEN).eval()
    track = waveforms(network, 2, times=3)
    found = network(track, network.layers)
    assert {layer: tuple(answer.shape[1:]) for layer, answer in found.items()} == {
        "tiles": (50, 3),
        "recurrent": (50, 3),
        "last": (50, 1),
        "answer": (10, 1),
    }
    tiles = network.get_submodule("tiles").get_submodule("network")
    assert isinstance(tiles, FilmGenres)
    alone = tiles(track[:, :, TILE_SAMPLES : 2 * TILE_SAMPLES], ("dense2",))["dense2"]
    torch.testing.assert_close(found["tiles"][:, :, 1:2], alone, rtol=1e-4, atol=1e-5)
    # Its own answer depends on the order of the tiles; what is beyond whole tiles is not heard.
    turned = track.roll(TILE_SAMPLES, dims=2)
    assert (network.logits(turned) - network.logits(track)).abs().max() > 1e-4
    longer = nn.functional.pad(track, (0, TILE_SAMPLES - 1), value=0.1)
    torch.testing.assert_close(network.logits(longer), network.logits(track))
    with pytest.raises(TooShortError, match="no whole tile"):
        network(track[..., :1000])


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    network = small(name)
    network.fit_front_end([waveforms(network)])
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    times = 2 if name == "FilmGenresRecurrent" else 1
    logits = network.logits(waveforms(network, times=times))
    torch.autograd.backward((logits * torch.tensor([1.0, -2.0, 3.0])).square().sum())
    without = [key for key, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert without == []


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_one_pass_gives_what_single_passes_give(name: str) -> None:
    network = small(name).eval()
    sound = waveforms(network, 2)
    with torch.inference_mode():
        together = network(sound, network.layers)
        assert tuple(together) == network.layers
        # Of WavCeption's 29 layers a few: it is slow on a processor.
        for layer in network.layers[:: 1 + len(network.layers) // 12]:
            torch.testing.assert_close(network(sound, (layer,))[layer], together[layer])
        for layer, answer in together.items():
            assert answer.shape[:2] == (2, network.channels(layer))
            assert answer.ndim in (3, 4)
        torch.testing.assert_close(network(sound)["classes"], together["answer"][:, :, 0])
        torch.testing.assert_close(network.logits(sound), together["answer"][:, :, 0])
    assert network.output_layer == network.layers[-1] == "answer"


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_stops_after_the_deepest_layer_asked_for(name: str) -> None:
    network = small(name).eval()
    network.get_submodule("answer.classes").forward = None  # type: ignore[assignment]
    first = network.layers[0]
    assert list(network(waveforms(network, 1), (first,))) == [first]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_network_is_built_again_from_json(name: str) -> None:
    network = small(name).eval()
    network.fit_front_end([waveforms(network)])
    settings = json.loads(json.dumps(network.settings))
    twin = build_classifier(type(network).__name__, settings).eval()
    assert twin.settings == network.settings
    assert twin.fingerprint() != network.fingerprint()
    twin.load_state_dict(network.state_dict())
    assert twin.fingerprint() == network.fingerprint()
    sound = waveforms(network, 2)
    torch.testing.assert_close(twin.logits(sound), network.logits(sound), rtol=0, atol=0)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_layers_field_is_what_its_steps_hear(name: str) -> None:
    """The gradient of a step by the input: nothing outside of its field, and something at both ends of it."""
    network = small(name).eval()
    # Only what the field is exact for: resampling hears a little of everything, a mel spectrogram its loudest moment.
    exact: dict[str, list[dict[str, Any]]] = {
        "NSynthSimple": [],
        "NSynthBetter": [],
        "LightCNN": [{"name": "LogSpectrogram"}],
        "FilmGenres": [{"name": "LogSpectrogram", "window_seconds": 0.2, "step_seconds": 0.1}],
        "FilmGenresRecurrent": [{"name": "LogSpectrogram", "window_seconds": 0.2, "step_seconds": 0.1}],
    }
    if name in exact:
        network = build_classifier(name, {**network.settings, "front_end": exact[name]}).eval()
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.forward = lambda input: input  # type: ignore[method-assign]
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            nn.init.uniform_(module.weight, 0.5, 1.0)
    sound = waveforms(network, 1, times=3 if name == "FilmGenresRecurrent" else 1).requires_grad_()
    fields = {layer: network.receptive_field(layer) for layer in network.layers}
    answers = network(sound, network.layers)
    for layer, field in fields.items():
        steps_of_layer = answers[layer].shape[-1]
        if field is None or layer == "recurrent":
            assert steps_of_layer == 1 or layer == "recurrent"
            continue
        step = steps_of_layer // 2
        (gradient,) = torch.autograd.grad(answers[layer][..., step].sum(), sound, retain_graph=True)
        heard = np.flatnonzero(gradient[0, 0])
        start = field.start + step * field.stride
        assert heard.min() >= max(0, start), layer
        assert heard.max() < start + field.samples, layer
        if not any(isinstance(module, nn.MaxPool1d | nn.MaxPool2d) for module in network.modules()):
            # Hann's window is 0 at its first sample.
            assert heard.min() <= max(0, start) + 1, layer
            assert heard.max() >= min(sound.shape[-1], start + field.samples) - 2, layer


def test_a_network_serves_other_data_sets() -> None:
    """ESC-50: 50 classes, 5 s at 16 kHz."""
    classes = [f"sound {number}" for number in range(50)]
    network = CatsDogs(classes).eval()
    assert network.logits(torch.randn(2, 1, 80_000)).shape == (2, 50)
    wide = WavCeption(classes, ClipPreprocessing(least_samples=80_000))
    # 80 000, halved nine times, is 156.
    assert parameters(wide.get_submodule("dense")) == 2 * 156 * 512 + 156 * 512 * 128 + 128 + 2 * 128


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("CatDogs", {"class_names": ["a"]}, "no network 'CatDogs'; did you mean 'CatsDogs'"),
        ("CatsDogs", {"class_name": ["a"]}, "CatsDogs has no setting 'class_name'; did you mean 'class_names'"),
        ("CatsDogs", {}, "CatsDogs cannot be built: .*class_names"),
        ("CatsDogs", {"class_names": []}, "give a list of one name or more"),
        ("CatsDogs", {"class_names": "dog"}, "give a list of one name or more"),
        ("CatsDogs", {"class_names": ["a"], "preprocessing": {"rate": 3}}, "CatsDogs cannot be built: .*rate"),
        ("CatsDogs", {"class_names": ["a"], "preprocessing": {"sample_rate": -3}}, "sample_rate is -3"),
        ("WavCeption", {"class_names": ["a"], "preprocessing": {"least_samples": 500}}, "at least 512 samples"),
        ("LightCNN", {"class_names": ["a"], "preprocessing": {"exact": False}}, "has to be exact"),
        ("LightCNN", {"class_names": ["a"], "preprocessing": {"least_samples": 2000}}, "cannot hear 2000 samples"),
        ("NSynthBetter", {"class_names": ["a"], "dropout": 3}, "NSynthBetter cannot be built: dropout"),
    ],
)
def test_impossible_networks_are_refused(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        build_classifier(name, settings)


def test_other_lengths_and_layers_are_refused_with_the_cure() -> None:
    network = WavCeption(("a", "b"), SHORT)
    with pytest.raises(TooShortError, match="was given 1023 samples, but hears 1024, neither more nor less"):
        network(torch.zeros(1, 1, 1023))
    with pytest.raises(SettingsError, match="WavCeption has no layer 'pool'; did you mean 'pool"):
        network(torch.zeros(1, 1, 1024), ("pool",))
    with pytest.raises(SettingsError, match="no layer"):
        network.receptive_field("conv1")
