"""Several processes: they train as one does."""

import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from soundnet_kd import load_student
from soundnet_kd.cli import main
from soundnet_kd.commands.distill import distill
from soundnet_kd.data import Targets
from soundnet_kd.distill import DistillationLoss
from soundnet_kd.distill.data import Example, TrainingStream
from soundnet_kd.distill.feature_objectives import (
    FEATURE_OBJECTIVES,
    ContrastSettings,
    FeatureObjective,
    ProjectionSettings,
    Steps,
)
from soundnet_kd.distill.module import Distillation
from soundnet_kd.errors import SettingsError
from soundnet_kd.training.augmentation import UNCHANGED_CLIPS
from soundnet_kd.training.callbacks import read_history
from soundnet_kd.training.checkpoints import last_checkpoint
from soundnet_kd.training.devices import GatheredBatchNorms, clips_per_batch, gathered, trainer_options
from tests.processes import forks, start_command, wait_for
from tests.small_student import make_small
from tests.targets import CLASSES, make_clip, make_targets

pytestmark = pytest.mark.usefixtures("small_soundnet8")


def normalise_a_half(rank: int, values: Tensor, folder: Path) -> None:
    torch.distributed.init_process_group("gloo", f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    norm = nn.BatchNorm1d(3) if values.ndim == 3 else nn.BatchNorm2d(3)
    layer = GatheredBatchNorms().apply(nn.Sequential(norm))
    assert layer(values.bfloat16()).dtype == torch.bfloat16
    layer[0].reset_running_stats()  # type: ignore[index]
    mine = values[rank * 2 : rank * 2 + 2].clone().requires_grad_()
    answer = layer(mine)
    (answer**3).mean().backward()
    torch.save((answer.detach(), mine.grad, layer[0].running_mean, layer[0].running_var), folder / f"{rank}.pt")  # type: ignore[index]
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("steps", [(5,), (2, 5)])
def test_gathered_batch_norm_is_batch_norm_over_all(steps: tuple[int, ...], tmp_path: Path) -> None:
    """Answers, gradients and running statistics of two processes against torch's own layer on the whole batch."""
    torch.manual_seed(0)
    values = 3 * torch.randn(4, 3, *steps) + torch.arange(3.0).reshape(-1, *[1] * len(steps))
    layer = nn.BatchNorm1d(3) if len(steps) == 1 else nn.BatchNorm2d(3)
    whole = values.clone().requires_grad_()
    answer = layer(whole)
    (answer**3).mean().backward()
    with ProcessPoolExecutor(2, forks()) as pool:
        list(pool.map(normalise_a_half, range(2), [values] * 2, [tmp_path] * 2))
    halves = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    assert whole.grad is not None
    torch.testing.assert_close(torch.cat([half[0] for half in halves]), answer.detach())
    # Each process' loss is a mean over half as many values.
    torch.testing.assert_close(torch.cat([half[1] for half in halves]) / 2, whole.grad)
    for half in halves:
        torch.testing.assert_close(half[2], layer.running_mean)
        torch.testing.assert_close(half[3], layer.running_var)


def objective_of(name: str) -> FeatureObjective:
    """Return an objective for 4 channels and 5 dimensions that has seen a batch before, if it keeps what it saw."""
    torch.manual_seed(1)
    objective = FEATURE_OBJECTIVES[name](4, 5, ProjectionSettings(width=8), ContrastSettings(queue=3, same_video=0.5))
    objective(Steps(torch.randn(4, 4), torch.randn(4, 5), torch.arange(4)))
    return objective


def slopes(objective: FeatureObjective) -> list[Tensor]:
    return [parameter.grad for parameter in objective.parameters() if parameter.grad is not None]


def compare_a_half(rank: int, name: str, steps: Steps, folder: Path) -> None:
    torch.distributed.init_process_group("gloo", f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    objective = objective_of(name)
    sound, *others = (values[rank * 3 : rank * 3 + 3].clone() for values in steps)
    sound.requires_grad_()
    loss, _ = objective(Steps(*map(gathered, (sound, *others))))
    loss.backward()
    assert gathered(torch.tensor([rank])).tolist() == [0, 1]
    torch.save((loss.detach(), sound.grad, slopes(objective)), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("name", FEATURE_OBJECTIVES)
def test_a_loss_of_what_is_gathered_is_that_of_the_whole(name: str, tmp_path: Path) -> None:
    """Value and gradients; each process has the gradients of two equal losses, which are averaged afterwards."""
    torch.manual_seed(0)
    steps = Steps(torch.randn(6, 4), torch.randn(6, 5), torch.tensor([0, 0, 1, 1, 2, 0]))
    whole = steps.sound.clone().requires_grad_()
    objective = objective_of(name)
    loss, _ = objective(steps._replace(sound=whole))
    loss.backward()
    with ProcessPoolExecutor(2, forks()) as pool:
        list(pool.map(compare_a_half, range(2), [name] * 2, [steps] * 2, [tmp_path] * 2))
    halves = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    assert whole.grad is not None
    for found, _, of_projections in halves:
        torch.testing.assert_close(found, loss.detach())
        torch.testing.assert_close(of_projections, slopes(objective))
    torch.testing.assert_close(torch.cat([gradient for _, gradient, _ in halves]) / 2, whole.grad)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [{}, {"architecture": "LogMelCNN", "width": 0.125}])
def test_two_processes_train_as_one(kind: dict[str, object], tmp_path: Path) -> None:
    """The same clips in every step, the same loss curve; 7 clips in parts of 3 divide by nothing."""
    rng = np.random.default_rng(0)
    clips = [make_clip(f"{index}.mp4", 1 + index % 4, rng) for index in range(7)]
    targets = make_targets(tmp_path / "targets", clips, clips_per_part=3)
    for name, devices in {"one": 1, "two": 2}.items():
        # At the paper's rate Adam makes the rounding of so few steps grow to a percent.
        options = {"steps": 4, "batch_size": 4, "learning_rate": 1e-4, "held_out": 0.4, **kind}
        distill(targets, tmp_path / name, **options, device="cpu", devices=devices)  # type: ignore[arg-type]
    one, two = read_history(tmp_path / "one"), read_history(tmp_path / "two")
    assert [row["step"] for row in two] == [1, 2, 3, 4]
    assert two[0]["train/loss"] == pytest.approx(one[0]["train/loss"], rel=1e-5)
    for column in ("train/loss", "train/loss_scenes", "validation/loss"):
        found, wanted = [row[column] for row in two], [row[column] for row in one]
        assert found == pytest.approx(wanted, rel=5e-3), column


@pytest.mark.slow
def test_a_run_goes_on_with_more_devices_and_leaves_none_behind(tmp_path: Path) -> None:
    """Kill the process that was started, in bf16 on two devices: the others end too, and one device goes on."""
    rng = np.random.default_rng(0)
    targets = make_targets(tmp_path / "targets", [make_clip(f"{index}.mp4", 4, rng) for index in range(5)])
    options = ["--steps", "80", "--batch_size", "2", "--held_out", "0", "--device", "cpu", "--precision", "bf16"]
    command = ["distill", str(targets), "--out", str(tmp_path / "run"), *options]
    more = ["--devices", "2", "--checkpoint_minutes", "0"]
    process = start_command([*command, *more], tmp_path / "log.txt", make_small)
    wait_for(lambda: last_checkpoint(tmp_path / "run"), process)
    children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    process.kill()
    process.join()
    assert len(children) >= 2
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    assert main(command) == 0
    assert [row["step"] for row in read_history(tmp_path / "run")] == list(range(4, 81, 4))


def test_processes_leave_each_other_before_they_end(tmp_path: Path) -> None:
    """With Gloo's threads still there, one may abort at its end, when all is written."""
    rng = np.random.default_rng(0)
    targets = make_targets(tmp_path / "targets", [make_clip(f"{index}.mp4", 1, rng) for index in range(2)])
    script = tmp_path / "script.py"
    script.write_text(
        "import atexit, os\nfrom pathlib import Path\nimport torch\nfrom soundnet_kd.commands.distill import distill\n"
        f"there, file = torch.distributed.is_initialized, Path({str(tmp_path)!r}) / os.environ['RANK']\n"
        "# Registered first, called last.\n"
        "atexit.register(lambda: file.write_text(f'{trained} {there()}'))\n"
        f"distill({str(targets)!r}, {str(tmp_path / 'run')!r}, steps=1, batch_size=2, held_out=0.0, width=0.125,\n"
        "        device='cpu', devices=2)\n"
        "trained = there()\n"
    )
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)],
        check=True,
    )
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["True False"] * 2


