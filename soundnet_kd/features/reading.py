"""Sounds from their files, decoded in other processes where there are some."""

from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.errors import MediaError
from soundnet_kd.media import DEADLINE_MINUTES, MediaSource, RawAudioDecoder, RawAudioFile, decode_in_processes

HELD_SAMPLES = 600 * 22_050
"""What is held in memory of sounds that wait for others of their length (53 MB)."""

SAMPLES_PER_SOUND = 600_000
"""A batch holds fewer sounds where they are longer; one of 5 s, tiled to 20 s or more, has 551 250."""

Key = TypeVar("Key", bound=Hashable)

Sound = NDArray[np.float32] | RawAudioFile
"""A waveform, (samples,) in ±1, or one on disk that is too long to be held."""


@contextmanager
def decode_in_order(
    paths: Iterable[MediaSource],
    store: RawAudioDecoder,
    longest: int,
    decoded_folder: Path,
    workers: int,
    deadline_minutes: float = DEADLINE_MINUTES,
    burst: int | None = None,
) -> Iterator[Iterator[Sound | MediaError]]:
    """Decode sounds, several at a time, and yield them in their order.

    Parameters
    ----------
    paths : iterable of Path or StoredMedia
    store : RawAudioDecoder
        How they are decoded.
    longest : int
        Sounds of more samples stay on disk.
    decoded_folder : Path
        Folder for what is decoded and not used yet.
    workers : int
        Processes that decode; 0 decodes in this one.
    deadline_minutes : float
        How long one may be at a sound.
    burst : int, optional
        So many are decoded when the first of them is asked for, and none before the last one was. [default: always
        some ahead]

    Yields
    ------
    iterator of sounds, or why there is none
        One that stays on disk has to be used before the next one is asked for.
    """
    with decode_in_processes(store, paths, decoded_folder, workers, deadline_minutes, burst) as files:

        def sounds() -> Iterator[Sound | MediaError]:
            for _, file in files:
                if isinstance(file, MediaError):
                    yield file
                else:
                    sound = RawAudioFile(file)
                    yield sound if len(sound) > longest else sound.read()

        yield sounds()


def batches_of_equal_length(
    sounds: Iterable[tuple[Key, Sound]], batch_size: int, longest: int
) -> Iterator[dict[Key, Sound]]:
    """Gather sounds that can go through a network together.

    Parameters
    ----------
    sounds : iterable of (key, sound)
    batch_size : int
        At most; of sounds longer than `SAMPLES_PER_SOUND` so many fewer.
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
