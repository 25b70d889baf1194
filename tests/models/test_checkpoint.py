"""A network on disk comes back as it was, and nothing else is taken for one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from soundnet_kd import SoundNet5, SoundNet8, load_student
from soundnet_kd.errors import FormatError
from soundnet_kd.models import CLASSIFIER_FILE, Preprocessing, SoundNet, read_network, write_network
from soundnet_kd.models.checkpoint import read_student, read_training
from soundnet_kd.models.classifiers import (
    CLASSIFIERS,
    LightCNN,
    NSynthSimple,
    SoundClassifier,
    build_classifier,
)


@pytest.mark.parametrize("architecture", [SoundNet8, SoundNet5])
def test_a_student_comes_back_as_it_was(architecture: type[SoundNet], tmp_path: Path) -> None:
    torch.manual_seed(0)
    student = architecture({"objects": ["cat", "dög"], "scenes": 3}, Preprocessing(sample_rate=16_000, amplitude=1.0))
    path = tmp_path / "student.safetensors"
    write_network(student, path, {"seed": 0})
    again = load_student(path)
    assert type(again) is architecture
    assert not again.training
    assert again.class_names == {"objects": ("cat", "dög"), "scenes": ("scenes 0", "scenes 1", "scenes 2")}
    assert again.preprocessing == Preprocessing(sample_rate=16_000, amplitude=1.0)
    assert again.fingerprint() == student.fingerprint()
    assert read_training(path) == {"seed": 0}
    assert load_student(tmp_path).fingerprint() == student.fingerprint()
    sound = torch.randn(1, 1, 441_000)
    with torch.inference_mode():
        for head, logits in student.eval()(sound).items():
            torch.testing.assert_close(again(sound)[head], logits)


def test_the_same_student_is_the_same_bytes(tmp_path: Path) -> None:
    student = SoundNet5({"objects": ["cat", "dög\n"]})
    files = set()
    for number in range(8):
        write_network(student, tmp_path / f"{number}.safetensors", {"seed": 0, "with": "\t\x00\x1f\x7f\u2028"})
        files.add((tmp_path / f"{number}.safetensors").read_bytes())
    assert len(files) == 1
    assert read_training(tmp_path / "0.safetensors") == {"seed": 0, "with": "\t\x00\x1f\x7f\u2028"}


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "student.safetensors"
    path.write_bytes(b"not safetensors")
    with pytest.raises(FormatError, match="not a readable network"):
        load_student(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(FormatError, match="no network of format 1"):
        load_student(path)


def test_diverged_and_wrong_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "student.safetensors"
    student = SoundNet8({"objects": 2})
    with torch.no_grad():
        student.get_parameter("conv3.weight")[0] = float("nan")
    write_network(student, path, {})
    with pytest.raises(FormatError, match="not finite numbers"):
        load_student(path)
    write_network(SoundNet8({"objects": 2}), path, {})
    tensors = load_file(path)
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    del tensors["conv3.bias"]
    save_file(tensors, path, metadata)
    with pytest.raises(FormatError, match="the weights do not fit SoundNet8"):
        load_student(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("class_names", '{"objects": 1000000000}', "does not describe its network .*does not list the names"),
        ("class_names", "{", "does not describe its network"),
        ("preprocessing", '{"colour": 3}', "does not describe its network"),
    ],
)
def test_a_description_that_is_none_is_refused(tmp_path: Path, key: str, value: str, message: str) -> None:
    path = tmp_path / "student.safetensors"
    write_network(SoundNet8({"objects": 2}), path, {})
    with safe_open(path, framework="pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, {**metadata, key: value})
    with pytest.raises(FormatError, match=message):
        read_student(path)


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
