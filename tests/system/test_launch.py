"""Which launcher started a process, from the variables that the launchers really set."""

import os
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.utilities import rank_zero_only

from soundnet_kd.cli import main
from soundnet_kd.data import read_manifest
from soundnet_kd.data.checks import announce
from soundnet_kd.errors import SettingsError
from soundnet_kd.media import write_audio
from soundnet_kd.system.launch import Launch, find_launch, is_first_process
from soundnet_kd.training.devices import trainer_options
from tests.processes import finish, start_command
from tests.targets import make_clip, make_targets

LEFT_OVER = {
    "RANK": "3", "LOCAL_RANK": "3", "WORLD_SIZE": "4", "NODE_RANK": "2", "GROUP_RANK": "2",
    "MASTER_ADDR": "gone.example", "MASTER_PORT": "1",
}  # fmt: skip
BATCH_SCRIPT = {
    "SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "train.sh", "SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0", "SLURM_NODELIST": "n1", "SLURM_JOB_NODELIST": "n1",
}  # fmt: skip
STEP = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS": "2", "SLURM_PROCID": "1"}
ONE_TASK = {**STEP, "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}
LSF_BATCH = {"LSB_JOBID": "7", "LSB_DJOB_NUMPROC": "8", "LSB_DJOB_RANKFILE": "/tmp/ranks"}
JSM = {"JSM_NAMESPACE_RANK": "1", "JSM_NAMESPACE_SIZE": "4", "JSM_NAMESPACE_LOCAL_RANK": "1"}
OPEN_MPI = {"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "3"}
KUBERNETES = {"KUBERNETES_PORT": "tcp://10.0.0.1:443", "RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "pod-0"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SLURM", "OMPI", "PMI", "JSM", "LSB", "TORCHELASTIC", "KUBERNETES")) or name in LEFT_OVER:
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, None),
        (LEFT_OVER, None),
        (BATCH_SCRIPT, None),
        (LSF_BATCH, None),
        (KUBERNETES, None),
        ({**STEP, "SLURM_JOB_NAME": "bash"}, None),
        (ONE_TASK, None),
        ({**TORCHRUN, "WORLD_SIZE": "1", "RANK": "0"}, None),
        ({"PMI_RANK": "0", "PMI_SIZE": "1"}, None),
        (STEP, Launch("srun", 1, 2)),
        ({**BATCH_SCRIPT, **STEP}, Launch("srun", 1, 2)),
        (JSM, Launch("jsrun", 1, 4)),
        (OPEN_MPI, Launch("mpirun", 2, 3)),
        ({"PMI_RANK": "0", "PMI_SIZE": "2"}, Launch("mpirun", 0, 2)),
        ({**BATCH_SCRIPT, **TORCHRUN}, Launch("torchrun", 1, 2)),
        # jsrun's processes have Open MPI's variables too, srun's those of PMI.
        ({**JSM, **OPEN_MPI}, Launch("jsrun", 1, 4)),
        ({**STEP, "PMI_RANK": "1", "PMI_SIZE": "2"}, Launch("srun", 1, 2)),
        # mpirun within a step of one task, and through a step of one task for each machine.
        ({**ONE_TASK, **OPEN_MPI}, Launch("mpirun", 2, 3)),
        ({**ONE_TASK, "PMI_RANK": "2", "PMI_SIZE": "4"}, Launch("mpirun", 2, 4)),
        (
            {**STEP, "SLURM_STEP_NUM_TASKS": "3", "OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_SIZE": "16"},
            Launch("mpirun", 5, 16),
        ),
    ],
)
def test_only_a_launchers_own_mark_counts(
    variables: dict[str, str], wanted: Launch | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert find_launch() == wanted
    assert is_first_process() == (wanted is None or wanted.rank == 0)


@pytest.mark.parametrize(
    ("variables", "devices", "message"),
    [
        (STEP, 1, "srun started 2 processes, but this training takes 1 .*`srun -n 1`"),
        (TORCHRUN, 4, "torchrun started 2 processes, but this training takes 4"),
        (OPEN_MPI, 3, r"cannot find each other without mpi4py \(`pip install mpi4py`\)"),
        (JSM, 4, "cannot find each other without LSF's variables"),
    ],
)
def test_processes_that_do_not_fit_are_refused_at_once(
    variables: dict[str, str], devices: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=message):
        trainer_options(torch.device("cpu"), devices, 1)


@pytest.mark.parametrize("variables", [STEP, OPEN_MPI, JSM, TORCHRUN])
def test_a_training_that_is_not_shared_leaves_launchers_alone(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    options = trainer_options(torch.device("cpu"), 1, 1, together=False)
    trainer = lightning.Trainer(**options, logger=False, enable_checkpointing=False, barebones=True)
    assert (trainer.global_rank, trainer.world_size, trainer.is_global_zero) == (0, 1, True)
    assert rank_zero_only.rank == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "speaks"), [("explore", True), ("distill", False)])
