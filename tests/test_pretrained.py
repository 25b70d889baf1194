"""The registry tells the truth; what it names is fetched once, checked, and refused where it is something else."""

import hashlib
import os
import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torchvision import models

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.models import ARCHITECTURES
from soundnet_kd.pretrained import (
    PretrainedWeights,
    check_file,
    downloading,
    fetch,
    published,
    registry,
    student_registry,
)
from soundnet_kd.storage import shipped
from tests.published import Site, constants, serve, write_published

NAME = "resnet18:PLACES365"
FILE = "resnet18_places365.pth.tar"


@pytest.fixture(scope="session")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_published(tmp_path_factory.mktemp("published") / FILE, "resnet18", constants("resnet18"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SOUNDNET_KD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A mirror, and no way to any other site: a proxy at a port where nobody listens."""
    with serve(tmp_path / "site") as site:
        monkeypatch.setenv("SOUNDNET_KD_MIRROR", f"{site.url}/")
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield site


def test_the_registry_tells_the_truth() -> None:
    entries = published()
    assert {f"{name}:PLACES365" for name in ("resnet18", "resnet50", "alexnet", "densenet161")} <= entries.keys()
    assert {"soundnet8", "soundnet8-torch7", "soundnet5-torch7"} <= entries.keys()
    for name, entry in entries.items():
        classes = entry.class_names()
        with torch.device("meta"):
            network = (
                models.get_model(entry.architecture, weights=None, num_classes=len(classes))
                if isinstance(entry, PretrainedWeights)
                else ARCHITECTURES[entry.architecture](entry.class_names())
            )
        assert entry.parameters == sum(parameter.numel() for parameter in network.parameters()), name
        assert name == entry.name
        card = shipped("pretrained_files") / "cards" / entry.card
        assert f"`{name}`" in card.read_text(encoding="utf-8")
        for names in [classes] if isinstance(classes, tuple) else classes.values():
            assert len(set(names)) == len(names)
        assert all((url.startswith(("http://", "https://")) and url.endswith(entry.file_name)) for url in entry.urls)
        assert entry.sha256 is None or re.fullmatch("[0-9a-f]{64}", entry.sha256)
        assert entry.git_blob is None or re.fullmatch("[0-9a-f]{40}", entry.git_blob)
    assert registry().keys() | student_registry().keys() == entries.keys()
    assert len({entry.urls[0] for entry in entries.values()}) == len({entry.file_name for entry in entries.values()})


def test_students_are_what_the_facts_say() -> None:
    """Section 1 of FACTS.md: rate, range, channel, least length, heads, hash, and the paper's figures."""
    for name, entry in student_registry().items():
        asked = entry.preprocessing
        assert (asked.sample_rate, asked.amplitude, asked.channel, asked.least_samples) == (
            22050,
            256,
            "first",
            441_000,
        )
        sizes = {head: len(names) for head, names in entry.class_names().items()}
        assert sizes == {"objects": 1000, "scenes": 401}, name
    known = student_registry()
    assert known["soundnet8"].git_blob == "a50f86155228f3a889eaf33626741ed24cf0c8c4"
    assert known["soundnet8"].figures["ESC-50, paper, pool5, VGG teachers"] == 72.9
    assert known["soundnet8"].figures["ESC-50, notebook, pool5"] == 71.95
    assert known["soundnet5-torch7"].figures == {"ESC-50, paper": 66.1, "ESC-10, paper": 86.8}


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
    names = registry()[NAME].class_names()
    assert len(names) == 365
    assert {0: "airfield", 5: "amphitheater", 8: "apartment_building/outdoor", 364: "zen_garden"}.items() <= dict(
        enumerate(names)
    ).items()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('licence = "CC BY"', "", "'resnet18:PLACES365' has no key 'licence'"),
        ('licence = "CC BY"', 'license = "CC BY"\nlicence = ""', "has an unknown key 'license'; known are name, kind"),
        ("parameters = 11363757", 'parameters = "many"', "parameters is 'many', which is no whole number"),
        ("resize = 256, ", "", "preprocessing has no key 'resize'"),
        ('kind = "teacher"', 'kind = "pupil"', "kind is 'pupil' and should be one of teacher"),
        ('kind = "teacher"', "kind =", "is not valid TOML"),
    ],
)
def test_a_wrong_registry_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (shipped("pretrained_files") / "registry.toml").read_text(encoding="utf-8")
    (tmp_path / "registry.toml").write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(FormatError, match=message):
        registry(tmp_path / "registry.toml")


def test_fetched_once_and_offline_after_that(mirror: Site, cache: Path, resnet: Path) -> None:
    shutil.copy(resnet, mirror.folder)
    path = fetch(NAME)
    assert path == cache / FILE
    assert path.read_bytes() == resnet.read_bytes()
    digest = hashlib.sha256(resnet.read_bytes()).hexdigest()
    assert (cache / f"{FILE}.sha256").read_text() == f"{digest}  {FILE}\n"
    shutil.rmtree(mirror.folder)
    assert fetch(NAME) == path
    assert mirror.asked == [f"/{FILE}"]


