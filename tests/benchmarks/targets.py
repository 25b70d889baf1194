"""Time opening a large folder of targets, and reading clips from it in random order.

Run by hand, `python -m tests.benchmarks.targets [PARTS]`; it makes that many parts (1000) of 128 clips of a second.
"""

import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from soundnet_kd.data import Targets
from tests.targets import SAMPLE_RATE, make_clip, make_targets

CLIPS_PER_PART = 128


def main() -> None:
    parts = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        clip = make_clip("a folder/of videos/0.mp4", 1, rng, samples=SAMPLE_RATE)
        for first in range(parts):
            clips = [
                replace(clip, source=f"a folder/of videos/{first:06d}-{number}.mp4") for number in range(CLIPS_PER_PART)
            ]
            make_targets(Path(folder), clips, CLIPS_PER_PART, first_part=first)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begin = time.perf_counter()
        targets = Targets(Path(folder))
        opening = time.perf_counter() - begin
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(
            f"{parts} parts, {len(targets)} clips: opened in {opening:.2f} s, {1000 * opening / parts:.2f} s per 1000"
        )
        print(
            f"memory: {grown / 1024:.1f} MiB more at the peak, of which hashes {targets.videos.nbytes / 2**20:.1f} MiB"
        )
        order = rng.integers(len(targets), size=1000)
        begin = time.perf_counter()
        for index in order:
            targets[int(index)]
        print(f"a clip at random: {(time.perf_counter() - begin) / len(order) * 1000:.2f} ms")


if __name__ == "__main__":
    main()
