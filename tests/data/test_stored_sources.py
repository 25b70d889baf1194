"""Data sets in tars and under addresses: the same sounds, classes and folds as in a folder."""

import json
from pathlib import Path

import fsspec
import pytest

from soundnet_kd.data import read_manifest
from soundnet_kd.data.sources.stored import find_sources
from soundnet_kd.errors import MediaError, SettingsError
from soundnet_kd.media import StoredMedia, local_file
from tests.tars import write_tar

ESC50 = {f"{fold}-{100 + fold}-A-{target}.wav": bytes(fold) for fold in (1, 2) for target in (0, 10)}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDNET_KD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def memory() -> str:
    """Return an address that holds nothing yet."""
    system = fsspec.filesystem("memory")
    for name in system.find("/"):
        system.rm(name)
    return "memory://data"


def put(address: str, content: bytes = b"x") -> None:
    with fsspec.open(address, "wb") as file:
        file.write(content)


def test_names_in_tars_mean_what_they_mean_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name, content in ESC50.items():
        (tmp_path / "folder" / name).write_bytes(content)
    names = sorted(ESC50)
    write_tar(tmp_path / "shards" / "0.tar", [(name, ESC50[name]) for name in names[:3]])
    write_tar(tmp_path / "shards" / "1.tar", [(name, ESC50[name]) for name in names[3:]])
    folder, tars = read_manifest(tmp_path / "folder"), read_manifest(tmp_path / "shards")
    assert folder.class_names == tars.class_names
    assert folder.columns == tars.columns
    assert [clip.id.partition("/")[2] for clip in tars.clips] == [clip.id for clip in folder.clips]
    for before, after in zip(folder.clips, tars.clips, strict=True):
        assert (before.label, before.fold, before.carried) == (after.label, after.fold, after.carried)
        with local_file(after.path) as file:
            assert file.read_bytes() == ESC50[before.id]


