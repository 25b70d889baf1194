"""Time getting the four pictures of each 20 s of video against the plainest loop, OpenCV and torchcodec.

Run by hand, `python -m tests.benchmarks.decoding [VIDEOS...]`, on videos or folders of them; without any, on one
that it makes: a minute of 1280x720 H.264 with sound and noise. What is not installed is left out. The figures are
seconds of video got through in a second, the median over the repeats, with one decoder thread (THREADS) for everyone;
ratios are to the plain loop.
"""

from __future__ import annotations

import importlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from soundnet_kd.errors import MediaError
from soundnet_kd.media import Video, duration_seconds, find_media, read_audio, write_video

THREADS = int(os.environ.get("THREADS", "1"))
REPEATS = int(os.environ.get("REPEATS", "5"))
CLIP_SECONDS = 20.0
OFFSETS = (2.5, 7.5, 12.5, 17.5)

Clips = list[list[float]]
Reader = Callable[[Path, Clips], Any]


def ours_exact(path: Path, clips: Clips) -> None:
    with Video(path, threads=THREADS) as video:
        for times in clips:
            video.frames(times)


def ours_keyframe(path: Path, clips: Clips) -> None:
    with Video(path, "keyframe", threads=THREADS) as video:
        for times in clips:
            video.frames(times)


def plain_loop(path: Path, clips: Clips) -> None:
    """Decode all from the start to the last time, once for the whole file: no seeks."""
    wanted = [seconds for times in clips for seconds in times]
    shown: Any = None
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.thread_count = "AUTO", THREADS
        for frame in container.decode(stream):
            while wanted and shown is not None and frame.time is not None and frame.time > wanted[0]:
                shown.to_ndarray(format="rgb24")
                wanted.pop(0)
            if not wanted:
                return
            shown = frame


def opencv() -> dict[str, Reader]:
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError:
        return {}

    def read(path: Path, clips: Clips) -> None:
        video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, THREADS])
        for seconds in (seconds for times in clips for seconds in times):
            video.set(cv2.CAP_PROP_POS_MSEC, seconds * 1000)
            got, picture = video.read()
            if got:
                cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        video.release()

    return {"OpenCV seeks": read}


def torchcodec() -> dict[str, Reader]:
    try:
        decoders = importlib.import_module("torchcodec.decoders")
    except (ImportError, RuntimeError, OSError):
        return {}

    def reader(seek_mode: str) -> Reader:
        def read(path: Path, clips: Clips) -> None:
            decoder = decoders.VideoDecoder(str(path), seek_mode=seek_mode, num_ffmpeg_threads=THREADS)
            for times in clips:
                decoder.get_frames_played_at(times)

        return read

    return {f"torchcodec {mode}": reader(mode) for mode in ("exact", "approximate")}


def moving_pictures(seconds: float, rate: int = 25) -> Iterator[NDArray[np.uint8]]:
    """A camera that pans over a coarse world past a moving box, with a sensor's noise."""
    rng = np.random.default_rng(0)
    world = np.kron(rng.integers(30, 220, (48, 160, 3)), np.ones((20, 20, 1))).astype(np.int16)
    noises = [rng.normal(0, 5, (720, 1280, 1)).astype(np.int16) for _ in range(7)]
    for number in range(round(seconds * rate)):
        left, top = (3 * number) % 1900, round(100 + 90 * np.sin(number / 40))
        picture = world[top : top + 720, left : left + 1280].copy()
        x = (11 * number) % 1000
        picture[200:420, x : x + 220] = (250, 200 - number % 150, 40)
        yield np.clip(picture + noises[number % 7], 0, 255).astype(np.uint8)


def made_video(folder: Path) -> Path:
    sound = np.random.default_rng(1).normal(0, 0.1, 60 * 44100).astype(np.float32)
    path = folder / "made-720p.mp4"
    # The usual: key frames every ten seconds and three reordered pictures, x264's defaults.
    write_video(
        path, moving_pictures(60), 25, sound, 44100, video_options={"preset": "medium", "crf": "23", "g": "250"}
    )
    return path


def seconds_taken(reader: Reader, path: Path, clips: Clips) -> float:
    begin = time.perf_counter()
    reader(path, clips)
    return time.perf_counter() - begin


def measure(paths: list[Path]) -> None:
    readers: dict[str, Reader] = {
        "plain PyAV loop": plain_loop,
        "ours exact": ours_exact,
        "ours keyframe": ours_keyframe,
        **opencv(),
        **torchcodec(),
        "our sound alone": lambda path, clips: read_audio(path, 22050),
    }
    taken: dict[str, list[float]] = {name: [] for name in readers}
    videos: dict[str, int] = dict.fromkeys(readers, 0)
    played: dict[str, float] = dict.fromkeys(readers, 0.0)
    same_plain: dict[str, float] = dict.fromkeys(readers, 0.0)
    for path in paths:
        try:
            length = duration_seconds(path)
        except MediaError as error:
            print(f"left out: {error}")
            continue
        starts = np.arange(0, max(length, 0.1), CLIP_SECONDS)
        clips = [[start + offset for offset in OFFSETS if start + offset < length - 0.1] for start in starts]
        clips = [times for times in clips if times] or [[length / 2]]
        medians = {}
        for name, reader in readers.items():
            try:
                medians[name] = statistics.median(seconds_taken(reader, path, clips) for _ in range(REPEATS))
            except Exception as error:  # a peer's failure is a result too
                print(f"{name} fails on {path.name}: {str(error).splitlines()[0][:80] if str(error) else error!r}")
        for name, median in medians.items():
            taken[name].append(median)
            videos[name] += 1
            played[name] += length
            same_plain[name] += medians.get("plain PyAV loop", 0.0)
    print(f"{len(paths)} videos, {THREADS} decoder thread(s), median of {REPEATS}")
    print(f"{'':24}{'videos':>7}{'x real time':>13}{'ms per video':>14}{'ratio to plain':>16}")
    for name in readers:
        if total := sum(taken[name]):
            print(
                f"{name:24}{videos[name]:7d}{played[name] / total:13.0f}{1000 * total / videos[name]:14.1f}"
                f"{same_plain[name] / total:16.2f}"
            )


def main() -> None:
    if len(sys.argv) > 1:
        measure(find_media(sys.argv[1:]))
        return
    with tempfile.TemporaryDirectory() as folder:
        measure([made_video(Path(folder))])


if __name__ == "__main__":
    main()
