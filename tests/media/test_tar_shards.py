"""What tars hold, as WebDataset and video2dataset write them, and which tars a text stands for."""

import gzip
import io
import json
import os
import tarfile
from pathlib import Path

import pytest
import webdataset

from soundnet_kd.errors import FormatError, MediaError, SettingsError
from soundnet_kd.media import find_media
from soundnet_kd.media.tar_index import CLASS, described, split_name, tar_columns, tar_index
from soundnet_kd.media.tar_shards import expand_braces, names_tars, open_tars
from tests.tars import write_tar

CLIP = b"no video, but nobody looks"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SOUNDNET_KD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("name", ["clip.mp4", "clip.1.mp4", "Clip.MP4", "deep/er.d/clip.Tar.JSON", "a b.c d.mp3"])
def test_keys_are_webdatasets(name: str) -> None:
    key, extension = webdataset.tariterators.base_plus_ext(name)
    assert split_name(name) == (key, extension.lower())


def test_what_webdataset_writes_is_found(tmp_path: Path) -> None:
    path = tmp_path / "00000.tar"
    with webdataset.TarWriter(str(path)) as writer:
        writer.write({"__key__": "first", "mp4": CLIP, "json": {"caption": "a dog", "fps": 25}, "cls": 3})
        writer.write({"__key__": "deep/second", "1.wav": CLIP, "txt": "a cat", "npy": b"\x93NUMPY"})
    index = tar_index(str(path))
    assert list(index.names) == ["first.mp4", "deep/second.1.wav"]
    assert not described(index)
    assert tar_columns(str(path)) == {"first": {"caption": "a dog", "fps": "25", CLASS: "3"}}
    # And its own reader sees the same samples.
    read = {sample["__key__"]: sample for sample in webdataset.WebDataset(str(path), shardshuffle=False)}
    content = path.read_bytes()
    for source in index.sources():
        key, extension = split_name(source.member)
        assert read[key][extension] == content[source.offset : source.offset + source.size]


def test_what_video2dataset_could_not_download_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    def told(status: str, message: str | None) -> bytes:
        return json.dumps({"url": "x", "status": status, "error_message": message, "clips": [[0, 1]]}).encode()

    write_tar(
        tmp_path / "00000.tar",
        [
            ("000.mp4", CLIP),
            ("000.json", told("success", None)),
            ("001.json", told("failed_to_download", "HTTP 404")),
            ("001.txt", b"a caption"),
            ("002.txt", b"a sample of text"),
        ],
    )
    shards = open_tars([tmp_path / "00000.tar"])
    assert [name for name, _ in shards.sources()] == ["00000.tar/000.mp4"]
    assert shards.failures() == {"00000.tar/001": "it was not downloaded (failed_to_download: HTTP 404)"}
    assert shards.others() == ("00000.tar/002",)
    assert tar_columns(str(tmp_path / "00000.tar"))["000"] == {"url": "x", "status": "success", "error_message": ""}


def test_names_that_stand_twice_and_keys_torn_apart_are_told_and_used(tmp_path: Path) -> None:
    tar = write_tar(
        tmp_path / "a.tar",
        [("x.mp4", b"1"), ("y.mp4", b"22"), ("x.json", b"{}"), ("x.mp4", b"333"), ("x.mp4", b"4444")],
    )
    index = tar_index(str(tar))
    assert list(zip(index.names, index.sizes, strict=True)) == [
        ("x.mp4", 1),
        ("y.mp4", 2),
        ("x.mp4~2", 3),
        ("x.mp4~3", 4),
    ]
    twice, apart = described(index)
    assert "x.mp4 (and 1 more) stands there more than once; each is used" in twice
    assert "what belongs to x does not stand together" in apart


@pytest.mark.parametrize(
    ("kept", "names", "told"),
    [
        (512 + 1024 + 512 + 100, ["a.mp4"], "ends within b.mp4"),
        (512 + 1024 + 512 + 1024, ["a.mp4", "b.mp4"], "ends behind b.mp4 without the mark of an end"),
        (512 + 1024 + 100, ["a.mp4"], "is damaged behind a.mp4|ends behind a.mp4"),
    ],
)
def test_of_a_tar_that_ends_early_the_whole_members_are_used(
    tmp_path: Path, kept: int, names: list[str], told: str
) -> None:
    tar = write_tar(tmp_path / "a.tar", [("a.mp4", bytes(1000)), ("b.mp4", bytes(1000))])
    tar.write_bytes(tar.read_bytes()[:kept])
    index = tar_index(str(tar))
    assert list(index.names) == names
    [line] = described(index)
    assert any(each in line for each in told.split("|"))
    assert "copy, download or write it again" in line


