"""A checkpoint of `soundnet-kd distill` says what its student is; one that does not is taken with a warning."""

from pathlib import Path

import pytest
import torch

from soundnet_kd import SoundNet5, load_student
from soundnet_kd.models import Preprocessing, write_network
from soundnet_kd.pretrained.conversion import convert
from soundnet_kd.pretrained.description import CHECKPOINT_KEY, describe
from soundnet_kd.pretrained.students import import_student
from tests.pretrained.layouts import write_lightning
from tests.pretrained.soundnet import soundnet

CLASSES = {"objects": ("cat", "dög", "owl"), "scenes": ("sea", "wood")}
STUDENT = SoundNet5(CLASSES, Preprocessing(16_000, 1.0, "mean", 1000))


@pytest.fixture
def silent(tmp_path: Path) -> Path:
    """A checkpoint of a run folder, without a description, as they were before these had any."""
    path = tmp_path / "run" / "checkpoints" / "step=3.ckpt"
    path.parent.mkdir(parents=True)
    write_lightning(path, soundnet(5), 5)
    return path


def test_a_checkpoint_says_what_its_student_is(
    cache: Path, silent: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not what its run folder says; that may be of another student."""
    write_network(SoundNet5({"objects": 3, "scenes": 2}), tmp_path / "run" / "student.safetensors", {})
    torch.save(torch.load(silent, weights_only=True) | {CHECKPOINT_KEY: describe(STUDENT)}, silent)
    import_student(silent, "mine")
    assert load_student("mine").class_names == CLASSES
    assert load_student("mine").preprocessing == STUDENT.preprocessing
    assert "does not hold" not in caplog.text


@pytest.mark.parametrize("file", ["student.safetensors", "untrained.safetensors"])
def test_a_silent_checkpoint_finds_its_names_in_its_run(
    cache: Path, silent: Path, tmp_path: Path, file: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_network(STUDENT, tmp_path / "run" / file, {})
    import_student(silent, "mine")
    assert load_student("mine").class_names == CLASSES
    assert load_student("mine").preprocessing == STUDENT.preprocessing
    assert f"{silent} does not hold its class names and preprocessing" in caplog.text
    assert f"they are taken from {tmp_path / 'run' / file}" in caplog.text


def test_a_silent_checkpoint_alone_is_taken_with_a_warning(silent: Path, caplog: pytest.LogCaptureFixture) -> None:
    student = convert(silent).network
    assert student.class_names["scenes"] == ("scenes 0", "scenes 1")
    assert student.preprocessing == Preprocessing()
    assert "SoundNet's own are assumed. If they are wrong, import it where it lies in its run folder" in caplog.text
