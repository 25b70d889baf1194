"""What the registry names is fetched once, checked, and refused where it is something else."""

import hashlib
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.pretrained import check_file, fetch, teacher_registry
from tests.pretrained.conftest import FILE, NAME
from tests.pretrained.places365 import constants, write_published
from tests.pretrained.serving import Site
from tests.pretrained.spoiling import Hostile, nothing, web_page


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
    right = replace(teacher_registry()[NAME], sha256=hashlib.sha256(resnet.read_bytes()).hexdigest())
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


SPOILT = [
    (web_page, "it is a web page"),
    (_hostile, "not a file of tensors alone"),
    (_hostile_in_a_checkpoint, "not a file of tensors alone .* GLOBAL (posix|nt).system"),
    (_truncated, "not a file of tensors alone"),
    (_wrong_shape, "does not fit resnet18 with 365 classes: .*size mismatch"),
    (_other_network, "does not fit resnet18 with 365 classes"),
    (nothing, "it ends too early"),
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
    check_file(teacher_registry()[NAME], cache / FILE)


def test_gits_id_of_a_file_is_asked_of_it(mirror: Site, cache: Path, resnet: Path) -> None:
    shutil.copy(resnet, mirror.folder)
    content = resnet.read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    with pytest.raises(SettingsError, match=f"has the git blob id {blob}; {NAME} has {'0' * 40}"):
        fetch(replace(teacher_registry()[NAME], git_blob="0" * 40))
    assert {path.name for path in cache.iterdir()} == {f"{FILE}.lock"}
    assert fetch(replace(teacher_registry()[NAME], git_blob=blob)).read_bytes() == content
    assert not (cache / f"{FILE}.sha256").exists()


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
