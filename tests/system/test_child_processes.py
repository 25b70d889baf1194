"""Processes that work for a run end with it, and leave signals to it, under every way of starting them."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def loader_of_targets(folder: Path) -> DataLoader[Any]:
    """Give that of a distillation."""
    from soundnet_kd.data import Targets
    from soundnet_kd.distill.data import TargetsDataModule
    from tests.targets import make_clip, make_targets

    rng = np.random.default_rng(0)
    targets = Targets(make_targets(folder / "targets", [make_clip(f"{number}.mp4", 1, rng) for number in range(4)]))
    return TargetsDataModule(targets, batch_size=2, steps=10_000, held_out=0.0, workers=1).train_dataloader()


def loader_of_pieces(folder: Path) -> DataLoader[Any]:
    """Give that of a network that learns from labelled sounds."""
    from soundnet_kd.media import RawAudioFile
    from soundnet_kd.training.classification import BatchesDataModule
    from soundnet_kd.training.segments import LabelledSounds, SlidingDataset

    np.zeros(2000, np.float32).tofile(folder / "sound.f32")
    sounds = LabelledSounds([RawAudioFile(folder / "sound.f32")], np.eye(2, dtype=np.float32)[:1], 22_050, 1000)
    dataset = SlidingDataset(sounds, None, seed=0, repeat=True)
    return BatchesDataModule(dataset, None, batch_size=2, steps=10_000, workers=1).train_dataloader()


def say(*words: object) -> None:
    sys.stdout.write(f"{' '.join(map(str, words))}\n")
    sys.stdout.flush()


def read_on(method: str, kind: str, folder: Path) -> None:
    """Read batches until killed; say who reads, and when it has gone on for a while."""
    multiprocessing.set_start_method(method)
    loader = {"targets": loader_of_targets, "pieces": loader_of_pieces}[kind](folder)
    for number, _ in enumerate(loader):
        if number == 0:
            say(*(child.pid for child in multiprocessing.active_children()))
        # More than was read ahead.
        elif number == 100:
            say("went", "on")
        time.sleep(0.01)


def running(pid: int) -> bool:
    """Tell whether a process is there and not merely waiting to be told of."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("method", "kind"), [("fork", "pieces"), ("spawn", "targets"), ("forkserver", "targets"), ("forkserver", "pieces")]
)
def test_processes_that_read_go_on_when_signalled_and_end_with_a_killed_run(
    method: str, kind: str, tmp_path: Path
) -> None:
    script = (
        "from pathlib import Path\nfrom tests.system.test_child_processes import read_on\n"
        f"if __name__ == '__main__':\n    read_on({method!r}, {kind!r}, Path({str(tmp_path)!r}))\n"
    )
    (tmp_path / "script.py").write_text(script)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, str(tmp_path / "script.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        readers = [int(pid) for pid in process.stdout.readline().split()]
        try:
            assert len(readers) == 1
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                for reader in readers:
                    os.kill(reader, number)
            assert process.stdout.readline() == "went on\n"
            assert all(map(running, readers))
        finally:
            process.kill()
    for reader in readers:
        wait_until(lambda reader=reader: not running(reader), f"{reader} outlived the run under {method}")  # type: ignore[misc]
