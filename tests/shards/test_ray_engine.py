"""Shards on a Ray cluster of three nodes: equal to those of the plain run, whatever is lost on the way."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from soundnet_kd.errors import SettingsError, SoundNetKDError
from soundnet_kd.media import write_audio
from soundnet_kd.shards.here import do_here
from soundnet_kd.shards.ray_cluster import connect
from soundnet_kd.shards.ray_engine import do_on_ray, on_ray
from soundnet_kd.shards.shard import Shard, ShardResult, cut
from soundnet_kd.storage import read_json
from soundnet_kd.system.machine_errors import MachineError
from tests.shards.clusters import Nodes, nodes, wait_until
from tests.shards.levels import RATE, Levels, read_parts

pytest.importorskip("ray")
IDS = [f"{number}.wav" for number in range(36)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    # One connection for all tests spares each of them the start of new processes.
    with nodes() as found, connect(found.address):
        yield found


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    random_numbers = np.random.default_rng(0)
    for number, name in enumerate((*IDS, "die.wav", "lose.wav", "hang.wav", "full.wav")):
        noise = random_numbers.normal(0, 0.1, RATE + 100 * number).astype(np.float32)
        write_audio(folder / name, noise, RATE)
    (folder / "broken.wav").write_bytes(b"no sound")
    return folder


def shards_of(sounds: Path, ids: list[str], size: int = 4) -> list[Shard]:
    return cut(ids, [sounds / each for each in ids], size)


def has_done(number: int, work: Levels, process: "subprocess.Popen[str]") -> bool:
    """Tell whether so many shards are done, or never will be."""
    return len(read_parts(work)) >= number or process.poll() is not None


def run(work: Levels, shards: list[Shard], cluster: Nodes, **options: Any) -> list[ShardResult]:
    return list(do_on_ray(work, shards, out=work.folder, address=cluster.address, **options))


def run_on_their_own(
    work: Levels, shards: list[Shard], cluster: Nodes, deadline_minutes: float = 10
) -> list[ShardResult]:
    """Do shards on machines of two CPUs that decode six files of their own at a time."""
    with on_ray(work.folder, cluster.address) as engine:
        return list(engine.do(work, shards, deadline_minutes, burst=lambda workers: 3 * workers))


def test_the_results_are_those_of_the_plain_run(cluster: Nodes, sounds: Path, tmp_path: Path) -> None:
    shards = shards_of(sounds, [*IDS[:18], "die.wav", "broken.wav", *IDS[18:]])
    here, there = Levels(tmp_path / "here"), Levels(tmp_path / "there")
    wanted = list(do_here(here, shards, tmp_path / "decoded", workers=1))
    found = run(there, shards, cluster)
    assert sorted(found, key=lambda each: each.name) == sorted(wanted, key=lambda each: each.name)
    assert read_parts(there) == read_parts(here)
    failures = {name: reason for result in found for name, reason in result.failures.items()}
    assert failures.keys() == {"die.wav", "broken.wav"}
    assert "die.wav made the process that decoded it die (SIGSEGV)" in failures["die.wav"]
    # All is done, and nothing else was left there.
    assert run(there, shards, cluster) == []
    assert sorted(each.name for each in there.folder.iterdir()) == sorted(read_parts(there))


def test_machines_that_decode_their_own_files_give_the_same(cluster: Nodes, sounds: Path, tmp_path: Path) -> None:
    """In bursts, of which a shard holds one and a part of another."""
    shards = shards_of(sounds, [*IDS[:7], "die.wav", "broken.wav", *IDS[7:]], size=10)
    here, there = Levels(tmp_path / "here"), Levels(tmp_path / "there")
    wanted = list(do_here(here, shards, tmp_path / "decoded", workers=1))
    found = run_on_their_own(there, shards, cluster)
    assert sorted(found, key=lambda each: each.name) == sorted(wanted, key=lambda each: each.name)
    assert read_parts(there) == read_parts(here)


def test_machines_whose_bursts_no_shard_fills_have_their_files_decoded_anywhere(
    cluster: Nodes, sounds: Path, tmp_path: Path
) -> None:
    """By Ray's processes, which the file takes along."""
    (result,) = run_on_their_own(Levels(tmp_path / "there"), shards_of(sounds, [*IDS[:3], "lose.wav"]), cluster)
    assert result.failures["lose.wav"].startswith("lose.wav was decoded 5 times when the process")
    with pytest.raises(SoundNetKDError, match=r"processes with networks were lost at the 6 files from 0\.wav on"):
        # Here by that of the network.
        run_on_their_own(Levels(tmp_path / "other"), shards_of(sounds, [*IDS[:5], "lose.wav"], size=6), cluster)


