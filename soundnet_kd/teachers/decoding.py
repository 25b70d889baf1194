"""Decode videos in processes beside the networks; one that dies takes its video with it, nothing else."""

import os
import pickle
import shutil
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from time import time

import numpy as np
import torch
from numpy.typing import NDArray
from pebble import ProcessExpired, ProcessFuture, ProcessPool
from torch import Tensor

from soundnet_kd.errors import MediaError, SettingsError
from soundnet_kd.media import Sampling
from soundnet_kd.teachers.clips import UnlabelledClip, read_clips

AHEAD = 4
"""Videos for each process that are decoded before they are needed,"""
SPOOL_BYTES = 4 * 2**30
"""unless those that wait are larger than this together."""
STALLED_SECONDS = 600.0
"""A decoder that gives no clip for so long hangs."""
LOOK_SECONDS = 10.0
"""How often that is looked at."""
STARTING_SECONDS = 180.0
"""Longer than the slowest machine needs to start a process."""

Transform = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class DecodedClip:
    """A clip as the networks want it.

    Attributes
    ----------
    start_seconds : float
    sound : (samples,) int16
    frame_seconds : (steps,) float64
    frames : tuple of (steps, 3, height, width) float32
        One for each transform.
    """

    start_seconds: float
    sound: NDArray[np.int16]
    frame_seconds: NDArray[np.float64]
    frames: tuple[NDArray[np.float32], ...]


@dataclass(frozen=True)
class Decoder:
    """How videos are decoded.

    Attributes
    ----------
    sample_rate : int
        Of the sound, in Hz.
    transforms : tuple of callable
        Each (3, height, width) uint8 -> (3, height', width') float32.
    sampling : {"exact", "keyframe"}
    most_clips : int, optional
        Of each video.
    """

    sample_rate: int
    transforms: tuple[Transform, ...]
    sampling: Sampling = "exact"
    most_clips: int | None = None

    def decode(self, video: Path, out: Path, threads: int = 0) -> None:
        """Write a video's clips to a file that `stored_clips` reads; a long one is never in memory as a whole."""
        with out.open("wb") as file:
            for clip in self._read(video, threads):
                images = [torch.from_numpy(frame.image).permute(2, 0, 1) for frame in clip.frames]
                np.save(file, np.array(clip.start_seconds))
                np.save(file, clip.sound)
                np.save(file, np.array([frame.time_seconds for frame in clip.frames]))
                for transform in self.transforms:
                    np.save(file, torch.stack([transform(image) for image in images]).numpy())

    def _read(self, video: Path, threads: int) -> Iterator[UnlabelledClip]:
        try:
            yield from read_clips(video, self.sample_rate, self.sampling, self.most_clips, threads)
        except (MediaError, GeneratorExit):
            raise
        except Exception as error:  # whatever a broken file provokes is the file's fault, not the collection's
            raise MediaError(f"{video.name} cannot be decoded ({type(error).__name__}: {error})") from error


def stored_clips(file: Path, transforms: int) -> Iterator[DecodedClip]:
    """Read what `Decoder.decode` wrote, clip by clip."""
    with file.open("rb") as handle:
        while handle.peek(1):
            start_seconds, sound, frame_seconds = (np.load(handle) for _ in range(3))
            frames = tuple(np.load(handle) for _ in range(transforms))
            yield DecodedClip(float(start_seconds), sound, frame_seconds, frames)


