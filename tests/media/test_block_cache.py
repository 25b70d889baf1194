"""Large objects read in parts through a folder of bounded size: right bytes, each fetched once, whoever reads."""

import logging
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path

import boto3
import numpy as np
import pytest

from soundnet_kd.errors import GivenUpError, SettingsError
from soundnet_kd.media import StoredMedia, block_cache, remote
from soundnet_kd.media.block_cache import BlockCache, CachedObject
from tests.media.faulty_proxy import Faults, proxy
from tests.stores import new_bucket, s3_server, use_s3

BLOCK = 2**12
SIZE = 16 * BLOCK + 17


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(block_cache, "BLOCK_BYTES", BLOCK)


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def faults(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    with proxy(s3) as faults:
        use_s3(faults.url, monkeypatch)
        new_bucket("blocks")
        yield faults


def put(name: str, seed: int) -> bytes:
    content = np.random.default_rng(seed).bytes(SIZE)
    boto3.client("s3").put_object(Bucket="blocks", Key=name, Body=content)
    return content


def cache_of(folder: Path, limit: float = 10 * SIZE) -> BlockCache:
    return BlockCache(limit / 1e9, folder)


def open_object(name: str, cache: BlockCache) -> CachedObject:
    return CachedObject.of(StoredMedia(f"s3://blocks/{name}"), cache)


def used(folder: Path) -> int:
    """Measure what a folder takes on the disk."""
    total = 0
    for file in folder.iterdir():
        # Another process may have removed it.
        with suppress(FileNotFoundError):
            total += file.stat().st_blocks * 512
    return total


def test_any_part_is_right_and_each_block_is_fetched_once(faults: Faults, tmp_path: Path) -> None:
    content = put("a", 0)
    rng = np.random.default_rng(1)
    stored = open_object("a", cache_of(tmp_path))
    faults.asked.clear()
    with stored.open() as file:
        for start, count in rng.integers(0, (SIZE + 10, 3 * BLOCK), (300, 2)):
            assert file.seek(start) == start
            assert file.read(count) == content[start : start + count]
        assert file.seek(-5, os.SEEK_END) == SIZE - 5
        assert file.read() == content[-5:]
    assert len(faults.asked) <= 17
    faults.asked.clear()
    with open_object("a", cache_of(tmp_path)).open() as file:
        assert file.read() == content
    # Its size and its version.
    assert len(faults.asked) == 1


def test_of_what_changed_nothing_old_is_read(faults: Faults, tmp_path: Path) -> None:
    for seed in range(2):
        content = put("a", seed)
        assert open_object("a", cache_of(tmp_path)).open().read() == content


def test_what_is_damaged_on_the_disk_is_fetched_again(faults: Faults, tmp_path: Path) -> None:
    content = put("a", 0)
    stored = open_object("a", cache_of(tmp_path))
    assert stored.open().read() == content
    [kept] = (file for file in tmp_path.iterdir() if not file.name.startswith("."))
    with kept.open("r+b") as file:
        file.seek(5 * BLOCK)
        file.write(b"wrong")
    assert stored.open().read() == content
    os.truncate(kept, SIZE + 30)
    assert stored.open().read() == content
    os.truncate(kept, 3)
    assert stored.open().read() == content


def test_what_fails_on_the_way_is_tried_again(faults: Faults, tmp_path: Path) -> None:
    content = put("a", 0)
    stored = open_object("a", cache_of(tmp_path))
    faults.busy, faults.cuts = 2, 2
    assert stored.open().read() == content
    assert (faults.busy, faults.cuts) == (0, 0)
    faults.busy = 1000
    assert stored.open().read() == content
    with pytest.raises(GivenUpError, match="could not be fetched in 5 tries"):
        open_object("b", cache_of(tmp_path))


def test_the_folder_stays_below_its_limit_and_keeps_what_was_used_last(faults: Faults, tmp_path: Path) -> None:
    cache = cache_of(tmp_path, 5.2 * SIZE)
    contents = {f"{number}": put(f"{number}", number) for number in range(8)}
    objects = {name: open_object(name, cache) for name in contents}
    for name in (*"0123", *"0415", *"0627"):
        assert objects[name].open().read() == contents[name]
        assert used(tmp_path) <= cache.limit
    faults.asked.clear()
    for name in "072":
        assert objects[name].open().read() == contents[name]
    assert not faults.asked
    assert objects["3"].open().read() == contents["3"]
    assert faults.asked
    # A smaller limit holds from the next block on.
    smaller = cache_of(tmp_path, 1.5 * SIZE)
    assert open_object("5", smaller).open().read() == contents["5"]
    assert used(tmp_path) <= smaller.limit


def read_all(folder: Path, limit: float, size: int, seed: int) -> int:
    """Read parts of objects in an order of its own, and give how large the folder was at most."""
    block_cache.BLOCK_BYTES = size
    cache = cache_of(folder, limit)
    contents = [np.random.default_rng(number).bytes(SIZE) for number in range(6)]
    objects = [open_object(f"{number}", cache) for number in range(6)]
    rng = np.random.default_rng(seed)
    largest = 0
    for number, start in zip(rng.integers(0, 6, 150), rng.integers(0, SIZE, 150), strict=True):
        with objects[number].open() as file:
            file.seek(start)
            assert file.read(2 * BLOCK) == contents[number][start : start + 2 * BLOCK]
        largest = max(largest, used(folder))
    return largest


def test_processes_share_it(faults: Faults, tmp_path: Path) -> None:
    for number in range(6):
        put(f"{number}", number)
    limit = 4 * SIZE
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
        largest = list(pool.map(read_all, 4 * [tmp_path], 4 * [limit], 4 * [BLOCK], range(4)))
    assert limit / 2 < max(largest) <= limit


def test_a_disk_that_takes_nothing_only_costs_time(
    faults: Faults, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = put("a", 0)
    (tmp_path / "file").touch()
    stored = open_object("a", cache_of(tmp_path / "file" / "folder"))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert stored.open().read() == content
    [told] = (record.getMessage() for record in caplog.records if record.name == block_cache.__name__)
    assert "cannot be written to" in told
    with pytest.raises(SettingsError, match="cache_gigabytes is 0; it has to be above 0"):
        BlockCache(0)