def test_what_ends_a_run_ends_it_where_machines_decode_their_own_files(
    cluster: Nodes, sounds: Path, tmp_path: Path
) -> None:
    """In one line, as everywhere, with files still in work; and what hangs has its deadline."""
    with pytest.raises(MachineError, match=r"the disk is full .*; make room"):
        run_on_their_own(Levels(tmp_path / "full"), shards_of(sounds, ["full.wav", *IDS[:11]], size=12), cluster)
    shards = shards_of(sounds, IDS[:12], size=12)
    shards[0] = Shard(0, ("raises", *shards[0].ids[1:]), shards[0].sources)
    with pytest.raises(SoundNetKDError, match=r"an error of the worker .*\(on .*\)"):
        run_on_their_own(Levels(tmp_path / "raises", fails="raises"), shards, cluster)
    (result,) = run_on_their_own(
        Levels(tmp_path / "hangs"), shards_of(sounds, [*IDS[:3], "hang.wav", *IDS[3:8]], size=9), cluster, 0.05
    )
    assert result.failures["hang.wav"].startswith("hang.wav was not decoded within 0.05 minutes")
    assert result.used == 8


def test_lost_nodes_cost_nothing(cluster: Nodes, sounds: Path, tmp_path: Path) -> None:
    """Some are lost at random moments, all but the head at once among them, and others come."""
    moments = random.Random(0)
    sources = shards_of(sounds, IDS * 2, size=3)
    shards = [Shard(each.first, tuple(f"{each.first}-{name}" for name in each.ids), each.sources) for each in sources]
    work = Levels(tmp_path / "there", seconds=0.05)
    found = []
    for number, result in enumerate(do_on_ray(work, shards, out=work.folder, address=cluster.address)):
        found.append(result)
        if number in (2, 8):
            time.sleep(moments.uniform(0, 1))
            for node in cluster.others[: moments.randint(1, 2)]:
                cluster.lose(node)
        if number == 5:
            cluster.fill()
    cluster.fill()
    assert sorted(each.name for each in found) == sorted(shard.name for shard in shards)
    assert not any(each.failures for each in found)
    here = Levels(tmp_path / "here")
    list(do_here(here, shards, tmp_path / "decoded", workers=1))
    assert read_parts(work) == read_parts(here)


def test_a_machine_that_comes_is_not_waited_for(cluster: Nodes, tmp_path: Path) -> None:
    """It starts processes and looks around, while the others are given work."""
    cluster.fill()
    with connect(cluster.address, tmp_path) as found:
        before = found.machines()
        assert {*found.alike(before)} == {*before}
        cluster.add()
        wait_until(lambda: len(found.machines()) == len(before) + 1)
        assert {*found.alike(found.machines())} == {*before}
        wait_until(lambda: len(found.alike(found.machines())) == len(before) + 1)
    cluster.lose(cluster.others[-1])


