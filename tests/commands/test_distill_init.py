"""A distillation that starts from another student: what is kept and what is held, at which rates, and when stopped."""

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from soundnet_kd import SoundNet8, load_student
from soundnet_kd.cli import main
from soundnet_kd.commands.distill import distill
from soundnet_kd.errors import FormatError, RunConflictError, SettingsError
from soundnet_kd.models import FinetunedNetwork, SoundNet5, Student, write_network
from soundnet_kd.models.checkpoint import read_training
from soundnet_kd.models.student import block_number
from soundnet_kd.report.facts import facts_of_training
from soundnet_kd.storage import read_json
from soundnet_kd.training.callbacks import read_history
from soundnet_kd.training.checkpoints import last_checkpoint
from soundnet_kd.training.optimization import cosine_factor
from tests.processes import run_command
from tests.stops import killed_at_checkpoint
from tests.targets import CLASSES, make_clip, make_targets

pytestmark = pytest.mark.usefixtures("small_soundnet8")

STEPS = 8
OPTIONS = f"--steps {STEPS} --batch_size 2 --held_out 0.2 --device cpu --schedule cosine --augmentation.mix 0.5".split()
START = ["--freeze", "conv6", "--learning_rate", "0.01", "--kept_learning_rate", "0.001"]


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    return make_targets(tmp_path_factory.mktemp("targets"), [make_clip(f"{each}.mp4", 2, rng) for each in range(6)])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a student of other scenes, whose running averages are no longer those of a new one."""
    torch.manual_seed(3)
    student = SoundNet8({"objects": ("dog", "car", "cat"), "scenes": ("kitchen", "street", "shore")})
    with torch.no_grad():
        student(torch.randn(2, 1, 441_000) * 50)
    file = tmp_path_factory.mktemp("source") / "student.safetensors"
    write_network(student, file, {})
    return file


@pytest.fixture(scope="module")
def run(targets: Path, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    assert main(["distill", str(targets), "--out", str(out), "--init", str(source), *OPTIONS, *START]) == 0
    return out


def changed(one: Student, other: Student) -> set[str]:
    """Name what differs by a single bit in two students of the same names."""
    states = one.state_dict(), other.state_dict()
    assert states[0].keys() == states[1].keys()
    return {name for name, tensor in states[0].items() if not torch.equal(tensor, states[1][name])}


def test_what_was_held_is_as_it_was_to_the_bit_and_all_else_has_learned(run: Path, source: Path) -> None:
    start, trained, there = load_student(run / "untrained.safetensors"), load_student(run), load_student(source)
    learning = {name for name in start.state_dict() if block_number(name.split(".")[0]) >= 6}
    assert changed(start, trained) == learning
    assert "batchnorm6.running_mean" in learning
    # Before its first step it is the other student, with new scenes.
    for name, tensor in there.state_dict().items():
        if not name.startswith("conv8."):
            assert torch.equal(start.state_dict()[name], tensor)
    assert torch.equal(
        start.get_parameter("conv8.objects.weight"), there.get_parameter("conv8.objects.weight")[[2, 0, 1]]
    )
    assert start.class_names == trained.class_names == CLASSES


@pytest.mark.parametrize("more", [{"precision": "bf16"}, {"devices": 2}, {"accumulate": 2}], ids=str)
def test_it_is_held_however_it_is_trained(more: dict[str, object], targets: Path, source: Path, tmp_path: Path) -> None:
    options = {"steps": 3, "batch_size": 4, "held_out": 0.3, "device": "cpu", "freeze": "pool5", "init": source}
    distill(targets, tmp_path, **options, **more)  # type: ignore[arg-type]
    found = changed(load_student(tmp_path / "untrained.safetensors"), load_student(tmp_path))
    assert {block_number(name.split(".")[0]) for name in found} == {6, 7, 8}


@pytest.mark.parametrize("more", [{}, {"devices": 2}], ids=str)
def test_the_averages_that_are_kept_stay_while_their_layers_learn(
    more: dict[str, object], targets: Path, source: Path, tmp_path: Path
) -> None:
    options = {"steps": 3, "batch_size": 4, "held_out": 0.3, "device": "cpu", "freeze": "conv3", "init": source}
    distill(targets, tmp_path, **options, keep_statistics=True, **more)  # type: ignore[arg-type]
    start = load_student(tmp_path / "untrained.safetensors")
    found = changed(start, load_student(tmp_path))
    assert found == {
        name for name, _ in start.named_parameters() if block_number(name.split(".")[0]) >= 3
    }  # No buffer, which the averages are.
    assert "batchnorm3.weight" in found


def test_the_optimizer_knows_only_what_learns(run: Path) -> None:
    checkpoint = last_checkpoint(run)
    assert checkpoint is not None
    (optimizer,) = torch.load(checkpoint, weights_only=True)["optimizer_states"]
    # Of the new head weight and bias; of conv6 and conv7 four each, with their batch norm, and the head of objects.
    assert [len(group["params"]) for group in optimizer["param_groups"]] == [2, 10]
    assert len(optimizer["state"]) == 12


def test_both_learning_rates_follow_the_schedule(run: Path) -> None:
    history = read_history(run)
    factors = [cosine_factor(step, STEPS) for step in range(STEPS)]
    for figure, rate in (("learning_rate", 0.01), ("learning_rate_kept", 0.001)):
        found = [row[f"train/{figure}"] for row in history]
        assert found == pytest.approx([rate * factor for factor in factors], rel=1e-5)


def test_the_first_step_of_adam_is_as_long_as_each_rate(targets: Path, source: Path, tmp_path: Path) -> None:
    """Adam's first step is the learning rate times the gradient's sign, but where that is next to nothing."""
    options = {"steps": 1, "batch_size": 2, "held_out": 0.0, "device": "cpu"}
    distill(targets, tmp_path, init=source, learning_rate=1e-2, kept_learning_rate=1e-4, **options)  # type: ignore[arg-type]
    start, trained = load_student(tmp_path / "untrained.safetensors"), load_student(tmp_path)
    for name, rate in {"conv8.scenes.weight": 1e-2, "conv8.objects.weight": 1e-4, "conv2.weight": 1e-4}.items():
        moved = (trained.get_parameter(name) - start.get_parameter(name)).detach().abs()
        assert float(moved.median()) == pytest.approx(rate, rel=0.05), name


def test_it_travels_with_the_run_the_student_and_the_report(run: Path, source: Path) -> None:
    told = {
        "init": str(source),
        "init_sha256": load_student(source).fingerprint(),
        "kept_heads": ["objects"],
        "freeze": "conv6",
        "kept_learning_rate": 0.001,
        "architecture": "SoundNet8",
    }
    for settings in (read_json(run / "run.json"), read_training(run / "student.safetensors")):
        assert {name: settings[name] for name in told} == told
    facts = dict(facts_of_training(run))
    assert facts["Started from"] == f"{source} (weights {told['init_sha256'][:12]}); of its heads it kept objects"  # type: ignore[index]
    assert facts["Held"] == "what lies before conv6"


def test_a_run_without_it_says_what_it_always_said(targets: Path, tmp_path: Path) -> None:
    distill(targets, tmp_path, steps=1, batch_size=2, held_out=0.0, device="cpu")
    assert (
        not {"init", "init_sha256", "kept_heads", "freeze", "kept_learning_rate"}
        & read_json(tmp_path / "run.json").keys()
    )
    assert "train/learning_rate_kept" not in read_history(tmp_path)[0]


def test_a_killed_run_ends_as_if_it_had_not_been_stopped(
    run: Path, targets: Path, source: Path, tmp_path: Path
) -> None:
    """It goes on also when the student that it started from has another name by then."""
    out, elsewhere = tmp_path / "stopped", tmp_path / "elsewhere.safetensors"
    shutil.copy(source, elsewhere)
    arguments = ["distill", str(targets), "--out", str(out), *OPTIONS, *START, "--init"]
    prepare = killed_at_checkpoint(out / "checkpoints", small=True)
    killed = [*arguments, str(source), "--checkpoint_minutes", "0"]
    assert run_command(killed, tmp_path / "log.txt", prepare) == -signal.SIGKILL
    assert not (out / "student.safetensors").exists()
    assert main([*arguments, str(elsewhere)]) == 0
    for name in ("student", "untrained", "best"):
        file = f"{name}.safetensors"
        assert load_student(out / file).fingerprint() == load_student(run / file).fingerprint()
    columns = ("step", "train/loss", "train/learning_rate", "train/learning_rate_kept", "validation/loss")
    found, wanted = ([[row.get(name) for name in columns] for row in read_history(each)] for each in (out, run))
    assert found == wanted


def test_another_student_to_start_from_is_another_run(run: Path, targets: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    write_network(SoundNet8({"objects": ("dog", "car", "cat")}), other, {})
    with pytest.raises(RunConflictError, match="init_sha256 was"):
        distill(targets, run, init=other, steps=STEPS, device="cpu")


def test_what_it_starts_with_is_said(
    targets: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--steps", "1", "--batch_size", "2", "--device", "cpu", "--freeze", "conv2"]
    assert main(["distill", str(targets), "--out", str(tmp_path), "--init", str(source.parent), *options]) == 0
    said = capsys.readouterr().err
    assert (
        f"the student starts from {source.parent}: conv1 to conv7 and the head objects keep their weights; new: the "
        "head scenes, whose classes it does not have; held: conv1, with batch norm\n" in said
    )


def test_what_cannot_be_started_from_is_refused_before_anything_is_written(
    targets: Path, source: Path, tmp_path: Path
) -> None:
    out, file = tmp_path / "out", tmp_path / "five.safetensors"
    five = SoundNet5({"objects": ("cat", "dog")})
    write_network(five, file, {})
    finetuned = tmp_path / "classifier.safetensors"
    write_network(FinetunedNetwork(five, "conv3", ("cat", "dog")), finetuned, {})
    refused: list[tuple[dict[str, object], type[Exception], str]] = [
        ({"init": file, "architecture": "SoundNet8"}, SettingsError, r"they differ in .* conv8 \(only in SoundNet8\)"),
        ({"init": finetuned}, FormatError, "is no student, but a SoundNet5 that recognises 2 classes"),
        ({"init": tmp_path / "none"}, SettingsError, "there is no student .*none"),
        ({"init": source, "freeze": "conv9"}, SettingsError, "SoundNet8 has no layer 'conv9'"),
        ({"init": source, "freeze": "conv1"}, SettingsError, "nothing lies before it"),
        ({"init": source, "kept_learning_rate": 0.0}, SettingsError, "kept_learning_rate is 0.0; it has to be above"),
        ({"freeze": "conv6"}, SettingsError, "freeze is conv6, which is for what --init brings; add --init"),
        ({"keep_statistics": True}, SettingsError, "keep_statistics is True, which is for what --init brings"),
        ({"kept_learning_rate": 1e-4}, SettingsError, "kept_learning_rate is 0.0001, which is for what --init brings"),
    ]
    for options, error, message in refused:
        with pytest.raises(error, match=message):
            distill(targets, out, steps=1, batch_size=2, device="cpu", **options)  # type: ignore[arg-type]
        assert not out.exists()


def test_a_student_of_five_layers_brings_its_architecture(targets: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "five.safetensors", tmp_path / "out"
    write_network(SoundNet5({"objects": ("cat", "dog")}), file, {})
    distill(targets, out, init=file, freeze="conv5", steps=1, batch_size=2, held_out=0.0, device="cpu")
    assert isinstance(load_student(out), SoundNet5)
    assert json.loads((out / "run.json").read_text())["architecture"] == "SoundNet5"
    assert all(
        name.startswith("conv5.") for name in changed(load_student(out / "untrained.safetensors"), load_student(out))
    )
