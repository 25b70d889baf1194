"""What the teacher stage of a large collection costs, from what a minute of video takes on this machine.

Run by hand, `python -m tests.benchmarks.costs [VIDEOS...] --videos 2000000 --seconds 60`, on videos or folders of them;
without any, on a minute of 1280x720 H.264 that it makes. Measured are seconds of the processor, of all threads: for
decoding a video with its frames made ready, by key frames and exactly, and for a ResNet50 and a ResNet18 with random
weights, as slow as trained ones. The rest is arithmetic: per hour of video, and for the whole collection.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torchvision import models

from soundnet_kd.data import STEP_SECONDS
from soundnet_kd.inference.backends import choose_backend
from soundnet_kd.media import Sampling, duration_seconds, find_media
from soundnet_kd.teachers.decoding import Decoder
from soundnet_kd.teachers.disk_sizes import megabytes_per_hour
from soundnet_kd.teachers.network import prepare_network
from soundnet_kd.teachers.teacher import Teacher
from tests.benchmarks.decoding import made_video

SAMPLE_RATE = 22_050
CLASSES = {"objects": 1000, "scenes": 365}
FRAMES = 64
"""A batch of the teacher stage."""


def decoding_seconds(videos: list[Path], sampling: Sampling, teacher: Teacher, folder: Path) -> float:
    """Return the processor's seconds for an hour of video."""
    decoder = Decoder(SAMPLE_RATE, (teacher.transform,), sampling)
    begin = time.process_time()
    for video in videos:
        decoder(video, folder / "decoded")
    return (time.process_time() - begin) * 3600 / sum(map(duration_seconds, videos))


def network_seconds(name: str, rounds: int) -> tuple[str, float]:
    """Return what runs a network, and the processor's seconds for a frame, the least of the rounds."""
    frames = torch.rand(FRAMES, 3, 224, 224)
    network = models.get_model(name, weights=None).eval()
    backend, look = prepare_network(network, frames, choose_backend("auto", torch.device("cpu")))
    taken = []
    for _ in range(rounds + 1):
        begin = time.process_time()
        look(frames)
        taken.append((time.process_time() - begin) / FRAMES)
    return backend, min(taken[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--videos", type=int, default=2_000_000)
    parser.add_argument("--seconds", type=float, default=60.0, help="of a video")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    hours = options.videos * options.seconds / 3600
    weights = models.ResNet18_Weights.IMAGENET1K_V1
    teacher = Teacher(
        models.get_model("resnet18", weights=None).eval(), weights.transforms(), tuple(weights.meta["categories"])
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        videos = find_media(options.paths) if options.paths else [made_video(folder)]
        print(f"{options.videos} videos of {options.seconds:g} s: {hours:.0f} hours")
        print(f"measured on {len(videos)} videos, {sum(map(duration_seconds, videos)) / 60:.1f} minutes")
        print("| what | an hour of video | all |\n|---|--:|--:|")
        samplings: tuple[Sampling, ...] = ("keyframe", "exact")
        for sampling in samplings:
            found = [decoding_seconds(videos, sampling, teacher, folder) for _ in range(options.rounds)]
            _row(f"decoding, {sampling} frames, seconds of a core", statistics.median(found), hours, "core hours", 3600)
        for name in ("resnet50", "resnet18"):
            backend, seconds = network_seconds(name, options.rounds)
            frames = 3600 / STEP_SECONDS
            what = f"{name} on {backend}, {seconds * 1000:.1f} ms a frame, seconds of a core"
            _row(what, seconds * frames, hours, "core hours", 3600)
    for name, size in megabytes_per_hour(SAMPLE_RATE, STEP_SECONDS, CLASSES, {"objects": 2048}).items():
        _row(f"{name}, MB", size, hours, "TB", 1e6)


def _row(what: str, per_hour: float, hours: float, unit: str, of_unit: float) -> None:
    print(f"| {what} | {per_hour:.2f} | {per_hour * hours / of_unit:.2f} {unit} |", flush=True)


if __name__ == "__main__":
    main()
