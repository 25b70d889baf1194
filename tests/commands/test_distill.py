"""Training for real: it learns, it can be killed, it refuses to be mixed up."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from soundnet_kd import SoundNet8, load_student
from soundnet_kd.cli import main
from soundnet_kd.cli.arguments import parse
from soundnet_kd.commands.distill import distill
from soundnet_kd.errors import RunConflictError, SettingsError
from soundnet_kd.models.checkpoint import read_training
from soundnet_kd.pretrained.description import CHECKPOINT_KEY
from soundnet_kd.storage import lock_folder
from soundnet_kd.training.callbacks import read_history
from soundnet_kd.training.checkpoints import last_checkpoint
from soundnet_kd.training.optimization import cosine_factor
from tests.processes import run_command
from tests.stops import killed_at_checkpoint, killed_at_the_end, killed_while_saving, terminated_after_step
from tests.targets import CLASSES, make_clip, make_targets

pytestmark = pytest.mark.usefixtures("small_soundnet8")

STEPS = 16
"""Three of them from one validation to the next, and one more after the last."""
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
    assert read_training(run / "student.safetensors")["steps_done"] == STEPS
    assert read_training(run / "untrained.safetensors")["steps_done"] == 0
    history = read_history(run)
    assert [row["step"] for row in history] == list(range(1, STEPS + 1))
    figures = {"loss", "loss_objects", "loss_scenes", "learning_rate", "clips_per_second", "data_wait_share"}
    assert {f"train/{figure}" for figure in figures} <= history[-1].keys()
    assert {"validation/loss", "validation/agreement_objects", "validation/agreement_scenes"} <= history[-1].keys()
    assert [row["step"] for row in history if "validation/loss" in row] == [3, 6, 9, 12, 15, 16]
    assert all(0 <= row["train/data_wait_share"] < 1 and row["train/clips_per_second"] > 0 for row in history)
    # The schedule's factor is that of the step that is about to be made.
    assert [row["train/learning_rate"] for row in history] == pytest.approx(
        [1e-3 * cosine_factor(step, STEPS) for step in range(STEPS)], rel=1e-5
    )
    assert list((run / "logs" / "tensorboard").glob("events.*"))
    for picture in ("conv1.png", "history.png"):
        with Image.open(run / picture) as image:
            assert min(image.size) > 300


def test_a_run_that_is_done_stays_as_it_is(run: Path, targets: Path) -> None:
    before = load_student(run).fingerprint()
    assert main(["distill", str(targets), "--out", str(run), *OPTIONS]) == 0
    assert load_student(run).fingerprint() == before
    assert len(read_history(run)) == STEPS


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


@pytest.mark.parametrize(
    ("stop", "status", "more"),
    [
        (killed_at_checkpoint, -signal.SIGKILL, []),
        (killed_while_saving, -signal.SIGKILL, []),
        (killed_at_the_end, -signal.SIGKILL, []),
        (terminated_after_step, 130, []),
        (killed_at_checkpoint, -signal.SIGKILL, ["--accumulate", "2"]),
        (killed_at_checkpoint, -signal.SIGKILL, ["--workers", "1"]),
    ],
    ids=["killed", "killed while saving", "killed at the end", "terminated", "accumulating", "with a worker"],
)
def test_a_stopped_run_ends_as_if_it_had_not_been_stopped(
    stop: Callable[..., Callable[[], None]], status: int, more: list[str], run: Path, targets: Path, tmp_path: Path
) -> None:
    """Stop it after a checkpoint that lies between two validations, and compare all that it leaves."""
    out, whole = tmp_path / "stopped", run
    if "--accumulate" in more:
        whole = tmp_path / "whole"
        assert main(["distill", str(targets), "--out", str(whole), *OPTIONS, *more]) == 0
    arguments = ["distill", str(targets), "--out", str(out), *OPTIONS, *more]
    minutes = "10" if stop is terminated_after_step else "0"
    prepare = stop(out / "checkpoints", small=True)
    assert run_command([*arguments, "--checkpoint_minutes", minutes], tmp_path / "log.txt", prepare) == status
    assert last_checkpoint(out) is not None
    assert not (out / "student.safetensors").exists()
    assert main(arguments) == 0
    assert load_student(out).fingerprint() == load_student(whole).fingerprint()
    columns = ("step", "train/loss", "train/learning_rate", "validation/loss", "validation/agreement_objects")
    found, wanted = ([[row.get(name) for name in columns] for row in read_history(each)] for each in (out, whole))
    assert found == wanted
    assert (
        load_student(out / "best.safetensors").fingerprint() == load_student(whole / "best.safetensors").fingerprint()
    )
    assert [file.name for file in (out / "checkpoints").glob(".*")] == []


def test_a_checkpoint_alone_is_the_student(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Imported from a folder where nothing else lies, it is the student of the run in all that it answers."""
    monkeypatch.setenv("SOUNDNET_KD_CACHE", str(tmp_path / "cache"))
    (tmp_path / "elsewhere").mkdir()
    alone = shutil.copy(run / "checkpoints" / f"step={STEPS}.ckpt", tmp_path / "elsewhere" / "mine.ckpt")
    assert main(["weights", "import", str(alone), "--as", "mine"]) == 0
    found, wanted = load_student("mine"), load_student(run)
    assert found.class_names == wanted.class_names == CLASSES
    assert found.preprocessing == wanted.preprocessing
    sound = torch.randn(1, 1, 441_000, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        answers, expected = found(sound), wanted(sound)
    for head, logits in expected.items():
        assert torch.equal(answers[head], logits)


def test_a_checkpoint_without_a_description_is_gone_on_from(targets: Path, tmp_path: Path) -> None:
    """Older runs have such ones: one is made of a run's second last checkpoint, and the run ends as it did."""
    settings = {"architecture": "SoundNet5", "steps": 4, "batch_size": 2, "held_out": 0.0, "device": "cpu"}
    distill(targets, tmp_path, **settings, checkpoint_minutes=0.00001)  # type: ignore[arg-type]
    student = tmp_path / "student.safetensors"
    before = load_student(student).fingerprint()
    student.unlink()
    (tmp_path / "checkpoints" / "step=4.ckpt").unlink()
    older = last_checkpoint(tmp_path)
    assert older is not None
    content = torch.load(older, weights_only=True)
    del content[CHECKPOINT_KEY]
    torch.save(content, older)
    assert distill(targets, tmp_path, **settings).steps == 4  # type: ignore[arg-type]
    assert load_student(student).fingerprint() == before


def test_two_runs_do_not_share_a_folder(targets: Path, tmp_path: Path) -> None:
    with lock_folder(tmp_path), pytest.raises(RunConflictError, match="another run is writing to"):
        distill(targets, tmp_path, steps=1, batch_size=2, device="cpu")


def test_a_training_that_diverges_stops_and_keeps_its_best(targets: Path, tmp_path: Path) -> None:
    options = {"steps": 60, "batch_size": 2, "held_out": 0.2, "device": "cpu", "learning_rate": 1e30}
    with pytest.raises(SettingsError, match=r"diverged \(loss nan at step \d\).*lower --learning_rate"):
        distill(targets, tmp_path, **options)  # type: ignore[arg-type]
    assert len(read_history(tmp_path)) < 10
    assert not (tmp_path / "student.safetensors").exists()


def test_a_line_that_a_kill_cut_off_is_passed_over(tmp_path: Path) -> None:
    metrics = tmp_path / "logs" / "version_0" / "metrics.csv"
    metrics.parent.mkdir(parents=True)
    metrics.write_text("epoch,step,train/loss\n0,0,2.5\n0,1,1.5\n0")
    assert read_history(tmp_path) == [{"step": 1, "train/loss": 2.5}, {"step": 2, "train/loss": 1.5}]


def test_a_training_leaves_torch_as_it_was(run: Path) -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]


@pytest.mark.parametrize(("step", "factor"), [(0, 0.1), (4, 0.5), (9, 1.0), (10, 1.0), (55, 0.5), (100, 0.0)])
def test_the_cosine_schedule_by_hand(step: int, factor: float) -> None:
    """Of 100 steps the first ten warm up; half a cosine goes over the other 90."""
    assert cosine_factor(step, 100) == pytest.approx(factor)


@pytest.mark.usefixtures("signals_heeded")
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
    assert "the same command goes on from what it has written" in rest


def test_other_settings_are_refused_and_nothing_is_lost(run: Path, targets: Path) -> None:
    before = load_student(run).fingerprint()
    arguments = parse("distill", [str(targets), "--out", str(run), *OPTIONS, "--augmentation.mix", "0.25"])
    with pytest.raises(RunConflictError, match=r"augmentation\.mix was 0\.5, now 0\.25"):
        distill(**arguments)
    assert load_student(run).fingerprint() == before


def test_a_missing_student_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"there is no student .*student\.safetensors"):
        load_student(tmp_path)