def test_a_process_that_ends_while_it_writes_costs_nothing(cluster: Nodes, sounds: Path, tmp_path: Path) -> None:
    shards = shards_of(sounds, ["ends-once", *IDS[1:12]])
    shards[0] = Shard(0, shards[0].ids, (sounds / IDS[0], *shards[0].sources[1:]))
    work = Levels(tmp_path / "there", fails="ends-once")
    assert len(run(work, shards, cluster)) == len(shards)
    assert (work.folder / "ended").exists()
    assert all(read_json(work.file(shard)) for shard in shards)


def test_a_shard_that_ends_its_process_again_and_again_ends_the_run(
    cluster: Nodes, sounds: Path, tmp_path: Path
) -> None:
    shards = shards_of(sounds, ["ends", *IDS[1:4]])
    shards[0] = Shard(0, shards[0].ids, (sounds / IDS[0], *shards[0].sources[1:]))
    with pytest.raises(
        SoundNetKDError, match="3 processes with networks were lost at the 4 files from ends on"
    ) as told:
        run(Levels(tmp_path / "there", fails="ends"), shards, cluster)
    assert "\n" not in str(told.value)


def test_what_a_process_raises_ends_the_run_in_one_line(cluster: Nodes, sounds: Path, tmp_path: Path) -> None:
    shards = shards_of(sounds, ["raises", *IDS[1:4]])
    shards[0] = Shard(0, shards[0].ids, (sounds / IDS[0], *shards[0].sources[1:]))
    with pytest.raises(SoundNetKDError, match=r"an error of the worker .*\(on .*\)") as told:
        run(Levels(tmp_path / "there", fails="raises"), shards, cluster)
    assert "\n" not in str(told.value)
    assert "ZeroDivisionError" in "".join(told.value.__notes__)


def test_a_full_disk_is_not_the_fault_of_a_sound(cluster: Nodes, sounds: Path, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"the disk is full .*; make room"):
        run(Levels(tmp_path / "there"), shards_of(sounds, [*IDS[:3], "full.wav"]), cluster)


def test_a_sound_that_hangs_has_a_deadline(cluster: Nodes, sounds: Path, tmp_path: Path) -> None:
    work = Levels(tmp_path / "there")
    (result,) = run(work, shards_of(sounds, [IDS[0], "hang.wav", *IDS[1:3]]), cluster, deadline_minutes=0.05)
    assert result.failures.keys() == {"hang.wav"}
    assert result.failures["hang.wav"].startswith("hang.wav was not decoded within 0.05 minutes")
    assert result.used == 3


def test_what_is_decoded_may_be_larger_than_rays_memory(cluster: Nodes, tmp_path: Path) -> None:
    """Of 100 MB, of which two sounds take 240."""
    write_audio(tmp_path / "long.wav", np.full(30_000_000, 0.25, np.float32), RATE)
    sources = (tmp_path / "long.wav",) * 2
    work = Levels(tmp_path / "there")
    (result,) = run(work, [Shard(0, ("first", "second"), sources)], cluster)
    assert result.used == 2
    (part,) = map(json.loads, read_parts(work).values())
    assert part == {"levels": dict.fromkeys(("first", "second"), pytest.approx(0.25, rel=1e-3)), "failures": {}}


