"""A small work on shards: the levels of sounds, decoded as for any network, in a file for each shard."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundnet_kd.errors import MediaError
from soundnet_kd.media import RawAudioDecoder, RawAudioFile
from soundnet_kd.media.stored import MediaSource
from soundnet_kd.shards.shard import Shard, ShardResult
from soundnet_kd.storage import write_json

RATE = 8000


@dataclass(frozen=True)
class LevelsDecoder:
    """Decodes sounds; those of some names do harm."""

    def __call__(self, source: MediaSource, file: Path, threads: int = 0) -> None:
        if source.stem.startswith("die"):
            os.kill(os.getpid(), signal.SIGSEGV)
        if source.stem.startswith("lose"):
            # The process that asks this one to decode; not to be used where that is the test's own.
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(3600)
        if source.stem.startswith("hang"):
            time.sleep(3600)
        if source.stem.startswith("full"):
            raise OSError(28, "No space left on device", str(file))
        RawAudioDecoder(RATE, "first")(source, file, threads)


@dataclass(frozen=True)
class Levels:
    """The root mean square of sounds.

    Attributes
    ----------
    folder : Path
        For the files of shards.
    seconds : float
        That each sound takes, in place of a network.
    fails : str
        What happens in the shard that begins with a sound of this name.
    """

    folder: Path
    seconds: float = 0.0
    fails: str = ""
    decode: LevelsDecoder = LevelsDecoder()

    @contextmanager
    def start(self) -> Iterator["LevelsWorker"]:
        yield LevelsWorker(self)

    def file(self, shard: Shard) -> Path:
        return self.folder / f"part-{shard.name}.json"

    def is_done(self, shard: Shard) -> bool:
        return self.file(shard).exists()


@dataclass(frozen=True)
class LevelsWorker:
    work: Levels

    def do(self, shard: Shard, decoded: Iterator[Path | MediaError]) -> ShardResult:
        levels: dict[str, float] = {}
        failures: dict[str, str] = {}
        for name, file in zip(shard.ids, decoded, strict=True):
            time.sleep(self.work.seconds)
            if isinstance(file, MediaError):
                failures[name] = str(file)
            else:
                levels[name] = float(np.sqrt(np.mean(np.square(RawAudioFile(file).read()))))
        first = shard.ids[0].partition(".")[0]
        if first == self.work.fails == "raises":
            raise ZeroDivisionError("an error of the worker")
        if first == self.work.fails == "ends":
            os._exit(1)
        if first == self.work.fails == "ends-once" and not (self.work.folder / "ended").exists():
            self.work.folder.mkdir(parents=True, exist_ok=True)
            (self.work.folder / "ended").touch()
            # In the middle of writing.
            self.work.file(shard).with_name(f".partial-{self.work.file(shard).name}").write_text("{")
            os._exit(1)
        write_json(self.work.file(shard), {"levels": levels, "failures": failures})
        return ShardResult(shard.name, failures, len(levels), len(levels))


def read_parts(work: Levels) -> dict[str, bytes]:
    """Read the files of all shards."""
    return {file.name: file.read_bytes() for file in sorted(work.folder.glob("part-*"))}
