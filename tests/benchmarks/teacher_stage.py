"""Time the whole teacher stage against the plainest loop over PyAV's frames, with and without a network.

Run by hand, `python -m tests.benchmarks.teacher_stage [VIDEOS...]`, on videos or folders of them; without any, on
twelve minutes of 1280x720 H.264 that it makes. The figures are seconds of video got through in a second, medians over
the repeats; ratios are to the plain loop of the same kind. The network is a MobileNetV2 with random weights, as slow
as a trained one.
"""

import argparse
import logging
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torchvision import models

from soundnet_kd.errors import MediaError
from soundnet_kd.media import Sampling, duration_seconds, find_media
from soundnet_kd.models import choose_device
from soundnet_kd.teachers import Teacher, label_videos
from soundnet_kd.teachers.decoding import Decoder
from tests.benchmarks.decoding import made_video

SAMPLE_RATE = 22_050
OFFSETS = np.array([2.5, 7.5, 12.5, 17.5])


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
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    logging.getLogger("soundnet_kd").setLevel(logging.ERROR)
    torch.manual_seed(0)
    weights = models.MobileNet_V2_Weights.IMAGENET1K_V2
    network = models.mobilenet_v2(weights=None).eval().to(choose_device(options.device))
    teacher = Teacher(network, weights.transforms(), tuple(weights.meta["categories"]))
    with tempfile.TemporaryDirectory() as folder:
        measure(_usable(options.videos or _made(Path(folder))), teacher, Path(folder), options)


def measure(videos: list[Path], teacher: Teacher, folder: Path, options: argparse.Namespace) -> None:
    seconds = sum(duration_seconds(video) for video in videos)

    def timed(run: Callable[[], Any]) -> float:
        taken = []
        for _ in range(options.repeats):
            shutil.rmtree(folder / "targets", ignore_errors=True)
            begin = time.perf_counter()
            run()
            taken.append(time.perf_counter() - begin)
        return statistics.median(taken)

    def decode(sampling: Sampling) -> None:
        decoder = Decoder(SAMPLE_RATE, (teacher.transform,), sampling)
        for video in videos:
            decoder(video, folder / "decoded")

    def teach(sampling: Sampling, workers: int) -> None:
        collection = folder / "collection"
        label_videos(collection, {"objects": teacher}, folder / "targets", frames=sampling, workers=workers)

    (folder / "collection").mkdir()
    for number, video in enumerate(videos):
        (folder / "collection" / f"{number:03d}{video.suffix}").symlink_to(video.resolve())
    print(f"{len(videos)} videos, {seconds:.0f} s; median of {options.repeats}")
    for title, plain, ours in (
        ("decoding and transforms", lambda: plain_loop(videos, teacher, look=False), {
            f"{sampling}": lambda sampling=sampling: decode(sampling) for sampling in ("exact", "keyframe")
        }),
        ("with the network", lambda: plain_loop(videos, teacher, look=True), {
            f"{sampling}, {workers} workers": lambda sampling=sampling, workers=workers: teach(sampling, workers)
            for sampling in ("exact", "keyframe")
            for workers in options.workers
        }),
    ):  # fmt: skip
        limit = timed(plain)
        print(f"\n{title:28}{'x real time':>13}{'ratio to plain':>16}")
        print(f"{'plain PyAV loop':28}{seconds / limit:13.0f}{1.0:16.2f}")
        for name, run in ours.items():
            taken = timed(run)
            print(f"{name:28}{seconds / taken:13.0f}{limit / taken:16.2f}", flush=True)


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
    main()