@contextmanager
def decoding(
    decoder: Decoder, videos: Iterable[Path], spool: Path, workers: int
) -> Iterator[Iterator[tuple[Path, Iterator[DecodedClip] | MediaError]]]:
    """Decode videos, several at a time, and give them in their order.

    Parameters
    ----------
    decoder : Decoder
    videos : iterable of Path
    spool : Path
        Folder for what is decoded and not used yet; what an earlier run left there is deleted.
    workers : int
        Processes; 0 decodes in this one, when a video is asked for.

    Yields
    ------
    iterator of (video, its clips or why it has none)
        A video's clips have to be read before the next video is asked for.

    Raises
    ------
    SettingsError
        If no processes can be started, or the transforms cannot be handed to them.
    """
    shutil.rmtree(spool, ignore_errors=True)
    spool.mkdir(parents=True)
    jobs = ((video, spool / f"{number}") for number, video in enumerate(videos))
    try:
        if workers == 0:
            yield _results(((video, file, partial(decoder.decode, video, file)) for video, file in jobs), decoder)
        else:
            with _pool(decoder, workers) as pool:
                yield _results(_ahead(pool, decoder, jobs, workers), decoder)
    finally:
        shutil.rmtree(spool, ignore_errors=True)


def _results(
    jobs: Iterable[tuple[Path, Path, Callable[[], None]]], decoder: Decoder
) -> Iterator[tuple[Path, Iterator[DecodedClip] | MediaError]]:
    for video, file, finish in jobs:
        try:
            finish()
        except MediaError as error:
            yield video, error
        else:
            yield video, stored_clips(file, len(decoder.transforms))
        file.unlink(missing_ok=True)


@contextmanager
def _pool(decoder: Decoder, workers: int) -> Iterator[ProcessPool]:
    try:
        pickle.dumps(decoder)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise SettingsError(
            f"a teacher's transform cannot be handed to other processes ({error}); make it a function of a module, "
            "or decode with workers=0"
        ) from error
    # A fresh interpreter for each worker: forking a process whose libraries have threads may lock up.
    with ProcessPool(workers, context=get_context("spawn")) as pool:
        try:
            try:
                pool.schedule(os.getpid).result(timeout=STARTING_SECONDS)
            except TimeoutError as error:
                raise SettingsError(
                    f"no process for decoding could be started within {STARTING_SECONDS:g} s; a script that starts "
                    'some needs `if __name__ == "__main__":` around its calls, or workers=0'
                ) from error
            yield pool
        finally:
            pool.stop()


def _ahead(
    pool: ProcessPool, decoder: Decoder, jobs: Iterator[tuple[Path, Path]], workers: int
) -> Iterator[tuple[Path, Path, Callable[[], None]]]:
    """Keep some videos in work, and give the one that was begun first."""
    begun: deque[tuple[Path, Path, ProcessFuture[None]]] = deque()
    ahead = AHEAD * workers
    while True:
        while len(begun) < ahead and (len(begun) < workers or _bytes_of(begun) < SPOOL_BYTES):
            video, file = next(jobs, (None, None))
            if video is None or file is None:
                break
            begun.append((video, file, pool.schedule(_decode_on_one_core, (decoder, video, file))))
        if not begun:
            return
        video, file, future = begun.popleft()
        yield video, file, partial(_wait, future, video, file)


def _bytes_of(begun: Iterable[tuple[Path, Path, object]]) -> int:
    return sum(file.stat().st_size for _, file, _ in begun if file.exists())


def _decode_on_one_core(decoder: Decoder, video: Path, file: Path) -> None:
    torch.set_num_threads(1)
    decoder.decode(video, file, threads=1)


def _wait(future: "ProcessFuture[None]", video: Path, file: Path) -> None:
    """Wait until a video is decoded.

    Raises
    ------
    MediaError
        If it cannot be, its process died, or it hangs.
    """
    while True:
        try:
            return future.result(timeout=LOOK_SECONDS)
        except TimeoutError:
            if file.exists() and time() - file.stat().st_mtime > STALLED_SECONDS:
                future.cancel()
                raise MediaError(
                    f"{video.name} gave nothing for {STALLED_SECONDS / 60:g} minutes while it was decoded; convert it"
                ) from None
        except ProcessExpired as error:
            raise MediaError(
                f"{video.name} made the process that decoded it die ({_cause(error.exitcode)}); convert it, or give "
                "the machine more memory"
            ) from error


def _cause(exit_code: int) -> str:
    return signal.Signals(-exit_code).name if exit_code < 0 else f"exit code {exit_code}"
