"""Training for real: it learns, it can be killed, it refuses to be mixed up."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from soundnet_kd import SoundNet8, load_student
from soundnet_kd.cli import main
from soundnet_kd.commands import parse
from soundnet_kd.distill import distill
from soundnet_kd.distill.checkpoints import last_checkpoint
from soundnet_kd.distill.history import read_history
from soundnet_kd.distill.module import cosine_factor
from soundnet_kd.errors import RunConflictError, SettingsError
from soundnet_kd.models.student_file import read_training
from tests.targets import CLASSES, make_clip, make_targets

STEPS = 6
OPTIONS = (
    f"--steps {STEPS} --batch_size 2 --held_out 0.2 --device cpu --schedule cosine --gradient_clip 1 --temperature 2 "
    "--teacher_weights.scenes 2 --augmentation.shift true --augmentation.noise 0.5 --augmentation.mix 0.5"
).split()


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    clips = [make_clip(f"{index}.mp4", 1 + index % 4, rng) for index in range(6)]
    return make_targets(tmp_path_factory.mktemp("targets"), clips)


@pytest.fixture(scope="module")
def run(targets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    assert main(["distill", str(targets), "--out", str(out), *OPTIONS]) == 0
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
    figures = {"loss", "loss_objects", "loss_scenes", "learning_rate", "clips_per_second", "data_wait_share"}
    assert {f"train/{figure}" for figure in figures} <= history[-1].keys()
    assert {"validation/loss", "validation/agreement_objects", "validation/agreement_scenes"} <= history[-1].keys()
    assert all(0 <= row["train/data_wait_share"] < 1 and row["train/clips_per_second"] > 0 for row in history)
    # The schedule's factor is that of the step that is about to be made.
    assert [row["train/learning_rate"] for row in history] == pytest.approx(
        [1e-3 * cosine_factor(step, STEPS) for step in range(STEPS)], rel=1e-5
    )
    assert list((run / "logs" / "tensorboard").glob("events.*"))
    for picture in ("conv1.png", "history.png"):
        with Image.open(run / picture) as image:
            assert min(image.size) > 300


def test_the_best_student_is_that_of_the_lowest_loss(run: Path) -> None:
    losses = {row["step"]: row["validation/loss"] for row in read_history(run) if "validation/loss" in row}
    best = min(losses, key=lambda step: losses[step])
    assert read_training(run / "best.safetensors")["steps_done"] == best
    assert load_student(run / "best.safetensors").class_names == CLASSES


def test_the_last_checkpoints_stay(targets: Path, tmp_path: Path) -> None:
    options = {"steps": 5, "batch_size": 2, "held_out": 0.0, "device": "cpu"}
    distill(targets, tmp_path / "run", **options, checkpoint_minutes=0.00001, keep_checkpoints=2)  # type: ignore[arg-type]
    assert {file.name for file in (tmp_path / "run" / "checkpoints").iterdir()} == {"step=4.ckpt", "step=5.ckpt"}


def test_bf16_learns_as_32_bit_does(targets: Path, tmp_path: Path) -> None:
    losses = {}
    for precision in ("32", "bf16"):
        out = tmp_path / precision
        distill(targets, out, steps=3, batch_size=2, held_out=0.0, device="cpu", precision=precision)
        losses[precision] = [row["train/loss"] for row in read_history(out)]
        assert {tensor.dtype for tensor in load_student(out).parameters()} == {torch.float32}
    # The first loss is before any step; later on, small differences grow.
    assert losses["bf16"][0] == pytest.approx(losses["32"][0], rel=0.03)
    assert losses["bf16"] != losses["32"]


def test_a_killed_run_ends_as_if_it_had_not_been_killed(run: Path, targets: Path, tmp_path: Path) -> None:
    """Kill it after its first checkpoint, start it again, and compare every weight."""
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "soundnet_kd.cli", "distill", str(targets), "--out", str(out), *OPTIONS]
    process = subprocess.Popen([*command, "--checkpoint_minutes", "0.0001"], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while last_checkpoint(out) is None and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert last_checkpoint(out) is not None
    assert not (out / "student.safetensors").exists()
    assert main(["distill", str(targets), "--out", str(out), *OPTIONS]) == 0
    assert load_student(out).fingerprint() == load_student(run).fingerprint()
    columns = ("step", "train/loss", "train/learning_rate", "validation/loss", "validation/agreement_objects")
    found, wanted = ([[row.get(name) for name in columns] for row in read_history(each)] for each in (out, run))
    assert found == wanted
    assert load_student(out / "best.safetensors").fingerprint() == load_student(run / "best.safetensors").fingerprint()


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
    arguments = parse("distill", [str(targets), "--out", str(run), *OPTIONS, "--augmentation.mix", "0.25"])
    with pytest.raises(RunConflictError, match=r"augmentation\.mix was 0\.5, now 0\.25"):
        distill(**arguments)
    assert load_student(run).fingerprint() == before


def test_a_missing_student_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"there is no student .*student\.safetensors"):
        load_student(tmp_path)