def test_a_known_hash_is_asked_of_the_file_before_it_takes_its_place(mirror: Site, cache: Path, resnet: Path) -> None:
    shutil.copy(resnet, mirror.folder)
    right = replace(registry()[NAME], sha256=hashlib.sha256(resnet.read_bytes()).hexdigest())
    with pytest.raises(SettingsError, match=f"/{FILE} has the sha256 {right.sha256}; .* has {'0' * 64}"):
        fetch(replace(right, sha256="0" * 64))
    assert not (cache / FILE).exists()
    right_size = resnet.stat().st_size
    with pytest.raises(SettingsError, match=f"has {right_size} bytes; {NAME} has 9"):
        fetch(replace(right, size_bytes=9))
    assert fetch(right).read_bytes() == resnet.read_bytes()
    (cache / FILE).write_bytes(b"something else")
    with pytest.raises(FormatError, match="delete it and run the same command again"):
        fetch(right)


def test_what_was_trusted_once_must_stay(mirror: Site, cache: Path, resnet: Path) -> None:
    """The file on the disk may not change, and the one that is fetched after it was deleted must be the same."""
    shutil.copy(resnet, mirror.folder)
    fetch(NAME)
    other = constants("resnet18") | {"fc.bias": torch.zeros(365)}
    write_published(mirror.folder / FILE, "resnet18", other)
    shutil.copy(mirror.folder / FILE, cache)
    with pytest.raises(
        FormatError, match=rf"{FILE} has the sha256 .*; delete it, and .*{FILE}\.sha256 if the file was"
    ):
        fetch(NAME)
    (cache / FILE).unlink()
    with pytest.raises(SettingsError, match=f"/{FILE} has the sha256"):
        fetch(NAME)
    assert not (cache / FILE).exists()


def _web_page(path: Path) -> None:
    path.write_text("\n<!DOCTYPE html><html><body>The server is being repaired</body></html>")


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return (os.system, ('touch "${SOUNDNET_KD_CACHE}.executed"',))


def _hostile(path: Path) -> None:
    path.write_bytes(pickle.dumps({"state_dict": Hostile()}, protocol=2))


def _hostile_in_a_checkpoint(path: Path) -> None:
    torch.save({"state_dict": {"module.fc.weight": Hostile()}}, path)


