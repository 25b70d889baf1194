"""Objects on web servers and in buckets, on this machine: fetched whole, and what fails on the way tried again."""

import csv
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import numpy as np
import pytest
import s3fs

from soundnet_kd.data import read_manifest
from soundnet_kd.data.sources.stored import find_sources
from soundnet_kd.errors import GivenUpError, MediaError, SettingsError
from soundnet_kd.media import (
    MediaSource,
    RawAudioDecoder,
    StoredMedia,
    decode_in_processes,
    local_file,
    remote,
    stored,
    write_audio,
)
from soundnet_kd.media.tar_index import tar_index
from tests.media.faulty_proxy import Faults, proxy
from tests.pretrained.serving import Site, serve
from tests.stores import s3_server, use_s3
from tests.tars import write_tar

CONTENT = os.urandom(100_000)


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDNET_KD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "FIRST_PAUSE_SECONDS", 0.001)
    # Several parts of each file.
    monkeypatch.setattr(stored, "CHUNK_BYTES", 30_000)
    monkeypatch.setattr(remote, "CHUNK_BYTES", 30_000)
    for variable in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with serve(tmp_path / "site") as site:
        (site.folder / "a b.mp4").write_bytes(CONTENT)
        site.ranges = True
        yield site


def fetched(address: str) -> bytes:
    with local_file(StoredMedia(address)) as file:
        return file.read_bytes()


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_of_a_web_server(site: Site, ranges: bool) -> None:
    site.ranges = ranges
    with local_file(StoredMedia(f"{site.url}/a%20b.mp4")) as file:
        assert file.read_bytes() == CONTENT
        assert file.suffix == ".mp4"
    assert bool(site.parts) == ranges


def test_what_fails_on_the_way_is_tried_again(site: Site) -> None:
    site.busy, site.cuts = 2, 2
    assert fetched(f"{site.url}/a%20b.mp4") == CONTENT
    assert (site.busy, site.cuts) == (0, 0)
    site.ranges, site.cuts = False, 2
    assert fetched(f"{site.url}/a%20b.mp4") == CONTENT


def test_but_not_for_ever(site: Site) -> None:
    site.busy = 1000
    with pytest.raises(GivenUpError, match=r"a%20b\.mp4 could not be fetched in 5 tries .*503.*run the same"):
        fetched(f"{site.url}/a%20b.mp4")
    site.busy, site.cuts = 0, 1000
    with pytest.raises(GivenUpError, match="could not be fetched in 5 tries"):
        fetched(f"{site.url}/a%20b.mp4")


def test_what_is_not_there_is_asked_for_once(site: Site) -> None:
    with pytest.raises(GivenUpError, match=r"gone\.mp4 is not there \(any more\); check the address"):
        fetched(f"{site.url}/gone.mp4")
    # By HEAD and by GET, and each is logged twice.
    assert site.asked.count("/gone.mp4") <= 4


def test_a_password_that_is_asked_for_is_that_files_failure(site: Site) -> None:
    site.password = "name:secret"
    with pytest.raises(GivenUpError, match=r"lets nobody in with these credentials .*\.netrc"):
        fetched(f"{site.url}/a%20b.mp4")


def test_a_tar_of_a_web_server_is_read_in_small_parts(site: Site, tmp_path: Path) -> None:
    big = os.urandom(1_000_000)
    write_tar(site.folder / "0.tar", [("a.mp4", big), ("a.json", b'{"x": 1}'), ("b.mp4", big), ("b.json", b"{}")])
    site.busy = 1
    index = tar_index(f"{site.url}/0.tar")
    assert list(index.names) == ["a.mp4", "b.mp4"]
    read = sum(int(part.partition("-")[2]) - int(part[6:].partition("-")[0]) + 1 for part in site.parts)
    assert read < 300_000
    site.parts.clear()
    assert tar_index(f"{site.url}/0.tar") == index
    assert site.parts == []
    with local_file(index.find("b.mp4") or StoredMedia("")) as file:
        assert file.read_bytes() == big
    site.ranges = False
    (tmp_path / "cache" / "tars").rename(tmp_path / "gone")
    with pytest.raises(GivenUpError, match="does not send parts of files, which a tar needs"):
        tar_index(f"{site.url}/0.tar")


def test_a_folder_of_a_web_server_that_lists_it(site: Site) -> None:
    (site.folder / "dog").mkdir()
    (site.folder / "dog" / "c.wav").write_bytes(CONTENT)
    found = find_sources(f"{site.url}/")
    assert sorted(found.sources) == ["a%20b.mp4", "dog/c.wav"]
    with local_file(found.sources["dog/c.wav"]) as file:
        assert file.read_bytes() == CONTENT


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with serve(tmp_path / "site") as site:
        url = site.url
    with pytest.raises(GivenUpError, match=r"a\.mp4 could not be fetched in 5 tries"):
        fetched(f"{url}/a.mp4")
    with pytest.raises(SettingsError, match="could not be fetched in 5 tries"):
        find_sources(f"{url}/{{0..1}}.tar")
    with pytest.raises(SettingsError, match="could not be fetched in 5 tries"):
        find_sources(f"{url}/")
    with pytest.raises(SettingsError, match="could not be fetched in 5 tries"):
        find_sources(f"{url}/*.tar")


