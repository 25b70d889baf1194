"""The settings of a training are read from the file that its command wrote."""

import json
from pathlib import Path

import pytest

from soundnet_kd.errors import FormatError
from soundnet_kd.training.settings_file import TrainingSettings, read_training_settings


def test_a_folder_without_settings_has_none(tmp_path: Path) -> None:
    assert read_training_settings(str(tmp_path)) is None


@pytest.mark.parametrize("name", ["finetune.json", "train.json"])
def test_settings_are_apart_from_versions(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps({"settings": {"epochs": 2}, "seed": 3, "versions": {"torch": "2"}}))
    expected = TrainingSettings({"settings": {"epochs": 2}, "seed": 3}, {"torch": "2"}, None, {})
    assert read_training_settings(tmp_path) == expected


def test_of_a_distillation_teachers_and_clips_are_known(tmp_path: Path) -> None:
    teachers = {"objects": {"network": "resnet18", "weights": "w.pth"}}
    (tmp_path / "run.json").write_text(json.dumps({"steps": 4, "targets": {"teachers": teachers, "clips": 12}}))
    assert read_training_settings(tmp_path) == TrainingSettings({"steps": 4}, {}, 12, teachers)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(FormatError, match=r"run\.json is not valid JSON"):
        read_training_settings(tmp_path)
