"""What a network has before its last layer: of any network, with every engine."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from soundnet_kd.commands.teach import teach
from soundnet_kd.data import Targets
from soundnet_kd.errors import FormatError, RunConflictError, SettingsError
from soundnet_kd.inference.backends import Backend
from soundnet_kd.media import read_frames
from soundnet_kd.storage import read_json
from soundnet_kd.teachers import Teacher, label_videos, write_teacher
from soundnet_kd.teachers.network import WithInput, average_positions, last_layer, prepare_network
from tests.teachers.colours import NAMES, MeanColour, make_video, plain
from tests.teachers.test_network import as_trained


class Tokens(nn.Module):
    """A network whose last layer still has positions, as those that divide a frame into patches."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 4, 16, stride=16)
        self.head = nn.Linear(4, 3)

    def forward(self, frames: Tensor) -> Tensor:
        answer: Tensor = self.head(self.patches(frames).flatten(2).transpose(1, 2)).mean(dim=1)
        return answer


class Embedding(nn.Module):
    """A network without classes: what it gives of a frame says something of it, in numbers far beyond float16."""

    def __init__(self, has_positions: bool = False) -> None:
        super().__init__()
        self.has_positions = has_positions

    def forward(self, frames: Tensor) -> Tensor:
        return 1e6 * (frames if self.has_positions else frames.mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("make", "layer", "backend"),
    [
        (partial(models.resnet18, num_classes=5), "fc", "torch"),
        (partial(models.mobilenet_v3_small, num_classes=5), "classifier.3", "torch"),
        (partial(models.shufflenet_v2_x0_5, num_classes=5), "fc", "torch"),
        (partial(models.shufflenet_v2_x0_5, num_classes=5), "fc", "openvino"),
        (partial(models.shufflenet_v2_x0_5, num_classes=5), "fc", "onnxruntime"),
        (Tokens, "head", "torch"),
        (Tokens, "head", "openvino"),
    ],
)
def test_the_last_layer_makes_the_answer_of_the_features(
    make: Callable[[], nn.Module], layer: str, backend: Backend
) -> None:
    torch.manual_seed(0)
    network = as_trained(make())
    frames = torch.randn(5, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    assert last_layer(network, frames[:1]) == layer
    became, look = prepare_network(network, frames[:1], backend, layer)
    assert became == backend
    answer, features = look(frames)
    head = network.get_submodule(layer)
    assert isinstance(head, nn.Linear)
    with torch.inference_mode():
        wanted = network(frames)
        again = nn.functional.linear(features, head.weight, head.bias)
    assert features.shape == (5, head.in_features)
    for found in (answer, again):
        assert float((found - wanted).norm() / wanted.norm()) < 1e-5


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_features_before_a_convolution_are_averaged_over_positions(backend: Backend) -> None:
    """As SqueezeNet's: its body is looked at by itself."""
    torch.manual_seed(0)
    network = models.squeezenet1_1(num_classes=5).eval()
    frames = torch.randn(3, 3, 64, 64)
    assert last_layer(network, frames) == "classifier.1"
    answer, features = prepare_network(network, frames, backend, "classifier.1")[1](frames)
    with torch.inference_mode():
        wanted = network.features(frames).mean(dim=(2, 3))
        torch.testing.assert_close(answer, network(frames), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(features, wanted, rtol=1e-4, atol=1e-6)


def test_positions_are_averaged_wherever_they_lie() -> None:
    values = torch.arange(24.0).reshape(1, 2, 3, 4)
    assert average_positions(values, has_channels_last=False).tolist() == [[5.5, 17.5]]
    assert average_positions(values, has_channels_last=True).tolist() == [[10.0, 11.0, 12.0, 13.0]]
    assert average_positions(values[0, :, 0], has_channels_last=True).shape == (2, 4)


def convnet() -> nn.Module:
    """Return a ConvNeXt of a single block, whose norms are over the second axis as well as the last."""
    blocks = [models.convnext.CNBlockConfig(6, 12, 1), models.convnext.CNBlockConfig(12, None, 1)]
    network: nn.Module = models.ConvNeXt(blocks, num_classes=5)
    return network


def vision_transformer() -> nn.Module:
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 24, "mlp_dim": 48}
    network: nn.Module = models.VisionTransformer(image_size=32, patch_size=8, num_classes=5, **sizes)
    return network


def swin() -> nn.Module:
    network: nn.Module = models.SwinTransformer(
        [4, 4], 6, depths=[2, 2], num_heads=[1, 2], window_size=[4, 4], num_classes=5
    )
    return network


@pytest.mark.parametrize(
    ("make", "layer", "positions"),
    [
        (vision_transformer, "conv_proj", (2, 3)),
        (vision_transformer, "encoder.layers.encoder_layer_1.ln_1", (1,)),
        (vision_transformer, "encoder.layers.encoder_layer_1.mlp.0", (1,)),
        (swin, "features.3.1.norm1", (1, 2)),
        (swin, "features.3.1.mlp.3", (1, 2)),
        (swin, "avgpool", (2, 3)),
        (convnet, "features.1.0.block.0", (2, 3)),  # a convolution
        (convnet, "features.1.0.block.2", (1, 2)),  # LayerNorm
        (convnet, "features.1.0.block.3", (1, 2)),  # Linear
        (convnet, "features.2.0", (2, 3)),  # LayerNorm2d
        (convnet, "features.0", (2, 3)),  # Conv2dNormActivation
        (partial(models.resnet18, num_classes=5), "layer4.0.bn1", (2, 3)),
        (partial(models.resnet18, num_classes=5), "maxpool", (2, 3)),
    ],
)
def test_the_positions_of_each_kind_of_layer(
    make: Callable[[], nn.Module], layer: str, positions: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    network = make().eval()
    given: list[Tensor] = []
    frames = torch.randn(3, 3, 32, 32)
    hook = network.get_submodule(layer).register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    with torch.inference_mode():
        network(frames)
    hook.remove()
    features = Teacher(network, plain, features=layer).see(frames).features
    assert features is not None
    np.testing.assert_allclose(features, given[0].mean(dim=positions), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "layer", "kind", "other"),
    [
        (vision_transformer, "encoder.layers.encoder_layer_1", "EncoderBlock", "encoder.layers.encoder_layer_1.ln_1"),
        (vision_transformer, "encoder.layers.encoder_layer_1.mlp", "MLPBlock", "encoder.layers.encoder_layer_1.mlp.0"),
        (
            vision_transformer,
            "encoder.layers.encoder_layer_1.self_attention",
            "MultiheadAttention",
            "encoder.layers.encoder_layer_1.ln_2",
        ),
        (swin, "features.3.1", "SwinTransformerBlock", "features.3.1.norm1"),
        (convnet, "features.1", "Sequential", "features.1.0.block.0"),
        (partial(models.resnet18, num_classes=5), "layer4", "Sequential", "layer4.0.conv1"),
    ],
)
def test_a_layer_whose_positions_nobody_knows_is_refused_with_another_one(
    make: Callable[[], nn.Module], layer: str, kind: str, other: str
) -> None:
    """Which is one that can be had."""
    network, frames = make().eval(), torch.randn(2, 3, 32, 32)
    with pytest.raises(FormatError, match=rf"hands '{re.escape(layer)}', a {kind}, .*, such as {re.escape(other)}$"):
        Teacher(network, plain, features=layer).see(frames)
    features = Teacher(network, plain, features=other).see(frames).features
    assert features is not None
    assert features.shape[0] == 2


def test_a_network_whose_answer_is_of_no_use_is_told_of_by_name(tmp_path: Path) -> None:
    """Before any frame is looked at."""
    make_video(tmp_path / "videos" / "a.mp4", ["red"])

    class Nothing(nn.Module):
        def forward(self, frames: Tensor) -> None:
            return None

    for network, told in (
        (nn.Flatten(1, 2), r"picture: the teacher's features of 1 frames are \(1, 1440, 640\); let its network give"),
        (Nothing(), "picture: Nothing gives nothing; let it give a tensor"),
    ):
        teachers = {"objects": Teacher(MeanColour(), plain, NAMES), "picture": Teacher(network, plain)}
        with pytest.raises(FormatError, match=f"^{told}"):
            label_videos(tmp_path / "videos", teachers, tmp_path / "targets")
        assert [file.name for file in (tmp_path / "targets").iterdir()] == [".lock"]
    with pytest.raises(FormatError, match="Nothing gives nothing"):
        Teacher(Nothing(), plain, NAMES).see(torch.zeros(2, 3, 4, 4))


def test_a_layer_that_there_is_not_is_named_with_the_nearest() -> None:
    network = models.shufflenet_v2_x0_5(num_classes=3)
    with pytest.raises(SettingsError, match=r"ShuffleNetV2 has no layer 'conv55'; did you mean 'conv5'\?"):
        Teacher(network, plain, NAMES, features="conv55")
    with pytest.raises(SettingsError, match="MeanColour shows no layer with parameters"):
        Teacher(MeanColour(), plain, NAMES).keep_features()
    unused = nn.Sequential(MeanColour())
    unused.spare = nn.ReLU()
    unused.forward = unused[0].forward  # type: ignore[method-assign]
    with pytest.raises(FormatError, match="no features before 'spare': Sequential does not use it"):
        WithInput(unused, "spare")(torch.zeros(1, 3, 4, 4))


def test_what_is_no_feature_of_a_frame_is_refused() -> None:
    with pytest.raises(
        FormatError, match=r"features of 2 frames are \(2, 12, 4\); let its network give \(frames, dims\)"
    ):
        Teacher(nn.Flatten(1, 2), plain).see(torch.zeros(2, 3, 4, 4))
    with pytest.raises(FormatError, match="knows no classes"):
        Teacher(Embedding(), plain).predict(torch.zeros(2, 3, 4, 4))


def test_any_module_in_python(tmp_path: Path) -> None:
    """One with classes and a named layer, one without classes beside it, one by itself; large numbers stay whole."""
    make_video(tmp_path / "videos" / "a.mp4", ["red", "blue"])
    torch.manual_seed(0)
    network = nn.Sequential(MeanColour(), nn.Linear(3, 3))
    teachers = {
        "objects": Teacher(network, plain, NAMES, features="1"),
        "picture": Teacher(Embedding(), plain, identity={"network": "mine"}),
        "map": Teacher(Embedding(has_positions=True), plain),
    }
    result = label_videos(tmp_path / "videos", teachers, tmp_path / "targets")
    targets = Targets(result.out)
    assert targets.class_names == {"objects": NAMES}
    assert targets.feature_sizes == {"objects": 3, "picture": 3, "map": 3}
    assert {name: each.get("features") for name, each in targets.settings["teachers"].items()} == {
        "objects": "1",
        "picture": "its answer",
        "map": "its answer",
    }
    (clip,) = targets
    pictures = [frame.image for frame in read_frames(tmp_path / "videos" / "a.mp4", clip.frame_seconds)]
    colours = np.array([picture.mean(axis=(0, 1)) / 255 for picture in pictures])
    np.testing.assert_allclose(clip.features["objects"], 10 * colours, rtol=1e-3, atol=1e-3)
    for name in ("picture", "map"):
        np.testing.assert_allclose(clip.features[name], 1e6 * colours, rtol=1e-3, atol=1e3)
    alone = label_videos(tmp_path / "videos", {"picture": teachers["picture"]}, tmp_path / "alone")
    assert Targets(alone.out).class_names == {}
    np.testing.assert_array_equal(Targets(alone.out)[0].features["picture"], clip.features["picture"])


def test_by_the_command(tmp_path: Path) -> None:
    """And what has been labelled without features is not mixed with them."""
    make_video(tmp_path / "videos" / "a.mp4", ["red", "blue"])
    torch.manual_seed(0)
    network = models.get_model("shufflenet_v2_x0_5", weights=None, num_classes=3).eval()
    write_teacher(tmp_path / "teacher.safetensors", network, "shufflenet_v2_x0_5", NAMES, input_size=64)
    objects = str(tmp_path / "teacher.safetensors")
    plainly = teach(tmp_path / "videos", tmp_path / "plainly", objects=objects, device="cpu")
    result = teach(tmp_path / "videos", tmp_path / "targets", objects=objects, keep_features=True, device="cpu")
    assert [read_json(each.out / "targets.json")["format_version"] for each in (plainly, result)] == [3, 3]
    (clip,), (before,) = Targets(result.out), Targets(plainly.out)
    np.testing.assert_array_equal(clip.distributions["objects"], before.distributions["objects"])
    logits = nn.functional.linear(torch.from_numpy(clip.features["objects"]), network.fc.weight, network.fc.bias)
    np.testing.assert_allclose(logits.softmax(dim=1).detach(), clip.distributions["objects"], rtol=5e-3)
    with pytest.raises(RunConflictError, match=r"run \(teachers\.objects\.features was null"):
        teach(tmp_path / "videos", plainly.out, objects=objects, keep_features=True, device="cpu")
