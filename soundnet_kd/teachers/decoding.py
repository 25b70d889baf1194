"""Decoding of videos in processes beside the networks, with frames as the networks take them."""

import pickle
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from soundnet_kd.data import STEP_SECONDS
from soundnet_kd.errors import MediaError, SettingsError
from soundnet_kd.media import DEADLINE_MINUTES, Sampling, decode_in_processes
from soundnet_kd.teachers.clips import Tally, VideoClip, read_clips
from soundnet_kd.teachers.transforms import Transform, stack_frames


@dataclass(frozen=True)
class Decoder:
    """Decodes a video to a file of clips; handed to processes.

    Attributes
    ----------
    sample_rate : int
        Sample rate of the sound, in Hz.
    transforms : tuple of callable
        Each (3, height, width) uint8 -> (3, height', width') float32.
    sampling : {"exact", "keyframe"}
    max_clips : int, optional
        Greatest number of clips of each video.
    step_seconds : float
    frames_per_step : int
    """

    sample_rate: int
    transforms: tuple[Transform, ...]
    sampling: Sampling = "exact"
    max_clips: int | None = None
    step_seconds: float = STEP_SECONDS
    frames_per_step: int = 1

    def __call__(self, video: Path, out: Path, threads: int = 0) -> None:
        """Write a video's clips to a file that `read_decoded` reads; a long one is never in memory as a whole."""
        if threads:
            torch.set_num_threads(threads)
        tally = Tally()
        with out.open("wb") as file:
            for clip in self._read(video, threads, tally):
                np.save(file, np.array(clip.start_seconds))
                np.save(file, clip.sound)
                np.save(file, clip.frame_seconds)
                for frames in zip(*clip.frames, strict=True):
                    np.save(file, stack_frames(frames).numpy())
            # A clip begins with a single number; several numbers end the file.
            np.save(file, np.array(astuple(tally)))

    def _read(self, video: Path, threads: int, tally: Tally) -> Iterator[VideoClip]:
        steps = self.step_seconds, self.frames_per_step
        clips = self.sample_rate, self.sampling, self.max_clips
        return read_clips(video, *clips, threads, tally, *steps, prepare=self._prepare)

    def _prepare(self, picture: NDArray[np.uint8]) -> tuple[Tensor, ...]:
        image = torch.from_numpy(picture).permute(2, 0, 1)
        return tuple(transform(image) for transform in self.transforms)


def read_decoded(file: str | Path, transforms: int) -> Iterator[VideoClip | Tally]:
    """Read the clips that a `Decoder` wrote, then the tally of the video's seconds."""
    with Path(file).open("rb") as handle:
        while (start_seconds := np.load(handle)).ndim == 0:
            sound, frame_seconds = np.load(handle), np.load(handle)
            frames = tuple(np.load(handle) for _ in range(transforms))
            yield VideoClip(float(start_seconds), sound, frame_seconds, frames)
        tally = Tally(*start_seconds.tolist())
        tally.failed_steps = int(tally.failed_steps)
        yield tally


@contextmanager
def decode_videos(
    decoder: Decoder,
    videos: Iterable[Path],
    decoded_folder: str | Path,
    workers: int,
    deadline_minutes: float = DEADLINE_MINUTES,
) -> Iterator[Iterator[tuple[Path, Iterator[VideoClip | Tally] | MediaError]]]:
    """Decode videos, several at a time, and return them in their order.

    Parameters
    ----------
    decoder : Decoder
    videos : iterable of Path
    decoded_folder : str or Path
        Folder for what is decoded and not used yet; what an earlier run left there is deleted.
    workers : int
        Processes; 0 decodes in this one, when a video is asked for.
    deadline_minutes : float
        How long a process may be at one video.

    Yields
    ------
    iterator of (video, its clips and what was left out of it, or why it has none)
        A video's clips have to be read before the next video is asked for.

    Raises
    ------
    SettingsError
        If no processes can be started, or the transforms cannot be handed to them.
    """
    if workers:
        _require_picklable(decoder)
    with decode_in_processes(decoder, videos, decoded_folder, workers, deadline_minutes) as files:
        yield (
            (video, file if isinstance(file, MediaError) else read_decoded(file, len(decoder.transforms)))
            for video, file in files
        )


def _require_picklable(decoder: Decoder) -> None:
    try:
        pickle.dumps(decoder)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise SettingsError(
            f"a teacher's transform cannot be handed to other processes ({error}); make it a function of a module, "
            "or decode with workers=0"
        ) from error
