"""Write a cache part by part: the sounds that are missing are decoded, heard, and kept."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from soundnet_kd.data import Clip, Manifest
from soundnet_kd.errors import MediaError, TooShortError
from soundnet_kd.features.listening import Listener
from soundnet_kd.features.parts import Part, new_part, part_file, written_parts
from soundnet_kd.features.reading import Sound, batches_of_equal_length, reading
from soundnet_kd.media import DEADLINE_MINUTES, SoundStore

SOUNDS_PER_PART = 256
SAMPLES_PER_PART = 30 * 60 * 22_050
"""After so many sounds, or so much sound, a killed run can go on."""
SOUNDS_WORTH_A_WORKER = 64
"""A process takes a second or two to start, in which this one decodes more than that."""
SPOOL = ".decoded"
"""Folder of what is decoded but not heard yet."""


def write_parts(
    folder: str | Path,
    listener: Listener,
    store: SoundStore,
    sequences: bool,
    manifest: Manifest,
    batch_size: int,
    workers: int | None,
    deadline_minutes: float = DEADLINE_MINUTES,
) -> list[Path]:
    """Write what is missing of the parts of a cache.

    Parameters
    ----------
    folder : str or Path
        Of the parts.
    listener : Listener
    store : SoundStore
        How sounds are decoded.
    sequences : bool
        Whether whole sequences are kept.
    manifest : Manifest
    batch_size : int
    workers : int, optional
        Processes that decode.
    deadline_minutes : float
        How long one may be at a sound.

    Returns
    -------
    list of Path
        All parts, in order.
    """
    folder = Path(folder)
    parts, done = written_parts(folder)
    waiting = manifest.clips[done:]
    if workers is None:
        workers = _suitable_workers(listener, len(waiting))
    paths = [clip.path for clip in waiting]
    with (
        tqdm(total=len(manifest), initial=done, desc="extract", unit="sound") as progress,
        reading(paths, store, listener.longest, folder / SPOOL, workers, deadline_minutes) as sounds,
    ):
        clips = zip(waiting, sounds, strict=True)
        while done < len(manifest):
            path = part_file(folder, len(parts))
            with new_part(path) as part:
                done += _write_part(part, listener, sequences, clips, batch_size, progress)
            parts.append(path)
    return parts


def _suitable_workers(listener: Listener, sounds: int) -> int:
    device = next(listener.student.parameters()).device
    # A network on the CPU leaves decoding little to do beside it.
    most = 1 if device.type == "cpu" else joblib.cpu_count()
    return int(min(most, sounds // SOUNDS_WORTH_A_WORKER))


def _write_part(
    part: Part,
    listener: Listener,
    sequences: bool,
    clips: Iterator[tuple[Clip, Sound | MediaError]],
    batch_size: int,
    progress: "tqdm[Any]",
) -> int:
    """Write the features of the next sounds and give how many they are."""
    heard: list[Clip] = []
    rows: dict[int, dict[str, NDArray[np.float32]]] = {}
    failures: dict[int, str] = {}

    def fail(number: int, error: str) -> None:
        failures[number] = error
        progress.update()
        progress.set_postfix(skipped=len(failures))

    def readable() -> Iterator[tuple[int, Sound]]:
        samples = 0
        while len(heard) < SOUNDS_PER_PART and samples < SAMPLES_PER_PART:
            clip, sound = next(clips, (None, None))
            if clip is None or sound is None:
                return
            heard.append(clip)
            if isinstance(sound, MediaError):
                fail(len(heard) - 1, str(sound))
            else:
                samples += len(sound)
                yield len(heard) - 1, sound

    for batch in batches_of_equal_length(readable(), batch_size, listener.longest):
        numbers = list(batch)

        def keep(place: int, layer: str, steps: NDArray[np.float32], numbers: list[int] = numbers) -> None:
            part.extend(numbers[place], layer, steps)

        try:
            pooled = listener.hear(list(batch.values()), keep if sequences else None)
        except TooShortError as error:
            for number in numbers:
                fail(number, f"{heard[number].path.name}: {error}")
            continue
        for place, number in enumerate(numbers):
            rows[number] = {layer: values[place] for layer, values in pooled.items()}
        progress.update(len(batch))
    layers = listener.layers if listener.pooling != "none" else ()
    part.finish(
        len(heard),
        {layer: [rows[number][layer] for number in sorted(rows)] for layer in layers},
        {heard[number].id: failures[number] for number in sorted(failures)},
    )
    return len(heard)