def test_a_protocol_without_its_library_says_which_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adlfs", None)
    with pytest.raises(
        SettingsError, match=r"abfs://a/b\.mp4 cannot be opened without the library for abfs:// .*adlfs"
    ):
        find_sources("abfs://a/b.mp4")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    use_s3(s3, monkeypatch)
    client = boto3.client("s3")
    client.create_bucket(Bucket="clips")
    for name in ("dog/1.wav", "cat/deep 2.wav", "notes.txt"):
        client.put_object(Bucket="clips", Key=f"folder/{name}", Body=name.encode() + CONTENT)
    return "s3://clips"


def test_a_bucket(bucket: str, tmp_path: Path) -> None:
    manifest = read_manifest(f"{bucket}/folder")
    assert [(clip.id, manifest.class_names[clip.label]) for clip in manifest.clips] == [
        ("cat/deep 2.wav", "cat"),
        ("dog/1.wav", "dog"),
    ]
    for clip in manifest.clips:
        assert isinstance(clip.path, StoredMedia)
        assert clip.path.size == len(clip.id) + len(CONTENT)
        assert clip.path.version
        assert fetched(str(clip.path)) == clip.id.encode() + CONTENT
    with (tmp_path / "sounds.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path"], [f"{bucket}/folder/dog/1.wav"]])
    assert fetched(str(read_manifest(tmp_path / "sounds.csv").clips[0].path)) == b"dog/1.wav" + CONTENT


def test_tars_in_a_bucket(bucket: str, tmp_path: Path) -> None:
    client = boto3.client("s3")
    for number in range(2):
        tar = write_tar(tmp_path / "0.tar", [(f"{number}.wav", CONTENT), (f"{number}.json", b'{"label": "x"}')])
        client.upload_file(str(tar), "clips", f"shards/{number:05d}.tar")
    for place in (f"{bucket}/shards/*.tar", f"{bucket}/shards/{{00000..00001}}.tar"):
        found = find_sources(place)
        assert list(found.sources) == ["00000.tar/0.wav", "00001.tar/1.wav"]
        with local_file(found.sources["00001.tar/1.wav"]) as file:
            assert file.read_bytes() == CONTENT


def test_what_no_other_try_can_change_is_told_at_once(bucket: str) -> None:
    with pytest.raises(SettingsError, match=r"nobucket.*(there is no such bucket|is not there)"):
        find_sources("s3://nobucket/folder")
    with pytest.raises(SettingsError, match=r"clips/gone is not there"):
        find_sources(f"{bucket}/gone")
    with pytest.raises(GivenUpError, match=r"3\.wav is not there \(any more\)"):
        fetched(f"{bucket}/folder/dog/3.wav")


@pytest.fixture
def faults(bucket: str, s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    """Put a way on which things go wrong between this and the bucket."""
    with proxy(s3) as faults:
        use_s3(faults.url, monkeypatch)
        yield faults


def test_what_fails_on_the_way_to_a_bucket_is_tried_again(faults: Faults) -> None:
    [clip, _] = read_manifest("s3://clips/folder").clips
    faults.busy = 2
    with local_file(clip.path) as file:
        assert file.read_bytes() == b"cat/deep 2.wav" + CONTENT
    faults.cuts = 2
    with local_file(clip.path) as file:
        assert file.read_bytes() == b"cat/deep 2.wav" + CONTENT
    assert (faults.busy, faults.cuts) == (0, 0)
    faults.busy = 1000
    faults.asked.clear()
    with (
        pytest.raises(GivenUpError, match=r"could not be fetched in 5 tries .*; run the same command again"),
        local_file(clip.path),
    ):
        pass
    assert len(faults.asked) == 5


def test_a_bucket_that_lets_nobody_in_ends_the_run(faults: Faults, tmp_path: Path) -> None:
    manifest = read_manifest("s3://clips/folder")
    faults.denied = True
    with pytest.raises(SettingsError, match="lets nobody in with these credentials"):
        read_manifest("s3://clips/folder")
    with pytest.raises(SettingsError, match="lets nobody in with these credentials"):
        read_manifest("s3://clips/folder/*.tar")
    for workers in (0, 1):
        sounds = decode_in_processes(
            RawAudioDecoder(None, "first"), [clip.path for clip in manifest.clips], tmp_path / "work", workers
        )
        with pytest.raises(SettingsError, match="lets nobody in with these credentials"), sounds as decoded:
            next(decoded)


def test_processes_fetch_for_themselves(bucket: str, tmp_path: Path) -> None:
    wave = (np.random.default_rng(0).normal(size=8000) * 0.1).astype(np.float32)
    write_audio(tmp_path / "a.wav", wave, 8000)
    boto3.client("s3").upload_file(str(tmp_path / "a.wav"), "clips", "sounds/a.wav")
    sources: list[MediaSource] = [
        tmp_path / "a.wav",
        StoredMedia(f"{bucket}/sounds/a.wav"),
        StoredMedia(f"{bucket}/folder/dog/1.wav"),
    ]
    with decode_in_processes(RawAudioDecoder(None, "first"), sources, tmp_path / "work", 1) as decoded:
        [first, second, third] = [(file if isinstance(file, MediaError) else file.read_bytes()) for _, file in decoded]
    assert first == second
    assert isinstance(third, MediaError)
    assert not isinstance(third, GivenUpError)


def test_a_store_without_credentials_ends_the_run(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        with pytest.raises(SettingsError, match=r"lets nobody in with these credentials.*; check them"):
            fetched(f"{bucket}/folder/dog/1.wav")
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
