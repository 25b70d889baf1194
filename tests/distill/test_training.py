"""Training for real: it learns, it can be killed, it refuses to be mixed up."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from soundnet_kd import SoundNet8, load_student
from soundnet_kd.distill import distill
from soundnet_kd.distill.history import read_history
from soundnet_kd.distill.module import cosine_factor
from soundnet_kd.errors import RunConflictError, SettingsError
from soundnet_kd.models.student_file import read_training
from tests.targets import CLASSES, make_clip, make_targets

STEPS = 6


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    clips = [make_clip(f"{index}.mp4", 1 + index % 4, rng) for index in range(6)]
    return make_targets(tmp_path_factory.mktemp("targets"), clips)


@pytest.fixture(scope="module")
def run(targets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    distill(targets, out, steps=STEPS, batch_size=2, held_out=0.2, device="cpu")
    return out


def test_a_run_leaves_what_it_should(run: Path) -> None:
    trained, untrained = load_student(run), load_student(run / "untrained.safetensors")
    assert isinstance(trained, SoundNet8)
    assert trained.class_names == CLASSES
    assert trained.fingerprint() != untrained.fingerprint()
    torch.manual_seed(0)
    assert read_training(run / "student.safetensors")["steps_done"] == STEPS
    assert read_training(run / "untrained.safetensors")["steps_done"] == 0
    history = read_history(run)
    assert [row["step"] for row in history] == list(range(1, STEPS + 1))
    assert {"train/loss", "train/loss_objects", "train/loss_scenes", "validation/agreement_objects"} <= history[
        -1
    ].keys()
    assert list((run / "logs" / "tensorboard").glob("events.*"))


def test_a_killed_run_ends_as_if_it_had_not_been_killed(run: Path, targets: Path, tmp_path: Path) -> None:
    """Kill it after its first checkpoint, start it again, and compare every weight."""
    out = tmp_path / "killed"
    script = (
        "from pathlib import Path; from soundnet_kd.distill import distill; "
        f"distill(Path({str(targets)!r}), Path({str(out)!r}), steps={STEPS}, batch_size=2, held_out=0.2, "
        "device='cpu', checkpoint_minutes=0.0001)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    checkpoint = out / "checkpoints" / "last.ckpt"
    deadline = time.monotonic() + 300
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert checkpoint.exists()
    assert not (out / "student.safetensors").exists()
    distill(targets, out, steps=STEPS, batch_size=2, held_out=0.2, device="cpu")
    assert load_student(out).fingerprint() == load_student(run).fingerprint()
    losses = [row["train/loss"] for row in read_history(out)]
    assert losses == [row["train/loss"] for row in read_history(run)]


@pytest.mark.parametrize(("step", "factor"), [(0, 0.1), (4, 0.5), (9, 1.0), (10, 1.0), (55, 0.5), (100, 0.0)])
def test_the_cosine_schedule_by_hand(step: int, factor: float) -> None:
    """Of 100 steps the first ten warm up; half a cosine goes over the other 90."""
    assert cosine_factor(step, 100) == pytest.approx(factor)


def test_an_interrupted_run_says_that_it_can_go_on(targets: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "soundnet_kd.cli", "distill", str(targets), "--out", str(tmp_path / "run")]
    options = ["--steps", "1000", "--batch_size", "2", "--device", "cpu"]
    with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "1/1000" not in process.stderr.readline(300):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "the same command goes on where it was" in rest


def test_other_settings_are_refused_and_nothing_is_lost(run: Path, targets: Path) -> None:
    before = load_student(run).fingerprint()
    with pytest.raises(RunConflictError, match=r"learning_rate was 0\.001, now 0\.1"):
        distill(targets, run, steps=STEPS, batch_size=2, held_out=0.2, learning_rate=0.1, device="cpu")
    assert load_student(run).fingerprint() == before


def test_a_missing_student_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"there is no student .*student\.safetensors"):
        load_student(tmp_path)
