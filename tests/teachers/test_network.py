"""A network that is made ready for many frames sees in them what it saw before."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from soundnet_kd.commands.teach import teach
from soundnet_kd.data.targets import SETTINGS_FILE, Targets
from soundnet_kd.errors import SettingsError
from soundnet_kd.inference.backends import Backend
from soundnet_kd.models import state_sha256
from soundnet_kd.storage import read_json
from soundnet_kd.system import extras
from soundnet_kd.teachers import Teacher, label_videos, labelling
from soundnet_kd.teachers.network import FRAMES_AT_A_TIME, prepare_network
from tests.teachers.colours import NAMES, make_video, plain

ENGINES = ("openvino", "onnxruntime")


def as_trained(network: nn.Module) -> nn.Module:
    """Give a network's norms statistics that are far from those that they begin with."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, least, most in ((module.running_mean, -0.3, 0.3), (module.running_var, 0.5, 2)):
                assert values is not None
                nn.init.uniform_(values, least, most)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
    return network.eval()


class ConvolutionTwice(nn.Module):
    """One convolution before two norms: it cannot hold both of them."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(3), nn.BatchNorm2d(3)])

    def forward(self, frames: Tensor) -> Tensor:
        for norm in self.norms:
            frames = norm(self.convolution(frames))
        return frames.mean(dim=(2, 3))


class BrightnessDecides(nn.Module):
    """Which way a frame goes depends on what is in it: nothing that can be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))

    def forward(self, frames: Tensor) -> Tensor:
        seen: Tensor = self.layers(frames).mean(dim=(2, 3))
        return -seen if frames.mean() > 0 else seen


def small_network() -> nn.Module:
    layers = nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(8, 3))


@pytest.mark.parametrize(
    ("make", "backend"),
    [
        *((small_network, backend) for backend in get_args(Backend)),
        (partial(models.mobilenet_v2, num_classes=5), "torch"),
        (partial(models.resnet18, num_classes=5), "torch"),
        (partial(models.squeezenet1_1, num_classes=5), "torch"),
        (ConvolutionTwice, "torch"),
        (BrightnessDecides, "torch"),
        (BrightnessDecides, "openvino"),
    ],
)
def test_any_number_of_frames_as_the_network_itself(make: Callable[[], nn.Module], backend: Backend) -> None:
    network = as_trained(make())
    before = state_sha256(network)
    frames = torch.randn(2 * FRAMES_AT_A_TIME + 1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    became, look = prepare_network(network, frames[:1], backend)
    assert became == backend or make is BrightnessDecides
    for count in (1, FRAMES_AT_A_TIME, len(frames)):
        with torch.inference_mode():
            wanted = network(frames[:count])
        (found,) = look(frames[:count])
        assert found.shape == wanted.shape
        assert float((found - wanted).norm() / wanted.norm()) < 1e-5
    assert state_sha256(network) == before
    assert all(parameter.is_contiguous() for parameter in network.parameters())


def test_norms_are_gone_from_what_pytorch_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    network = as_trained(small_network())
    _, look = prepare_network(network, torch.randn(1, 3, 64, 64))
    calls: list[None] = []
    monkeypatch.setattr(torch.nn.functional, "batch_norm", lambda *_: calls.append(None))
    look(torch.randn(2, 3, 64, 64))
    assert not calls


def small_teacher() -> Teacher:
    return Teacher(as_trained(small_network()), plain, NAMES, {"network": "small"})


def settings_of_parts(out: Path) -> list[dict[str, dict[str, str]]]:
    """Return what each part says of how it was made."""
    found = []
    for file in Targets(out).parts:
        with h5py.File(file) as part:
            found.append(json.loads(str(part.attrs["settings"])))
    return found


@pytest.mark.parametrize("engine", ENGINES)
def test_targets_go_on_with_another_engine_and_say_which(tmp_path: Path, engine: Backend) -> None:
    videos, out = tmp_path / "videos", tmp_path / "targets"
    teachers = {"objects": small_teacher()}
    make_video(videos / "a.mp4", ["red", "green"])
    label_videos(videos, teachers, out)
    make_video(videos / "b.mp4", ["blue", "red"])
    label_videos(videos, teachers, out, backend=engine)
    first, second = settings_of_parts(out)
    assert (first["backends"], second["backends"]) == ({"objects": "torch"}, {"objects": engine})
    assert second["versions"].keys() - first["versions"].keys() == {engine}
    whole = label_videos(videos, teachers, tmp_path / "whole", backend="torch", videos_per_part=1)
    for found, wanted in zip(Targets(out), Targets(whole.out), strict=True):
        # They are kept in half precision.
        np.testing.assert_allclose(found.distributions["objects"], wanted.distributions["objects"], rtol=2e-3)


def test_auto_goes_on_with_what_targets_were_begun_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few videos are not worth an engine; what one has begun it ends, however few are left."""
    videos, out = tmp_path / "videos", tmp_path / "targets"
    teachers = {"objects": small_teacher()}
    make_video(videos / "a.mp4", ["red"])
    monkeypatch.setattr(labelling, "VIDEOS_WORTH_AN_ENGINE", 1)
    label_videos(videos, teachers, out)
    assert read_json(out / SETTINGS_FILE)["backends"] == {"objects": "openvino"}
    monkeypatch.undo()
    make_video(videos / "b.mp4", ["blue"])
    label_videos(videos, teachers, out)
    label_videos(videos, teachers, tmp_path / "new")
    assert [part["backends"]["objects"] for part in settings_of_parts(out)] == ["openvino"] * 2
    assert settings_of_parts(tmp_path / "new")[0]["backends"] == {"objects": "torch"}


def test_an_engine_that_is_missing_is_told_before_weights_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(extras, "import_module", missing)
    with pytest.raises(SettingsError, match=r'pip install "soundnet-kd\[openvino\]"'):
        teach(tmp_path, tmp_path / "targets", objects="no:such", device="cpu", backend="openvino")
