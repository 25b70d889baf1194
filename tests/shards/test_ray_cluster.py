"""Finding a Ray cluster, and what there is room for on it."""

import multiprocessing
import os
import subprocess
import sys
import time
from collections import Counter
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from soundnet_kd.errors import SettingsError
from soundnet_kd.shards.ray_cluster import Machine, _token, connect, places, require_sizes

pytest.importorskip("ray")
HEAD, BIG, SMALL = Machine("a", "head", 0, 0), Machine("b", "big", 16, 4), Machine("c", "small", 4, 0)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "no Ray cluster answers at 127.0.0.1:1; start it with `ray start --head`"),
        ("nowhere", "the address of a Ray cluster is HOST:PORT, such as 10.0.0.1:6379, or auto, not 'nowhere'"),
        ("ray://127.0.0.1:10001", "run the command on a machine of the cluster"),
    ],
)
def test_where_there_is_no_cluster_is_told_at_once(address: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message), connect(address):
        pass


def test_without_ray_the_extra_is_named(tmp_path: Path) -> None:
    script = (
        "import sys\nsys.modules['ray'] = None\nfrom soundnet_kd.shards.ray_cluster import connect\n"
        "with connect(None):\n    pass\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert 'pip install "soundnet-kd[ray]"' in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("gpus", "networks", "wanted"),
    [
        (0, None, {"b": 1, "c": 1}),
        (1, None, {"b": 4}),
        (0.5, None, {"b": 8}),
        (0.3, None, {"b": 13}),
        (1, 3, {"b": 3}),
        (0, 1, {"b": 1}),
        (0, 7, {"b": 4, "c": 3}),
        (0, 99, {"b": 16, "c": 4}),
        (8, None, {}),
    ],
)
def test_processes_with_networks_are_spread(gpus: float, networks: int | None, wanted: dict[str, int]) -> None:
    assert +places([HEAD, BIG, SMALL], gpus, networks) == Counter(wanted)


def test_a_cluster_without_cpus_cannot_decode() -> None:
    with pytest.raises(SettingsError, match="has no CPU to decode with; start a machine of it with --num-cpus"):
        require_sizes([HEAD], 0, None, None)


def test_a_ray_of_its_own_is_for_nobody_else_and_ends_with_the_block(tmp_path: Path) -> None:
    script = (
        "import os\nfrom pathlib import Path\nfrom soundnet_kd.shards.ray_cluster import connect\n"
        "with connect(None, Path('out')) as cluster:\n"
        "    print(len(cluster.machines()), os.environ['RAY_AUTH_MODE'], *os.listdir('out'))\n"
        "print(cluster.ray.is_initialized(), *os.listdir('out'))\n"
    )
    unset = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, env=unset)
    first, second = done.stdout.splitlines()
    assert first.startswith("1 token .seen-"), done.stderr
    assert second == "False"
    assert done.stderr == ""


def see(out: Path, seen: Event) -> None:
    with _token(out):
        seen.set()
        time.sleep(600)


def test_what_killed_processes_left_to_be_seen_is_removed_by_the_next_one(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    others = []
    for _ in range(2):
        seen = context.Event()
        others.append(context.Process(target=see, args=(tmp_path, seen)))
        others[-1].start()
        assert seen.wait(60)
    others[0].kill()
    others[0].join()
    assert len(list(tmp_path.iterdir())) == 2
    with _token(tmp_path) as token:
        # That of the one which lives stays.
        assert len(list(tmp_path.iterdir())) == 2
        assert token.exists()
    others[1].kill()
    others[1].join()
    with _token(tmp_path) as token:
        assert list(tmp_path.iterdir()) == [token]
    assert not list(tmp_path.iterdir())
