"""The card beside a network: what it says is what was trained, and hubs can read it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from soundnet_kd import load_network, load_student
from soundnet_kd.commands.distill import distill
from soundnet_kd.commands.finetune import finetune
from soundnet_kd.commands.predict import predict
from soundnet_kd.errors import SettingsError
from soundnet_kd.transfer.results import read_evaluation
from tests.supervised.runs import HERTZ, write_tones
from tests.targets import make_clip, make_targets

pytestmark = pytest.mark.usefixtures("small_soundnet8")


def read_card(folder: Path) -> tuple[dict[str, Any], str]:
    text = (folder / "README.md").read_text(encoding="utf-8")
    empty, matter, said = text.split("---\n", 2)
    assert empty == ""
    found = yaml.safe_load(matter)
    assert found["library_name"] == "soundnet-kd"
    assert found["license"] == "unknown"
    return found, said


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    return make_targets(tmp_path_factory.mktemp("targets"), [make_clip(f"{index}.mp4", 2, rng) for index in range(4)])


@pytest.fixture(scope="module")
def student(targets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    distill(targets, out, objectives={"kl": 1, "l2": 0.5}, steps=2, batch_size=2, held_out=0.25, device="cpu")
    return out


def test_a_student_says_what_it_learned_from(student: Path, tmp_path: Path) -> None:
    matter, said = read_card(student)
    network = load_student(student)
    assert matter["pipeline_tag"] == "feature-extraction"
    assert set(matter["tags"]) == {"audio", "sound", "SoundNet8", "knowledge-distillation"}
    assert "model-index" not in matter
    for line in (
        "| data | 4 clips of up to 20 s |",
        "| objective | kl:1, l2:0.5 |",
        f"| fingerprint | `{network.fingerprint()[:16]}` |",
        f"| network | SoundNet8, {sum(each.numel() for each in network.parameters()) / 1e6:.2f} M parameters |",
        "| training | 2 steps of 2 clips, learning rate 0.001, seed 0 |",
        "On 1 clip of videos that it did not learn from",
        'load_student("FOLDER")',
    ):
        assert line in said
    assert "| agreement with objects |" in said
    assert str(student) not in said
    assert "began with" not in said


def test_what_it_began_with_is_named_but_not_where_it_lay(targets: Path, student: Path, tmp_path: Path) -> None:
    distill(targets, tmp_path / "next", init=student, steps=1, batch_size=2, held_out=0, device="cpu")
    _, said = read_card(tmp_path / "next")
    start = load_student(student).fingerprint()[:16]
    assert f"| began with | another student (`{start}`) |" in said
    assert "Nothing was measured." in said
    assert str(student) not in said


def test_what_people_have_written_stays(targets: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    distill(targets, tmp_path, steps=1, batch_size=2, held_out=0, device="cpu")
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_classifier_says_how_well_it_did(tmp_path: Path) -> None:
    sounds = write_tones(tmp_path / "sounds")
    options = {"crop_seconds": 0.5, "batch_size": 6, "epochs": 1, "device": "cpu"}
    finetune(sounds, "SoundNet8", tmp_path / "all", scratch=True, **options)  # type: ignore[arg-type]
    matter, said = read_card(tmp_path / "all")
    (result,) = matter["model-index"][0]["results"]
    (evaluated,) = read_evaluation(tmp_path / "all").results.values()
    assert result["metrics"][0]["value"] == pytest.approx(evaluated.accuracy, abs=1e-4)
    assert result["task"] == {"type": "audio-classification"}
    assert matter["pipeline_tag"] == "audio-classification"
    assert f"classes ({', '.join(HERTZ)})" in said
    assert "this one has learned from all of them" in said
    finetune(sounds, "SoundNet8", tmp_path / "folds", scratch=True, folds_only=True, **options)  # type: ignore[arg-type]
    assert not (tmp_path / "folds" / "README.md").exists()


def test_a_folder_as_a_hubs_client_lays_it_out_is_loaded(student: Path, tmp_path: Path) -> None:
    """The files lie in blobs/, named by their hash; snapshots/COMMIT/ links to them; refs/main names the commit."""
    cached = tmp_path / "models--someone--student"
    for folder in ("blobs", "refs", "snapshots/abc123"):
        (cached / folder).mkdir(parents=True)
    (cached / "blobs" / "0f0f").write_bytes((student / "student.safetensors").read_bytes())
    (cached / "snapshots" / "abc123" / "student.safetensors").symlink_to("../../blobs/0f0f")
    (cached / "refs" / "main").write_text("abc123")
    expected = load_student(student).fingerprint()
    assert load_student(cached).fingerprint() == expected
    assert load_network(cached / "snapshots" / "abc123").fingerprint() == expected
    (cached / "refs" / "main").write_text("def456")
    with pytest.raises(SettingsError, match="there is no network"):
        predict(tmp_path, cached)
