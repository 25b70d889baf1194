"""An extraction that is killed at any moment, again and again, ends as if it had not been."""

import random
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from soundnet_kd import FeatureCache, SoundNet8
from soundnet_kd.commands import extract as extraction
from soundnet_kd.features import cache_writer as writing
from soundnet_kd.features.extractor import FeatureExtractor
from soundnet_kd.media import write_audio
from soundnet_kd.models import Preprocessing, write_network
from tests.processes import finish, signal_itself_after, start
from tests.small_student import make_small

SOUNDS = 10
SEQUENCES = {"sequences": True}
AT_TWO_SPEEDS = {"pooling": ["mean", "std"], "speeds": [1.0, 0.8]}
RATE = 22_050


def extract_in_parts(sounds: Path, student: Path, workers: int, kept: Mapping[str, Any], out: Path) -> None:
    """Extract in many parts, on one core."""
    writing.SOUNDS_PER_PART = 2
    torch.set_num_threads(1)
    make_small()
    layers = ["pool1", "conv5"]
    extraction.extract(sounds, student, out, layers, batch_size=2, workers=workers, device="cpu", **kept)


def die_after_a_part(sounds: Path, student: Path, workers: int, kept: Mapping[str, Any], out: Path) -> None:
    """Do the same until the first part is there."""
    parts = Path(f"{out}.parts")
    signal_itself_after(writing.PartWriter, "do", signal.SIGKILL, lambda *_: any(parts.glob("part-*.h5")))
    extract_in_parts(sounds, student, workers, kept, out)


def die_after_batches(
    sounds: Path, student: Path, workers: int, kept: Mapping[str, Any], out: Path, batches: int
) -> None:
    """Do the same until so many batches have begun."""
    begun = count(1)
    each_batch = "new_pools" if kept == SEQUENCES else "pooled"
    signal_itself_after(FeatureExtractor, each_batch, signal.SIGKILL, lambda *_: next(begun) == batches)
    extract_in_parts(sounds, student, workers, kept, out)


@pytest.mark.usefixtures("small_soundnet8")
@pytest.mark.skipif(sys.platform != "linux", reason="needs fork")
@pytest.mark.parametrize(
    ("workers", "tries", "kept"),
    [(0, 12, SEQUENCES), (1, 4, SEQUENCES), (0, 8, AT_TWO_SPEEDS)],
)
def test_killed_at_random_moments_again_and_again(
    tmp_path: Path, workers: int, tries: int, kept: Mapping[str, Any]
) -> None:
    rng = np.random.default_rng(0)
    for number in range(SOUNDS):
        noise = (rng.normal(size=RATE * 2) * 0.1).astype(np.float32)
        write_audio(tmp_path / "sounds" / ("a" if number % 2 else "b") / f"{number}.wav", noise, RATE)
    torch.manual_seed(0)
    student = SoundNet8({"objects": 3, "scenes": 2}, Preprocessing(least_samples=1))
    write_network(student, tmp_path / "student.safetensors", {})
    arguments = (tmp_path / "sounds", tmp_path / "student.safetensors", workers, kept)
    whole, out, parts = tmp_path / "whole.h5", tmp_path / "killed.h5", tmp_path / "killed.h5.parts"
    assert finish(start(extract_in_parts, *arguments, tmp_path / "warm.h5")) == 0
    started = time.monotonic()
    assert finish(start(extract_in_parts, *arguments, whole)) == 0
    seconds = time.monotonic() - started

    moments = random.Random(0)
    for number in range(tries):
        if number % 2:
            process = start(extract_in_parts, *arguments, out)
            process.join(timeout=moments.uniform(0, seconds))
            process.kill()
        else:
            process = start(die_after_batches, *arguments, out, moments.randint(1, 3))
        status = finish(process)
        assert number or status == -signal.SIGKILL
        if out.exists():
            # Killed after its last part or not at all: what is there is complete.
            with FeatureCache(out) as cache:
                assert len(cache.ids) == SOUNDS
        if status == 0:
            assert out.read_bytes() == whole.read_bytes()
            assert not parts.exists()
            out.unlink()
    # Parts that a kill left serve whoever extracts again; here from the start, wherever the last try ended.
    out.unlink(missing_ok=True)
    shutil.rmtree(parts, ignore_errors=True)
    assert finish(start(die_after_a_part, *arguments, out)) == -signal.SIGKILL
    assert any(parts.glob("part-*.h5"))
    assert finish(start(extract_in_parts, *arguments, out)) == 0
    assert out.read_bytes() == whole.read_bytes()
    assert not parts.exists()
