"""Write a cache part by part: the sounds that are missing are decoded, their layers extracted and kept."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from soundnet_kd.data import Clip
from soundnet_kd.errors import FormatError, MediaError, TooShortError
from soundnet_kd.features.cache import pooled_name
from soundnet_kd.features.cache_parts import CachePart, is_numbered, new_part, part_file, written_parts
from soundnet_kd.features.extractor import FeatureExtractor
from soundnet_kd.features.reading import Sound, batches_of_equal_length, read_decoded
from soundnet_kd.media import DEADLINE_MINUTES, DECODED_FOLDER, RawAudioDecoder
from soundnet_kd.models import choose_device
from soundnet_kd.shards.here import do_here
from soundnet_kd.shards.jobs import Job, JobResult
from soundnet_kd.shards.ray_engine import RayEngine
from soundnet_kd.shards.shard import Shard, ShardResult, cut
from soundnet_kd.system.workers import sound_decoders

SOUNDS_PER_PART = 256
BYTES_PER_PART = 1 << 27
"""Sounds, and bytes of their files, after which a killed run can go on."""
SAMPLES_PER_BLOCK = 30 * 60 * 22_050
"""Batches are made of the sounds of a part; of long ones, of so much of it at a time."""
BATCHES_PER_PART = 8
"""So many at most: which sounds go through the network together, to which the last digits of a layer are due, depends
on nothing but the list of sounds and their lengths."""


@dataclass(frozen=True)
class Extraction:
    """What is done with shards of sounds: their layers are extracted, and kept as a part.

    Attributes
    ----------
    folder : Path
        Of the parts.
    extractor : FeatureExtractor
    decode : RawAudioDecoder
        How sounds are decoded.
    sequences : bool
        Whether whole sequences are kept.
    batch_size : int
    device : str, optional
        Where another process is to run the network. [default: where it is]
    """

    folder: Path
    extractor: FeatureExtractor
    decode: RawAudioDecoder
    sequences: bool
    batch_size: int
    device: str | None = None

    def shards(self, clips: Sequence[Clip], first: int = 0) -> list[Shard]:
        """Cut a list of sounds, or the stretch of it that begins at `first`."""
        return cut(
            [clip.id for clip in clips],
            [clip.path for clip in clips],
            min(BATCHES_PER_PART * self.batch_size, SOUNDS_PER_PART),
            first,
            BYTES_PER_PART,
        )

    def burst(self, workers: int) -> int | None:
        """Return how many sounds so many processes are to decode before the network hears any of them.

        On a CPU all cores decode a batch, then all compute: what decodes beside it makes each of its threads wait.
        """
        batches = -(-workers // self.batch_size) or 1
        return batches * self.batch_size if self.extractor.prepared.device.type == "cpu" else None

    def is_done(self, shard: Shard) -> bool:
        """Return whether its part is there."""
        return part_file(self.folder, shard.name).exists()

    @contextmanager
    def start(self) -> Iterator["PartWriter"]:
        """Return what extracts in this process."""
        extractor = self.extractor if self.device is None else self.extractor.on(choose_device(self.device))
        yield PartWriter(replace(self, extractor=extractor))


def write_parts(
    work: Extraction,
    clips: Sequence[Clip],
    workers: int | None,
    deadline_minutes: float = DEADLINE_MINUTES,
    progress_name: str = "extract",
    ray: RayEngine | None = None,
) -> list[Path]:
    """Write what is missing of the parts of a cache.

    Parameters
    ----------
    work : Extraction
    clips : sequence of Clip
        All sounds.
    workers : int, optional
        Processes that decode.
    deadline_minutes : float
        How long one may be at a sound.
    progress_name : str
        What the progress bar is called.
    ray : RayEngine, optional
        Extract on a Ray cluster, to which a network on this machine's CPU is handed.

    Returns
    -------
    list of Path
        All parts, in order.
    """
    shards = waiting_shards(work, clips)
    waiting = sum(map(len, shards))
    if workers is None:
        workers = sound_decoders(waiting)
    decoded = work.folder / DECODED_FOLDER
    list(_do(work, shards, len(clips), decoded, workers, deadline_minutes, progress_name, ray))
    if left := waiting_shards(work, clips):
        raise FormatError(
            f"parts in {work.folder} are damaged, {sum(map(len, left))} sounds long; run the same command again"
        )
    return list(written_parts(work.folder))


def _do(
    work: Extraction,
    shards: Sequence[Shard],
    sounds: int,
    decoded_folder: Path,
    workers: int,
    deadline_minutes: float,
    progress_name: str,
    ray: RayEngine | None = None,
) -> Iterator[ShardResult]:
    """Do shards, which are the last ones of so many sounds, and show how far it has come."""
    done = sounds - sum(map(len, shards))
    skipped = 0
    with tqdm(total=sounds, initial=done, desc=progress_name, unit="sound") as progress:
        burst = work.burst(workers)
        for result in (
            do_here(work, shards, decoded_folder, workers, deadline_minutes, burst, heard=lambda _: progress.update())
            if ray is None
            else ray.do(work, shards, deadline_minutes, work.burst, heard=progress.update)
        ):
            skipped += len(result.failures)
            if skipped:
                progress.set_postfix(skipped=skipped)
            yield result


def do_job(
    job: Job,
    works: Sequence[Extraction],
    shards: Sequence[Sequence[Shard]],
    workers: int | None,
    deadline_minutes: float,
) -> JobResult:
    """Write the parts of a cache that are a job's, each time that the sounds are heard.

    Parameters
    ----------
    job : Job
    works : sequence of Extraction
        One for each speed.
    shards : sequence of sequences of Shard
        All that jobs share, for each of these.
    workers, deadline_minutes
        As in `write_parts`.

    Returns
    -------
    JobResult
        Its sounds are counted once for each speed.
    """
    results: list[ShardResult] = []
    before = missing = count = 0
    for work, of_all in zip(works, shards, strict=True):
        own = job.share(of_all)
        waiting = [shard for shard in own if not work.is_done(shard)]
        sounds = sum(map(len, waiting))
        processes = sound_decoders(sounds) if workers is None else workers
        decoded = work.folder / f"{DECODED_FOLDER}-{job.name}"
        results += _do(work, waiting, sounds, decoded, processes, deadline_minutes, f"extract {job}")
        before += len(own) - len(waiting)
        missing += sum(not work.is_done(shard) for shard in of_all)
        count += len(of_all)
    used, failed = sum(result.used for result in results), sum(len(result.failures) for result in results)
    return JobResult(works[0].folder, job, len(results), used, failed, before, missing, count)


def waiting_shards(work: Extraction, clips: Sequence[Clip], of_others: bool = False) -> list[Shard]:
    """Return the shards of the sounds that are in no part; those in parts of shards too, where these are of other jobs.

    What earlier versions have written, in numbered parts, is done in any case.
    """
    shards: list[Shard] = []
    end = 0
    parts = written_parts(work.folder)
    done = [about for path, about in parts.items() if not of_others or is_numbered(path)]
    for about in (*done, range(len(clips), len(clips))):
        shards += work.shards(clips[end : about.start], end)
        end = about.stop
    return shards


class PartWriter:
    """Extracts the layers of shards in one process."""

    def __init__(self, work: Extraction) -> None:
        self._work = work
        self._extractor = work.extractor

    def do(self, shard: Shard, decoded: Iterator[Path | MediaError]) -> ShardResult:
        """Write the part of a shard."""
        rows: dict[int, dict[str, NDArray[np.float32]]] = {}
        failures: dict[int, str] = {}
        sounds = enumerate(read_decoded(decoded, self._extractor.longest))
        with new_part(part_file(self._work.folder, shard.name)) as part:
            heard = 0
            while heard < len(shard):
                block = _Block(sounds, failures)
                for batch in batches_of_equal_length(block, self._work.batch_size, self._extractor.longest):
                    try:
                        rows |= self._extract(part, batch)
                    except TooShortError as error:
                        failures |= {number: f"{shard.sources[number].name}: {error}" for number in batch}
                heard += block.count
            names = next(iter(rows.values()), {})
            reasons = {shard.ids[number]: failures[number] for number in sorted(failures)}
            part.finish(
                len(shard),
                {name: [rows[number][name] for number in sorted(rows)] for name in names},
                reasons,
                shard.first,
                self._extractor.prepared.made_by,
            )
        return ShardResult(shard.name, reasons, len(rows), len(rows))

    def _extract(self, part: CachePart, batch: Mapping[int, Sound]) -> dict[int, dict[str, NDArray[np.float32]]]:
        """Return the arrays of each sound of a batch by their names; sequences are appended to the part."""
        extractor = self._extractor
        if self._work.sequences:
            pools = extractor.new_pools()
            for layer, steps in extractor.stream(list(batch.values())):
                for pool in pools[layer]:
                    pool.add(steps)
                for number, sequence in zip(batch, steps.transpose(1, 2).cpu().numpy(), strict=True):
                    part.extend(number, layer, sequence)
            pooled = {layer: [pool.result() for pool in several] for layer, several in pools.items()}
        else:
            pooled = extractor.pooled(list(batch.values()))
        named = {
            pooled_name(layer, pooling, extractor.poolings): values
            for layer, several in pooled.items()
            for pooling, values in zip(extractor.poolings, several, strict=True)
        }
        return {number: {name: values[place] for name, values in named.items()} for place, number in enumerate(batch)}


class _Block:
    """The next sounds of a shard, until there is enough of them for batches of equal lengths."""

    def __init__(self, sounds: Iterator[tuple[int, Sound | MediaError]], failures: dict[int, str]) -> None:
        self.count = 0
        self._sounds = sounds
        self._failures = failures

    def __iter__(self) -> Iterator[tuple[int, Sound]]:
        samples = 0
        while samples < SAMPLES_PER_BLOCK:
            number, sound = next(self._sounds, (-1, None))
            if sound is None:
                return
            self.count += 1
            if isinstance(sound, MediaError):
                self._failures[number] = str(sound)
            else:
                samples += len(sound)
                yield number, sound