def test_only_processes_that_train_together_leave_the_word_to_the_first(
    name: str, speaks: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable, value in STEP.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr("soundnet_kd.cli.program.parse", lambda *_: {})
    monkeypatch.setattr("soundnet_kd.cli.table.Command.function", lambda _: lambda: "the answer")
    assert main([name]) == 0
    assert capsys.readouterr().out == ("the answer\n" if speaks else "")


def test_each_task_says_what_it_takes_a_data_set_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in STEP.items():
        monkeypatch.setenv(name, value)
    write_audio(tmp_path / "dog" / "a.wav", np.zeros(2205, np.float32), 22_050)
    caplog.set_level("INFO", "soundnet_kd")
    announce(tmp_path, read_manifest(tmp_path))
    assert "1 sound" in caplog.text


@pytest.mark.slow
@pytest.mark.usefixtures("small_soundnet8")
def test_one_process_of_a_batch_job_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `sbatch -n 8` starts a script, in a shell in which another training left its variables."""
    rng = np.random.default_rng(0)
    targets = make_targets(tmp_path / "targets", [make_clip(f"{n}.mp4", 1, rng) for n in range(4)])
    for name, value in {**BATCH_SCRIPT, **LEFT_OVER}.items():
        monkeypatch.setenv(name, value)
    command = ["distill", str(targets), "--steps", "2", "--batch_size", "2", "--device", "cpu", "--held_out", "0"]
    assert main([*command, "--out", str(tmp_path / "one")]) == 0
    assert f"wrote {tmp_path / 'one' / 'student.safetensors'}" in capsys.readouterr().out
    assert main([*command, "--out", str(tmp_path / "two"), "--devices", "2"]) == 0
    for run in ("one", "two"):
        assert (tmp_path / run / "student.safetensors").is_file()
        assert (tmp_path / run / "history.csv").read_text().count("\n") == 3
    assert os.environ["WORLD_SIZE"] == "4"


def be_task(rank: int) -> None:
    step = {**BATCH_SCRIPT, **STEP, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}
    os.environ.update(step | {"SLURM_NODELIST": "localhost", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "12345"})
    os.environ.pop("SLURM_NTASKS_PER_NODE", None)


def be_first_task() -> None:
    be_task(0)


def be_second_task() -> None:
    be_task(1)


@pytest.mark.slow
def test_two_tasks_of_srun_train_together(tmp_path: Path) -> None:
    """As `srun -n 2` starts them: the first one writes and speaks, and both end well."""
    rng = np.random.default_rng(0)
    targets = make_targets(tmp_path / "targets", [make_clip(f"{n}.mp4", 1, rng) for n in range(4)])
    command = ["distill", str(targets), "--out", str(tmp_path / "run"), "--steps", "2", "--batch_size", "2"]
    command += ["--device", "cpu", "--held_out", "0", "--devices", "2", "--architecture", "SoundNet5"]
    logs = [tmp_path / "first.txt", tmp_path / "second.txt"]
    first = start_command(command, logs[0], be_first_task)
    second = start_command(command, logs[1], be_second_task)
    assert (finish(first), finish(second)) == (0, 0), [log.read_text() for log in logs]
    assert "wrote" in logs[0].read_text()
    assert "wrote" not in logs[1].read_text()
    assert (tmp_path / "run" / "student.safetensors").is_file()
