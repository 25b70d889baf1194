"""Networks for labelled sounds on disk."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from soundnet_kd.errors import FormatError
from soundnet_kd.models.classifiers import CLASSIFIER_FILE, LightCNN, NSynthSimple, read_network, write_network

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
        assert not found.training
        assert found.settings == network.settings
        assert found.fingerprint() == network.fingerprint()
        torch.testing.assert_close(found.logits(sound), network.logits(sound), rtol=0, atol=0)


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
