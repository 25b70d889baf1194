"""Networks for labelled sounds on disk."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from soundnet_kd.errors import FormatError
from soundnet_kd.models import CLASSIFIER_FILE, read_network, write_network
from soundnet_kd.models.classifiers import (
    CLASSIFIERS,
    LightCNN,
    NSynthSimple,
    SoundClassifier,
    build_classifier,
)

STEPS: list[dict[str, Any]] = [
    {"name": "LogMel", "bands": 40, "window_samples": 512, "step_samples": 160},
    {"name": "Standardisation"},
]


def test_what_is_read_answers_as_what_was_written(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = LightCNN(("yes", "no", "größer"), front_end=STEPS).eval()
    sound = 1000 * torch.randn(2, 1, 16_000)
    network.fit_front_end([sound])
    write_network(network, tmp_path / CLASSIFIER_FILE, {"epochs": 3})
    for path in (tmp_path, tmp_path / CLASSIFIER_FILE):
        found = read_network(path)
        assert isinstance(found, SoundClassifier)
        assert not found.training
        assert found.settings == network.settings
        assert found.fingerprint() == network.fingerprint()
        torch.testing.assert_close(found.logits(sound), network.logits(sound))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_network_is_read_as_it_was_written(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    short = {"preprocessing": {"least_samples": 1_024}} if name == "WavCeption" else {}
    network = build_classifier(name, {"class_names": ["a", "b"], **short}).eval()
    write_network(network, tmp_path / CLASSIFIER_FILE, {})
    found = read_network(tmp_path)
    assert isinstance(found, SoundClassifier)
    assert found.fingerprint() == network.fingerprint()
    sound = torch.randn(1, 1, network.preprocessing.least_samples)
    torch.testing.assert_close(found.logits(sound), network.logits(sound))


def test_nothing_is_allocated_for_what_a_file_says(tmp_path: Path) -> None:
    """A dense layer of 2 TB, of which the file holds nothing."""
    write_network(NSynthSimple(("a", "b")), tmp_path / CLASSIFIER_FILE, {})
    tensors = load_file(tmp_path / CLASSIFIER_FILE)
    preprocessing = {"sample_rate": 16_000, "least_samples": 10**9}
    settings = {"class_names": ["a"], "preprocessing": preprocessing, "front_end": []}
    metadata = {"format_version": "1", "architecture": "NSynthBetter", "settings": json.dumps(settings)}
    save_file(tensors, tmp_path / CLASSIFIER_FILE, metadata)
    with pytest.raises(FormatError, match="the weights do not fit NSynthBetter"):
        read_network(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format_version", "7", "no network of format 1"),
        ("architecture", "LightCN", "no network 'LightCN'; did you mean 'LightCNN'"),
        ("settings", json.dumps({"class_names": ["a", "b", "c"]}), "size mismatch|Missing|Unexpected"),
        ("settings", json.dumps({"class_names": ["a"], "os": 1}), "no setting 'os'"),
        ("settings", "{", "Expecting"),
    ],
)
def test_another_description_is_refused(key: str, value: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / CLASSIFIER_FILE
    write_network(NSynthSimple(("a", "b")), path, {})
    metadata = {
        "format_version": "1",
        "architecture": "NSynthSimple",
        "settings": json.dumps({"class_names": ["a", "b"]}),
    }
    tensors = load_file(path)
    save_file(tensors, path, metadata)
    assert read_network(path).class_names == {"classes": ("a", "b")}
    save_file(tensors, path, {**metadata, key: value})
    with pytest.raises(FormatError, match=message):
        read_network(path)
