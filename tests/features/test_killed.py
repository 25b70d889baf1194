"""An extraction that is killed at any moment, again and again, ends as if it had not been."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from soundnet_kd import FeatureCache, SoundNet8
from soundnet_kd.media import write_audio
from soundnet_kd.models import Preprocessing, write_student

SOUNDS = 10
RATE = 22_050

SERVER = """
import glob, os, signal, sys, time
import torch
from soundnet_kd.features import extraction, writing
from soundnet_kd.pretrained import load_student

sounds, student, workers = sys.argv[1:]
writing.SOUNDS_PER_PART = 2
for line in sys.stdin:
    delay, out = line.strip().split(" ", 1)
    child = os.fork()
    if not child:
        torch.set_num_threads(1)
        extraction.extract(sounds, student, out, ["pool1", "conv5"], sequences=True, batch_size=2,
            workers=int(workers), device="cpu")
        os._exit(0)
    if delay == "part":
        for _ in range(60_000):
            if glob.glob(f"{glob.escape(out)}.parts/part-*.h5"):
                break
            time.sleep(0.002)
    elif delay != "never":
        time.sleep(float(delay))
    if delay != "never":
        os.kill(child, signal.SIGKILL)
    print(os.waitpid(child, 0)[1], flush=True)
"""
"""Starts extractions without importing PyTorch for each: a kill every tenth of a second, not every few seconds."""


class Server:
    """Extractions that can be killed."""

    def __init__(self, sounds: Path, student: Path, workers: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(sounds), str(student), str(workers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def extract(self, out: Path, kill_after: float | str = "never") -> int:
        """Give the status that an extraction ended with, killed after some seconds or once it has written a part."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{kill_after} {out}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@pytest.mark.skipif(sys.platform != "linux", reason="needs fork")
@pytest.mark.parametrize(("workers", "tries"), [(0, 12), (1, 4)])
def test_killed_at_random_moments_again_and_again(tmp_path: Path, workers: int, tries: int) -> None:
    rng = np.random.default_rng(0)
    for number in range(SOUNDS):
        noise = (rng.normal(size=RATE * 2) * 0.1).astype(np.float32)
        write_audio(tmp_path / "sounds" / ("a" if number % 2 else "b") / f"{number}.wav", noise, RATE)
    torch.manual_seed(0)
    student = SoundNet8({"objects": 3, "scenes": 2}, Preprocessing(least_samples=1))
    write_student(student, tmp_path / "student.safetensors", {})
    server = Server(tmp_path / "sounds", tmp_path / "student.safetensors", workers)
    try:
        whole = tmp_path / "whole.h5"
        server.extract(tmp_path / "warm.h5")
        started = time.monotonic()
        assert server.extract(whole) == 0
        seconds = time.monotonic() - started

        moments = random.Random(0)
        kills = 0
        out = tmp_path / "killed.h5"
        parts = tmp_path / "killed.h5.parts"
        for _ in range(tries):
            status = server.extract(out, kill_after=moments.uniform(0, seconds))
            kills += status == signal.SIGKILL
            if out.exists():
                # Killed after its last part or not at all: what is there is complete.
                with FeatureCache(out) as cache:
                    assert len(cache.ids) == SOUNDS
            if status == 0:
                assert out.read_bytes() == whole.read_bytes()
                assert not parts.exists()
                out.unlink()
        assert kills
        # What a kill in the last moment left of the parts serves whoever removes the cache and extracts again.
        out.unlink(missing_ok=True)
        assert server.extract(out, kill_after="part") == signal.SIGKILL
        assert any(parts.glob("part-*.h5"))
        assert server.extract(out) == 0
        assert out.read_bytes() == whole.read_bytes()
        assert not parts.exists()
    finally:
        server.process.kill()
        server.process.wait()
