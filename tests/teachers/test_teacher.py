"""Teachers from torchvision, from files, by hand; and files that are not to be trusted."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torchvision import models, transforms

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.media import read_frames, write_video
from soundnet_kd.models.checkpoint import TEACHER, kind_of, read_metadata
from soundnet_kd.teachers import Teacher, label_videos, load_teacher, write_teacher
from soundnet_kd.teachers.teacher import TeacherDescription, read_teacher_description
from soundnet_kd.teachers.transforms import frame_transform
from tests.teachers.colours import NAMES, RATE, MeanColour, plain


def test_any_module_can_teach() -> None:
    teacher = Teacher(MeanColour(), lambda image: image.float() / 255, NAMES)
    green = np.zeros((4, 6, 3), dtype=np.uint8)
    green[..., 1] = 255
    rows = teacher.label([green, np.zeros_like(green)])
    # softmax of (0, 10, 0) and of (0, 0, 0)
    np.testing.assert_allclose(rows[0], np.exp([0, 10, 0]) / np.exp([0, 10, 0]).sum(), rtol=1e-5)
    np.testing.assert_allclose(rows[1], [1 / 3] * 3, rtol=1e-6)


def shrinking(image: Tensor) -> Tensor:
    """Bring a picture to 0..1, and what is dark to half its size."""
    return plain(image)[:, :: 1 if image.max() > 128 else 2]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("within_a_video", [True, False])
def test_frames_of_several_sizes_are_refused_with_the_cure(tmp_path: Path, within_a_video: bool, workers: int) -> None:
    """Of a clip, whose picture goes dark, or of several videos."""
    frames = [
        np.full((48, 64, 3), level, np.uint8) for level in (200, 20 if within_a_video else 200) for _ in range(20)
    ]
    sound = (np.sin(np.arange(10 * RATE) / 9) / 3).astype(np.float32)
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "a.mp4", frames, 4, sound, RATE)
    write_video(tmp_path / "videos" / "b.mp4", [frame[:32, :32] for frame in frames], 4, sound, RATE)
    teacher = Teacher(MeanColour(), shrinking, NAMES)
    sizes = "64 x 24 and 64 x 48" if within_a_video else "32 x 32 and 64 x 48"
    reason = rf"frames of several sizes, such as {sizes}, .* Resize\(256\) and CenterCrop\(224\)"
    with pytest.raises(SettingsError, match=reason):
        label_videos(tmp_path / "videos", {"objects": teacher}, tmp_path / "targets", workers=workers)


def test_pictures_of_several_sizes_are_seen_together_where_the_transform_makes_them_one() -> None:
    pictures = [np.zeros((48, 64, 3), np.uint8), np.zeros((32, 32, 3), np.uint8)]
    assert Teacher(MeanColour(), frame_transform(16), NAMES).label(pictures).shape == (2, 3)
    with pytest.raises(SettingsError, match="frames of several sizes, such as 32 x 32 and 64 x 48, which a network"):
        Teacher(MeanColour(), plain, NAMES).label(pictures)


def test_class_names_must_fit() -> None:
    with pytest.raises(FormatError, match="gives 3 classes but has 2 class names"):
        Teacher(MeanColour(), lambda image: image.float(), ("a", "b")).label([np.zeros((4, 4, 3), np.uint8)])


def test_a_teacher_file_describes_itself(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = models.get_model("shufflenet_v2_x0_5", weights=None, num_classes=3).eval()
    path = tmp_path / "teacher.safetensors"
    write_teacher(path, network, "shufflenet_v2_x0_5", NAMES, input_size=32)
    teacher = load_teacher(str(path))
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = network(frame_transform(32)(torch.from_numpy(image).permute(2, 0, 1))[None]).softmax(dim=1)
    np.testing.assert_allclose(teacher.label([image]), expected.numpy(), rtol=1e-5)
    assert teacher.class_names == NAMES
    assert len(teacher.identity["sha256"]) == 64
    assert read_teacher_description(str(path)) == TeacherDescription("shufflenet_v2_x0_5", NAMES, 32, {})
    assert kind_of(read_metadata(path)) == TEACHER


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "it lacks 'network'"),
        ({"network": "resnet18", "class_names": "[]"}, "it lacks 'input_size'"),
        ({"network": "resnet18", "class_names": "[]", "input_size": "wide"}, "invalid literal"),
        ({"network": "resnet18", "class_names": "[]", "input_size": "32", "kind": "student"}, "it holds a student"),
    ],
)
def test_other_files_are_no_teachers(metadata: dict[str, str], message: str, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(1)}, path, metadata)
    with pytest.raises(FormatError, match=f"is no teacher that describes itself \\({message}"):
        read_teacher_description(path)
    with pytest.raises(SettingsError, match=r"does not say which network it is for; write NETWORK:"):
        load_teacher(str(path))


@pytest.mark.parametrize("layout", ["plain", "places365"])
def test_weights_in_a_file_with_a_class_list(tmp_path: Path, layout: str) -> None:
    """Places365's files keep the state dict under `state_dict`, with keys that start with `module.`."""
    state = models.get_model("shufflenet_v2_x0_5", weights=None, num_classes=3).state_dict()
    content = state if layout == "plain" else {"state_dict": {f"module.{key}": value for key, value in state.items()}}
    torch.save(content, tmp_path / "weights.pth")
    (tmp_path / "names.txt").write_text("red\ngreen\nblue\n")
    teacher = load_teacher(f"shufflenet_v2_x0_5:{tmp_path / 'weights.pth'}", tmp_path / "names.txt")
    assert teacher.class_names == NAMES
    assert teacher.label([np.zeros((300, 300, 3), np.uint8)]).shape == (1, 3)
    with pytest.raises(FormatError, match="does not fit shufflenet_v2_x0_5 with 1000 classes"):
        load_teacher(f"shufflenet_v2_x0_5:{tmp_path / 'weights.pth'}")


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "googlenet"])
def test_weights_of_an_enum_come_from_torchs_cache(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was fetched once works without network, and googlenet keeps the input transform of its weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = models.get_model_weights(name)["IMAGENET1K_V1"]
    cached = tmp_path / "hub" / "checkpoints" / Path(weights.url).name
    cached.parent.mkdir(parents=True)
    options = {"init_weights": False} if name == "googlenet" else {}
    torch.save(models.get_model(name, weights=None, **options).state_dict(), cached)
    teacher = load_teacher(f"{name}:IMAGENET1K_V1")
    assert teacher.class_names == tuple(weights.meta["categories"])
    assert getattr(teacher.network, "transform_input", None) is (True if name == "googlenet" else None)
    rows = teacher.label([np.zeros((300, 400, 3), np.uint8)])
    assert rows.shape == (1, 1000)
    np.testing.assert_allclose(rows.sum(), 1, rtol=1e-5)


def test_a_hostile_file_is_not_opened(tmp_path: Path) -> None:
    marker = tmp_path / "executed"

    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str, ...]]:
            return (Path.touch, (marker,))  # type: ignore[return-value]

    with (tmp_path / "weights.pth").open("wb") as handle:
        pickle.dump({"state_dict": Hostile()}, handle)
    with pytest.raises(FormatError, match="not a file of tensors alone"):
        load_teacher(f"resnet18:{tmp_path / 'weights.pth'}")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet18", "should be NETWORK:WEIGHTS"),
        ("resnet81:x.pth", "did you mean 'resnet18'"),
        ("resnet50:IMAGENET1K_V3", "no weights 'IMAGENET1K_V3' .* did you mean 'resnet50:IMAGENET1K_V"),
    ],
)
def test_wrong_names_are_refused_with_the_nearest(spec: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_teacher(spec)


def hard_pictures() -> list[Image.Image]:
    """A frame of noise, and one of black and white squares, at which filters overshoot."""
    rng = np.random.default_rng(0)
    squares = np.kron(rng.integers(0, 2, (20, 30, 1), dtype=np.uint8) * 255, np.ones((12, 12, 3), np.uint8))
    return [Image.fromarray(rng.integers(0, 256, (360, 640, 3), dtype=np.uint8)), Image.fromarray(squares)]


BICUBIC = transforms.InterpolationMode.BICUBIC
OLDER = transforms.Compose(
    [
        transforms.Resize(236, BICUBIC),
        transforms.CenterCrop((224, 200)),
        transforms.ToTensor(),
        transforms.Normalize([0.5] * 3, [0.25] * 3),
    ]
)


@pytest.mark.parametrize(
    ("published", "std"),
    [
        (models.Swin_T_Weights.IMAGENET1K_V1.transforms(), (0.229, 0.224, 0.225)),
        (models.EfficientNet_B4_Weights.IMAGENET1K_V1.transforms(), (0.229, 0.224, 0.225)),
        (models.ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1.transforms(), (0.229, 0.224, 0.225)),
        (models.ResNet50_Weights.IMAGENET1K_V2.transforms(), (0.229, 0.224, 0.225)),
        (OLDER, (0.25, 0.25, 0.25)),
    ],
)
def test_a_teacher_sees_the_pixels_that_were_published(published: Any, std: tuple[float, ...]) -> None:
    """What torchvision makes of a picture, which is what weights were measured on; at most 2 of 255 levels off."""
    transform = Teacher(MeanColour(), published, NAMES).transform
    for picture in hard_pictures():
        frame = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
        levels = (transform(frame) - published(picture)) * torch.tensor(std)[:, None, None] * 255
        assert levels.abs().max() < 2.01


def test_a_transform_of_ones_own_stays_as_it_is() -> None:
    mine = transforms.Compose([transforms.Resize(32), transforms.Grayscale(3), transforms.ToTensor()])
    assert Teacher(MeanColour(), mine, NAMES).transform is mine
    assert Teacher(MeanColour(), plain, NAMES).transform is plain


@pytest.mark.real
def test_real_imagenet_weights_see_the_same_in_two_encodings(real_data: Path) -> None:
    """MDN's rabbit is there as VP8 and, at another size, as H.264."""
    teacher = load_teacher(f"mobilenet_v2:{real_data / 'teachers' / 'mobilenet_v2_imagenet.pth'}")
    assert len(teacher.class_names) == 1000
    assert teacher.class_names[0] == "tench"
    names = ("learning-area__rabbit.webm", "learning-area__rabbit320.mp4")
    images = [read_frames(real_data / "videos" / name, [2.5])[0].image for name in names]
    vp8, h264 = teacher.label(images)
    assert vp8.argmax() == h264.argmax()
    assert np.abs(vp8 - h264).sum() < 0.5


def test_class_names_are_not_silently_ignored(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"brings its own class names; .*names\.txt is for weights in a file"):
        load_teacher("resnet18:PLACES365", tmp_path / "names.txt")
