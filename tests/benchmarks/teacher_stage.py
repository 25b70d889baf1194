"""Time the whole teacher stage against the plainest loop over PyAV's frames, with and without a network.

Run by hand, `python -m tests.benchmarks.teacher_stage [VIDEOS...]`, on videos or folders of them; without any, on
twelve minutes of 1280x720 H.264 that it makes. The figures are seconds of video got through in a second, medians over
the repeats; ratios are to the plain loop of the same kind. With `--before CHECKOUT` another checkout does the same in
turn, and the ratios are to it: median, least and greatest of the repeats. The network is a MobileNetV2 with random
weights, as slow as a trained one.
"""

import argparse
import inspect
import logging
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torchvision import models

from soundnet_kd.errors import MediaError
from soundnet_kd.media import duration_seconds, find_media
from soundnet_kd.models import choose_device
from soundnet_kd.teachers import Teacher, label_videos
from soundnet_kd.teachers.decoding import Decoder
from tests.benchmarks.decoding import made_video

SAMPLE_RATE = 22_050
OFFSETS = np.array([2.5, 7.5, 12.5, 17.5])
SERVE = "--serve"
PLAIN = "plain PyAV loop"


def plain_sound(path: Path) -> None:
    resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE)
    with av.open(str(path)) as container:
        np.concatenate(
            [out.to_ndarray() for frame in container.decode(audio=0) for out in resampler.resample(frame)], 1
        )


def plain_loop(videos: list[Path], teacher: Teacher, *, look: bool) -> None:
    for video in videos:
        plain_clips(video, teacher, look=look)


def plain_clips(path: Path, teacher: Teacher, *, look: bool) -> None:
    """Decode sound and all pictures from start to end, transform four of each 20 s, and look at them clip by clip."""
    plain_sound(path)
    wanted = [start + offset for start in np.arange(0, duration_seconds(path), 20.0) for offset in OFFSETS]
    taken: list[torch.Tensor] = []
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            if wanted and frame.time is not None and frame.time >= wanted[0]:
                wanted.pop(0)
                image = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
                taken.append(teacher.transform(image))
            if look and len(taken) == len(OFFSETS):
                teacher.predict(torch.stack(taken))
                taken.clear()
    if look and taken:
        teacher.predict(torch.stack(taken))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--before", type=Path, help="Another checkout of this repository.")
    parser.add_argument("--frames", nargs="+", default=["exact", "keyframe"])
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--backends", nargs="+", default=["torch"])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    checkouts = {"ours": Path(__file__).resolve().parents[2]}
    if options.before is not None:
        checkouts["before"] = options.before.resolve()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        videos = _usable(options.videos or _made(folder))
        seconds = sum(duration_seconds(video) for video in videos)
        (folder / "collection").mkdir()
        for number, video in enumerate(videos):
            (folder / "collection" / f"{number:03d}{video.suffix}").symlink_to(video.resolve())
        print(f"{len(videos)} videos, {seconds:.0f} s; median of {options.repeats}")
        processes = {name: Checkout(path, folder, options.device) for name, path in checkouts.items()}
        against = ([], []) if options.before else (["plain"], ["plain look"])
        measure("decoding and transforms", [*against[0], *options.frames], processes, seconds, options.repeats)
        tasks = [
            f"{frames} {workers} {backend}"
            for frames in options.frames
            for workers in options.workers
            for backend in options.backends
        ]
        measure("with the network", [*against[1], *tasks], processes, seconds, options.repeats)


class Checkout:
    """A process that imports the package from a checkout, and does what it is told."""

    def __init__(self, path: Path, folder: Path, device: str) -> None:
        environment = os.environ | {"PYTHONPATH": str(path), "TQDM_DISABLE": "1"}
        self._process = subprocess.Popen(
            [sys.executable, __file__, SERVE, str(folder), device],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self, task: str) -> float:
        """Return how long a task takes there."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(task, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())


def serve(folder: Path, device: str) -> None:
    """Do task after task from the standard input, and tell how long each took."""
    logging.getLogger("soundnet_kd").setLevel(logging.ERROR)
    torch.manual_seed(0)
    weights = models.MobileNet_V2_Weights.IMAGENET1K_V2
    network = models.mobilenet_v2(weights=None).eval().to(choose_device(device))
    teacher = Teacher(network, weights.transforms(), tuple(weights.meta["categories"]))
    videos = sorted((folder / "collection").iterdir())
    for line in sys.stdin:
        shutil.rmtree(folder / "targets", ignore_errors=True)
        begin = time.perf_counter()
        match line.split():
            case ["plain", *look]:
                plain_loop(videos, teacher, look=bool(look))
            case [frames]:
                decoder = Decoder(SAMPLE_RATE, (teacher.transform,), frames)  # type: ignore[arg-type]
                for video in videos:
                    decoder(video, folder / "decoded")
            case [frames, workers, backend]:
                settings: dict[str, Any] = {"frames": frames, "workers": int(workers), "backend": backend}
                # A checkout of before there were several.
                known = inspect.signature(label_videos).parameters
                settings = {name: value for name, value in settings.items() if name in known}
                label_videos(folder / "collection", {"objects": teacher}, folder / "targets", **settings)
        print(time.perf_counter() - begin, flush=True)


def measure(title: str, tasks: Sequence[str], processes: dict[str, Checkout], seconds: float, repeats: int) -> None:
    """Print a line for each task, with the ratio to the other checkout, or without one to the first task."""
    print(f"\n{title:28}{'x real time':>13}{'before' if 'before' in processes else '':>10}{'ratio':>20}")
    limits: list[float] = []
    for task in tasks:
        taken: dict[str, list[float]] = {name: [] for name in processes}
        for _ in range(repeats):
            for name, process in processes.items():
                taken[name].append(process.seconds(task))
        limits = taken.get("before") or limits or taken["ours"]
        medians = {name: f"{seconds / statistics.median(times):.0f}" for name, times in taken.items()}
        ratios = sorted(limit / own for limit, own in zip(limits, taken["ours"], strict=True))
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"
        name = PLAIN if task.startswith("plain") else task
        print(f"{name:28}{medians['ours']:>13}{medians.get('before', ''):>10}{spread:>20}", flush=True)


def _usable(paths: list[Path]) -> list[Path]:
    """Leave out what the plain loop cannot read."""
    kept = []
    for video in find_media(paths):
        try:
            plain_sound(video)
            duration_seconds(video)
        except (MediaError, av.FFmpegError, IndexError, ValueError) as error:
            print(f"left out: {video.name}: {error}")
        else:
            kept.append(video)
    return kept


def _made(folder: Path) -> list[Path]:
    first = made_video(folder)
    copies = [folder / "made" / f"{number}.mp4" for number in range(12)]
    (folder / "made").mkdir()
    for copy in copies:
        shutil.copy(first, copy)
    return copies


if __name__ == "__main__":
    if sys.argv[1:2] == [SERVE]:
        serve(Path(sys.argv[2]), sys.argv[3])
    else:
        main()
