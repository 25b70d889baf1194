"""A student on disk comes back as it was, and nothing else is taken for one."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from soundnet_kd import SoundNet5, SoundNet8, load_student
from soundnet_kd.errors import FormatError
from soundnet_kd.models import Preprocessing, SoundNet, write_network
from soundnet_kd.models.checkpoint import read_student, read_training


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
