"""Exported files give what this package computes, to programs that have neither it nor, but for one format, PyTorch."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from soundnet_kd import SoundNet8, export
from soundnet_kd.commands.export import ExportResult
from soundnet_kd.errors import FormatError, RunConflictError, SettingsError
from soundnet_kd.models import ClipPreprocessing, FinetunedNetwork, Network, Preprocessing, write_network
from soundnet_kd.models.classifiers import build_classifier, wavception
from tests.commands.exported import ALONE, SUFFIX, expect_near, run_alone, sounds

RATE = 8_000
LEAST = 220_000
ASKED = Preprocessing(sample_rate=22_050, least_samples=LEAST)


def student() -> SoundNet8:
    torch.manual_seed(0)
    network = SoundNet8({"objects": ["dog, barking", "rain"], "scenes": ["café", "street", "sea"]}, ASKED)
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv1d):
            # Activations of about 1, as of a network that has learned.
            nn.init.kaiming_normal_(module.weight)
            nn.init.normal_(module.bias if module.bias is not None else module.weight, 0, 0.1)
        elif isinstance(module, nn.BatchNorm1d) and name == "batchnorm1":
            module.running_var = torch.full_like(module.weight.detach(), 2_000.0)
    return network.eval()


@pytest.mark.parametrize("kind", ALONE)
@torch.no_grad()
def test_a_file_runs_without_this_package(small_soundnet8: None, tmp_path: Path, kind: Any) -> None:
    network = student()
    write_network(network, tmp_path / "run" / "student.safetensors", {"weights": {"licence": "CC BY", "source": "me"}})
    out = tmp_path / f"network{SUFFIX[kind]}"
    result = export(tmp_path / "run", kind, out, outputs=("pool5", "scenes", "conv8"))
    assert list(result.errors) == ["pool5", "scenes", "conv8"]
    assert all(error <= 1e-5 for error in result.errors.values())
    assert f"wrote {out}: SoundNet8, compared on 12 sounds" in str(result)
    # Shorter than it asks for, a divisor of that, that itself, and longer.
    batches = sounds([(1, 100), (3, LEAST // 2), (1, LEAST), (2, LEAST + 1_001)])
    answers, described = run_alone(out, kind, batches, tmp_path)
    for batch, (pooled, scenes, logits) in zip(batches, answers, strict=True):
        waveform = torch.stack([ASKED(sound) for sound in batch])
        layers = network(waveform, ("pool5", "conv8"))
        expect_near(pooled, layers["pool5"].mean(dim=2))
        expect_near(scenes, network(waveform)["scenes"].softmax(dim=1))
        expect_near(logits, layers["conv8"].mean(dim=2))
    assert described["licence"] == "CC BY"
    assert described["sample_rate"] == "22050"
    assert json.loads(described["class_names"]) == {
        "objects": ["dog, barking", "rain"],
        "scenes": ["café", "street", "sea"],
    }


@pytest.mark.parametrize("pooling", ["none", "std"])
@torch.no_grad()
def test_any_length_and_every_pooling(small_soundnet8: None, tmp_path: Path, pooling: Any) -> None:
    network = student()
    out = tmp_path / "network.onnx"
    export(network, out=out, outputs=("conv7", "objects"), pooling=pooling, answers="logits", fill=False)
    # The shortest that conv8 takes, and one that no stride divides.
    least = next(samples for samples in range(200_000, 220_000) if network.steps(samples, "conv8"))
    batches = sounds([(1, least), (2, least + 1), (1, 2 * least + 77)])
    answers, described = run_alone(out, "onnx", batches, tmp_path)
    assert described["least_samples"] == str(least)
    for batch, (layer, objects) in zip(batches, answers, strict=True):
        waveform = ASKED.scale(batch)[:, None]
        steps = network(waveform, ("conv7",))["conv7"]
        pooled = {"none": steps, "std": steps.std(dim=2, unbiased=False)}
        expect_near(layer, pooled[pooling])
        expect_near(objects, network(waveform)["objects"])


CLIP = ClipPreprocessing(sample_rate=RATE, least_samples=RATE)
TILE = {"name": "MFCC", "coefficients": 32, "window_samples": 512, "step_samples": 80, "deltas": 1}
CLASSIFIERS: dict[str, Callable[[], Network]] = {
    "finetuned": lambda: FinetunedNetwork(student(), "conv4", ("a", "b", "c")),
    "roots": lambda: FinetunedNetwork(student(), "pool2+conv4", ("a", "b", "c"), head="roots"),
    "CatsDogs": lambda: build_classifier("CatsDogs", {"class_names": ["dog"]}),
    "NSynthSimple": lambda: build_classifier(
        "NSynthSimple",
        {
            "class_names": ["a", "b"],
            "preprocessing": CLIP,
            "front_end": [{"name": "FourierResampling", "target_rate": 1_000}, {"name": "Standardisation"}],
        },
    ),
    "NSynthBetter": lambda: build_classifier(
        "NSynthBetter",
        {
            "class_names": ["a", "b"],
            "preprocessing": CLIP,
            "front_end": [{"name": "FourierResampling", "target_rate": 12_000}],
        },
    ),
    "LightCNN": lambda: build_classifier("LightCNN", {"class_names": ["a", "b", "c"]}),
    "FilmGenres": lambda: build_classifier(
        "FilmGenres", {"class_names": ["a", "b"], "preprocessing": CLIP, "front_end": [TILE]}
    ),
    "LogMel": lambda: build_classifier(
        "LightCNN",
        {
            "class_names": ["a", "b"],
            "preprocessing": ClipPreprocessing(standardise=True),
            "front_end": [{"name": "LogMel", "bands": 64, "window_samples": 400, "step_samples": 160}],
        },
    ),
    "WavCeption": lambda: build_classifier("WavCeption", {"class_names": ["a", "b", "c"], "preprocessing": CLIP}),
}


@pytest.fixture
def shallow_wavception(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wavception, "DEPTHS", (1,))


@pytest.mark.parametrize("name", CLASSIFIERS)
@torch.no_grad()
def test_networks_for_labelled_sounds(
    small_soundnet8: None, shallow_wavception: None, tmp_path: Path, name: str
) -> None:
    torch.manual_seed(0)
    network = CLASSIFIERS[name]().eval()
    network.exclusive = name != "FilmGenres"
    out = tmp_path / "network.onnx"
    outputs = ("classes", network.layers[-2], "answer")
    result = export(network, out=out, outputs=outputs)
    assert isinstance(result, ExportResult)
    asked = network.preprocessing
    # Of the silence behind a short sound LightCNN's logarithm hears the rounding, PyTorch's own too.
    short = asked.least_samples if name == "LightCNN" else asked.least_samples // 2 + 1
    batches = sounds([(2, asked.least_samples), (1, short), (3, 2 * asked.least_samples + 3)])
    answers, _ = run_alone(out, "onnx", batches, tmp_path)
    for batch, (classes, layer, logits) in zip(batches, answers, strict=True):
        waveform = torch.stack([asked(sound) for sound in batch])
        expected = network(waveform)["classes"]
        exact = np.abs(expected.numpy()).max() * 1e-4
        np.testing.assert_allclose(logits, expected, rtol=0, atol=exact)
        likely = expected.sigmoid() if name in ("CatsDogs", "FilmGenres") else expected.softmax(dim=1)
        np.testing.assert_allclose(classes, likely, rtol=0, atol=1e-4)
        steps = network(waveform, outputs[1:2])[outputs[1]]
        np.testing.assert_allclose(layer, steps.mean(dim=2), rtol=0, atol=1e-4 * float(steps.abs().max()))


def test_a_network_of_exact_length_takes_that_alone_unless_sounds_are_filled_up(tmp_path: Path) -> None:
    export(CLASSIFIERS["NSynthBetter"]().eval(), out=tmp_path / "exact.onnx", fill=False)
    (given,) = onnx.load(tmp_path / "exact.onnx").graph.input
    assert [dim.dim_param or dim.dim_value for dim in given.type.tensor_type.shape.dim] == ["batch", RATE]


def test_what_a_file_says(small_soundnet8: None, tmp_path: Path) -> None:
    network = student()
    result = export(network, out=tmp_path / "network.onnx", outputs=("pool1", "objects"))
    texts = {entry.key: entry.value for entry in onnx.load(tmp_path / "network.onnx").metadata_props}
    assert texts["fingerprint"] == network.fingerprint()
    assert texts["channel"] == "first"
    assert (texts["filling"], texts["filled_samples"]) == ("repeat", str(LEAST))
    # conv1: 64 samples, every 2nd, from 32 before the sound; then the greatest of 8.
    assert json.loads(texts["outputs"]) == {
        "pool1": {"layer": "pool1", "channels": 2, "pooling": "mean", "stride": 16, "field": 78, "start": -32},
        "objects": {"head": "objects", "values": "probabilities", **_field(network, "conv8")},
    }
    assert "torch" in json.loads(texts["versions"])
    assert "licence" not in texts
    assert result.description["architecture"] == "SoundNet8"


def _field(network: SoundNet8, layer: str) -> dict[str, int]:
    field = network.receptive_field(layer)
    return {"stride": field.stride, "field": field.samples, "start": field.start}


def test_a_file_that_is_there_is_kept(small_soundnet8: None, tmp_path: Path) -> None:
    out = tmp_path / "network.xml"
    export(student(), "openvino", out, outputs=["pool2"])
    before = [file.read_bytes() for file in sorted(tmp_path.iterdir())]
    assert str(export(student(), "openvino", out, outputs=["pool2"])) == f"there was already {out}"
    with pytest.raises(RunConflictError, match=r"outputs.pool2.pooling was \"mean\", now \"max\""):
        export(student(), "openvino", out, outputs=["pool2"], pooling="max")
    assert [file.read_bytes() for file in sorted(tmp_path.iterdir())] == before
    # As a run leaves it that was killed between the two files.
    out.unlink()
    export(student(), "openvino", out, outputs=["pool2"])
    out.unlink()
    out.with_suffix(".bin").write_text("notes")
    with pytest.raises(RunConflictError, match=r"network\.bin is there already, without .*network\.xml"):
        export(student(), "openvino", out, outputs=["pool2"])
    assert [file.name for file in tmp_path.iterdir()] == ["network.bin"]
    (tmp_path / "network.onnx").write_text("notes")
    with pytest.raises(RunConflictError, match="is no network that can be read; choose another --out"):
        export(student(), "onnx", tmp_path / "network.onnx", outputs=["pool2"])


def test_a_file_that_gives_something_else_is_not_kept(small_soundnet8: None, tmp_path: Path) -> None:
    network = student()
    with torch.no_grad():
        network.get_parameter("conv3.weight").fill_(torch.nan)
    with pytest.raises(FormatError, match="gives another conv4 for 3 sounds of 73334 samples than PyTorch"):
        export(network, out=tmp_path / "network.onnx", outputs=("pool1", "conv4"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"out": "network.xml"}, r"network\.xml has to end in \.onnx for --format onnx"),
        ({"outputs": ["pol5"]}, "SoundNet8 has no layer or head 'pol5'; did you mean 'pool5'"),
        ({"outputs": ["pool5", "pool5"]}, "each once"),
        ({"outputs": []}, "each once"),
        ({"pooling": "median"}, "pooling is 'median'; choose one of mean, max, std, none"),
        ({"answers": "odds"}, "answers is 'odds'; choose one of probabilities, logits"),
        ({"format": "tflite"}, "format is 'tflite'; choose one of onnx, openvino, torch"),
    ],
)
def test_wrong_settings(small_soundnet8: None, tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        export(student(), **{"out": tmp_path / "network.onnx", **settings})


@pytest.mark.parametrize(("kind", "library"), [("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_a_missing_library(
    small_soundnet8: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SettingsError, match=rf'{library} is not .*pip install "soundnet-kd\[{library}\]"'):
        export(student(), kind, tmp_path / f"network{SUFFIX[kind]}")


@pytest.mark.parametrize("fill", [True, False])
def test_a_network_that_cannot_be_exported_names_the_part(tmp_path: Path, fill: bool) -> None:
    network = build_classifier("FilmGenresRecurrent", {"class_names": ["a"]})
    with pytest.raises(SettingsError, match="FilmGenresRecurrent cannot be exported from tiles on: "):
        export(network.eval(), out=tmp_path / "network.onnx", fill=fill)
    assert not list(tmp_path.iterdir())