@pytest.mark.usefixtures("signals_heeded")
def test_a_run_that_was_killed_goes_on(cluster: Nodes, sounds: Path, tmp_path: Path) -> None:
    # Long enough for the moment between its first shard and its last not to be missed on a busy machine.
    work = Levels(tmp_path / "there", seconds=0.5)
    script = (
        "import sys\nfrom pathlib import Path\nfrom tests.shards.test_ray_engine import *\n"
        f"work = Levels(Path({str(work.folder)!r}), seconds=0.5)\n"
        f"shards = shards_of(Path({str(sounds)!r}), IDS)\n"
        f"list(do_on_ray(work, shards, address={cluster.address!r}))\n"
    )
    shards = shards_of(sounds, IDS)
    for number in (signal.SIGKILL, signal.SIGINT):
        process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
        wait_until(partial(has_done, len(read_parts(work)) + 1, work, process))
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
        assert process.returncode == -number, told
    assert "KeyboardInterrupt" in told
    left = {shard.name for shard in shards if not work.is_done(shard)}
    assert 0 < len(left) < len(shards)
    assert {each.name for each in run(work, shards, cluster)} >= left
    here = Levels(tmp_path / "here")
    list(do_here(here, shards, tmp_path / "decoded", workers=1))
    assert read_parts(work) == read_parts(here)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"networks": 7}, "networks is 7; the Ray cluster has 6 CPUs, which is enough for 6"),
        ({"decoders": 7}, "decoders is 7; the Ray cluster has 6 CPUs, each of which decodes one file"),
        ({"networks": 3, "decoders": 2}, "decoders is 2 and networks 3; each of these needs one that decodes for it"),
        ({"networks": 0}, "networks is 0; it has to be at least 1"),
        ({"gpus_per_network": 1}, "the Ray cluster has 0 GPUs, but a network is to have 1; use --device cpu"),
        ({"deadline_minutes": 0}, "deadline_minutes is 0; it has to be above 0"),
    ],
)
def test_sizes_that_there_is_no_room_for_are_refused(
    cluster: Nodes, sounds: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        run(Levels(tmp_path / "there"), shards_of(sounds, IDS), cluster, **options)


def test_sizes_may_be_given(cluster: Nodes, sounds: Path, tmp_path: Path) -> None:
    work = Levels(tmp_path / "there")
    assert len(run(work, shards_of(sounds, IDS), cluster, networks=2, decoders=2)) == 9


def test_a_node_that_does_not_see_the_files_is_named(cluster: Nodes, tmp_path: Path) -> None:
    # Each process has another folder by this name.
    mine = Path(f"/proc/self/task/{os.getpid()}/comm")
    with pytest.raises(SettingsError, match=r"the machine .* of the Ray cluster does not see /proc/self/.*; put it on"):
        run(Levels(tmp_path / "there"), [Shard(0, ("comm",), (mine,))], cluster)


def test_a_node_of_another_version_is_named(cluster: Nodes, sounds: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "av-0.1.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: av\nVersion: 0.1\n")
    node = cluster.add(env_vars={"PYTHONPATH": f"{other.parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"})
    try:
        with pytest.raises(SettingsError, match=r"the machine .* has av 0\.1 \(here .*\); install the same version"):
            run(Levels(tmp_path / "there"), shards_of(sounds, IDS), cluster)
    finally:
        cluster.lose(node)


def test_a_head_that_is_lost_ends_the_run_which_goes_on_with_another(sounds: Path, tmp_path: Path) -> None:
    work = Levels(tmp_path / "there", seconds=0.1)
    shards = shards_of(sounds, IDS)
    script = (
        "import sys\nfrom pathlib import Path\nfrom soundnet_kd.errors import SoundNetKDError\n"
        "from soundnet_kd.shards import ray_engine\nfrom tests.shards.test_ray_engine import *\n"
        "ray_engine.HEAD_SECONDS = 1\n"
        f"work = Levels(Path({str(work.folder)!r}), seconds=0.1)\n"
        f"shards = shards_of(Path({str(sounds)!r}), IDS)\n"
        "try:\n    list(do_on_ray(work, shards, address=sys.argv[1]))\n"
        "except SoundNetKDError as error:\n    print(error)\n"
    )
    with nodes(others=0) as other:
        process = subprocess.Popen(
            [sys.executable, "-c", script, other.address], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        wait_until(partial(has_done, 1, work, process))
        other.lose_head()
        told, errors = process.communicate(timeout=120)
        assert told.startswith("the head of the Ray cluster at"), errors
    with nodes(others=0) as other:
        run(work, shards, other)
    here = Levels(tmp_path / "here")
    list(do_here(here, shards, tmp_path / "decoded", workers=1))
    assert read_parts(work) == read_parts(here)
