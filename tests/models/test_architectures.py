"""Students by name and width: what files tell of them, and what is refused."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.models import ARCHITECTURES, FinetunedNetwork, SoundNet8, build_student, read_network, write_network
from soundnet_kd.models.architectures import parameters_up_to, parse_name
from soundnet_kd.models.network import state_sha256
from soundnet_kd.pretrained.description import describe, read_description

HEADS = {"objects": ("cat", "dog"), "scenes": ("beach", "street", "wood")}


def test_a_quarter_of_soundnet8_by_hand() -> None:
    student = build_student("SoundNet8", HEADS, width=0.25)
    assert [student.channels(layer) for layer in student.layers] == [4, 4, 8, 8, 16, 32, 64, 64, 128, 256, 5]
    assert [student.steps(441_000, layer) for layer in student.layers] == [
        SoundNet8(HEADS).steps(441_000, layer) for layer in student.layers
    ]
    blocks = [(64, 1, 4), (32, 4, 8), (16, 8, 16), (8, 16, 32), (4, 32, 64), (4, 64, 128), (4, 128, 256)]
    counted = sum(k * i * o + 3 * o for k, i, o in blocks)
    assert sum(each.numel() for each in student.parameters()) == counted + 5 * (8 * 256 + 1)
    assert parameters_up_to("SoundNet8x0.25", "conv2+conv7") == counted


@pytest.mark.parametrize("name", ["SoundNet8x0.25", "SoundNet5x0.5", "LogMelCNN", "LogMelCNNx0.375", "SoundNet8x1.5"])
def test_files_tell_architecture_and_width(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    student = build_student(name, HEADS).eval()
    assert student.architecture == name
    write_network(student, tmp_path / "student.safetensors", {})
    found = read_network(tmp_path)
    assert found.fingerprint() == student.fingerprint()
    assert found.identity == {"architecture": name, "sha256": student.fingerprint()}
    assert found.preprocessing == student.preprocessing
    assert read_description(describe(student), "x").architecture == name
    finetuned = FinetunedNetwork(build_student(name, HEADS), student.layers[-2], ("a", "b")).eval()
    write_network(finetuned, tmp_path / "tuned" / "classifier.safetensors", {})
    again = read_network(tmp_path / "tuned")
    sound = torch.randn(1, 1, 220_500) * student.preprocessing.amplitude / 10
    with torch.inference_mode():
        torch.testing.assert_close(again(sound)["classes"], finetuned(sound)["classes"])


def test_of_width_1_everything_is_what_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    student, same = SoundNet8(HEADS), SoundNet8(HEADS, width=1.0)
    same.load_state_dict(student.state_dict())
    told = json.dumps(["SoundNet8", student.class_names, asdict(student.preprocessing)], sort_keys=True)
    before = hashlib.sha256(f"{told}{state_sha256(student)}".encode()).hexdigest()
    assert student.fingerprint() == same.fingerprint() == before
    write_network(student, tmp_path / "one", {})
    write_network(same, tmp_path / "other", {})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    with safe_open(tmp_path / "one", framework="pt") as file:
        assert file.metadata().keys() == {
            *("format_version", "kind", "architecture", "class_names", "preprocessing", "training")
        }
        assert file.metadata()["architecture"] == "SoundNet8"


@pytest.mark.parametrize("name", ["SoundNet9", "SoundNet8x", "SoundNet8x-1", "SoundNet8x1e3", "LogMelCNNx0", "x2", ""])
def test_an_unknown_architecture_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"there is no architecture|width is"):
        build_student(name, HEADS)
    write_network(SoundNet8(HEADS), tmp_path / "student.safetensors", {})
    file = tmp_path / "student.safetensors"
    with safe_open(file, framework="pt") as opened:
        metadata = {**opened.metadata(), "architecture": name}
    save_file(load_file(file), file, metadata)
    with pytest.raises(FormatError, match=r"does not describe its network as it should"):
        read_network(file)


def test_the_nearest_architecture_is_named() -> None:
    with pytest.raises(SettingsError, match=r"no architecture 'LogMelCN'.*did you mean 'LogMelCNN'"):
        parse_name("LogMelCN")
    assert {name: parse_name(name) for name in ARCHITECTURES} == {name: (name, 1.0) for name in ARCHITECTURES}


@pytest.mark.parametrize("width", [0, -1, 0.01, 5, float("nan"), True, "wide"])
def test_widths_out_of_range_are_refused(width: float) -> None:
    with pytest.raises(SettingsError, match=r"width is .*; give a number from 0\.05 to 4"):
        SoundNet8(HEADS, width=width)
