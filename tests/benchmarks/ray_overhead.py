"""What Ray costs; run it alone, and read its table. What it survives is in `ray_losses`.

python -m tests.benchmarks.ray_overhead plain --sounds 600     # seconds of work here, and on a Ray of its own
python -m tests.benchmarks.ray_overhead scaling                # 1, 2 and 4 machines whose networks sleep
python -m tests.benchmarks.ray_overhead planning               # a million ids, and 990 000 of them done
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from soundnet_kd.features.cache_writer import Extraction
from soundnet_kd.features.extractor import FeatureExtractor
from soundnet_kd.media import RawAudioDecoder, write_audio
from soundnet_kd.models import SoundNet8
from soundnet_kd.shards.here import do_here
from soundnet_kd.shards.ray_cluster import connect
from soundnet_kd.shards.ray_engine import RayEngine, do_on_ray
from soundnet_kd.shards.shard import Shard, cut
from tests.shards.clusters import nodes
from tests.shards.levels import RATE, Levels


def measure_plain(folder: Path, sounds: int, workers: int, decoders: int | None) -> None:
    """Extract features of sounds of 5 s here and on a Ray of its own, one after the other."""
    torch.manual_seed(0)
    network = SoundNet8({"objects": 1000, "scenes": 401}).eval()
    extractor = FeatureExtractor(network, ["conv4", "conv7"], "mean")
    noise = np.random.default_rng(0).normal(0, 0.1, 5 * 44_100).astype(np.float32)
    write_audio(folder / "noise.flac", noise, 44_100)
    ids = [f"{number}" for number in range(sounds)]
    shards = cut(ids, [folder / "noise.flac"] * sounds, 64)
    first, rest = shards[:1], shards[1:]
    decoder = RawAudioDecoder(22_050, "first")

    def work(name: str) -> Extraction:
        return Extraction(folder / name, extractor, decoder, False, 16)

    count = sum(map(len, rest))
    here = work("here")
    list(do_here(here, first, folder / "decoded", workers))
    started = time.perf_counter()
    list(do_here(here, rest, folder / "decoded", workers, burst=here.burst(workers)))
    plain = count / (time.perf_counter() - started)
    print(f"here:   {plain:.2f} sounds/s")
    with connect(None) as cluster:
        there = work("there")
        engine = RayEngine(cluster, decoders=decoders)
        # Its start is a matter of seconds, however long the work is.
        times = [time.perf_counter() for _ in engine.do(there, shards, burst=there.burst)]
    on_ray = count / (times[-1] - times[0])
    print(f"on Ray: {on_ray:.2f} sounds/s, {on_ray / plain:.2f} of it")


def measure_scaling(folder: Path, seconds: float, sounds: int) -> None:
    """Do sounds on 1, 2 and 4 machines whose networks sleep."""
    source = folder / "noise.wav"
    write_audio(source, np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32), RATE)
    rates: dict[int, float] = {}
    for machines in (1, 2, 4):
        count = sounds * machines
        shards = cut([f"{machines}-{number}" for number in range(count)], [source] * count, 16)
        with nodes(machines - 1, cpus=1) as cluster:
            work = Levels(folder / f"{machines}", seconds)
            moments = [time.perf_counter() for _ in do_on_ray(work, shards, address=cluster.address)]
        # From when each machine has done its first shard, without its start, to the end.
        first, last = machines - 1, len(shards) - 1
        rates[machines] = 16 * (last - first) / (moments[last] - moments[first])
        linear = rates[machines] / (machines * rates[1])
        print(f"{machines} machines: {rates[machines]:.2f} sounds/s, {linear:.2f} of linear")


@dataclass(frozen=True)
class Nothing(Levels):
    """What has all been done but the last hundredth."""

    def is_done(self, shard: Shard) -> bool:
        # As much as to ask for a file.
        self.file(shard).exists()
        return shard.first < 990_000


def measure_planning(folder: Path) -> None:
    """Cut a million ids, and find those that are not done."""
    started = time.perf_counter()
    ids = [f"folder-{number // 1000:04d}/video-{number:07d}.mp4" for number in range(1_000_000)]
    shards = cut(ids, [folder / each for each in ids], 32)
    work = Nothing(folder)
    left = sum(len(shard) for shard in shards if not work.is_done(shard))
    seconds = time.perf_counter() - started
    print(f"{len(shards)} shards, {left} videos left: {seconds:.1f} s, {_most_megabytes()} MB at most")


def _most_megabytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (10**6 if sys.platform == "darwin" else 10**3)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["plain", "scaling", "planning"])
    parser.add_argument("--sounds", type=int, default=600)
    parser.add_argument("--workers", type=int, default=2, help="processes that decode, where there is no Ray")
    parser.add_argument("--decoders", type=int, help="tasks of Ray's that decode, in place of each machine for itself")
    parser.add_argument("--seconds", type=float, default=0.25, help="that a network sleeps at a sound")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        if given.what == "plain":
            measure_plain(Path(folder), given.sounds, given.workers, given.decoders)
        elif given.what == "scaling":
            measure_scaling(Path(folder), given.seconds, given.sounds)
        else:
            measure_planning(Path(folder))


if __name__ == "__main__":
    main()