def test_waiting_for_data_is_what_the_reading_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that runs for three things only: 0.05 s for a clip, 0.3 s for a step, 3 s for a validation."""
    seconds = 0.0

    def takes(more: float) -> None:
        nonlocal seconds
        seconds += more

    class Slow(TrainingStream):
        def __getitem__(self, position: int) -> Example:
            takes(0.05)
            return super().__getitem__(position)

    rng = np.random.default_rng(0)
    targets = make_targets(tmp_path / "targets", [make_clip(f"{n}.mp4", 1, rng) for n in range(6)])
    monkeypatch.setattr("soundnet_kd.distill.data.TrainingStream", Slow)
    monkeypatch.setattr("soundnet_kd.distill.data.perf_counter", lambda: seconds)
    monkeypatch.setattr(Distillation, "on_after_backward", lambda self: takes(0.3))
    monkeypatch.setattr(Distillation, "on_validation_epoch_start", lambda self: takes(3.0))
    distill(targets, tmp_path / "run", steps=5, batch_size=2, held_out=0.3, device="cpu")
    for row in read_history(tmp_path / "run"):
        assert row["train/clips_per_second"] == pytest.approx(2 / 0.4)
        assert row["train/data_wait_share"] == pytest.approx(0.1 / 0.4)


@pytest.mark.parametrize(("accumulate", "clip"), [(1, None), (2, None), (1, 0.5)])
def test_training_is_what_a_plain_loop_does(accumulate: int, clip: float | None, tmp_path: Path) -> None:
    """Three steps of four clips, whole or in two batches, against Adam in a loop of its own."""
    rng = np.random.default_rng(0)
    targets = Targets(make_targets(tmp_path / "targets", [make_clip(f"{n}.mp4", 4, rng) for n in range(5)]))
    options = {"steps": 3, "batch_size": 4, "accumulate": accumulate, "held_out": 0.0, "seed": 5, "device": "cpu"}
    options["gradient_clip"] = clip
    distill(tmp_path / "targets", tmp_path / "run", **options)  # type: ignore[arg-type]

    stream = TrainingStream(targets, np.arange(5), UNCHANGED_CLIPS, seed=5)
    student = load_student(tmp_path / "run" / "untrained.safetensors").train()
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-3, betas=(0.9, 0.999))
    losses, norms = [], []
    for first in (0, 4, 8):
        pieces = np.split(np.arange(first, first + 4), accumulate)
        optimizer.zero_grad()
        step_loss = 0.0
        for piece in pieces:
            examples = [stream[int(position)] for position in piece]
            sound = torch.stack([example[0] for example in examples]).float() / 2**15 * 256
            loss, _ = DistillationLoss()(
                student(sound), {name: torch.stack([example[1][name] for example in examples]) for name in CLASSES}
            )
            (loss / accumulate).backward()  # type: ignore[no-untyped-call]
            step_loss += float(loss.detach()) / accumulate
        norms.append(float(torch.nn.utils.clip_grad_norm_(student.parameters(), clip or float("inf"))))
        optimizer.step()
        losses.append(step_loss)
    assert [row["train/loss"] for row in read_history(tmp_path / "run")] == pytest.approx(losses, rel=1e-3)
    assert clip is None or min(norms) > clip


def test_what_cannot_be_divided_is_refused_with_what_can() -> None:
    assert clips_per_batch(64, 2, 4) == 8
    with pytest.raises(
        SettingsError, match=r"batch_size is 64, .* 1 accumulated batch on 3 devices .* batch_size of 63 would do"
    ):
        clips_per_batch(64, 1, 3)
    with pytest.raises(SettingsError, match="accumulate is 0"):
        clips_per_batch(64, 0, 1)


def test_devices_that_are_not_there_are_refused() -> None:
    with pytest.raises(SettingsError, match="both have to be at least 1"):
        trainer_options(torch.device("cpu"), 0, 1)
    with pytest.raises(SettingsError, match=r"torchrun --nnodes 2 --nproc_per_node 4"):
        trainer_options(torch.device("cpu"), 4, 2)
    with pytest.raises(SettingsError, match=r"--device cuda or cpu with --devices, not cuda:1"):
        trainer_options(torch.device("cuda:1"), 2, 1)
