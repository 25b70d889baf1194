"""Sounds from their files, decoded beside the network where there are processes for it."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from soundnet_kd.data import Clip
from soundnet_kd.errors import EmptyAudioError, MediaError
from soundnet_kd.media import Channel, stream_audio
from soundnet_kd.media.container import audio_track, decode_audio, open_media

HELD_SAMPLES = 600 * 22_050
"""The longest sound that is held in memory (53 MB); a longer one is read again, piece by piece, while it is heard."""

PIECE_SECONDS = 30.0
"""Length of the pieces of such a sound."""

Sound = NDArray[np.float32] | str | None
"""A waveform, (samples,) in ±1; the reason why there is none; None for one that is too long to be held."""


@dataclass(frozen=True)
class Reading:
    """How sounds are read.

    Attributes
    ----------
    sample_rate : int or None
        In Hz; None keeps the rate of each file.
    channel : {"first", "mean"}
        How several channels become one.
    held_samples : int
        The longest sound that `read` gives.
    """

    sample_rate: int | None
    channel: Channel
    held_samples: int = HELD_SAMPLES

    def pieces(self, path: Path) -> Generator[NDArray[np.float32], None, None]:
        """Read a sound of any length.

        Yields
        ------
        (samples,) float32 in ±1, `PIECE_SECONDS` each but for the last one.

        Raises
        ------
        MediaError
            If the file holds no readable sound.
        """
        rate = self.sample_rate or _native_rate(path)
        return stream_audio(path, rate, self.channel, block_seconds=PIECE_SECONDS)

    def read(self, path: Path) -> NDArray[np.float32] | None:
        """Read a whole sound, (samples,) float32 in ±1; None if it has more than `held_samples`."""
        held: list[NDArray[np.float32]] = []
        with closing(self.pieces(path)) as pieces:
            for piece in pieces:
                held.append(piece)
                if sum(map(len, held)) > self.held_samples:
                    return None
        return np.concatenate(held)


def read_sounds(clips: Sequence[Clip], reading: Reading, workers: int) -> Iterator[tuple[str, Sound]]:
    """Read sounds in their order, each with its id.

    Parameters
    ----------
    clips : sequence of Clip
    reading : Reading
    workers : int
        Processes that decode; 0 decodes in the main process.
    """
    return iter(
        DataLoader(_Sounds(clips, reading), batch_size=None, num_workers=workers if clips else 0, collate_fn=_as_is)
    )


def batches_of_equal_length(
    sounds: Iterable[tuple[str, Sound]], batch_size: int, longest: int, failures: dict[str, str]
) -> Iterator[dict[str, NDArray[np.float32] | None]]:
    """Gather sounds that a network can hear together.

    Parameters
    ----------
    sounds : iterable of (id, sound)
    batch_size : int
    longest : int
        Sounds of more samples are given alone.
    failures : dict
        Where the reasons of those that could not be read are put.

    Yields
    ------
    dict from id to waveform, or to None for one that is too long to be held
    """
    gathered: dict[int, dict[str, NDArray[np.float32] | None]] = {}
    held_samples = 0
    for clip_id, sound in sounds:
        if isinstance(sound, str):
            failures[clip_id] = sound
        elif sound is None or len(sound) > longest:
            yield {clip_id: sound}
        else:
            batch = gathered.setdefault(len(sound), {})
            batch[clip_id] = sound
            held_samples += len(sound)
            length: int | None = len(sound) if len(batch) == batch_size else None
            if length is None and held_samples > HELD_SAMPLES:
                # Where all sounds are of other lengths, no batch is ever full.
                length = max(gathered, key=lambda each: each * len(gathered[each]))
            if length is not None:
                held_samples -= length * len(gathered[length])
                yield gathered.pop(length)
    yield from gathered.values()


class _Sounds(Dataset[tuple[str, Sound]]):
    def __init__(self, clips: Sequence[Clip], reading: Reading) -> None:
        self.clips = clips
        self.reading = reading

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[str, Sound]:
        clip = self.clips[index]
        try:
            return clip.id, self.reading.read(clip.path)
        except MediaError as error:
            return clip.id, str(error)


def _as_is(sound: Any) -> Any:
    return sound


def _native_rate(path: Path) -> int:
    """Give the rate of the first decoded block: what a file declares may be half of it (HE-AAC)."""
    with open_media(path) as container:
        for frame in decode_audio(container, audio_track(container, path)):
            return frame.sample_rate
    raise EmptyAudioError(f"{path.name} has an audio track without a single sample")
