"""Sounds of any length on disk, as they are when they are decoded."""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.media.audio import stream_audio
from soundnet_kd.media.container import translate_decoding_errors
from soundnet_kd.media.samples import Channel
from soundnet_kd.media.stored import MediaSource, fetched_folder, local_file

_BYTES = np.dtype(np.float32).itemsize


@dataclass(frozen=True)
class RawAudioDecoder:
    """How sounds are decoded to files of raw float32; a `decode` for `decode_in_processes`.

    Attributes
    ----------
    sample_rate : int or None
        In Hz; None keeps the rate of each file.
    channel : {"first", "mean"}
        How several channels become one.
    """

    sample_rate: int | None
    channel: Channel

    def __call__(self, sound: MediaSource, out: Path, threads: int = 0) -> None:
        """Decode a sound; it is never in memory as a whole.

        Raises
        ------
        MediaError
            If the file holds no readable sound.
        """
        with (
            local_file(sound, fetched_folder(out)) as path,
            out.open("wb") as file,
            closing(self._blocks(path)) as blocks,
        ):
            # Where it is written is not the sound's fault: a full disk ends the run.
            for block in blocks:
                file.write(block.tobytes())

    def _blocks(self, path: Path) -> Generator[NDArray[np.float32], None, None]:
        with translate_decoding_errors(path):
            yield from stream_audio(path, self.sample_rate, self.channel)


@dataclass(frozen=True)
class RawAudioFile:
    """A decoded sound, or a part of one, that stays on disk: what a `RawAudioDecoder` wrote.

    Attributes
    ----------
    file : Path
    first : int
        Sample of the file at which the sound begins.
    count : int, optional
        At most this many samples of it.
    """

    file: Path
    first: int = 0
    count: int | None = None

    def __len__(self) -> int:
        """Return the number of samples."""
        there = max(0, self.file.stat().st_size // _BYTES - self.first)
        return there if self.count is None else min(self.count, there)

    def cut(self, start: int, samples: int) -> NDArray[np.float32]:
        """Return `samples` samples from `start` on, fewer where the sound ends before."""
        kept = max(0, min(samples, len(self) - start))
        return np.fromfile(self.file, np.float32, kept, offset=(self.first + start) * _BYTES)

    def read(self) -> NDArray[np.float32]:
        """Return the whole waveform, (samples,) in ±1."""
        return self.cut(0, len(self))

    def blocks(self, samples: int) -> Iterator[NDArray[np.float32]]:
        """Return the waveform in blocks of `samples` samples, the last one shorter."""
        return (self.cut(start, samples) for start in range(0, len(self), samples))
