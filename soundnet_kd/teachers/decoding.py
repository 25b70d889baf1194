"""Decoding of videos in processes beside the networks, with frames as the networks take them."""

import pickle
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from soundnet_kd.data import STEP_SECONDS
from soundnet_kd.errors import SettingsError
from soundnet_kd.media import MediaSource, Sampling, fetched_folder, local_file
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

    def __call__(self, video: MediaSource, out: Path, threads: int = 0) -> None:
        """Write a video's clips to a file that `read_decoded` reads; a long one is never in memory as a whole."""
        if threads:
            torch.set_num_threads(threads)
        tally = Tally()
        with local_file(video, fetched_folder(out)) as path, out.open("wb") as file:
            for clip in self._read(path, threads, tally):
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


def require_picklable(decoder: Decoder) -> None:
    """Check that a decoder can be handed to other processes.

    Raises
    ------
    SettingsError
        If a transform of a teacher cannot.
    """
    try:
        pickle.dumps(decoder)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise SettingsError(
            f"a teacher's transform cannot be handed to other processes ({error}); make it a function of a module, "
            "or decode with workers=0"
        ) from error