def test_sub_folders_in_tars_are_classes(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", [("cat/1.wav", b""), ("dog/2.wav", b""), ("cat/3.wav", b"")])
    manifest = read_manifest(tar)
    assert manifest.class_names == ("cat", "dog")
    assert [(clip.id, clip.label) for clip in manifest.clips] == [
        ("a.tar/cat/1.wav", 0),
        ("a.tar/dog/2.wav", 1),
        ("a.tar/cat/3.wav", 0),
    ]


def test_what_stands_in_json_is_carried_along_as_in_a_table(tmp_path: Path) -> None:
    members = []
    for number, label in enumerate(["dog", "cat", "dog"]):
        told = {"label": label, "fold": number + 1, "caption": f"a {label}, ñ", "tags": ["x"], "path": "elsewhere"}
        members += [(f"{number}.wav", b"x"), (f"{number}.json", json.dumps(told).encode())]
    members += [("3.json", json.dumps({"status": "failed_to_download", "error_message": "gone"}).encode())]
    manifest = read_manifest(write_tar(tmp_path / "a.tar", members))
    assert manifest.class_names == ("cat", "dog")
    assert manifest.labels.tolist() == [1, 0, 1]
    assert manifest.folds.tolist() == [1, 2, 3]
    assert "caption" in manifest.columns
    assert [dict(zip(manifest.columns, clip.carried, strict=True))["caption"] for clip in manifest.clips][
        1
    ] == "a cat, ñ"
    assert not {"path", "tags"} & set(manifest.columns)
    assert [dict(zip(manifest.columns, clip.carried, strict=True))["path in its JSON"] for clip in manifest.clips] == [
        "elsewhere"
    ] * 3
    assert manifest.failures == {"a.tar/3": "it was not downloaded (failed_to_download: gone)"}


def test_values_that_only_some_clips_have(tmp_path: Path) -> None:
    members = [
        ("./a.wav", b""),
        ("./a.json", b'{"x": 1}'),
        ("./b.wav", b""),
        ("./b.json", b'{"y": true}'),
        ("c.wav", b""),
    ]
    manifest = read_manifest(write_tar(tmp_path / "a.tar", members))
    assert manifest.columns == ("x", "y")
    assert [(clip.id, *clip.carried) for clip in manifest.clips] == [
        ("a.tar/a.wav", "1", ""),
        ("a.tar/b.wav", "", "true"),
        ("a.tar/c.wav", "", ""),
    ]


def test_cls_files_name_classes_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """As WebDataset writes them; one that has none is unlabelled, and names of folders do not count then."""
    members = [(f"cat/{number}.wav", b"x") for number in range(5)]
    members += [(f"cat/{number}.cls", text) for number, text in enumerate([b"10", b"9\n", b"0", b"10"])]
    tar = write_tar(tmp_path / "a.tar", sorted(members))
    for _ in ("read", "by its index"):
        manifest = read_manifest(tar)
        assert manifest.class_names == ("0", "9", "10")
        assert manifest.labels.tolist() == [2, 1, 0, 2, -1]
        assert not manifest.columns
    # As it was before they were read.
    assert read_manifest(tar, class_files=False).class_names == ("cat",)


@pytest.mark.parametrize(
    ("told", "classes", "labels"),
    [
        ({"label": "dog"}, ("dog",), [0, 0]),
        ({"class_id": 7}, ("7",), [0, 0]),
        ({"caption": "a dog", "fold": 1, ".cls": "no class"}, ("bark", "howl"), [1, 0]),
    ],
)
def test_a_class_in_json_comes_before_a_cls_file(
    told: dict[str, object], classes: tuple[str, ...], labels: list[int], tmp_path: Path
) -> None:
    members = []
    for name, text in (("a", b"howl"), ("b", b"bark")):
        members += [(f"{name}.cls", text), (f"{name}.wav", b""), (f"{name}.json", json.dumps(told).encode())]
    manifest = read_manifest(write_tar(tmp_path / "a.tar", members))
    assert (manifest.class_names, manifest.labels.tolist()) == (classes, labels)
    assert manifest.columns == (("caption",) if "caption" in told else ())


def test_an_index_that_was_kept_before_cls_files_were_read_is_made_again(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", [("a.wav", b""), ("a.cls", b"1"), ("b.wav", b""), ("b.cls", b"0")])
    assert read_manifest(tar).labels.tolist() == [1, 0]
    [kept] = (tmp_path / "cache").rglob("*.columns.json")
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "format": 1, "of": {}}))
    assert read_manifest(tar).labels.tolist() == [1, 0]


def test_names_that_several_tars_have_are_told_apart(tmp_path: Path) -> None:
    for number in range(2):
        write_tar(tmp_path / f"{number}.tar", [("cat/1.wav", bytes(number)), ("cat/1.json", b'{"n": 1}')])
    manifest = read_manifest([tmp_path / "0.tar", tmp_path / "1.tar"])
    assert [clip.id for clip in manifest.clips] == ["0.tar/cat/1.wav", "1.tar/cat/1.wav"]
    assert manifest.columns == ("n",)
    assert not manifest.class_names


def test_tars_and_folders_do_not_mix(tmp_path: Path) -> None:
    (tmp_path / "b.wav").touch()
    with pytest.raises(SettingsError, match="is a collection of its own; give it alone, or give tars only"):
        read_manifest([write_tar(tmp_path / "a.tar", [("a.wav", b"")]), tmp_path / "b.wav"])


def test_a_table_of_addresses_and_paths(tmp_path: Path) -> None:
    (tmp_path / "near.wav").touch()
    (tmp_path / "sounds.csv").write_text(
        "path,label,fold\nmemory://data/a.wav,dog,1\nnear.wav,cat,2\ns3://bucket/b.wav,dog,2\n"
    )
    manifest = read_manifest(tmp_path / "sounds.csv")
    assert [clip.path for clip in manifest.clips] == [
        StoredMedia("memory://data/a.wav"),
        tmp_path / "near.wav",
        StoredMedia("s3://bucket/b.wav"),
    ]
    assert manifest.labels.tolist() == [1, 0, 1]
    found = find_sources(tmp_path / "sounds.csv")
    assert found.root == str(tmp_path)
    assert list(found.sources) == ["memory://data/a.wav", "near.wav", "s3://bucket/b.wav"]


