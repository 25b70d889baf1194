"""Targets that are written under an address are those of a folder, whatever fails and whoever is killed."""

import os
import signal
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier
from typing import Any, ClassVar

import fsspec
import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem

from soundnet_kd.commands.join import join
from soundnet_kd.data import Targets
from soundnet_kd.data.parts_index import PartsIndex
from soundnet_kd.data.target_clips import LabelledClip, LabelledVideo
from soundnet_kd.data.target_parts import PartPlace, part_file, part_files, write_part
from soundnet_kd.errors import FormatError, RunConflictError, SettingsError
from soundnet_kd.media import StoredMedia, remote
from soundnet_kd.media.block_cache import BlockCache
from soundnet_kd.media.output_folder import StoredFolder, output_folder
from soundnet_kd.media.uploading import create_object, put_object
from soundnet_kd.shards.shard import cut
from soundnet_kd.storage import read_json, write_json
from soundnet_kd.system.cache_folders import cache_folder
from soundnet_kd.teachers import Teacher, TeachResult, label_videos
from tests.kills import killed_before_change
from tests.media.faulty_proxy import Faults, proxy
from tests.processes import finish, start
from tests.stores import new_bucket, objects, s3_server, upload, use_s3
from tests.teachers.colours import NAMES, MeanColour, make_video, plain

TEACHER = Teacher(MeanColour(), plain, NAMES, {"network": "mean colour"})


def label(videos: Path | str, out: Path | str, shard: str | None = None) -> TeachResult:
    return label_videos(videos, {"objects": TEACHER}, out, shard=shard, videos_per_part=2)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(6):
        make_video(folder / f"{number}.mp4", [["red", "green", "blue"][number % 3], "green"])
    (folder / "4.mp4").write_text("this is no video")
    return folder


@pytest.fixture(scope="module")
def local(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return label(videos, tmp_path_factory.mktemp("local") / "out").out


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDNET_KD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "FIRST_PAUSE_SECONDS", 0.001)


