"""Distilling a student of another architecture or width: the same command, and everything that follows from it."""

import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from soundnet_kd import FeatureCache, SoundNet8, extract, load_student
from soundnet_kd.cli import main
from soundnet_kd.commands.distill import distill
from soundnet_kd.commands.predict import predict
from soundnet_kd.errors import SettingsError
from soundnet_kd.media import write_audio
from soundnet_kd.models import LogMelCNN, Student, write_network
from soundnet_kd.models.checkpoint import read_training
from soundnet_kd.pretrained.conversion import convert
from soundnet_kd.storage import read_json
from soundnet_kd.training.callbacks import read_history
from soundnet_kd.training.checkpoints import last_checkpoint
from tests.processes import run_command
from tests.stops import killed_at_checkpoint
from tests.targets import CLASSES, make_clip, make_targets

STEPS = 6
OPTIONS = f"--steps {STEPS} --batch_size 2 --held_out 0.2 --device cpu --augmentation.mix 0.5".split()
QUARTER = ["--architecture", "LogMelCNN", "--width", "0.25"]


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    return make_targets(tmp_path_factory.mktemp("targets"), [make_clip(f"{each}.mp4", 2, rng) for each in range(6)])


@pytest.fixture(scope="module")
def run(targets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    assert main(["distill", str(targets), "--out", str(out), *OPTIONS, *QUARTER]) == 0
    return out


def changed(one: Student, other: Student) -> set[str]:
    states = one.state_dict(), other.state_dict()
    return {name for name, tensor in states[0].items() if not torch.equal(tensor, states[1][name])}


def test_a_run_leaves_what_it_should(run: Path) -> None:
    trained, untrained = load_student(run), load_student(run / "untrained.safetensors")
    assert isinstance(trained, LogMelCNN)
    assert (trained.architecture, trained.width) == ("LogMelCNNx0.25", 0.25)
    assert trained.class_names == CLASSES
    assert read_json(run / "run.json")["architecture"] == "LogMelCNNx0.25"
    assert read_training(run / "student.safetensors")["architecture"] == "LogMelCNNx0.25"
    assert {name.partition(".")[0] for name in changed(trained, untrained)} == {
        *(f"conv{number}" for number in range(1, 7)),
        *(f"batchnorm{number}" for number in range(6)),
    }
    assert (run / "conv1.png").read_bytes().startswith(b"\x89PNG")
    assert len(read_history(run)) > 1


def test_a_checkpoint_tells_what_it_holds(run: Path) -> None:
    checkpoint = last_checkpoint(run)
    assert checkpoint is not None
    found = convert(checkpoint).network
    assert isinstance(found, LogMelCNN)
    assert found.architecture == "LogMelCNNx0.25"
    assert all(name.endswith("num_batches_tracked") for name in changed(found, load_student(run)))


def test_killed_and_started_again_it_ends_as_if_never_stopped(run: Path, targets: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    command = ["distill", str(targets), "--out", str(out), *OPTIONS, *QUARTER]
    prepare = killed_at_checkpoint(out / "checkpoints")
    assert run_command([*command, "--checkpoint_minutes", "0"], tmp_path / "log", prepare) == -signal.SIGKILL
    assert not (out / "student.safetensors").exists()
    assert main(command) == 0
    assert changed(load_student(out), load_student(run)) == set()


def test_a_student_goes_on_from_one_of_its_kind(run: Path, targets: Path, tmp_path: Path) -> None:
    options = {"steps": 2, "batch_size": 2, "device": "cpu", "held_out": 0.2}
    distill(targets, tmp_path / "frozen", init=run, freeze="conv4", **options)  # type: ignore[arg-type]
    learned = changed(load_student(tmp_path / "frozen"), load_student(run))
    assert {name.partition(".")[0] for name in learned} == {"conv4", "batchnorm4", "conv5", "batchnorm5", "conv6"}
    distill(targets, tmp_path / "first", init=run, freeze="conv1", keep_statistics=True, **options)  # type: ignore[arg-type]
    learned = changed(load_student(tmp_path / "first"), load_student(run))
    assert not any(name.startswith("batchnorm0") or "running" in name for name in learned)
    assert "conv1.weight" in learned


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"architecture": "SoundNet8"}, r"init .* is a LogMelCNNx0\.25, but SoundNet8 is asked for; leave"),
        (
            {"architecture": "SoundNet5x0.5"},
            r"is a LogMelCNNx0\.25, but SoundNet5x0\.5 is asked for",
        ),
        (
            {"width": 0.5},
            r"is a LogMelCNNx0\.25, but LogMelCNNx0\.5 is asked for; leave --architecture and --width out",
        ),
    ],
)
def test_another_kind_to_start_from_is_refused(
    options: dict[str, object], said: str, run: Path, targets: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=said):
        distill(targets, tmp_path / "out", init=run, **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_a_narrower_student_does_not_start_from_a_full_one(targets: Path, tmp_path: Path) -> None:
    write_network(SoundNet8(CLASSES), tmp_path / "student.safetensors", {})
    with pytest.raises(SettingsError, match=r"differ in the filters of conv1 \(16, not 8\), conv2 \(32, not 16\)"):
        distill(targets, tmp_path / "out", init=tmp_path, width=0.5)
    with pytest.raises(SettingsError, match=r"width is 0; give a number from 0\.05"):
        distill(targets, tmp_path / "out", width=0)


def test_a_width_may_be_told_by_the_architecture(targets: Path, tmp_path: Path) -> None:
    """As files and `finetune` have it."""
    words = ["distill", str(targets), "--out", str(tmp_path / "out"), "--architecture", "LogMelCNNx0.125"]
    more = ["--steps", "1", "--batch_size", "2", "--held_out", "0", "--device", "cpu"]
    assert main([*words, *more]) == 0
    assert read_json(tmp_path / "out" / "run.json")["architecture"] == "LogMelCNNx0.125"
    options = {"steps": 1, "batch_size": 2, "held_out": 0.0, "device": "cpu"}
    for architecture in ("LogMelCNN", "LogMelCNNx0.125"):
        out = tmp_path / architecture
        distill(targets, out, architecture=architecture, init=tmp_path / "out", **options)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=r"LogMelCNNx0\.125 names its width, which is not 0\.5; leave one"):
        distill(targets, tmp_path / "other", architecture="LogMelCNNx0.125", width=0.5, **options)  # type: ignore[arg-type]


