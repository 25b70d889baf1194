"""What `teach` and `extract` on Ray survive: machines that are lost at random moments; run it alone.

python -m tests.benchmarks.ray_losses teach --losses 20      # small videos of SOUNDNET_KD_DATA, an image network
python -m tests.benchmarks.ray_losses extract --losses 20    # a second of each sound of its ESC-50, a student

Three machines of two CPUs each, on this one; the head stays. What is written is compared with what one machine writes.
"""

import argparse
import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torchvision.models import mobilenet_v3_small

from soundnet_kd import FeatureCache
from soundnet_kd.cli import main as soundnet_kd
from soundnet_kd.data import read_manifest
from soundnet_kd.data.parts_index import PartsIndex
from soundnet_kd.media import find_media, read_audio, write_audio
from soundnet_kd.models import SoundNet5, write_network
from tests.shards.clusters import Nodes, nodes

SMALL_BYTES = 500_000
CLASSES = 10


def run_and_lose(command: Sequence[str], cluster: Nodes, log: Path, losses: "Losses", parts: Callable[[], int]) -> None:
    """Run a command on a cluster in a process of its own, whose machines are lost meanwhile."""
    words = [sys.executable, "-m", "soundnet_kd.cli", *command, "--engine", "ray", "--address", cluster.address]
    with log.open("a") as told:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=told)
        while process.poll() is None:
            # Before the first part is there, everything is still being started.
            if parts() and not losses.are_all:
                losses.go_on(cluster, parts)
            time.sleep(0.1)
    assert process.returncode == 0, log.read_text()


class Losses:
    """Machines of a cluster that are lost at random moments, one after the other, and others that take their places.

    Attributes
    ----------
    seconds : list of float
        When each was lost, from the start of the first run on.
    """

    def __init__(self, count: int, longest: float) -> None:
        self.seconds: list[float] = []
        self._count, self._longest = count, longest
        self._random = random.Random(0)
        self._begun = time.monotonic()
        self._next = self._draw()

    def _draw(self) -> float:
        return time.monotonic() + self._random.uniform(0, self._longest)

    @property
    def are_all(self) -> bool:
        """Whether all of them are lost."""
        return len(self.seconds) >= self._count

    def go_on(self, cluster: Nodes, parts: Callable[[], int]) -> None:
        """Lose a machine if it is time."""
        if time.monotonic() < self._next:
            return
        cluster.lose(self._random.choice(cluster.others))
        self.seconds.append(round(time.monotonic() - self._begun, 1))
        print(f"a machine lost after {self.seconds[-1]} s, {parts()} parts written", file=sys.stderr, flush=True)
        cluster.fill()
        # From the start of its processes to far into its work.
        self._next = self._draw()


def survive(
    folder: Path,
    command: Sequence[str],
    files: Callable[[str], Mapping[str, bytes]],
    rows: Callable[[str], Counter[str]],
    expected: set[str],
    losses: Losses,
) -> None:
    """Run a command again and again, until so many machines are lost, and say what became of its rows.

    Parameters
    ----------
    folder : Path
    command : sequence of str
        Its words, all but --out.
    files : callable
        Returns the files that were written under a name.
    rows : callable
        Returns how often each sound or video is in what was written under a name.
    expected : set of str
        All of these.
    losses : Losses
    """
    assert soundnet_kd([*command, "--out", str(folder / "here")]) == 0
    whole = files("here")
    missing, twice, others, runs = 0, 0, 0, 0
    log = folder / "log"
    with nodes(2) as cluster:
        while not losses.are_all:
            name = f"there-{runs}"

            def parts(name: str = name) -> int:
                return len([*folder.glob(f"{name}/parts/part-*"), *folder.glob(f"{name}.parts/part-*")])

            run_and_lose([*command, "--out", str(folder / name)], cluster, log, losses, parts)
            counts = rows(name)
            missing += len(expected - counts.keys())
            twice += sum(count > 1 for count in counts.values())
            others += files(name) != whole
            runs += 1
    again = log.read_text().count("files are done again")
    print(*[line for line in log.read_text().split("\n") if "lost" in line], sep="\n", file=sys.stderr)
    print(f"machines lost after {' '.join(map(str, losses.seconds))} s, in {runs} runs of {len(expected)} rows each")
    print(
        f"{again} times they had shards in their hands, which were done again: {missing} rows missing, {twice} rows "
        f"twice, {others} runs whose files are not those of one machine"
    )


