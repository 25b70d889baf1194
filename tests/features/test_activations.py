"""What a peeled network holds, against PyTorch's own hooks, hand computation and scipy."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from scipy import signal
from torch import Tensor, nn

from soundnet_kd import SoundNet5, SoundNet8
from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.features.activation_file import read_peel, write_peel
from soundnet_kd.features.activations import peel_sound
from soundnet_kd.media import write_audio
from soundnet_kd.models import ClipPreprocessing, Network, Preprocessing, SoundNet
from soundnet_kd.models.classifiers import CLASSIFIERS, SoundClassifier, build_classifier
from soundnet_kd.models.receptive_field import ReceptiveField

RATE = 22_050
HEADS = {"objects": ("cat", "dog", "rain"), "scenes": ("beach", "street")}


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "noise.wav"
    write_audio(path, (rng.uniform(-0.5, 0.5, 12 * RATE)).astype(np.float32), RATE)
    return path


def network(kind: type[SoundNet]) -> SoundNet:
    torch.manual_seed(1)
    student = kind(HEADS, Preprocessing(least_samples=10 * RATE)).eval()
    for module in student.modules():
        if isinstance(module, nn.Conv1d):
            nn.init.kaiming_normal_(module.weight)
            assert module.bias is not None
            nn.init.normal_(module.bias)
    return student


@pytest.mark.parametrize("kind", [SoundNet8, SoundNet5])
def test_activations_are_what_the_modules_answer(kind: type[SoundNet], sound: Path) -> None:
    student = network(kind)
    peeled = peel_sound(sound, student, start_seconds=1.5)
    assert tuple(peeled.layers) == student.layers
    expected = student.preprocessing.read(sound)[round(1.5 * RATE) : round(11.5 * RATE)] * 256
    np.testing.assert_array_equal(peeled.waveform, expected)
    assert (peeled.sound_samples, peeled.sample_rate, peeled.amplitude) == (10 * RATE, RATE, 256)

    seen: dict[str, Tensor] = {}
    for name, module in student.named_modules():
        module.register_forward_hook(lambda _, __, answer, name=name: seen.update({name: answer}))
    with torch.inference_mode():
        logits = student(torch.from_numpy(expected)[None, None])
    for name, layer in peeled.layers.items():
        if name in ("conv2", "conv4"):
            after_relu = seen[name.replace("conv", "batchnorm")][0].clamp(min=0).T.numpy()
            np.testing.assert_allclose(layer.activations, after_relu, rtol=1e-5, atol=1e-5)
        assert layer.activations.shape == (student.steps(10 * RATE, name), student.channels(name))
        np.testing.assert_allclose(layer.pooled, np.mean(layer.activations.astype(float), axis=0), rtol=1e-6)
    output = peeled.layers[student.output_layer].activations
    np.testing.assert_allclose(output, torch.cat([logits["objects"], logits["scenes"]], 1)[0].T, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [SoundNet8, SoundNet5])
def test_contributions_and_bias_add_up_to_the_mean_logits(kind: type[SoundNet], sound: Path) -> None:
    student = network(kind)
    peeled = peel_sound(sound, student)
    with torch.inference_mode():
        logits = student(torch.from_numpy(peeled.waveform)[None, None])
    for name, head in peeled.heads.items():
        assert head.class_names == HEADS[name]
        found = head.contributions.sum(axis=1) + head.bias
        np.testing.assert_allclose(found, logits[name][0].mean(dim=1), rtol=1e-4, atol=1e-4)


def test_one_channel_alone_contributes_what_is_said_of_it(sound: Path) -> None:
    student = network(SoundNet5)
    peeled = peel_sound(sound, student)
    hidden = torch.from_numpy(peeled.layers["conv4"].activations.T.copy())
    hidden[torch.arange(256) != 7] = 0
    module = student.get_submodule("conv5.scenes")
    assert isinstance(module, nn.Conv1d)
    with torch.inference_mode():
        alone = nn.functional.conv1d(hidden[None], module.weight, None, stride=12, padding=4)[0].mean(dim=1)
    np.testing.assert_allclose(peeled.heads["scenes"].contributions[:, 7], alone, rtol=1e-4, atol=1e-6)


def test_a_short_sound_is_tiled_and_the_network_stays_as_it_is(sound: Path) -> None:
    student = network(SoundNet5).train()
    before = student.fingerprint()
    peeled = peel_sound(sound, student, seconds=3)
    assert peeled.sound_samples == 3 * RATE
    # floor(10 / 3) + 1 repeats, as the preprocessing of FACTS.md, section 1, has it.
    assert len(peeled.waveform) == 4 * 3 * RATE
    np.testing.assert_array_equal(peeled.waveform[: 3 * RATE], peeled.waveform[-3 * RATE :])
    assert student.training
    assert student.fingerprint() == before


def test_a_step_is_placed_at_the_middle_of_what_it_hears(sound: Path) -> None:
    """A click at 5 s is heard by the steps of every layer around 5 s, to within half of what a step hears."""
    path = sound.with_name("click.wav")
    click = np.zeros(10 * RATE, np.float32)
    click[5 * RATE] = 1
    write_audio(path, click, RATE)
    student = network(SoundNet8)
    clicked = peel_sound(path, student)
    write_audio(path, np.zeros(10 * RATE, np.float32), RATE)
    silent = peel_sound(path, student)
    for name, layer in clicked.layers.items():
        changed = np.flatnonzero(np.abs(layer.activations - silent.layers[name].activations).max(axis=1) > 1e-4)
        middles = [layer.middle_seconds(float(step), RATE) for step in changed]
        assert len(middles) > 0, name
        assert np.abs(np.array(middles) - 5).max() <= layer.field.samples / 2 / RATE + 1e-9, name


def test_the_file_holds_it_all(sound: Path, tmp_path: Path) -> None:
    student = network(SoundNet5)
    peeled = peel_sound(sound, student)
    path = tmp_path / "peel.h5"
    write_peel(path, peeled, {"sound": "noise.wav"})
    found = read_peel(path)
    assert list(found.layers) == list(student.layers)
    for name, layer in peeled.layers.items():
        np.testing.assert_array_equal(found.layers[name].activations, layer.activations)
        assert found.layers[name].field == student.receptive_field(name)
    assert found.heads["objects"].class_names == HEADS["objects"]
    np.testing.assert_array_equal(found.heads["objects"].weight, student.get_parameter("conv5.objects.weight").detach())
    np.testing.assert_array_equal(found.heads["scenes"].contributions, peeled.heads["scenes"].contributions)
    weights = student.get_parameter("conv1.weight").detach()[:, 0].numpy()
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["filters/weight"], weights)
        np.testing.assert_allclose(file["pooled/conv3"][:], peeled.layers["conv3"].activations.mean(axis=0), rtol=1e-3)
        hertz = file["filters/frequency"][:]
        for taps, decibels, centre in zip(weights, file["filters/response"], file["filters/centre"], strict=True):
            _, response = signal.freqz(taps.astype(float), worN=hertz, fs=RATE)
            np.testing.assert_allclose(decibels, 20 * np.log10(np.abs(response)), atol=1e-3)
            assert centre == hertz[np.abs(response).argmax()]


class Averager(Network):
    """Nothing of SoundNet: a wave at 8 kHz, one convolution, its average over time, one linear answer."""

    kind = "averager"
    layers = ("wave", "average", "answer")

    def __init__(self) -> None:
        super().__init__()
        self.preprocessing = Preprocessing(sample_rate=8000, amplitude=1, least_samples=8000)
        self.class_names = {"pet": ("dog",)}
        self.wave = nn.Conv1d(1, 10, 4, 2, 1)
        self.answer = nn.ModuleDict({"pet": nn.Linear(10, 1)})

    @property
    def heads(self) -> Mapping[str, nn.Module]:
        return dict(self.answer.items())

    def channels(self, layer: str) -> int:
        return 1 if layer == "answer" else 10

    def receptive_field(self, layer: str) -> ReceptiveField | None:
        return ReceptiveField(4, 2, -1) if layer == "wave" else None

    def fingerprint(self) -> str:
        return "averager"

    def forward(self, waveform: Tensor, layers: Sequence[str] | None = None) -> dict[str, Tensor]:
        wave = self.wave(waveform).relu()
        average = wave.mean(dim=2)
        found = {"wave": wave, "average": average[:, :, None], "answer": self.answer["pet"](average)[:, :, None]}
        return {layer: found[layer] for layer in layers or ("answer",)}


def test_any_network_can_be_peeled(sound: Path) -> None:
    torch.manual_seed(2)
    peeled = peel_sound(sound, Averager())
    assert [len(layer.activations) for layer in peeled.layers.values()] == [4000, 1, 1]
    assert peeled.layers["average"].middle_seconds(0, 8000) == 0.5
    head = peeled.heads["pet"]
    np.testing.assert_allclose(head.heard[:, 0], peeled.layers["wave"].pooled, rtol=1e-5)
    np.testing.assert_allclose(
        head.contributions.sum() + head.bias[0], peeled.layers["answer"].activations[0, 0], rtol=1e-5
    )
    assert peeled.filters is not None
    assert peeled.filters.weight.shape == (10, 4)
    assert (peeled.filters.layer, peeled.filters.sample_rate) == ("wave", 8000)


def classifier(name: str) -> SoundClassifier:
    torch.manual_seed(3)
    # Two steps after nine poolings are enough of WavCeption.
    short = {"preprocessing": ClipPreprocessing(least_samples=1_024)} if name == "WavCeption" else {}
    return build_classifier(name, {"class_names": ["a", "b"], **short})


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_networks_for_labelled_sounds_can_be_peeled(name: str, sound: Path, tmp_path: Path) -> None:
    untouched = classifier(name)
    path = tmp_path / "peel.h5"
    write_peel(path, peel_sound(sound, untouched, seconds=20), {})
    peeled = read_peel(path)
    assert untouched.training
    assert tuple(peeled.layers) == untouched.layers
    with torch.inference_mode():
        answers = untouched.eval()(torch.from_numpy(peeled.waveform)[None, None], untouched.layers)
    for layer, answer in answers.items():
        found = peeled.layers[layer]
        # Time comes first, then channels, then rows.
        np.testing.assert_array_equal(found.activations, np.moveaxis(answer[0].numpy(), -1, 0))
        over = tuple(range(2, answer.ndim))
        np.testing.assert_allclose(found.pooled, answer.mean(dim=over)[0], rtol=1e-4, atol=1e-5)
        if answer.ndim == 4:
            np.testing.assert_allclose(found.over_time.T, answer.mean(dim=2)[0], rtol=1e-4, atol=1e-5)
    head = peeled.heads["classes"]
    expected = answers["answer"][0, :, 0]
    np.testing.assert_allclose(head.contributions.sum(axis=1) + head.bias, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "layer", "shape", "rate"),
    [
        ("CatsDogs", "conv1", (10, 4), 16_000),
        ("NSynthSimple", "conv1", (64, 2), 2_000),  # what it hears is resampled
        ("LightCNN", "conv1", (8, 2, 2), None),
        ("FilmGenres", "conv1", (32, 5, 5), None),
    ],
)
def test_first_filters_are_waves_or_pictures(
    name: str, layer: str, shape: tuple[int, ...], rate: int | None, sound: Path, tmp_path: Path
) -> None:
    network = classifier(name)
    write_peel(tmp_path / "peel.h5", peel_sound(sound, network), {})
    filters = read_peel(tmp_path / "peel.h5").filters
    assert filters is not None
    assert (filters.layer, filters.sample_rate, filters.weight.shape) == (layer, rate, shape)
    weight = next(value for key, value in network.named_parameters() if key.endswith("weight") and value.ndim > 2)
    np.testing.assert_array_equal(filters.weight, weight.detach()[:, 0])
    with h5py.File(tmp_path / "peel.h5") as file:
        assert ("response" in file["filters"]) == (rate is not None)
        if rate is not None:
            assert file["filters/frequency"][-1] == rate / 2


def test_single_samples_are_no_filters(sound: Path, tmp_path: Path) -> None:
    write_peel(tmp_path / "peel.h5", peel_sound(sound, classifier("WavCeption")), {})
    assert read_peel(tmp_path / "peel.h5").filters is None


def test_what_is_cut_and_what_is_filled_up_is_told(sound: Path) -> None:
    network = classifier("LightCNN")
    peeled = peel_sound(sound, network, seconds=0.25)
    assert (peeled.sound_samples, len(peeled.waveform), peeled.repeats) == (4_000, 16_000, False)
    assert not peeled.waveform[4_000:].any()
    assert peel_sound(sound, network, seconds=3).sound_samples == len(peeled.waveform)
    assert peel_sound(sound, Averager(), seconds=0.25).repeats


def test_files_of_version_1_can_be_read(sound: Path, tmp_path: Path) -> None:
    """Made by hand from one of version 2: no `repeats`, and filters without attributes."""
    peeled = peel_sound(sound, Averager())
    path = tmp_path / "peel.h5"
    write_peel(path, peeled, {})
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 1
        del file.attrs["repeats"], file["filters/weight"].attrs["layer"], file["filters/weight"].attrs["sample_rate"]
    found = read_peel(path)
    assert found.repeats
    assert found.filters is not None
    assert peeled.filters is not None
    assert (found.filters.layer, found.filters.sample_rate) == ("wave", 8000)
    np.testing.assert_array_equal(found.filters.weight, peeled.filters.weight)


@pytest.mark.parametrize(
    ("start_seconds", "seconds", "message"),
    [(12.0, 1.0, "ends at 12.00 s"), (-1.0, 1.0, "start_seconds is -1"), (0.0, 0.0, "a length above 0")],
)
def test_a_part_that_is_not_there_is_refused(sound: Path, start_seconds: float, seconds: float, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        peel_sound(sound, network(SoundNet5), start_seconds, seconds)


def test_another_file_is_no_peel(sound: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"noise\.wav is not a readable peel\.h5"):
        read_peel(sound)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["format_version"] = 99
    with pytest.raises(FormatError, match="format_version 99, expected 2"):
        read_peel(tmp_path / "other.h5")