def test_long_sounds_are_heard_as_in_one_pass(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from soundnet_kd.features import extractor

    sound = np.random.default_rng(0).normal(0, 0.1, 26 * 22_050).astype(np.float32)
    write_audio(tmp_path / "sounds" / "long.wav", sound, 22_050)
    options = {"pooling": ["mean", "std"], "workers": 0, "device": "cpu"}
    extract(tmp_path / "sounds", run, tmp_path / "whole.h5", **options)  # type: ignore[arg-type]
    monkeypatch.setattr(extractor, "SAMPLES_AT_ONCE", 441_000)
    monkeypatch.setattr(extractor, "SEGMENT_SAMPLES", 100_001)
    extract(tmp_path / "sounds", run, tmp_path / "pieces.h5", **options)  # type: ignore[arg-type]
    student = load_student(run)
    with FeatureCache(tmp_path / "whole.h5") as whole, FeatureCache(tmp_path / "pieces.h5") as pieces:
        assert whole.layers == pieces.layers == student.layers
        assert whole.identity["student"]["architecture"] == "LogMelCNNx0.25"
        heard = student.preprocessing(student.preprocessing.read(tmp_path / "sounds" / "long.wav"))
        with torch.inference_mode():
            wanted = student(heard[None], student.layers)
        for layer in student.layers:
            steps = wanted[layer][0].double().flatten(1) if layer == "logmel" else wanted[layer][0].double()
            means = steps.mean(dim=1) if steps.ndim == 3 else steps
            for pooling, value in (("mean", means.mean(dim=1)), ("std", means.std(dim=1, correction=0))):
                for cache in (whole, pieces):
                    np.testing.assert_allclose(
                        cache.pooled(layer, pooling)[0], value.numpy(), rtol=1e-3, atol=1e-4, err_msg=layer
                    )


def test_it_says_what_it_hears_every_5_seconds(run: Path, tmp_path: Path) -> None:
    sound = tmp_path / "sound.wav"
    write_audio(sound, np.random.default_rng(1).normal(0, 0.1, 12 * 22_050).astype(np.float32), 22_050)
    spans = predict(sound, run, per_step=True, top=1, device="cpu").sounds[str(sound)]
    assert [(span.start_seconds, span.end_seconds) for span in spans] == [(0, 5), (5, 10), (10, 12)]
    assert all(0 < span.guesses[head][0].probability < 1 for span in spans for head in CLASSES)
