"""Downloads that break off go on where they were; sources are tried in turn."""

import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from soundnet_kd.errors import SettingsError
from soundnet_kd.pretrained import downloading, fetch, teacher_registry
from tests.pretrained.conftest import FILE, NAME
from tests.pretrained.places365 import constants, write_published
from tests.pretrained.serving import Site, serve
from tests.pretrained.spoiling import web_page


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
    right = replace(teacher_registry()[NAME], sha256=hashlib.sha256(resnet.read_bytes()).hexdigest())
    for damaged in (b"x" * 1000, b"x" * (resnet.stat().st_size + 1)):
        mirror.cut = mirror.ranges = True
        with pytest.raises(SettingsError):
            fetch(right)
        (cache / f"{FILE}.part").write_bytes(damaged)
        mirror.cut = False
        assert fetch(right).read_bytes() == resnet.read_bytes()
        (cache / FILE).unlink()


def test_mirrors_are_tried_in_turn(mirror: Site, cache: Path, resnet: Path, tmp_path: Path) -> None:
    """The user's mirror has no such file, the origin has another, the registry's mirror has it."""
    with serve(tmp_path / "origin") as origin, serve(tmp_path / "second") as second:
        web_page(origin.folder / FILE)
        shutil.copy(resnet, second.folder)
        entry = replace(teacher_registry()[NAME], urls=(f"{origin.url}/{FILE}", f"{second.url}/{FILE}"))
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
