"""Everything that runs a network on a device that has no float64."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import models

from soundnet_kd import SoundNet5
from soundnet_kd.cli import main
from soundnet_kd.interfaces import hear
from soundnet_kd.media import write_audio
from soundnet_kd.models import LogMelCNN, write_network
from soundnet_kd.models.classifiers import CLASSIFIERS, build_classifier
from soundnet_kd.teachers import Teacher
from soundnet_kd.training.optimization import probabilities
from tests.media_files import sine
from tests.targets import make_clip, make_targets
from tests.without_float64 import WORDS, WithoutFloat64

RATE = 22_050


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student, sounds of two classes, targets, and a video."""
    folder = tmp_path_factory.mktemp("world")
    torch.manual_seed(0)
    write_network(SoundNet5({"objects": ("cat", "dog"), "scenes": ("street", "field")}).eval(), folder / "s", {})
    write_network(LogMelCNN({"objects": ("cat", "dog")}, width=0.125).eval(), folder / "m", {})
    for name, hertz in (("cat", 2000.0), ("dog", 300.0)):
        for number in range(4):
            write_audio(folder / "sounds" / name / f"{name}_{number}.wav", sine(hertz + number, 1.1, RATE, 0.4), RATE)
    for name in ("cat", "dog"):
        for number in range(4):
            write_audio(folder / "cats_dogs" / f"{name}_{number}.wav", sine(300.0 + number, 2.1, 16_000, 0.4), 16_000)
    rng = np.random.default_rng(0)
    make_targets(folder / "targets", [make_clip(f"{number}.mp4", 1, rng) for number in range(4)])
    return folder


def commands(world: Path) -> dict[str, list[str]]:
    student = ["--student", str(world / "s"), "--device", "cpu"]
    small = ["sampling.segments.steps_per_epoch=2", "sampling.segments.validation_steps=1", "training.epochs=1"]
    return {
        "distill": ["distill", f"{world}/targets", "--steps", "2", "--batch_size", "2", "--device", "cpu",
                    "--architecture", "SoundNet5", "--held_out", "0.3"],
        "distill in bf16": ["distill", f"{world}/targets", "--steps", "2", "--batch_size", "2", "--device", "cpu",
                            "--architecture", "SoundNet5", "--precision", "bf16", "--objective", "kl"],
        "distill over spectrograms": ["distill", f"{world}/targets", "--steps", "2", "--batch_size", "2", "--held_out",
                                      "0.3", "--device", "cpu", "--architecture", "LogMelCNN", "--width", "0.125"],
        "extract from spectrograms": ["extract", f"{world}/sounds", "--student", str(world / "m"), "--device", "cpu"],
        "extract": ["extract", f"{world}/sounds", *student, "--layers", "conv1", "conv4"],
        "extract deviations": ["extract", f"{world}/sounds", *student, "--layers", "conv4", "--pooling", "std"],
        "predict": ["predict", f"{world}/sounds/cat/cat_0.wav", *student],
        "finetune": ["finetune", f"{world}/sounds", *student, "--epochs", "1", "--crop_seconds", "0.5"],
        "peel": ["peel", f"{world}/sounds/cat/cat_0.wav", *student[:2]],
        "train": ["train", "cats_dogs", "--data", f"{world}/cats_dogs", "--device", "cpu", "--set", "seeds=[0]", *small,
                  "data.cats_dogs.test=[cat_3,dog_3]", "sampling.segments.seconds=0.125", "training.batch_size=4"],
    }  # fmt: skip


@pytest.mark.parametrize("name", commands(Path()))
def test_a_command_needs_no_float64(name: str, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with WithoutFloat64() as device:
        status = main([*commands(world)[name], "--out", str(tmp_path / "out.csv")])
    assert status == 0, capsys.readouterr().err
    assert device.computed > 10


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_front_ends_and_networks_need_none(name: str) -> None:
    """Fitted to sounds and trained on one, as `train` does."""
    network = build_classifier(name, {"class_names": ("cat", "dog")})
    sounds = 0.1 * torch.randn(2, 1, network.preprocessing.least_samples, generator=torch.Generator().manual_seed(0))
    device = torch.device("cpu")
    with WithoutFloat64() as watched:
        network.to(device)
        network.fit_front_end([sounds])
        network.train().logits(sounds.to(device)).square().mean().backward()  # type: ignore[no-untyped-call]
        probabilities("cross_entropy", network.eval().logits(sounds.to(device)).cpu().double())
    assert watched.computed > 10


def test_teachers_need_none() -> None:
    network = models.squeezenet1_0(num_classes=3)
    teacher = Teacher(network, lambda frames: frames.float() / 255, ("a", "b", "c"), {"network": "mine"})
    with WithoutFloat64() as device:
        teacher.predict(torch.zeros(2, 3, 64, 64))
    assert device.computed > 10


def test_hear_needs_none(world: Path) -> None:
    model = hear.load_model(str(world / "s"))
    sounds = torch.from_numpy(np.stack([sine(440.0, 2.0, RATE, 0.3)] * 2))
    with WithoutFloat64() as device:
        hear.get_scene_embeddings(sounds, model)
        _, timestamps = hear.get_timestamp_embeddings(sounds, model)
    assert timestamps.dtype == torch.float32
    assert device.computed > 10


@pytest.mark.parametrize(
    "wide",
    [
        lambda weight: weight.double(),
        lambda weight: (weight * 2).sum().to(torch.float64),
        lambda weight: torch.zeros(1, dtype=torch.float64, device=weight.device),
        lambda weight: torch.zeros(1, dtype=torch.float64).to(weight.device),
    ],
)
def test_the_device_would_refuse(wide: Callable[[torch.Tensor], torch.Tensor]) -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    with WithoutFloat64(), pytest.raises(TypeError, match=WORDS):
        wide(weight)
    with WithoutFloat64():
        assert (weight * 2).cpu().double().dtype == torch.float64