def survive_teach(folder: Path, losses: Losses, data: Path, copies: int) -> None:
    """Label small videos, each under several names."""
    small = [video for video in find_media(data / "videos") if video.stat().st_size < SMALL_BYTES]
    for video in small:
        place = folder / "videos" / f"0-{video.name}"
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(video.read_bytes())
        for number in range(1, copies):
            os.link(place, place.with_name(f"{number}-{video.name}"))
    torch.manual_seed(0)
    torch.save(mobilenet_v3_small(num_classes=CLASSES).eval().state_dict(), folder / "network.pth")
    (folder / "classes.txt").write_text("\n".join(f"class {number}" for number in range(CLASSES)))
    words = ["teach", str(folder / "videos"), "--objects", f"mobilenet_v3_small:{folder / 'network.pth'}"]
    words += ["--object_classes", str(folder / "classes.txt"), "--frames", "keyframe", "--backend", "torch"]
    words += ["--videos_per_part", "4", "--device", "cpu"]

    def files(name: str) -> dict[str, bytes]:
        written = [*(folder / name / "parts").iterdir(), *(folder / name).glob("*.csv")]
        return {file.name: file.read_bytes() for file in written}

    def rows(name: str) -> Counter[str]:
        parts = PartsIndex.of(folder / name).parts
        return Counter(each for part in parts for each in (*part.videos, *(one.source for one in part.refused)))

    survive(folder, words, files, rows, {video.name for video in (folder / "videos").iterdir()}, losses)


def survive_extract(folder: Path, losses: Losses, data: Path, copies: int) -> None:
    """Extract layers of a second of each sound, each under several names."""
    for place, clip in enumerate(read_manifest(data / "esc50").clips[:200]):
        assert isinstance(clip.path, Path)
        waveform, rate = read_audio(clip.path)
        first = folder / "sounds" / f"{place:03d}-0.wav"
        write_audio(first, waveform[:rate], rate)
        for number in range(1, copies):
            os.link(first, folder / "sounds" / f"{place:03d}-{number}.wav")
    (folder / "sounds" / "broken.wav").write_bytes(b"no sound")
    torch.manual_seed(0)
    write_network(SoundNet5({"objects": CLASSES}).eval(), folder / "student.safetensors", {})
    words = ["extract", str(folder / "sounds"), "--student", str(folder / "student.safetensors"), "--device", "cpu"]
    words += ["--layers", "conv4", "--batch_size", "2", "--backend", "torch"]

    def files(name: str) -> dict[str, bytes]:
        return {each: (folder / f"{name}{each}").read_bytes() for each in ("", ".failures.csv")}

    def rows(name: str) -> Counter[str]:
        with FeatureCache(folder / name) as cache:
            return Counter([*cache.ids, *cache.failures])

    survive(folder, words, files, rows, {sound.name for sound in (folder / "sounds").iterdir()}, losses)


def main(arguments: Sequence[str] | None = None) -> None:
    """Lose machines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["teach", "extract"])
    parser.add_argument("--losses", type=int, default=20)
    parser.add_argument("--longest", type=float, default=20, help="seconds from one loss to the next, at most")
    parser.add_argument("--copies", type=int, default=10, help="names of each sound or video")
    given = parser.parse_args(arguments)
    # Nobody else uses the cluster.
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    with tempfile.TemporaryDirectory() as folder:
        work = survive_teach if given.what == "teach" else survive_extract
        losses = Losses(given.losses, given.longest)
        work(Path(folder), losses, Path(os.environ["SOUNDNET_KD_DATA"]), given.copies)


if __name__ == "__main__":
    main()
