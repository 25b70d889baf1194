"""Write a cache part by part: the sounds that are missing are decoded, their layers extracted and kept."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from soundnet_kd.data import Clip, Manifest
from soundnet_kd.errors import MediaError, TooShortError
from soundnet_kd.features.cache import pooled_name
from soundnet_kd.features.cache_parts import CachePart, new_part, part_file, written_parts
from soundnet_kd.features.extractor import FeatureExtractor
from soundnet_kd.features.reading import Sound, batches_of_equal_length, decode_in_order
from soundnet_kd.media import DEADLINE_MINUTES, DECODED_FOLDER, RawAudioDecoder
from soundnet_kd.system.workers import sound_decoders

SOUNDS_PER_PART = 256
SAMPLES_PER_PART = 30 * 60 * 22_050
SECONDS_PER_PART = 10.0
"""After so many sounds, so much sound, or so long a time, a killed run can go on."""
BATCHES_PER_BLOCK = 8
"""Batches are made of the sounds of a block of so many. Parts end where blocks do: the clock then decides what a kill
costs, but not which sounds go through the network together, to which the last digits of a layer are due."""


def write_parts(
    folder: str | Path,
    extractor: FeatureExtractor,
    store: RawAudioDecoder,
    sequences: bool,
    manifest: Manifest,
    batch_size: int,
    workers: int | None,
    deadline_minutes: float = DEADLINE_MINUTES,
    progress_name: str = "extract",
) -> list[Path]:
    """Write what is missing of the parts of a cache.

    Parameters
    ----------
    folder : str or Path
        Folder of the parts.
    extractor : FeatureExtractor
    store : RawAudioDecoder
        How sounds are decoded.
    sequences : bool
        Whether whole sequences are kept.
    manifest : Manifest
    batch_size : int
    workers : int, optional
        Processes that decode.
    deadline_minutes : float
        How long one may be at a sound.
    progress_name : str
        What the progress bar is called.

    Returns
    -------
    list of Path
        All parts, in order.
    """
    folder = Path(folder)
    written = written_parts(folder)
    gaps, number, end = _gaps(written)
    waiting = [*(manifest.clips[place] for gap in gaps.values() for place in gap), *manifest.clips[end:]]
    done = len(manifest) - len(waiting)
    if workers is None:
        workers = sound_decoders(len(waiting))
    # On a CPU all cores decode a batch, then all compute: what decodes beside it makes each of its threads wait.
    batches = -(-workers // batch_size) or 1
    burst = batches * batch_size if extractor.prepared.device.type == "cpu" else None
    paths = [clip.path for clip in waiting]
    with (
        tqdm(total=len(manifest), initial=done, desc=progress_name, unit="sound") as progress,
        decode_in_order(
            paths, store, extractor.longest, folder / DECODED_FOLDER, workers, deadline_minutes, burst
        ) as sounds,
    ):
        clips = zip(waiting, sounds, strict=True)
        for gap_number, gap in gaps.items():
            with new_part(part_file(folder, gap_number)) as part:
                _write_part(part, extractor, sequences, clips, batch_size, progress, gap.start, len(gap))
        while end < len(manifest):
            with new_part(part_file(folder, number)) as part:
                end += _write_part(part, extractor, sequences, clips, batch_size, progress, end)
            number += 1
    return [path for path in map(partial(part_file, folder), range(number)) if path.is_file()]


def _gaps(written: Mapping[int, range]) -> tuple[dict[int, range], int, int]:
    """Find what is missing between parts.

    Returns
    -------
    gaps : dict from the number that a missing part can have to the sounds that it has to be about
    number : int
        Number of the part that follows the last one.
    end : int
        Where that begins.
    """
    gaps: dict[int, range] = {}
    number = end = 0
    for each, about in written.items():
        if about.start > end:
            gaps[number] = range(end, about.start)
        number, end = each + 1, about.stop
    return gaps, number, end


def _write_part(
    part: CachePart,
    extractor: FeatureExtractor,
    sequences: bool,
    clips: Iterator[tuple[Clip, Sound | MediaError]],
    batch_size: int,
    progress: "tqdm[Any]",
    first: int,
    exactly: int | None = None,
) -> int:
    """Write the features of the next sounds and give how many they are: so many, or as it is time for."""
    started = monotonic()
    block = min(BATCHES_PER_BLOCK * batch_size, SOUNDS_PER_PART)
    samples = 0
    taken: list[Clip] = []
    rows: dict[int, dict[str, NDArray[np.float32]]] = {}
    failures: dict[int, str] = {}

    def fail(number: int, error: str) -> None:
        failures[number] = error
        progress.update()
        progress.set_postfix(skipped=len(failures))

    def read_block() -> Iterator[tuple[int, Sound]]:
        """Return the sounds of a block."""
        nonlocal samples
        begun, samples_before = len(taken), samples
        while len(taken) - begun < block and samples - samples_before < SAMPLES_PER_PART and len(taken) != exactly:
            clip, sound = next(clips, (None, None))
            if clip is None or sound is None:
                return
            taken.append(clip)
            if isinstance(sound, MediaError):
                fail(len(taken) - 1, str(sound))
            else:
                samples += len(sound)
                yield len(taken) - 1, sound

    def pooled_with_sequences(batch: Mapping[int, Sound]) -> dict[str, list[NDArray[np.float32]]]:
        pools = extractor.new_pools()
        for layer, steps in extractor.stream(list(batch.values())):
            for pool in pools[layer]:
                pool.add(steps)
            for number, sequence in zip(batch, steps.transpose(1, 2).cpu().numpy(), strict=True):
                part.extend(number, layer, sequence)
        return {layer: [pool.result() for pool in several] for layer, several in pools.items()}

    def extract_block() -> bool:
        """Extract the features of the sounds of a block, and say whether there were any."""
        before = len(taken)
        for batch in batches_of_equal_length(read_block(), batch_size, extractor.longest):
            try:
                pooled = pooled_with_sequences(batch) if sequences else extractor.pooled(list(batch.values()))
            except TooShortError as error:
                for number in batch:
                    fail(number, f"{taken[number].path.name}: {error}")
                continue
            named = {
                pooled_name(layer, pooling, extractor.poolings): values
                for layer, several in pooled.items()
                for pooling, values in zip(extractor.poolings, several, strict=True)
            }
            for place, number in enumerate(batch):
                rows[number] = {name: values[place] for name, values in named.items()}
            progress.update(len(batch))
        return len(taken) > before

    while extract_block():
        full = len(taken) >= SOUNDS_PER_PART or samples >= SAMPLES_PER_PART
        if exactly is None and (full or monotonic() - started >= SECONDS_PER_PART):
            break
    names = next(iter(rows.values()), {})
    part.finish(
        len(taken),
        {name: [rows[number][name] for number in sorted(rows)] for name in names},
        {taken[number].id: failures[number] for number in sorted(failures)},
        first,
        extractor.prepared.made_by,
    )
    return len(taken)