def test_a_list_of_addresses(tmp_path: Path) -> None:
    (tmp_path / "sounds.txt").write_text("memory://data/a.wav\nmemory://data/b.wav\n")
    assert [str(clip.path) for clip in read_manifest(tmp_path / "sounds.txt").clips] == [
        "memory://data/a.wav",
        "memory://data/b.wav",
    ]


def test_a_folder_under_an_address(memory: str) -> None:
    for name in ("dog/1.wav", "cat/2.wav", "cat/notes.txt", ".hidden/3.wav"):
        put(f"{memory}/{name}", name.encode())
    manifest = read_manifest(memory)
    assert manifest.class_names == ("cat", "dog")
    assert [(clip.id, str(clip.path)) for clip in manifest.clips] == [
        ("cat/2.wav", "memory://data/cat/2.wav"),
        ("dog/1.wav", "memory://data/dog/1.wav"),
    ]
    assert manifest.skipped == {"no sound": ("cat/notes.txt",)}
    with local_file(manifest.clips[1].path) as file:
        assert file.read_bytes() == b"dog/1.wav"
    assert list(find_sources(f"{memory}/*/1.wav").sources) == ["dog/1.wav"]
    found = find_sources(f"{memory}/")
    assert found.root == memory
    assert list(found.sources) == ["cat/2.wav", "dog/1.wav"]


def test_tables_under_an_address(memory: str) -> None:
    put(f"{memory}/sounds.csv", b"path,label\nclips/a.wav,dog\nmemory://other/b.wav,cat\n")
    put(f"{memory}/clips/a.wav")
    manifest = read_manifest(f"{memory}/sounds.csv")
    assert [str(clip.path) for clip in manifest.clips] == ["memory://data/clips/a.wav", "memory://other/b.wav"]
    assert list(find_sources(f"{memory}/sounds.csv").sources) == ["clips/a.wav", "memory://other/b.wav"]
    put("memory://esc/meta/esc50.csv", b"filename,fold,target,category\n1-1-A-0.wav,1,0,dog\n2-2-A-1.wav,2,1,rooster\n")
    put("memory://esc/audio/1-1-A-0.wav")
    manifest = read_manifest("memory://esc")
    assert str(manifest.clips[0].path) == "memory://esc/audio/1-1-A-0.wav"
    assert manifest.class_names == ("dog", "rooster")


def test_tars_under_an_address(tmp_path: Path, memory: str) -> None:
    for number in range(3):
        tar = write_tar(tmp_path / "0.tar", [(f"{number}.mp4", bytes([number])), (f"{number}.json", b'{"n": 1}')])
        put(f"{memory}/shards/{number:05d}.tar", tar.read_bytes())
    expected = [f"{number:05d}.tar/{number}.mp4" for number in range(3)]
    for place in (f"{memory}/shards/*.tar", f"{memory}/shards/{{00000..00002}}.tar"):
        found = find_sources(place)
        assert list(found.sources) == expected
        assert found.root == f"{memory}/shards"
    with local_file(found.sources[expected[1]]) as file:
        assert file.read_bytes() == b"\1"
    assert str(found.sources[expected[1]]) == f"tar://1.mp4::{memory}/shards/00001.tar"
    assert [clip.id for clip in read_manifest(f"{memory}/shards/*.tar").clips] == expected
    with pytest.raises(SettingsError, match=r"holds tars; give memory://data/shards/\*\.tar"):
        find_sources(f"{memory}/shards")
    with pytest.raises(SettingsError, match=r"00003\.tar is not there"):
        find_sources(f"{memory}/shards/{{00000..00003}}.tar")


def test_nothing_under_an_address_is_one_line(memory: str) -> None:
    put(f"{memory}/notes/a.txt")
    put(f"{memory}/notes/b.txt")
    with pytest.raises(SettingsError, match="is not there"):
        find_sources(f"{memory}/gone")
    with pytest.raises(MediaError, match=r"holds no sounds or videos \(2 other files\)"):
        find_sources(f"{memory}/notes")
    with pytest.raises(
        SettingsError, match=r"memry://data/a.mp4 is no address that can be opened.*did you mean 'memory'"
    ):
        find_sources("memry://data/a.mp4")
