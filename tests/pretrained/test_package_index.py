"""A file out of a source distribution: found where pip looks, checked, and taken out without running anything.

The index is a real one of the simple interface, on this machine; pip is set up by real configuration files.
"""

import hashlib
import io
import json
import logging
import os
import shutil
import ssl
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.pretrained import downloading, fetch, student_registry
from soundnet_kd.pretrained.registry import PackagedFile, PretrainedStudent
from tests.kills import killed_before_change, told_changes
from tests.pretrained.serving import Site, serve
from tests.processes import finish, start

ARCHIVE = "Sounds-1.0.tar.gz"
MEMBER = "Sounds-1.0/sounds/models/sound.npy"
CONTENT = bytes(range(256)) * 400


def archive(path: Path, content: bytes = CONTENT, member: str = MEMBER, *, before: bytes = b"raise SystemExit") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, data in (("Sounds-1.0/setup.py", before), (member, content)):
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return path


def entry_of(path: Path) -> PretrainedStudent:
    """A student whose file is in a package, as the registry has it; nobody has its origin."""
    package = PackagedFile(
        project="Sounds",
        version="1.0",
        archive=ARCHIVE,
        archive_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        archive_bytes=path.stat().st_size,
        member=MEMBER,
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        git_blob=hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest(),
        size_bytes=len(CONTENT),
    )
    return replace(
        student_registry()["soundnet8"],
        name="mine",
        urls=("http://127.0.0.1:9/sound.pth",),
        git_blob="0" * 40,
        package=package,
    )


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    return archive(tmp_path / "packed" / ARCHIVE)


