"""What a distillation begins with: which heads are the same, which modules lie before a layer, whose layers differ."""

from collections.abc import Sequence

import pytest
import torch
from torchvision.models import MobileNet_V2_Weights

from soundnet_kd.distill.start import find_rows, held_before, require_architecture, start_from
from soundnet_kd.errors import SettingsError
from soundnet_kd.models import Preprocessing, SoundNet5, SoundNet8
from soundnet_kd.pretrained.registry import class_list

pytestmark = pytest.mark.usefixtures("small_soundnet8")


@pytest.fixture(scope="module")
def source() -> SoundNet8:
    torch.manual_seed(3)
    heads = {"objects": ("dog", "car", "cat"), "scenes": ("kitchen", "street"), "music": ("loud", "soft")}
    student = SoundNet8(heads, Preprocessing(amplitude=512.0))
    for name, buffer in student.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
    return student.eval()


def test_heads_with_the_same_classes_answer_as_before_and_the_others_are_named(source: SoundNet8) -> None:
    start = start_from(source, {"objects": ("cat", "dog", "car"), "scenes": ("street", "field")})
    student = start.student.eval()
    assert (start.kept_heads, start.new_heads, start.left_out) == (("objects",), ("scenes",), ("music",))
    assert student.preprocessing.amplitude == 512.0
    assert student.class_names == {"objects": ("cat", "dog", "car"), "scenes": ("street", "field")}
    sound = torch.randn(2, 1, 300_000)
    with torch.inference_mode():
        before, now = source(sound), student(sound)
        layers = ["conv1", "pool5", "conv7"]
        for layer, values in source(sound, layers).items():
            assert torch.equal(student(sound, layers)[layer], values)
    # Dog, car, cat become cat, dog, car.
    assert torch.equal(now["objects"], before["objects"][:, [2, 0, 1]])
    assert now["scenes"].shape[1] == 2
    assert not torch.equal(now["scenes"], before["scenes"])
    assert "conv8.objects.weight" in start.kept
    assert "conv1.weight" in start.kept
    assert "conv8.scenes.weight" not in start.kept
    assert str(start) == (
        "conv1 to conv7 and the head objects keep their weights; new: the head scenes, whose classes it does not have; "
        "left out: the head music, which no teacher asks for"
    )


def test_what_is_held_is_said(source: SoundNet8) -> None:
    start = start_from(source, {"objects": ("dog", "car", "cat")}, freeze="pool5")
    assert str(start).endswith("; held: conv1 to conv5, with batch norm")
    assert start.held[-2:] == ("conv5", "batchnorm5")


def test_a_head_is_known_by_its_classes_also_under_another_name(source: SoundNet8) -> None:
    start = start_from(source, {"things": ("dog", "car", "cat"), "moods": ("soft", "loud")})
    assert start.kept_heads == ("things", "moods")
    assert torch.equal(
        start.student.get_parameter("conv8.moods.weight"), source.get_parameter("conv8.music.weight").flip(0)
    )


def test_new_heads_come_of_the_seed(source: SoundNet8) -> None:
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(start_from(source, {"scenes": ("street", "field")}).student.get_parameter("conv8.scenes.weight"))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize(
    ("there", "wanted", "rows"),
    [
        (["a", "b", "c"], ["a", "b", "c"], [0, 1, 2]),
        (["a", "b", "c"], ["c", "a", "b"], [2, 0, 1]),
        (["a", "b", "c"], ["a", "b"], None),
        (["a", "b"], ["a", "b", "c"], None),
        (["a", "b"], ["a", "c"], None),
        (["tench", "crane (machine)"], ["tench, Tinca tinca", "crane"], [0, 1]),
        (["maillot, tank suit"], ["maillot tank suit"], [0]),
        (["hot dog", "car"], ["cat", "hot car"], None),
        # Which of the two is which is not known in another order, and need not be in the same.
        (["crane", "crane", "dog"], ["dog", "crane", "crane"], None),
        (["crane", "crane", "dog"], ["crane", "crane", "dog"], [0, 1, 2]),
        (["?", "!"], ["!", "?"], [1, 0]),
        (["?"], ["!"], None),
    ],
)
def test_the_same_classes(there: Sequence[str], wanted: Sequence[str], rows: list[int] | None) -> None:
    assert find_rows(there, wanted) == rows


def test_the_objects_of_soundnet_are_those_of_image_networks() -> None:
    """The two lists of ImageNet's classes spell three of the thousand otherwise; the scenes are other ones."""
    imagenet = MobileNet_V2_Weights.IMAGENET1K_V1.meta["categories"]
    objects = class_list("soundnet_objects.txt")
    assert sum(one != other for one, other in zip(objects, imagenet, strict=True)) == 3
    assert find_rows(objects, imagenet) == list(range(1000))
    assert find_rows(class_list("soundnet_scenes.txt"), class_list("places365.txt")) is None


@pytest.mark.parametrize(("layer", "blocks"), [("conv2", 1), ("pool1", 1), ("conv6", 5), ("pool5", 5), ("conv8", 7)])
def test_what_lies_before_a_layer(layer: str, blocks: int) -> None:
    expected = {f"{kind}{number}" for number in range(1, blocks + 1) for kind in ("conv", "batchnorm")}
    assert set(held_before(SoundNet8(), layer)) == expected


def test_nothing_lies_before_the_first_layer() -> None:
    with pytest.raises(SettingsError, match="freeze is conv1, and nothing lies before it; name the first layer that"):
        held_before(SoundNet8(), "conv1")
    with pytest.raises(SettingsError, match=r"SoundNet5 has no layer 'conv7'"):
        held_before(SoundNet5(), "conv7")


def test_another_architecture_is_refused_with_the_layers_that_differ() -> None:
    require_architecture(SoundNet5(), "mine", "SoundNet5")
    with pytest.raises(SettingsError, match="init mine is a SoundNet5, but SoundNet8 is asked for; they differ in"):
        require_architecture(SoundNet5(), "mine", "SoundNet8")
    with pytest.raises(SettingsError) as refusal:
        require_architecture(SoundNet5(), "mine", "SoundNet8")
    assert "conv4 (256, not 16), conv5 (output, not 32), conv6 (only in SoundNet8)" in str(refusal.value)