def test_damage_in_the_middle_is_not_taken_for_the_end(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", [("a.mp4", CLIP), ("b.mp4", CLIP), ("c.mp4", CLIP)])
    content = bytearray(tar.read_bytes())
    content[1024:1536] = b"\xff" * 512
    tar.write_bytes(content)
    index = tar_index(str(tar))
    assert list(index.names) == ["a.mp4"]
    assert index.cut == "is damaged behind a.mp4"


def test_tars_that_were_joined_are_told(tmp_path: Path) -> None:
    first, second = (write_tar(tmp_path / f"{name}.tar", [(f"{name}.mp4", CLIP)]) for name in "ab")
    (tmp_path / "both.tar").write_bytes(first.read_bytes() + second.read_bytes())
    [line] = described(tar_index(str(tmp_path / "both.tar")))
    assert "goes on behind its end" in line


def test_what_is_no_tar_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("this is no tar, " * 100)
    with pytest.raises(FormatError, match=r"text\.tar is no tar"):
        tar_index(str(tmp_path / "text.tar"))
    (tmp_path / "empty.tar").touch()
    with pytest.raises(FormatError, match=r"is no tar \(it is empty\)"):
        tar_index(str(tmp_path / "empty.tar"))
    packed = tmp_path / "packed.tar.gz"
    packed.write_bytes(gzip.compress(write_tar(tmp_path / "a.tar", [("a.mp4", CLIP)]).read_bytes()))
    with pytest.raises(FormatError, match=r"is compressed \(gzip\).*unpack it"):
        open_tars([packed])


def test_the_index_of_an_earlier_start_is_taken_until_the_tar_changes(tmp_path: Path, cache: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", [("a.mp4", CLIP), ("a.json", b'{"x": 1}')])
    assert len(tar_index(str(tar))) == 1
    [kept, _] = sorted((cache / "tars").glob("*.json"), key=lambda file: len(file.name))
    # What an index says is believed, so this one shows whether it was read.
    kept.write_text(kept.read_text().replace("a.mp4", "b.mp4"))
    assert list(tar_index(str(tar)).names) == ["b.mp4"]
    os.utime(tar, (1, 1))
    assert list(tar_index(str(tar)).names) == ["a.mp4"]
    kept.write_text(kept.read_text()[:40])
    assert list(tar_index(str(tar)).names) == ["a.mp4"]
    assert list(tar_index(str(tar), tmp_path / "elsewhere").names) == ["a.mp4"]
    assert len(list((tmp_path / "elsewhere").iterdir())) == 2


def test_where_no_index_can_be_kept_the_tar_is_read_each_time(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", [("a.mp4", CLIP)])
    (tmp_path / "file").touch()
    assert len(tar_index(str(tar), tmp_path / "file" / "index")) == 1


def test_braces_as_a_shell_has_them() -> None:
    assert expand_braces("a/{08..11}.tar") == ["a/08.tar", "a/09.tar", "a/10.tar", "a/11.tar"]
    assert expand_braces("{2..0}") == ["2", "1", "0"]
    assert expand_braces("{a,b}/{0..1}.tar") == ["a/0.tar", "a/1.tar", "b/0.tar", "b/1.tar"]
    assert expand_braces("a{x}.tar") == ["a{x}.tar"]
    with pytest.raises(SettingsError, match="check the numbers"):
        expand_braces("{0..99999999999}.tar")


def test_which_places_are_tars(tmp_path: Path) -> None:
    for number in range(3):
        write_tar(tmp_path / "shards" / f"{number:05d}.tar", [(f"{number}.mp4", CLIP), ("a.txt", b"")])
    whole = ["00000.tar/0.mp4", "00001.tar/1.mp4", "00002.tar/2.mp4"]
    for place in ("shards", "shards/*.tar", "shards/{00000..00002}.tar", "shards/[0-9]*.tar"):
        assert names_tars(tmp_path / place)
        assert [name for name, _ in open_tars([tmp_path / place]).sources()] == whole
    # Named by their own folder, wherever that lies.
    (tmp_path / "moved").mkdir()
    (tmp_path / "shards").rename(tmp_path / "moved" / "shards")
    assert [name for name, _ in open_tars([str(tmp_path / "moved" / "shards")]).sources()] == whole
    one = open_tars([tmp_path / "moved" / "shards" / "00001.tar"])
    assert [name for name, _ in one.sources()] == ["00001.tar/1.mp4"]


def test_a_folder_with_sounds_and_tars_is_a_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_tar(tmp_path / "a.tar", [("a.mp4", CLIP)])
    (tmp_path / "b.mp4").touch()
    assert not names_tars(tmp_path)
    assert find_media(tmp_path) == [tmp_path / "b.mp4"]
    assert f"holds 1 tars beside sounds or videos; give '{tmp_path}/*.tar' for those in them" in caplog.text


def test_names_that_are_no_text_can_be_kept(tmp_path: Path) -> None:
    told = b'{"caption": "a\\ud800\\u0000b"}'
    tar = write_tar(tmp_path / "a.tar", [("caf\udce9.mp4", CLIP), ("caf\udce9.json", told)])
    [(name, _)] = open_tars([tar]).sources()
    assert name == r"a.tar/caf\xe9.mp4"
    assert tar_columns(str(tar)) == {"caf\udce9": {"caption": "a?b"}}


def test_nothing_there_is_one_line_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\*\.tar: no file fits it; check the path, and put quotes"):
        open_tars([tmp_path / "*.tar"])
    write_tar(tmp_path / "00000.tar", [("a.mp4", CLIP)])
    with pytest.raises(SettingsError, match=r"00001\.tar: it is not there"):
        open_tars([tmp_path / "{00000..00002}.tar"])
    write_tar(tmp_path / "text" / "00000.tar", [("a.txt", CLIP)])
    with pytest.raises(MediaError, match=r"holds no sounds or videos \(1 samples, such as 00000.tar/a, have none\)"):
        open_tars([tmp_path / "text" / "00000.tar"])


def test_links_folders_and_hidden_files_in_a_tar_are_no_clips(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for kind, name in ((tarfile.DIRTYPE, "deep.mp4"), (tarfile.SYMTYPE, "link.mp4"), (tarfile.LNKTYPE, "hard.mp4")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "a.mp4"
            tar.addfile(info)
        for name in ("._a.mp4", "deep/.hidden.mp4", "noending", "a.mp4"):
            info = tarfile.TarInfo(name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
    assert list(tar_index(str(tmp_path / "a.tar")).names) == ["a.mp4"]
