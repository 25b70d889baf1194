"""Time extracting all layers of a data set against the plainest loop, and against the network alone.

Run by hand, `python -m tests.benchmarks.extraction [SOUNDS]`, on a folder of sounds (ESC-50's layout or any other);
without one, on 200 clips of five seconds that it makes. The plain loop does what ports of SoundNet do: it loads a clip
at a time with librosa (with PyAV where librosa is not installed), and runs 2-D convolutions of one column over it. The
network alone hears the same batches from memory. Each runs in a process of its own, which tells its peak memory.
"""

import argparse
import importlib
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
from soundnet_kd.distill.memory import keep_freed_memory
from soundnet_kd.media import read_audio, write_audio
from soundnet_kd.models import write_student

RATE = 22_050
WAYS = ("plain", "network", "extract")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", nargs="?", type=Path)
    parser.add_argument("--clips", type=int, default=200, help="how many of the sounds")
    parser.add_argument("--plain_clips", type=int, default=40, help="how many of them the plain loop hears")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        count, seconds = run(options)
        print(count / seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    with tempfile.TemporaryDirectory() as folder:
        table = _table(options.sounds or _made(Path(folder)), Path(folder) / "sounds.csv", options.clips)
        figures = {}
        for way in WAYS:
            arguments = [str(table), *sys.argv[1:][1 if options.sounds else 0 :], "--way", way]
            done = subprocess.run(
                [sys.executable, "-m", "tests.benchmarks.extraction", *arguments],
                stdout=subprocess.PIPE, text=True, check=True,
            )  # fmt: skip
            figures[way] = tuple(map(float, done.stdout.split()[-2:]))
    print(f"\n{'':24}{'clips/s':>9}{'ratio':>8}{'peak MiB':>10}")
    for way, title in zip(WAYS, ("plain loop", "network alone", "extract"), strict=True):
        speed, peak = figures[way]
        print(f"{title:24}{speed:9.2f}{speed / figures['plain'][0]:8.2f}{peak:10.0f}")
    print(f"extract has {figures['extract'][0] / figures['network'][0]:.2f} of the network's speed")


def run(options: argparse.Namespace) -> tuple[int, float]:
    """Give how many clips were heard, and in how many seconds."""
    torch.manual_seed(0)
    student = SoundNet8().eval()
    paths = [clip.path for clip in read_manifest(options.sounds).clips]
    if options.way == "plain":
        paths = paths[: options.plain_clips]
        network = _two_dimensional(student)
        begin = time.perf_counter()
        for path in paths:
            _plain(path, network)
        return len(paths), time.perf_counter() - begin
    with tempfile.TemporaryDirectory() as folder:
        if options.way == "extract":
            write_student(student, Path(folder) / "student.safetensors", {})
            begin = time.perf_counter()
            extract(
                options.sounds,
                str(Path(folder) / "student.safetensors"),
                Path(folder) / "features.h5",
                batch_size=options.batch_size,
                workers=options.workers,
            )
            return len(paths), time.perf_counter() - begin
    keep_freed_memory()
    batch = torch.stack(
        [student.preprocessing(student.preprocessing.read(path)) for path in paths[: options.batch_size]]
    )
    rounds = max(1, len(paths) // len(batch))
    begin = time.perf_counter()
    with torch.inference_mode():
        for _ in range(rounds):
            for steps in student(batch, student.layers).values():
                steps.mean(dim=-1)
    return rounds * len(batch), time.perf_counter() - begin


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
