"""Sounds from their files, decoded in other processes where there are some."""

from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.errors import MediaError
from soundnet_kd.media import RawAudioFile

HELD_SAMPLES = 600 * 22_050
"""What is held in memory of sounds that wait for others of their length (53 MB)."""

SAMPLES_PER_SOUND = 600_000
"""A batch holds fewer sounds where they are longer; one of 5 s, tiled to 20 s or more, has 551 250."""

Key = TypeVar("Key", bound=Hashable)

Sound = NDArray[np.float32] | RawAudioFile
"""A waveform, (samples,) in ±1, or one on disk that is too long to be held."""


def read_decoded(files: Iterable[str | Path | MediaError], longest: int) -> Iterator[Sound | MediaError]:
    """Read sounds that a `RawAudioDecoder` has decoded, in their order.

    One of more samples than `longest` stays on disk, and has to be used before the next one is asked for.
    """
    for file in files:
        if isinstance(file, MediaError):
            yield file
        else:
            sound = RawAudioFile(Path(file))
            yield sound if len(sound) > longest else sound.read()


def batches_of_equal_length(
    sounds: Iterable[tuple[Key, Sound]], batch_size: int, longest: int
) -> Iterator[dict[Key, Sound]]:
    """Gather sounds that can go through a network together.

    Parameters
    ----------
    sounds : iterable of (key, sound)
    batch_size : int
        At most; fewer, in proportion, of sounds longer than `SAMPLES_PER_SOUND`.
    longest : int
        Sounds of more samples are returned alone, at once.

    Yields
    ------
    dict from key to sound
    """
    gathered: dict[int, dict[Key, Sound]] = {}
    held_samples = 0
    for key, sound in sounds:
        if len(sound) > longest:
            yield {key: sound}
            continue
        batch = gathered.setdefault(len(sound), {})
        batch[key] = sound
        held_samples += len(sound)
        full = len(batch) >= min(batch_size, batch_size * SAMPLES_PER_SOUND / len(sound))
        length: int | None = len(sound) if full else None
        if length is None and held_samples > HELD_SAMPLES:
            # Where all sounds are of other lengths, no batch is ever full.
            length = max(gathered, key=lambda each: each * len(gathered[each]))
        if length is not None:
            held_samples -= length * len(gathered[length])
            yield gathered.pop(length)
    yield from gathered.values()
