"""What is done with a student is done with one over log-mel spectrograms: other programs, engines, labels, a look."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from soundnet_kd import export
from soundnet_kd.commands.finetune import finetune
from soundnet_kd.commands.peel import peel
from soundnet_kd.errors import SettingsError
from soundnet_kd.inference.prepared import Engine, PreparedNetwork, fold
from soundnet_kd.media import write_audio
from soundnet_kd.models import FinetunedNetwork, LogMelCNN, Preprocessing, read_network, write_network
from soundnet_kd.models.architectures import parameters_up_to
from tests.commands.exported import ALONE, SUFFIX, expect_near, run_alone, sounds
from tests.supervised.runs import write_tones

RATE, LEAST = 22_050, 220_000
ASKED = Preprocessing(RATE, amplitude=1.0, least_samples=LEAST)


def student() -> LogMelCNN:
    """A student that has heard something."""
    torch.manual_seed(0)
    network = LogMelCNN({"objects": ["dog, barking", "rain"], "scenes": ["café", "street", "sea"]}, ASKED, width=0.125)
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(2, 1, LEAST) * 0.1)
    return network.eval()


@pytest.mark.parametrize("kind", ALONE)
@torch.no_grad()
def test_a_file_runs_without_this_package(tmp_path: Path, kind: Any) -> None:
    network, out = student(), tmp_path / f"network{SUFFIX[kind]}"
    write_network(network, tmp_path / "student.safetensors", {"weights": {"licence": "CC BY", "source": "me"}})
    result = export(tmp_path, kind, out, outputs=("logmel", "conv3", "pool5", "scenes"))
    # Of pure tones PyTorch itself rounds off about as much in the quiet bands.
    assert all(error <= 1e-5 or output in result.roundings for output, error in result.errors.items())
    assert all(error <= 3e-5 for error in result.errors.values())
    batches = sounds([(1, 100), (3, LEAST // 2), (2, LEAST + 1_001)])
    answers, described = run_alone(out, kind, batches, tmp_path)
    for batch, (logmel, conv3, pool5, scenes) in zip(batches, answers, strict=True):
        waveform = torch.stack([ASKED(sound) for sound in batch])
        layers = network(waveform, ("logmel", "conv3", "pool5"))
        expect_near(logmel, layers["logmel"].mean(dim=2))
        expect_near(conv3, layers["conv3"].mean(dim=(2, 3)))
        expect_near(pool5, layers["pool5"].mean(dim=2))
        expect_near(scenes, network(waveform)["scenes"].softmax(dim=1))
    assert described["sample_rate"] == "22050"


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("is_finetuned", [False, True])
def test_engines_give_what_pytorch_gives(backend: Any, is_finetuned: bool) -> None:
    network = FinetunedNetwork(student(), "pool3+pool5", ("a", "b", "c")).eval() if is_finetuned else student()
    layers = ["conv2", "pool5", network.output_layer]
    engine, own = PreparedNetwork(network, layers, engine=Engine(backend)), PreparedNetwork(network, layers)
    assert (engine.backend, own.backend) == (backend, "torch")
    for batch in sounds([(1, LEAST), (3, LEAST + 5_003)]):
        waveform = torch.stack([ASKED(sound) for sound in batch])
        found, wanted = engine(waveform), own(waveform)
        for layer in layers:
            assert (found[layer] - wanted[layer]).norm() < 1e-5 * wanted[layer].norm(), layer


def test_it_can_be_finetuned_and_learns_from_labels(tmp_path: Path) -> None:
    """Three tones, from random weights; the network that is kept knows its layers and its width."""
    tones = write_tones(tmp_path / "tones")
    options: dict[str, Any] = {"scratch": True, "crop_seconds": 0.5, "batch_size": 6, "epochs": 25, "device": "cpu"}
    result = finetune(tones, "LogMelCNNx0.25", tmp_path / "out", layer="pool4", from_layer="conv1", **options)
    assert result.accuracy > 0.8
    network = read_network(tmp_path / "out")
    assert isinstance(network, FinetunedNetwork)
    assert network.layers == ("logmel", "conv1", "conv2", "pool2", "conv3", "pool3", "conv4", "pool4", "answer")
    assert network.architecture == "LogMelCNNx0.25"
    # The bands' batch norm comes before conv1, and was held.
    assert not network.get_parameter("network.batchnorm0.weight").requires_grad or network.frozen_layer is None


def test_it_learns_from_kept_layers_with_their_rows(tmp_path: Path) -> None:
    """What lies before conv3 is computed once; the network that is kept answers as it was tested."""
    tones = write_tones(tmp_path / "tones")
    options: dict[str, Any] = {"crop_seconds": 0.5, "batch_size": 6, "epochs": 25, "variants": 2, "device": "cpu"}
    result = finetune(tones, student(), tmp_path / "out", layer="pool4", from_layer="conv3", **options)
    assert result.accuracy > 0.8
    before, after = student().state_dict(), read_network(tmp_path / "out").state_dict()
    learned = {
        name for name in before if f"network.{name}" in after and not before[name].equal(after[f"network.{name}"])
    }
    assert {name.partition(".")[0] for name in learned} == {"conv3", "batchnorm3", "conv4", "batchnorm4"}


def test_it_goes_on_from_rows_side_by_side() -> None:
    trunk = student()
    network = FinetunedNetwork(trunk, "pool3+pool5", ("a", "b", "c"), from_layer="conv3").eval()
    assert network.frozen_layer == "pool2"
    waveform = torch.stack([ASKED(sound) for sound in sounds([(2, LEAST)])[0]])
    with torch.inference_mode():
        folded = fold(trunk, ["pool2"], "32")
        folded.keeps_rows = True
        steps = folded(waveform)["pool2"]
        assert steps.shape[1] == 8 * 16
        torch.testing.assert_close(network.logits_from(steps), network(waveform)["classes"], rtol=1e-4, atol=1e-5)
        inside = network.logits_from(steps, margin=network.margin_steps)
        layers = trunk(waveform, ["pool3", "pool5"])
        first = network.margin_steps // 2, network.margin_steps // 4
        counts = [(steps.shape[2] - 2 * network.margin_steps) // ratio for ratio in (2, 4)]
        cut = {
            layer: layers[layer][..., start : start + count]
            for layer, start, count in zip(("pool3", "pool5"), first, counts, strict=True)
        }
        torch.testing.assert_close(inside, network.answer_to(cut), rtol=1e-4, atol=1e-5)


def test_no_other_architecture_is_taken_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no student LogMelCNNx9x"):
        finetune(write_tones(tmp_path / "tones"), "LogMelCNNx9x", tmp_path / "out", scratch=True)


def test_a_head_hears_means_over_rows_and_steps() -> None:
    """Two layers, one of them with rows, and deviations over time of its means over rows."""
    trunk = student()
    waveform = torch.stack([ASKED(sound) for sound in sounds([(2, LEAST)])[0]])
    with torch.inference_mode():
        steps = trunk(waveform, ["pool3", "pool5"])
        network = FinetunedNetwork(trunk, "pool3+pool5", ("a", "b"), head="roots").eval()
        over_time = [steps["pool3"].mean(dim=2), steps["pool5"]]
        pooled = [each for layer in over_time for each in (layer.mean(dim=2), layer.std(dim=2, unbiased=False))]
        torch.testing.assert_close(network(waveform)["classes"], network.answer(pooled), rtol=1e-3, atol=1e-3)


def test_it_can_be_looked_at(tmp_path: Path) -> None:
    write_audio(tmp_path / "noise.wav", sounds([(1, 6 * RATE)])[0][0].clip(-1, 1), RATE)
    network = student()
    peeled = peel(tmp_path / "noise.wav", network, tmp_path / "peel").peeled
    # The spectrogram is one picture of 64 rows; 6 s are heard twice.
    assert peeled.layers["logmel"].activations.shape == (12 * RATE // 430 + 1, 1, 64)
    assert peeled.layers["conv3"].activations.shape[1:] == (16, 16)
    assert peeled.layers["pool5"].activations.shape[1:] == (64,)
    for figure in ("layers", "pooled", "pictures", "filters", "head_objects"):
        assert (tmp_path / "peel" / f"{figure}.png").is_file()
    filters = peeled.filters
    assert filters is not None
    assert (filters.layer, filters.sample_rate, filters.weight.shape) == ("conv1", None, (4, 3, 3))
    with torch.inference_mode():
        logits = network(torch.from_numpy(peeled.waveform)[None, None])
    for name, head in peeled.heads.items():
        found = head.contributions.sum(axis=1) + head.bias
        np.testing.assert_allclose(found, logits[name][0].mean(dim=1), rtol=1e-4, atol=1e-5)


def test_parameters_up_to_a_layer() -> None:
    counted = {"logmel": 128, "conv1": 128 + 9 * 32 + 64, "pool2": 480 + 9 * 32 * 64 + 128}
    assert {layer: parameters_up_to("LogMelCNN", layer) for layer in counted} == counted
    assert parameters_up_to("LogMelCNN", "conv6") is None
