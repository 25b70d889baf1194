"""Time extracting all layers of a data set against the plainest loop, and against the network alone.

Run by hand, `python -m tests.benchmarks.extraction [SOUNDS]`, on a folder of sounds (ESC-50's layout or any other);
without one, on 200 clips of five seconds that it makes. The plain loop does what ports of SoundNet do: it loads a clip
at a time with librosa (with PyAV where librosa is not installed), and runs 2-D convolutions of one column over it. The
network alone hears batches of the same clips from memory. Each runs in a process of its own, which tells its peak
memory. At the end it shows where `extract` spends its time, decoding in the same process.
"""

import argparse
import cProfile
import importlib
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from soundnet_kd import SoundNet8, extract
from soundnet_kd.data import read_manifest
from soundnet_kd.media import read_audio, write_audio
from soundnet_kd.models import write_network
from soundnet_kd.models.device import keep_freed_memory

RATE = 22_050
WAYS = {"plain": "plain loop", "network": "network alone", "extract": "extract"}
STAGES = {
    "decode": ("stored.py", "__call__"),
    "read back": ("stored.py", "read"),
    "tile and scale": ("preprocessing.py", "__call__"),
    "network": ("soundnet.py", "forward"),
    "pool": ("pooling.py", "add"),
    "write parts": ("parts.py", "finish"),
    "join parts": ("parts.py", "join_parts"),
    "load the student": ("students.py", "load_student"),
    "hash the student": ("soundnet.py", "fingerprint"),
}
"""The functions of `extract` that do something, by file and name; none calls another."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", nargs="?", type=Path)
    parser.add_argument("--clips", type=int, default=200, help="how many of the sounds")
    parser.add_argument("--plain_clips", type=int, default=40, help="how many of them the plain loop hears")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--workers", type=int, help="processes that decode [default: extract's own choice]")
    parser.add_argument("--way", choices=(*WAYS, "stages"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way == "stages":
        print(stages(options))
        return
    if options.way:
        count, seconds = run(options)
        peak_kib = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        print(count / seconds, peak_kib / 1024)
        return
    with tempfile.TemporaryDirectory() as folder:
        options.sounds = _table(options.sounds or _made(Path(folder)), Path(folder) / "sounds.csv", options.clips)
        figures = {way: tuple(map(float, _in_its_own_process(options, way).split()[-2:])) for way in WAYS}
        print(f"\n{'':24}{'clips/s':>9}{'ratio':>8}{'peak MiB':>10}")
        for way, title in WAYS.items():
            speed, peak_mib = figures[way]
            print(f"{title:24}{speed:9.2f}{speed / figures['plain'][0]:8.2f}{peak_mib:10.0f}")
        print(f"extract has {figures['extract'][0] / figures['network'][0]:.2f} of the network's speed\n")
        print(_in_its_own_process(options, "stages"))


def run(options: argparse.Namespace) -> tuple[int, float]:
    """Give how many clips were heard, and in how many seconds."""
    torch.manual_seed(0)
    student = SoundNet8().eval()
    paths = [clip.path for clip in read_manifest(options.sounds).clips]
    if options.way == "extract":
        return len(paths), _extract(options, student)
    if options.way == "plain":
        paths = paths[: options.plain_clips]
        network = _two_dimensional(student)
        # Libraries load their code at their first use.
        _plain(paths[0], network)
        begin = time.perf_counter()
        for path in paths:
            _plain(path, network)
        return len(paths), time.perf_counter() - begin
    keep_freed_memory()
    count = len(paths) - len(paths) % options.batch_size
    waveforms = [student.preprocessing.read(path) for path in paths[:count]]
    begin = time.perf_counter()
    seconds = 0.0
    with torch.inference_mode():
        for first in range(0, count, options.batch_size):
            same = waveforms[first : first + options.batch_size]
            least = min(map(len, same))
            batch = torch.stack([student.preprocessing(waveform[:least]) for waveform in same])
            begin = time.perf_counter()
            for steps in student(batch, student.layers).values():
                steps.mean(dim=-1)
            seconds += time.perf_counter() - begin
    return count, seconds


def stages(options: argparse.Namespace) -> str:
    """Give a table of where `extract` spends its time."""
    options.workers = 0
    profile = cProfile.Profile()
    seconds = profile.runcall(_extract, options, SoundNet8().eval())
    spent = dict.fromkeys(STAGES, 0.0)
    for (file, _, function), entry in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        for stage, place in STAGES.items():
            if (Path(file).name, function) == place:
                spent[stage] += entry[3]
    spent["all else"] = seconds - sum(spent.values())
    return "\n".join(f"{stage:24}{share / seconds:9.1%}" for stage, share in spent.items())


def _extract(options: argparse.Namespace, student: SoundNet8) -> float:
    with tempfile.TemporaryDirectory() as folder:
        write_network(student, Path(folder) / "student.safetensors", {})
        begin = time.perf_counter()
        extract(
            options.sounds,
            Path(folder) / "student.safetensors",
            Path(folder) / "features.h5",
            batch_size=options.batch_size,
            workers=options.workers,
        )
        return time.perf_counter() - begin


def _in_its_own_process(options: argparse.Namespace, way: str) -> str:
    arguments = [str(options.sounds), "--way", way]
    for name in ("clips", "plain_clips", "batch_size", "workers"):
        if (value := getattr(options, name)) is not None:
            arguments += [f"--{name}", str(value)]
    command = [sys.executable, "-m", "tests.benchmarks.extraction", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def _plain(path: Path, network: list[nn.Module]) -> list[NDArray[np.float32]]:
    try:
        waveform = importlib.import_module("librosa").load(path, sr=RATE, mono=True)[0]
    except ImportError:
        waveform = read_audio(path, RATE)[0]
    tiled = np.tile(waveform, 441_000 // len(waveform) + 1) * 256
    hidden = torch.from_numpy(tiled.astype(np.float32)).reshape(1, 1, -1, 1)
    found = []
    with torch.no_grad():
        for stage in network:
            hidden = stage(hidden)
            if isinstance(stage, nn.ReLU | nn.MaxPool2d):
                found.append(hidden.numpy().mean(axis=(2, 3)))
    return found


def _two_dimensional(student: SoundNet8) -> list[nn.Module]:
    stages: list[nn.Module] = []
    channels = 1
    for block in student.blocks:
        kernel, stride, padding = (block.kernel, 1), (block.stride, 1), (block.padding, 0)
        stages += [
            nn.Conv2d(channels, block.filters, kernel, stride, padding),
            nn.BatchNorm2d(block.filters),
            nn.ReLU(),
        ]
        if block.pool > 1:
            stages.append(nn.MaxPool2d((block.pool, 1)))
        channels = block.filters
    stages.append(nn.Conv2d(channels, 1401, (8, 1), (2, 1)))
    return [stage.eval() for stage in stages]


def _table(sounds: Path, table: Path, clips: int) -> Path:
    paths = [clip.path.resolve() for clip in read_manifest(sounds).clips[:clips]]
    table.write_text("\n".join(["path", *map(str, paths)]) + "\n")
    return table


def _made(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(200):
        write_audio(
            folder / "made" / f"{number:03d}.flac", rng.uniform(-0.5, 0.5, 5 * 16_000).astype(np.float32), 16_000
        )
    return folder / "made"


if __name__ == "__main__":
    main()
