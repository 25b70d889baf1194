"""Shards done in this process, one after the other, with processes beside it that decode."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from soundnet_kd.errors import MediaError
from soundnet_kd.media.decode_pool import DEADLINE_MINUTES, decode_in_processes
from soundnet_kd.shards.shard import Shard, ShardResult, ShardWork


def do_here(
    work: ShardWork,
    shards: Sequence[Shard],
    decoded_folder: str | Path,
    workers: int,
    deadline_minutes: float = DEADLINE_MINUTES,
    burst: int | None = None,
    heard: Callable[[Path | MediaError], object] = lambda _: None,
) -> Iterator[ShardResult]:
    """Do shards in their order.

    What is decoded ahead does not end with a shard.

    Parameters
    ----------
    work : ShardWork
    shards : sequence of Shard
    decoded_folder : str or Path
        For what is decoded and not used yet; what an earlier run left there is deleted.
    workers : int
        Processes that decode; 0 decodes in this one.
    deadline_minutes : float
        How long one may be at a sound or a video.
    burst : int, optional
        As in `decode_in_processes`.
    heard : callable, optional
        Called with each sound or video that has been decoded, or with why it has not.
    """
    sources = [source for shard in shards for source in shard.sources]
    with (
        work.start() as worker,
        decode_in_processes(work.decode, sources, decoded_folder, workers, deadline_minutes, burst) as files,
    ):

        def decoded(count: int) -> Iterator[Path | MediaError]:
            for _, file in islice(files, count):
                heard(file)
                yield file

        for shard in shards:
            yield worker.do(shard, decoded(len(shard)))
