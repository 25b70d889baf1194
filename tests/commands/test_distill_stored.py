"""A student that learns from targets under an address is the one that learns from a copy of them on this machine."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from h5py._objects import phil

from soundnet_kd.cli import main
from soundnet_kd.data import Targets
from soundnet_kd.data.parts_index import PartsIndex
from soundnet_kd.data.target_parts import part_files
from soundnet_kd.errors import FormatError, GivenUpError, SettingsError
from soundnet_kd.media import block_cache, remote
from soundnet_kd.system.cache_folders import cache_folder
from tests.media.faulty_proxy import Faults, proxy
from tests.processes import run_command
from tests.stops import killed_at_checkpoint
from tests.stores import new_bucket, s3_server, upload, use_s3
from tests.targets import make_clip, make_targets

pytestmark = pytest.mark.usefixtures("small_soundnet8")

OPTIONS = [
    *("--steps", "8", "--batch_size", "2", "--held_out", "0.2", "--device", "cpu"),
    *("--augmentation.mix", "0.5", "--augmentation.join", "true"),
]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    clips = [make_clip(f"{number}.mp4", 1 + number % 4, rng) for number in range(8)]
    return make_targets(tmp_path_factory.mktemp("targets"), clips, clips_per_part=2)


@pytest.fixture(scope="module")
def of_local(local: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    out = tmp_path_factory.mktemp("run")
    assert main(["distill", str(local), "--out", str(out), *OPTIONS]) == 0
    return (out / "student.safetensors").read_bytes()


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def faults(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    monkeypatch.setenv("SOUNDNET_KD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "FIRST_PAUSE_SECONDS", 0.001)
    with proxy(s3) as faults:
        use_s3(faults.url, monkeypatch)
        yield faults


@pytest.fixture
def stored(faults: Faults, local: Path, request: pytest.FixtureRequest) -> str:
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name.lower())
    return upload(local, f"{new_bucket(name.strip('-')[:60])}/targets")


def asked_for_parts(faults: Faults) -> int:
    return sum(each.startswith("GET") and "/parts/part-" in each for each in faults.asked)


@pytest.mark.parametrize("more", [[], ["--workers", "2"], ["--cache_gigabytes", "0.002"]], ids=["", "workers", "small"])
def test_it_is_the_same_student(
    more: list[str], faults: Faults, stored: str, local: Path, of_local: bytes, tmp_path: Path
) -> None:
    """However little of the targets the cache holds; where it holds them all, they are fetched once."""
    faults.busy, faults.cuts = 2, 2
    assert main(["distill", stored, "--out", str(tmp_path / "run"), *OPTIONS, *more]) == 0
    assert (tmp_path / "run" / "student.safetensors").read_bytes() == of_local
    kept = [file for file in (cache_folder() / "objects").iterdir() if not file.name.startswith(".")]
    size = sum(file.stat().st_blocks * 512 for file in kept)
    if "--cache_gigabytes" in more:
        assert 0 < size <= 2e6 < Targets(local).bytes
        return
    assert len(kept) == 4
    faults.asked.clear()
    assert main(["distill", stored, "--out", str(tmp_path / "again"), *OPTIONS, *more]) == 0
    assert (tmp_path / "again" / "student.safetensors").read_bytes() == of_local
    assert asked_for_parts(faults) == 0


def test_a_run_that_was_killed_goes_on_from_either(stored: str, local: Path, of_local: bytes, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name.startswith(("AWS", "SOUNDNET"))}
    for first, second in ((stored, stored), (stored, str(local)), (str(local), stored)):
        out = tmp_path / f"{first == stored}{second == stored}"
        stop = Prepared(environment, killed_at_checkpoint(out / "checkpoints", small=True))
        arguments = ["distill", first, "--out", str(out), *OPTIONS, "--checkpoint_minutes", "0"]
        assert run_command(arguments, tmp_path / "log.txt", stop) == -signal.SIGKILL
        assert main(["distill", second, "--out", str(out), *OPTIONS]) == 0
        assert (out / "student.safetensors").read_bytes() == of_local


class Prepared:
    """What sets variables in a process before it does something else."""

    def __init__(self, environment: dict[str, str], then: Callable[[], None]) -> None:
        self.environment = environment
        self.then = then

    def __call__(self) -> None:
        os.environ.update(self.environment)
        self.then()


def test_parts_that_are_indexed_are_not_opened(faults: Faults, stored: str, local: Path) -> None:
    """By the index that a run under the address wrote, or one of a folder that was copied there."""
    expected = Targets(local).identity()
    assert Targets(stored).identity() == expected
    bucket = stored.removeprefix("s3://").partition("/")[0]
    for versions in (False, True):
        index = PartsIndex.of(stored if versions else local)
        index.write(local)
        boto3.client("s3").upload_file(str(local / ".index.h5"), bucket, "targets/.index.h5")
        (local / ".index.h5").unlink()
        faults.asked.clear()
        assert [part.clips for part in PartsIndex.of(stored).parts] == [2, 2, 2, 2]
        assert asked_for_parts(faults) == 0
    # A part that is another one now is opened.
    boto3.client("s3").upload_file(str(part_files(local)[0]), bucket, "targets/parts/part-00003.h5")
    assert PartsIndex.of(stored).parts[3].videos == ("0.mp4", "1.mp4")
    assert Targets(stored)[6].source == "0.mp4"
    assert asked_for_parts(faults) > 0


def test_h5py_is_free_for_others_while_something_is_fetched(
    stored: str, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is fetched comes through another thread, in which Python may find a file of h5py's to close."""
    was_free, read = [], remote.read_object

    def use_h5py() -> None:
        with phil:
            pass

    def noted(*arguments: Any) -> bytes:
        thread = threading.Thread(target=use_h5py, daemon=True)
        thread.start()
        thread.join(10)
        was_free.append(not thread.is_alive())
        return read(*arguments)

    monkeypatch.setattr(block_cache, "read_object", noted)
    for found, expected in zip(Targets(stored), Targets(local), strict=True):
        np.testing.assert_array_equal(found.sound, expected.sound)
    assert len(was_free) >= 8
    assert all(was_free)


def test_what_cannot_be_read_is_one_line(faults: Faults, stored: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"s3://.*/nothing is not a targets folder \(no targets.json\)"):
        Targets(stored.replace("targets", "nothing"))
    with pytest.raises(SettingsError, match="cache_gigabytes is -1; it has to be above 0"):
        Targets(stored, cache_gigabytes=-1)
    targets = Targets(stored)
    faults.busy = 1000
    with pytest.raises(GivenUpError, match=r"parts/part-0000.\.h5 could not be fetched in 5 tries"):
        targets[5]
    faults.busy = 0
    assert targets[5].source == "5.mp4"
