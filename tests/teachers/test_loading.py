"""Published teachers: each network from a file of exactly the published shape, fetched from a mirror."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import models
from torchvision.transforms._presets import ImageClassification

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.pretrained.formats.state_dict import read_state_dict
from soundnet_kd.teachers import load_teacher
from soundnet_kd.teachers.loading import network_from_file
from tests.pretrained.places365 import constants, published_name, write_published
from tests.pretrained.serving import serve


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SOUNDNET_KD_CACHE", str(tmp_path / "cache"))
    with serve(tmp_path / "site") as site:
        monkeypatch.setenv("SOUNDNET_KD_MIRROR", site.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield site.folder


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("resnet18", "zip"),
        ("resnet18", "legacy"),
        ("resnet50", "python2"),
        ("alexnet", "python2"),
        ("densenet161", "python2"),
    ],
)
def test_every_tensor_of_places365_comes_to_its_place(mirror: Path, name: str, form: str) -> None:
    expected = constants(name)
    path = write_published(mirror / f"{name}_places365.pth.tar", name, expected, form)
    teacher = load_teacher(f"{name}:PLACES365")
    state = teacher.network.state_dict()
    for key, tensor in expected.items():
        assert torch.equal(state[key], tensor), key
    assert len(teacher.class_names) == 365
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert teacher.identity == {"network": name, "weights": "PLACES365", "sha256": digest}


def test_published_names_are_those_of_2017() -> None:
    """What the test writes is what PyTorch 0.2 and torchvision 0.1.9 called these tensors."""
    assert published_name("resnet18", "layer1.0.conv1.weight") == "module.layer1.0.conv1.weight"
    assert published_name("alexnet", "features.0.weight") == "features.module.0.weight"
    assert published_name("alexnet", "classifier.6.bias") == "classifier.6.bias"
    old = "module.features.denseblock1.denselayer12.norm.2.running_mean"
    assert published_name("densenet161", "features.denseblock1.denselayer12.norm2.running_mean") == old
    assert (
        published_name("densenet161", "features.transition1.norm.weight") == "module.features.transition1.norm.weight"
    )


def test_a_published_teacher_sees_what_its_network_sees(mirror: Path) -> None:
    """Frames are prepared as torchvision's own preset with the stated numbers does it."""
    torch.manual_seed(0)
    network = models.get_model("resnet18", weights=None, num_classes=365).eval()
    write_published(mirror / "resnet18_places365.pth.tar", "resnet18", network.state_dict(), "legacy")
    teacher = load_teacher("resnet18:PLACES365")
    image = np.random.default_rng(0).integers(0, 256, (180, 320, 3), dtype=np.uint8)
    frame = torch.from_numpy(image).permute(2, 0, 1)
    prepared = ImageClassification(crop_size=224, resize_size=256)(frame)
    # the two round a resized pixel differently, by at most one of 255 levels
    torch.testing.assert_close(teacher.transform(frame), prepared, rtol=0, atol=1.01 / 255 / 0.224)
    with torch.inference_mode():
        expected = network(prepared[None]).softmax(dim=1)
    np.testing.assert_allclose(teacher.label([image]), expected.numpy(), rtol=0.01)


def test_a_published_file_can_be_given_by_hand(tmp_path: Path) -> None:
    path = write_published(tmp_path / "densenet.pth.tar", "densenet121", constants("densenet121", 3))
    (tmp_path / "names.txt").write_text("red\ngreen\nblue\n")
    assert load_teacher(f"densenet121:{path}", tmp_path / "names.txt").class_names == ("red", "green", "blue")
    with pytest.raises(FormatError, match="does not fit densenet121 with 4 classes"):
        network_from_file("densenet121", 4, path)


@pytest.mark.parametrize("content", [[1, 2], {}, {"state_dict": {}}, {1: torch.zeros(1)}, torch.zeros(3)])
def test_a_file_without_a_state_dict(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(FormatError, match="holds no state dict"):
        read_state_dict(tmp_path / "weights.pth")


def test_values_that_are_no_tensors_are_refused(tmp_path: Path) -> None:
    torch.save({**constants("resnet18", 3), "fc.bias": 3}, tmp_path / "weights.pth")
    with pytest.raises(FormatError, match="does not fit resnet18 with 3 classes"):
        network_from_file("resnet18", 3, tmp_path / "weights.pth")


@pytest.mark.parametrize(
    ("spec", "nearest"),
    [
        ("resnet18:PLACES356", "resnet18:PLACES365"),
        ("resnet50:places365", "resnet50:PLACES365"),
        ("alexnet:PLACES", "alexnet:PLACES365"),
        ("resnet18:IMAGENET1K_V2", "resnet18:IMAGENET1K_V1"),
    ],
)
def test_wrong_names_of_weights_are_refused_with_the_nearest(spec: str, nearest: str) -> None:
    with pytest.raises(SettingsError, match=f"and there is no such file; did you mean '{nearest}'"):
        load_teacher(spec)
