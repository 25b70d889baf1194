"""Members of tars and addresses: what they are called, and copies of them that a decoder can open."""

import os
import pickle
import tarfile
from pathlib import Path

import pytest

from soundnet_kd.errors import GivenUpError, MediaError, SettingsError
from soundnet_kd.media import (
    MediaSource,
    StoredMedia,
    address_of,
    as_source,
    decode_in_processes,
    local_file,
    local_path,
    place_name,
)
from soundnet_kd.media.stored import CHUNK_BYTES
from soundnet_kd.media.tar_index import tar_index
from tests.tars import write_tar


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SOUNDNET_KD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("s3://bucket/a b.mp4", "s3://bucket/a b.mp4"),
        ("S3://bucket/a.mp4", "s3://bucket/a.mp4"),
        (Path("s3://bucket/deep/a.mp4"), "s3://bucket/deep/a.mp4"),
        ("http://host/a.mp4?token=1", "http://host/a.mp4?token=1"),
        ("/videos/a.mp4", None),
        ("videos/take:2.mp4", None),
        ("C:/videos/a.mp4", None),
        ("file:///videos/a.mp4", None),
    ],
)
def test_addresses_and_paths(text: str | Path, address: str | None) -> None:
    assert address_of(text) == address
    source = as_source(text)
    assert isinstance(source, Path) if address is None else source == StoredMedia(address)


def test_a_file_that_is_called_like_an_address_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3:").mkdir()
    (tmp_path / "s3:" / "a.mp4").touch()
    assert as_source("s3:/a.mp4") == Path("s3:/a.mp4")
    assert local_path("file:///videos/a.mp4") == Path("/videos/a.mp4")


def test_a_stored_sound_has_a_files_names() -> None:
    member = StoredMedia("s3://bucket/00001.tar", "deep/Clip.1.MP4")
    assert (member.name, member.stem, member.suffix) == ("Clip.1.MP4", "Clip.1", ".MP4")
    assert str(member) == "tar://deep/Clip.1.MP4::s3://bucket/00001.tar"
    assert StoredMedia("http://host/a.mp4?token=x/y").name == "a.mp4"
    assert pickle.loads(pickle.dumps(member)) == member


def test_a_member_is_copied_under_its_name_and_the_copy_removed(tmp_path: Path) -> None:
    long = os.urandom(CHUNK_BYTES + 1000)
    tar = write_tar(tmp_path / "a.tar", [("x.json", b"{}"), ("deep/x.mp4", long), ("y.mp4", b"short")])
    first, second = tar_index(str(tar)).sources()
    with local_file(first, tmp_path / "work") as copy:
        assert copy.parent == tmp_path / "work"
        assert copy.name == "x.mp4"
        assert copy.read_bytes() == long
    assert not (tmp_path / "work").exists()
    with local_file(second) as copy:
        assert copy.read_bytes() == b"short"
    assert not copy.parent.exists()
    path = tmp_path / "own.mp4"
    with local_file(path, tmp_path / "work") as file:
        assert file == path


def test_what_a_cache_calls_a_member_finds_it_again(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a b.tar", [("x.mp4", b"one"), ("ü.mp4", b"two")])
    named = [place_name(source) for source in tar_index(str(tar)).sources()]
    assert named[1] == f"tar://ü.mp4::{tar}"
    with local_file(as_source(named[1])) as copy:
        assert copy.read_bytes() == b"two"
    with (
        pytest.raises(GivenUpError, match=r"gone\.mp4 is not \(any more\) in"),
        local_file(as_source(f"tar://gone.mp4::{tar}")),
    ):
        pass


def test_a_tar_that_changed_is_not_read_at_the_old_places(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", [("x.mp4", b"one")])
    [source] = tar_index(str(tar)).sources()
    write_tar(tar, [("new.mp4", b"another"), ("x.mp4", b"one")])
    with (
        pytest.raises(GivenUpError, match="has changed since it was listed; run the same command again"),
        local_file(source),
    ):
        pass


def test_a_tar_that_is_gone_is_told(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", [("x.mp4", b"one")])
    [source] = tar_index(str(tar)).sources()
    tar.unlink()
    with pytest.raises(GivenUpError, match=r"x\.mp4 cannot be read from"), local_file(source):
        pass


def copy_size(source: Path | StoredMedia, out: Path, threads: int = 0) -> None:
    """A decoder: how long a file is."""
    with local_file(source, out.with_name(f"{out.name}.fetched")) as file:
        out.write_text(str(file.stat().st_size))


@pytest.mark.parametrize("workers", [0, 1])
def test_members_and_files_are_decoded_side_by_side(tmp_path: Path, workers: int) -> None:
    tar = write_tar(tmp_path / "a.tar", [(f"{number}.mp4", bytes(number)) for number in range(1, 4)])
    (tmp_path / "file.mp4").write_bytes(bytes(7))
    sources: list[MediaSource] = [
        *tar_index(str(tar)).sources(),
        tmp_path / "file.mp4",
        StoredMedia(str(tar), "gone.mp4"),
    ]
    with decode_in_processes(copy_size, sources, tmp_path / "work", workers) as decoded:
        results = [(source, "failed" if isinstance(file, MediaError) else file.read_text()) for source, file in decoded]
    assert results == list(zip(sources, ["1", "2", "3", "7", "failed"], strict=True))
    assert not (tmp_path / "work").exists()


def test_memory_of_this_process_is_no_place_for_others(tmp_path: Path) -> None:
    sources = [StoredMedia("memory://a.mp4")]
    with (
        pytest.raises(SettingsError, match="workers=0"),
        decode_in_processes(copy_size, sources, tmp_path / "work", 1) as decoded,
    ):
        list(decoded)


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_kind_of_tar(tmp_path: Path, format: int) -> None:
    name = "deep/" * 18 + "clip.mp4"
    tar = write_tar(tmp_path / "a.tar", [(name, b"content"), ("b.mp4", b"")], format)
    first, second = tar_index(str(tar)).sources()
    assert (first.member, first.size, second.size) == (name, 7, 0)
    with local_file(first) as copy:
        assert copy.read_bytes() == b"content"