@pytest.fixture
def index(tmp_path: Path, packed: Path, pip: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The index that pip is set up for; no other machine can be reached."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serve(tmp_path / "index") as site:
        write_page(site.folder, "../../files/" + ARCHIVE)
        archive(site.folder / "files" / ARCHIVE).write_bytes(packed.read_bytes())
        set_up_pip(tmp_path, monkeypatch, f"index-url = {site.url}/simple")
        yield site


def write_page(folder: Path, *links: str, attributes: str = "") -> None:
    """Write the project's page as PEP 503 has it."""
    page = folder / "simple" / "sounds" / "index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    lines = [f'<a href="{link}" {attributes}>{link.rpartition("/")[2].partition("#")[0]}</a><br>' for link in links]
    page.write_text("<!DOCTYPE html><html><body>\n" + "\n".join(lines) + "</body></html>", encoding="utf-8")


def set_up_pip(folder: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    (folder / "pip.conf").write_text("[global]\nretries = 0\n" + "\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(folder / "pip.conf"))


def refused(entry: PretrainedStudent) -> str:
    with pytest.raises(SettingsError) as caught:
        fetch(entry)
    told = str(caught.value)
    assert "\n" not in told
    assert told.startswith("mine could not be fetched (")
    return told


def test_found_verified_and_taken_out(index: Site, packed: Path, cache: Path) -> None:
    """From then on nothing is asked; the archive is not kept; its setup.py did not run."""
    entry = entry_of(packed)
    path = fetch(entry)
    assert path == cache / "sound.npy"
    assert path.read_bytes() == CONTENT
    assert {each.name for each in cache.iterdir()} == {"sound.npy", "sound.npy.lock"}
    asked = ["/simple/sounds/", f"/files/{ARCHIVE}"]
    assert index.asked == asked
    assert fetch(entry) == path
    assert index.asked == asked


def test_an_index_that_answers_in_json(
    index: Site, packed: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """PEP 691, of a later version than is known; its file was yanked, and is the right one nevertheless."""
    entry = entry_of(packed)
    assert entry.package is not None
    page = index.folder / "simple" / "sounds" / "index.html"
    file = {
        "filename": ARCHIVE,
        "url": f"{index.url}/files/{ARCHIVE}",
        "hashes": {"sha256": entry.package.archive_sha256},
        "yanked": "too\nold",
    }
    page.with_name("index.json").write_text(
        json.dumps({"meta": {"api-version": "1.99"}, "name": "sounds", "files": [file]}), encoding="utf-8"
    )
    page.unlink()
    caplog.set_level(logging.INFO)
    assert fetch(entry).read_bytes() == CONTENT
    assert f"{ARCHIVE} was yanked there (too old); it is used, since it has the known hash" in caplog.text
    assert f"fetching {ARCHIVE} ({packed.stat().st_size / 1e6:.1f} MB), which has mine, from {index.url}" in caplog.text


def test_the_mirror_is_asked_first_and_the_origin_last(
    index: Site, packed: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = entry_of(packed)
    origin_content = b"the same network in another file"
    blob = hashlib.sha1(b"blob %d\0" % len(origin_content) + origin_content).hexdigest()
    with serve(tmp_path / "mirror") as mirror, serve(tmp_path / "origin") as origin:
        monkeypatch.setenv("SOUNDNET_KD_MIRROR", mirror.url)
        (mirror.folder / "sound.npy").write_bytes(CONTENT)
        (origin.folder / "sound.pth").write_bytes(origin_content)
        entry = replace(entry, urls=(f"{origin.url}/sound.pth",), git_blob=blob)
        assert fetch(entry).read_bytes() == CONTENT
        assert (index.asked, origin.asked) == ([], [])
        (cache / "sound.npy").unlink()
        (mirror.folder / "sound.npy").unlink()
        write_page(index.folder)
        assert fetch(entry) == cache / "sound.pth"
        assert mirror.asked[1:] == ["/sound.npy"] * 2 + ["/sound.pth"] * 2
        assert index.asked == ["/simple/sounds/"]
        # What an older version left is enough.
        assert fetch(entry).read_bytes() == origin_content
        assert origin.asked == ["/sound.pth"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_broke_off_goes_on(
    index: Site, packed: Path, cache: Path, ranges: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a server that sends parts, and with one that does not; neither names a version, as some proxies do not."""
    entry = entry_of(packed)
    monkeypatch.setattr(downloading, "CHUNK_BYTES", 1)
    index.ranges, index.named = ranges, False
    half = packed.stat().st_size // 2
    index.cut = True
    told = refused(entry)
    assert f"{index.url}/files/{ARCHIVE}: the connection broke off" in told
    assert f"run the same command again to go on after the {half} bytes that are there, or fetch {ARCHIVE} of" in told
    index.cut = False
    assert fetch(entry).read_bytes() == CONTENT
    assert index.parts == ([f"bytes={half}-"] if ranges else [])


@pytest.mark.parametrize("begun", ["whole", "wrong", "too long"])
def test_what_is_there_of_a_download_is_not_trusted(index: Site, packed: Path, cache: Path, begun: str) -> None:
    """Killed before a whole one took its place; or what is there is something else, and all is fetched again."""
    whole, half = packed.read_bytes(), packed.stat().st_size // 2
    cache.mkdir()
    there = {"whole": whole, "wrong": bytes(half), "too long": whole + b"x"}[begun]
    (cache / f"{ARCHIVE}.part").write_bytes(there)
    index.ranges = True
    assert fetch(entry_of(packed)).read_bytes() == CONTENT
    assert index.parts == ([f"bytes={half}-"] if begun == "wrong" else [])
    # A refusal is noted twice.
    assert index.asked.count(f"/files/{ARCHIVE}") == {"whole": 0, "wrong": 2, "too long": 3}[begun]
    assert {each.name for each in cache.iterdir()} == {"sound.npy", "sound.npy.lock"}


def test_what_another_source_had_begun_with_is_not_left(
    index: Site, packed: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "CHUNK_BYTES", 1)
    index.cut = True
    refused(entry_of(packed))
    assert (cache / f"{ARCHIVE}.part").is_file()
    with serve(tmp_path / "mirror") as mirror:
        (mirror.folder / "sound.npy").write_bytes(CONTENT)
        monkeypatch.setenv("SOUNDNET_KD_MIRROR", mirror.url)
        fetch(entry_of(packed))
    assert {each.name for each in cache.iterdir()} == {"sound.npy", "sound.npy.lock"}


def test_an_archive_that_a_kill_left_is_used(index: Site, packed: Path, cache: Path) -> None:
    cache.mkdir()
    (cache / ARCHIVE).write_bytes(packed.read_bytes())
    (cache / ".partial-sound.npy").write_bytes(CONTENT[:100])
    assert fetch(entry_of(packed)).read_bytes() == CONTENT
    assert index.asked == []
    assert not (cache / ARCHIVE).exists()


@pytest.mark.skipif(sys.platform != "linux", reason="needs SIGKILL, and reads /proc")
def test_a_kill_at_any_moment_leaves_what_can_be_gone_on_with(
    index: Site, packed: Path, cache: Path, tmp_path: Path
) -> None:
    """Killed before each change of the disk, each time in a new cache, and started again."""
    entry, variables = entry_of(packed), {name: os.environ[name] for name in ("PIP_CONFIG_FILE", "SOUNDNET_KD_CACHE")}
    cache.mkdir()
    assert finish(start(fetch_in_process, entry, variables, told_changes(cache, tmp_path / "changes"))) == 0
    changes = (tmp_path / "changes").read_text(encoding="utf-8").splitlines()
    assert f"remove {ARCHIVE}" in changes
    index.ranges = True
    for number, change in enumerate(changes):
        shutil.rmtree(cache)
        cache.mkdir()
        assert finish(start(fetch_in_process, entry, variables, killed_before_change(cache, number))) == -9, change
        assert fetch(entry).read_bytes() == CONTENT, change
        assert {each.name for each in cache.iterdir()} == {"sound.npy", "sound.npy.lock"}, change


def fetch_in_process(entry: PretrainedStudent, variables: Mapping[str, str], listen: Callable[[], None]) -> None:
    os.environ.update(variables)
    listen()
    fetch(entry)


def test_a_wrong_archive_is_not_taken(index: Site, packed: Path, cache: Path) -> None:
    """By the index's hash it is seen before it is fetched; a hash of the index is no reason to trust it."""
    entry = entry_of(packed)
    other = archive(index.folder / "files" / ARCHIVE, CONTENT[:-1] + b"x")
    sha256 = hashlib.sha256(other.read_bytes()).hexdigest()
    assert f"{index.url}/files/{ARCHIVE} has the sha256 {sha256}; {ARCHIVE} has" in refused(entry)
    write_page(index.folder, f"../../files/{ARCHIVE}#sha256={sha256}")
    index.asked.clear()
    assert f"{index.url}/simple has another {ARCHIVE}: its sha256 is {sha256}, not " in refused(entry)
    assert index.asked == ["/simple/sounds/"]
    other.write_bytes(packed.read_bytes() + b"more")
    write_page(index.folder, f"../../files/{ARCHIVE}")
    assert f"grows beyond {packed.stat().st_size} bytes" in refused(entry)
    assert {each.name for each in cache.iterdir()} == {"sound.npy.lock"}


@pytest.mark.parametrize(
    ("content", "member", "reason"),
    [
        (CONTENT[:-1] + b"x", MEMBER, f"has the sha256 {hashlib.sha256(CONTENT[:-1] + b'x').hexdigest()}; mine has"),
        (CONTENT + b"x", MEMBER, f"has {MEMBER} as {len(CONTENT) + 1} bytes; they are {len(CONTENT)}"),
        (CONTENT, "../../sound.npy", f"has no {MEMBER}"),
        (None, "", "is no archive that can be read"),
    ],
)
def test_a_wrong_member_is_not_taken(
    index: Site, packed: Path, cache: Path, tmp_path: Path, content: bytes | None, member: str, reason: str
) -> None:
    """Of an archive that has the hash that it should have."""
    file = index.folder / "files" / ARCHIVE
    if content is None:
        file.write_bytes(packed.read_bytes()[: packed.stat().st_size // 2])
    else:
        archive(file, content, member)
    before = {each.name for each in tmp_path.iterdir()}
    assert f"{cache / ARCHIVE} {reason}" in refused(entry_of(file)) or reason in refused(entry_of(file))
    assert not (cache / "sound.npy").exists()
    assert not list(cache.glob(".partial*"))
    assert {each.name for each in tmp_path.iterdir()} - before == {"cache"}


@pytest.mark.parametrize(
    ("links", "reason"),
    [
        ((), f"has no {ARCHIVE}"),
        (("Sounds-2.0.tar.gz",), f"has Sounds, but no version 1.0 as {ARCHIVE}"),
        (None, "has no project Sounds"),
    ],
)
def test_an_index_without_it(
    index: Site, packed: Path, cache: Path, links: tuple[str, ...] | None, reason: str
) -> None:
    if links is None:
        (index.folder / "simple" / "sounds" / "index.html").unlink()
        (index.folder / "simple" / "sounds").rmdir()
    else:
        write_page(index.folder, *links)
    told = refused(entry_of(packed))
    assert f"({index.url}/simple {reason}; http://127.0.0.1:9/sound.pth: no connection, or it was lost)" in told
    assert told.endswith(
        f"); fetch {ARCHIVE} of the Python package Sounds elsewhere, or http://127.0.0.1:9/sound.pth, put it into "
        f"{cache}, and run the same command again"
    )


def test_a_page_that_is_none(index: Site, packed: Path, cache: Path) -> None:
    (index.folder / "simple" / "sounds" / "index.json").write_text('{"meta": {}}', encoding="utf-8")
    assert f"{index.url}/simple answers with what is no list of files (" in refused(entry_of(packed))
    (index.folder / "simple" / "sounds" / "index.json").write_text("{", encoding="utf-8")
    assert f"{index.url}/simple: this is no address, or what it answers cannot be read" in refused(entry_of(packed))


def test_name_and_password(
    index: Site,
    packed: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of the index's address; they go to its host and to no other, and into no message."""
    entry = entry_of(packed)
    index.password = "me@home:s/ecret"
    host = index.url.removeprefix("http://")
    assert "HTTP 401 Unauthorized; if it wants a name and a password, put them into its address or into .netrc" in (
        refused(entry)
    )
    caplog.set_level(logging.INFO)
    with serve(tmp_path / "files") as files:
        (files.folder / ARCHIVE).write_bytes(packed.read_bytes())
        write_page(index.folder, f"{files.url}/{ARCHIVE}")
        set_up_pip(tmp_path, monkeypatch, f"index-url = http://me%40home:wrong@{host}/simple")
        assert "HTTP 401" in refused(entry)
        set_up_pip(tmp_path, monkeypatch, f"index-url = http://me%40home:s%2Fecret@{host}/simple/")
        files.cut = True
        told = refused(entry)
        assert "the connection broke off" in told
        files.cut = False
        assert fetch(entry).read_bytes() == CONTENT
        assert files.told == []
    assert set(index.told) == {"me@home:wrong", "me@home:s/ecret"}
    for text in (told, caplog.text):
        assert "ecret" not in text
        assert "wrong" not in text


def test_a_mirror_with_a_password(
    index: Site, packed: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (index.folder / "sound.npy").write_bytes(CONTENT)
    index.password = "me:secret"
    monkeypatch.setenv("SOUNDNET_KD_MIRROR", index.url.replace("//", "//me:wrong@"))
    told = refused(entry_of(packed))
    assert f"{index.url}/sound.npy: HTTP 401 Unauthorized; if it wants a name and a password" in told
    monkeypatch.setenv("SOUNDNET_KD_MIRROR", index.url.replace("//", "//me:secret@"))
    assert fetch(entry_of(packed)).read_bytes() == CONTENT
    for text in (told, caplog.text):
        assert "secret" not in text
        assert "wrong" not in text


def test_netrc(index: Site, packed: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index.password = "me:secret"
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n", encoding="utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert fetch(entry_of(packed)).read_bytes() == CONTENT
    assert set(index.told) == {"me:secret"}


def test_a_proxy(index: Site, packed: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip's own is preferred to that of all programs."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    set_up_pip(tmp_path, monkeypatch, "index-url = http://index.test/simple")
    assert "http://index.test/simple: no connection through the proxy" in refused(entry_of(packed))
    set_up_pip(tmp_path, monkeypatch, "index-url = http://index.test/simple", f"proxy = {index.url}")
    assert fetch(entry_of(packed)).read_bytes() == CONTENT
    assert index.asked == ["/simple/sounds/", f"/files/{ARCHIVE}"]


def test_certificates(packed: Path, cache: Path, tmp_path: Path, pip: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of pip's settings are trusted, also where another variable names others; a trusted host needs none."""
    entry = entry_of(packed)
    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "other.pem"))
    with serve(tmp_path / "index", server) as site:
        write_page(site.folder, f"../../files/{ARCHIVE}")
        archive(site.folder / "files" / ARCHIVE).write_bytes(packed.read_bytes())
        url, host = f"index-url = {site.url}/simple", site.url.removeprefix("https://")
        set_up_pip(tmp_path, monkeypatch, url)
        assert (
            f"{site.url}/simple: its certificate is not trusted; pip's setting cert names a file of those to trust"
        ) in refused(entry)
        set_up_pip(tmp_path, monkeypatch, url, f"cert = {tmp_path / 'nothing.pem'}")
        assert "invalid path: " in refused(entry)
        for line in (f"cert = {tmp_path / 'authority.pem'}", "trusted-host = 127.0.0.1", f"trusted-host = {host}"):
            set_up_pip(tmp_path, monkeypatch, url, line)
            assert fetch(entry).read_bytes() == CONTENT
            (cache / "sound.npy").unlink()


def test_a_certificate_of_the_user(
    packed: Path, cache: Path, tmp_path: Path, pip: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = entry_of(packed)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    authority.issue_cert("me@home.test").private_key_and_cert_chain_pem.write_to_path(tmp_path / "me.pem")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(server)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    with serve(tmp_path / "index", server) as site:
        write_page(site.folder, f"../../files/{ARCHIVE}")
        archive(site.folder / "files" / ARCHIVE).write_bytes(packed.read_bytes())
        lines = (f"index-url = {site.url}/simple", f"cert = {tmp_path / 'authority.pem'}")
        set_up_pip(tmp_path, monkeypatch, *lines)
        refused(entry)
        set_up_pip(tmp_path, monkeypatch, *lines, f"client-cert = {tmp_path / 'me.pem'}")
        assert fetch(entry).read_bytes() == CONTENT


def test_a_server_that_is_busy_is_asked_again(
    index: Site, packed: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    index.busy = 1
    assert f"{index.url}/simple: HTTP 503 Service Unavailable" in refused(entry_of(packed))
    index.busy = 1
    monkeypatch.setenv("PIP_RETRIES", "1")
    assert fetch(entry_of(packed)).read_bytes() == CONTENT
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


def test_places_on_this_machine_are_asked_first(
    index: Site, packed: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of files, an index of files as a path and as an address, a page of links; the others ask no network."""
    entry = entry_of(packed)
    url = f"index-url = {index.url}/simple"
    page = tmp_path / "links.html"
    page.write_text(f'<a href="packed/{ARCHIVE}">the one</a>', encoding="utf-8")
    mine = tmp_path / "files of mine"
    archive(mine / "files" / ARCHIVE).write_bytes(packed.read_bytes())
    write_page(mine, f"../../files/{ARCHIVE}")
    (tmp_path / "empty").mkdir()
    for lines in (
        (url, f"find-links = {tmp_path / 'empty'} {packed.parent}"),
        (url, f"find-links = {packed.as_uri()}"),
        (url, f"find-links = {page}"),
        (url, f"extra-index-url = {(mine / 'simple').as_uri()}"),
        (f"index-url = {mine / 'simple'}",),
        ("no-index = yes", url, f"find-links = {packed.parent}"),
    ):
        set_up_pip(tmp_path, monkeypatch, *lines)
        assert fetch(entry).read_bytes() == CONTENT, lines
        (cache / "sound.npy").unlink()
        assert index.asked == [], lines
    assert packed.is_file()
    (index.folder / "links.html").write_text(f'<a href="files/{ARCHIVE}">the one</a>', encoding="utf-8")
    for link in (f"{index.url}/links.html", f"{index.url}/files/{ARCHIVE}"):
        set_up_pip(tmp_path, monkeypatch, "no-index = yes", f"find-links = {link}")
        assert fetch(entry).read_bytes() == CONTENT
        (cache / "sound.npy").unlink()


def test_no_index_is_no_index(
    index: Site, packed: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert f"(pip is set up to ask no index (no-index), and no find-links has {ARCHIVE}; http" in refused(
        entry_of(packed)
    )
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    told = refused(entry_of(packed))
    assert "(no-index), and none of its find-links has" in told
    assert f"{tmp_path / 'index'} has no {ARCHIVE}" in told
    assert index.asked == []


def test_the_public_index_is_asked_where_no_other_is_named(
    packed: Path, cache: Path, tmp_path: Path, pip: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which it is, the library knows; here nobody gets there."""
    from pypi_simple import PYPI_SIMPLE_ENDPOINT

    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    assert f"({PYPI_SIMPLE_ENDPOINT}: no connection through the proxy; http" in refused(entry_of(packed))


def test_a_file_that_changed_in_the_cache(index: Site, packed: Path, cache: Path) -> None:
    fetch(entry_of(packed)).write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(FormatError, match=r"sound\.npy has the sha256 .*; delete it and run the same command again"):
        fetch(entry_of(packed))