@pytest.fixture
def out(s3: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Give an address that nothing is under."""
    use_s3(s3, monkeypatch)
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name.lower())
    return f"{new_bucket(name.strip('-')[:60])}/of me/targets"


def results(files: Mapping[str, bytes]) -> Mapping[str, bytes]:
    return {name: content for name, content in files.items() if not name.startswith(".")}


def files_of(folder: Path) -> Mapping[str, bytes]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return results({file.relative_to(folder).as_posix(): file.read_bytes() for file in files})


def require_as_local(out: str, local: Path) -> None:
    """Require the same files, and the same clips as they are read from there."""
    assert results(objects(out)) == files_of(local)
    found, expected = Targets(out), Targets(local)
    assert found.identity() == expected.identity()
    for clip, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(clip.sound, other.sound)
        np.testing.assert_array_equal(clip.distributions["objects"], other.distributions["objects"])


def test_a_run(videos: Path, local: Path, out: str) -> None:
    told = str(label(videos, out))
    assert f"wrote {out}: 5 clips of 5 videos, 1 refused (see {out}/failures.csv)" in told
    require_as_local(out, local)
    # What is there is not done again, and nothing is left on this machine.
    before = objects(out)
    assert label(videos, out).remembered == 1
    assert results(objects(out)) == results(before)
    assert not [path for path in (cache_folder() / "outputs").iterdir() if not path.name.startswith(".")]


def test_what_lies_there_is_a_folder_like_any_other(videos: Path, local: Path, out: str, tmp_path: Path) -> None:
    label(videos, out)
    for name, content in objects(out).items():
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / name).write_bytes(content)
    assert label(videos, tmp_path / "copy").remembered == 1
    assert files_of(tmp_path / "copy") == files_of(local)


def test_jobs(videos: Path, local: Path, out: str) -> None:
    """Of which one is done twice, and one by nobody but the run that joins all."""
    told = [str(label(videos, out, shard)) for shard in ("3/3", "1/3", "3/3")]
    assert f"1 of 3 are still missing; when all jobs have ended, `soundnet-kd join '{out}'` joins them" in told[1]
    assert f"`soundnet-kd join '{out}'` joins them" in told[2]
    assert "shards.json" in objects(out)
    label(videos, out)
    require_as_local(out, local)


def test_jobs_are_joined_without_videos(videos: Path, local: Path, out: str) -> None:
    label(videos, out, "1/2")
    with pytest.raises(
        RunConflictError, match=rf"^{out} lacks 1 of 3 shards \(those that begin with 2.mp4\), which are of"
    ):
        join(out)
    label(videos, out, "2/2")
    assert str(join(out)).startswith(f"wrote {out}: 5 clips of 5 videos, 1 refused")
    require_as_local(out, local)
    assert str(join(out)) == f"{out} has nothing to join: no jobs share it any more, and it holds 5 clips of 5 videos"
    with pytest.raises(FormatError, match=rf"^{out}/parts is not a targets folder"):
        join(f"{out}/parts")


def test_the_settings_of_the_first_of_sixty_hold(out: str) -> None:
    """They start at the same moment, each on a machine of its own."""

    def start_one(number: int) -> object:
        with output_folder(out, f"{number}-of-60") as folder:
            write_json(folder.path / "targets.json", {"value": number})
            folder.claim("targets.json")
            return read_json(folder.path / "targets.json")

    with ThreadPoolExecutor(60) as pool:
        found = list(pool.map(start_one, range(60)))
    assert found == 60 * [found[0]]


def test_other_settings_are_refused_by_the_address(videos: Path, out: str) -> None:
    label(videos, out)
    before = objects(out)
    with pytest.raises(RunConflictError, match=rf"^{out} already holds a different run \(frame_sampling.clips_per"):
        label_videos(videos, {"objects": TEACHER}, out, videos_per_part=2, clips_per_video=1)
    assert objects(out) == before


@pytest.fixture
def faults(out: str, s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    with proxy(s3) as faults:
        use_s3(faults.url, monkeypatch)
        yield faults


def test_what_fails_on_the_way_is_tried_again(faults: Faults, videos: Path, local: Path, out: str) -> None:
    faults.busy, faults.cut_uploads = 3, 4
    label(videos, out)
    assert (faults.busy, faults.cut_uploads) == (0, 0)
    require_as_local(out, local)


@pytest.mark.parametrize(
    "answer",
    [
        (400, "RequestTimeout"),
        (400, "IncompleteBody"),
        (400, "BadDigest"),
        (409, "ConditionalRequestConflict"),
        (409, "OperationAborted"),
        (503, "SlowDown"),
    ],
)
def test_what_a_store_asks_to_be_sent_again_is(answer: tuple[int, str], faults: Faults, out: str) -> None:
    faults.upload_answers = [answer]
    assert create_object(b"first", f"{out}/settings.json")
    assert faults.upload_answers == []
    assert not create_object(b"second", f"{out}/settings.json")
    assert objects(out) == {"settings.json": b"first"}


def test_a_store_that_hangs_up_is_not_asked_for_ever(faults: Faults, out: str, tmp_path: Path) -> None:
    (tmp_path / "part.h5").write_bytes(b"whole")
    faults.cut_uploads = 1000
    with pytest.raises(SettingsError, match=r"part\.h5 could not be written in 5 tries"):
        put_object(tmp_path / "part.h5", f"{out}/part.h5")
    # aiohttp asks once more by itself where a connection that it had kept is closed.
    assert 5 <= 1000 - faults.cut_uploads <= 10


def test_a_store_that_does_not_say_which_condition_failed(faults: Faults, videos: Path, local: Path, out: str) -> None:
    faults.is_terse = True
    label(videos, out, "1/2")
    label(videos, out, "2/2")
    label(videos, out)
    require_as_local(out, local)


def test_a_store_that_takes_nothing_more_ends_the_run(faults: Faults, videos: Path, local: Path, out: str) -> None:
    label(videos, out, "1/3")
    faults.cut_uploads = 1000
    with pytest.raises(SettingsError, match=rf"{out}/\S+ could not be written in 5 tries .*; run the same command"):
        label(videos, out, "2/3")
    faults.cut_uploads = 0
    label(videos, out)
    require_as_local(out, local)


def test_a_store_that_lets_nobody_in_is_told_at_once(faults: Faults, out: str, tmp_path: Path) -> None:
    faults.denied = True
    with pytest.raises(SettingsError, match="lets nobody in with these credentials"):
        label(tmp_path / "none", out)
    with pytest.raises(SettingsError, match="lets nobody in with these credentials"):
        Targets(out)


def killed_label(environment: Mapping[str, str], videos: Path, out: str, number: int) -> None:
    os.environ.update(environment)
    killed_before_change(cache_folder(), number)()
    label(videos, out)


@pytest.mark.parametrize("number", [5, 15, 25, 30])
def test_a_run_that_was_killed_ends_as_if_it_had_not_been(number: int, videos: Path, local: Path, out: str) -> None:
    assert finish(start(killed_label, dict(os.environ), videos, out, number)) == -signal.SIGKILL
    label(videos, out)
    require_as_local(out, local)


class Meeting(BlockCache):
    """Of which the first two that fetch wait for each other."""

    def __init__(self) -> None:
        super().__init__()
        self.barrier = Barrier(2)
        self.first = {1, 2}

    def fetch(self, source: StoredMedia, first: int, end: int) -> dict[int, bytes]:
        with suppress(KeyError):
            self.first.pop()
            self.barrier.wait(60)
        return super().fetch(source, first, end)


def test_parts_are_fetched_side_by_side(out: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(24):
        name = f"{number:02}.mp4"
        clip = LabelledClip(
            name,
            0.0,
            rng.integers(-99, 99, 300_000 + number, np.int16),
            np.array([2.5]),
            {"objects": np.full((1, 3), 1 / 3, np.float32)},
        )
        video = LabelledVideo(name, "", 13.0, 0.0, 0.0, 0.0)
        path = tmp_path / part_file(Path(), cut([name], [Path(name)], 1)[0].name)
        write_part(path, [clip], {"objects": NAMES}, 22_050, {}, [video])
    damaged = part_files(tmp_path)[7]
    damaged.write_bytes(damaged.read_bytes()[:1000])
    upload(tmp_path / "parts", f"{out}/parts")
    told: list[PartPlace] = []
    found = PartsIndex.of(out, told.append, Meeting())
    assert [place.name for place in told] == [damaged.name]
    damaged.unlink()
    expected = PartsIndex.of(tmp_path)
    assert [(part.file, part.bytes, part.videos) for part in found.parts] == [
        (part.file, part.bytes, part.videos) for part in expected.parts
    ]
    assert len(found.parts) == 23


def test_other_machines_make_parts_in_their_cache(out: str, tmp_path: Path) -> None:
    """What was killed there, long ago, is removed by the next."""
    folder = StoredFolder(out, tmp_path / "of another machine")
    work = cache_folder() / "outputs"
    long_ago, lately = work / "soundnet_kd-part-long-ago", work / "soundnet_kd-part-lately"
    for left in (long_ago, lately):
        (left / "parts").mkdir(parents=True)
    os.utime(long_ago, (0, 0))
    with folder.writing("parts/part-1.h5") as path:
        assert path.is_relative_to(work)
        path.write_bytes(b"a part")
    assert objects(out) == {"parts/part-1.h5": b"a part"}
    assert list(work.iterdir()) == [lately]


class Disk(LocalFileSystem):  # type: ignore[misc]
    """A store that shows files while they are written, renames them, and knows no conditions."""

    protocol = "disk"
    seen: ClassVar[list[str]] = []

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        return f"/{str(path).removeprefix('disk://').strip('/')}"

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        self.seen.append(rpath)
        super().put_file(lpath, rpath, **options)

    def pipe_file(self, path: str, value: bytes, **options: Any) -> None:
        if options:
            raise TypeError(f"no such options: {options}")
        self.seen.append(path)
        self.makedirs(path.rpartition("/")[0], exist_ok=True)
        Path(path).write_bytes(value)


def test_a_store_that_shows_half_of_a_file(videos: Path, local: Path, tmp_path: Path) -> None:
    fsspec.register_implementation("disk", Disk, clobber=True)
    Disk.seen.clear()
    out = f"disk://{tmp_path}/out"
    label(videos, out, "1/2")
    label(videos, out)
    label(videos, out)
    assert files_of(tmp_path / "out") == files_of(local)
    assert len(Targets(out)) == 5
    assert len([name for name in Disk.seen if "/parts/" in name]) == 3
    assert all(Path(name).name.startswith(".partial-") for name in Disk.seen)
    assert not list((tmp_path / "out").rglob(".partial-*"))


def test_a_bucket_that_is_not_there_is_told_before_anything_else(out: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"s3://nobody-has-this/x/targets\.json: there is no such bucket"):
        label(tmp_path / "none", "s3://nobody-has-this/x")
    with pytest.raises(SettingsError, match="is on a web server, which takes no files; give --out a path, or s3://"):
        label(tmp_path / "none", "https://nobody.invalid/x")