def _truncated(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _wrong_shape(path: Path) -> None:
    write_published(path, "resnet18", constants("resnet18", classes=205))


def _other_network(path: Path) -> None:
    write_published(path, "alexnet", constants("alexnet"))


def _empty(path: Path) -> None:
    path.write_bytes(b"")


SPOILT = [
    (_web_page, "it is a web page"),
    (_hostile, "not a file of tensors alone"),
    (_hostile_in_a_checkpoint, "not a file of tensors alone .* GLOBAL (posix|nt).system"),
    (_truncated, "not a file of tensors alone"),
    (_wrong_shape, "does not fit resnet18 with 365 classes: .*size mismatch"),
    (_other_network, "does not fit resnet18 with 365 classes"),
    (_empty, "it ends too early"),
]


@pytest.mark.parametrize(("spoil", "reason"), SPOILT)
def test_a_wrong_file_is_refused_and_leaves_nothing(
    mirror: Site, cache: Path, resnet: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    shutil.copy(resnet, mirror.folder)
    spoil(mirror.folder / FILE)
    for _ in range(2):
        with pytest.raises(SettingsError, match=f"^{NAME} could not be fetched .*/{FILE} .*{reason}") as caught:
            fetch(NAME)
        assert "\n" not in str(caught.value)
        assert "weights_only" not in str(caught.value)
        assert {path.name for path in cache.iterdir()} <= {f"{FILE}.lock"}
    assert not cache.with_name("cache.executed").exists()


@pytest.mark.parametrize(("spoil", "reason"), SPOILT)
def test_a_wrong_file_put_there_by_hand_is_not_trusted(
    cache: Path, resnet: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    cache.mkdir()
    shutil.copy(resnet, cache)
    spoil(cache / FILE)
    with pytest.raises(FormatError, match=f"{reason}.*; delete it and run the same command again"):
        fetch(NAME)
    assert not (cache / f"{FILE}.sha256").exists()
    assert not cache.with_name("cache.executed").exists()


def test_a_file_put_there_by_hand_needs_no_network(cache: Path, resnet: Path) -> None:
    cache.mkdir()
    shutil.copy(resnet, cache)
    assert fetch(NAME) == cache / FILE
    assert (cache / f"{FILE}.sha256").is_file()
    check_file(registry()[NAME], cache / FILE)


def test_a_download_that_breaks_off(mirror: Site, cache: Path, resnet: Path) -> None:
    shutil.copy(resnet, mirror.folder)
    mirror.cut = True
    with pytest.raises(SettingsError, match=f"/{FILE}: the connection broke off"):
        fetch(NAME)
    assert not (cache / FILE).exists()
    mirror.cut = False
    assert fetch(NAME).read_bytes() == resnet.read_bytes()
    assert not list(cache.glob("*.part*"))


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_goes_on_where_it_broke_off(
    mirror: Site, cache: Path, resnet: Path, ranges: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice broken off, with a server that sends parts and with one that does not."""
    shutil.copy(resnet, mirror.folder)
    monkeypatch.setattr(downloading, "CHUNK_BYTES", 1)
    size, mirror.cut, mirror.ranges = resnet.stat().st_size, True, ranges
    first, second = size // 2, size // 2 + (size - size // 2) // 2
    for had in (first, second if ranges else first):
        with pytest.raises(SettingsError, match=f"run the same command again to go on after the {had} bytes"):
            fetch(NAME)
    mirror.cut = False
    assert fetch(NAME).read_bytes() == resnet.read_bytes()
    assert mirror.parts == ([f"bytes={first}-", f"bytes={second}-"] if ranges else [])
    assert not list(cache.glob("*.part*"))


def test_another_version_on_the_server_is_fetched_from_its_start(mirror: Site, cache: Path, resnet: Path) -> None:
    shutil.copy(resnet, mirror.folder)
    mirror.cut = mirror.ranges = True
    with pytest.raises(SettingsError):
        fetch(NAME)
    write_published(mirror.folder / FILE, "resnet18", constants("resnet18") | {"fc.bias": torch.zeros(365)})
    os.utime(mirror.folder / FILE, (1, 1))
    mirror.cut = False
    assert fetch(NAME).read_bytes() == (mirror.folder / FILE).read_bytes()
    assert mirror.parts == []


def test_a_part_that_was_damaged_is_fetched_again(mirror: Site, cache: Path, resnet: Path) -> None:
    """The hash of the whole shows it; one that has more than the whole file is begun anew too."""
    shutil.copy(resnet, mirror.folder)
    right = replace(registry()[NAME], sha256=hashlib.sha256(resnet.read_bytes()).hexdigest())
    for damaged in (b"x" * 1000, b"x" * (resnet.stat().st_size + 1)):
        mirror.cut = mirror.ranges = True
        with pytest.raises(SettingsError):
            fetch(right)
        (cache / f"{FILE}.part").write_bytes(damaged)
        mirror.cut = False
        assert fetch(right).read_bytes() == resnet.read_bytes()
        (cache / FILE).unlink()


def test_gits_id_of_a_file_is_asked_of_it(mirror: Site, cache: Path, resnet: Path) -> None:
    shutil.copy(resnet, mirror.folder)
    content = resnet.read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    with pytest.raises(SettingsError, match=f"has the git blob id {blob}; {NAME} has {'0' * 40}"):
        fetch(replace(registry()[NAME], git_blob="0" * 40))
    assert {path.name for path in cache.iterdir()} == {f"{FILE}.lock"}
    assert fetch(replace(registry()[NAME], git_blob=blob)).read_bytes() == content
    assert not (cache / f"{FILE}.sha256").exists()


def test_mirrors_are_tried_in_turn(mirror: Site, cache: Path, resnet: Path, tmp_path: Path) -> None:
    """The user's mirror has no such file, the origin has another, the registry's mirror has it."""
    with serve(tmp_path / "origin") as origin, serve(tmp_path / "second") as second:
        _web_page(origin.folder / FILE)
        shutil.copy(resnet, second.folder)
        entry = replace(registry()[NAME], urls=(f"{origin.url}/{FILE}", f"{second.url}/{FILE}"))
        assert fetch(entry).read_bytes() == resnet.read_bytes()
    assert (mirror.asked, origin.asked, second.asked) == ([f"/{FILE}"] * 2, [f"/{FILE}"], [f"/{FILE}"])


def test_two_that_fetch_at_once_fetch_once(mirror: Site, cache: Path, resnet: Path) -> None:
    shutil.copy(resnet, mirror.folder)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(fetch, [NAME] * 4)) == {cache / FILE}
    assert mirror.asked == [f"/{FILE}"]


def test_without_network_one_line_says_what_to_do(mirror: Site, cache: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        fetch(NAME)
    origin = f"http://places2.csail.mit.edu/models_places365/{FILE}"
    assert str(caught.value) == (
        f"{NAME} could not be fetched ({mirror.url}/{FILE}: HTTP 404 File not found; "
        f"{origin}: no connection through the proxy); "
        f"fetch {origin} elsewhere, put it at {cache / FILE}, and run the same command again"
    )


def test_a_cache_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SOUNDNET_KD_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(SettingsError, match=r"cannot be kept in .*; let SOUNDNET_KD_CACHE name another folder"):
        fetch(NAME)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(
        SettingsError, match=r"'resnet18:PLACES205'; did you mean 'resnet18:PLACES365'\? It has .*soundnet8"
    ):
        fetch("resnet18:PLACES205")
