"""One waveform from decoded blocks that come late, leave gaps or change their rate."""

import math
from collections.abc import Iterator

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

# Vorbis stamps its blocks of changing length up to 17 ms early or late though nothing is missing (10.7 ms at 44.1 kHz).
# A smaller gap is jitter. Gaps add up until they pass it, so sound is never later than this against the clock.
JITTER_SECONDS = 0.02
# A longer gap is a broken clock, as where two recordings were glued together: the sound goes on without a pause.
LONGEST_GAP_SECONDS = 600.0
# Silence comes in pieces of this size at most, as a long gap at once would be large.
SILENCE_SAMPLES = 1 << 16

Block = NDArray[np.float32]


class Tape:
    """Put blocks of sound at their time; what is missing between them becomes silence.

    Nothing is kept: each call gives the blocks, (samples,) float32, that follow those of the call before. They have to
    be taken before the next call.

    Parameters
    ----------
    sample_rate : int, optional
        Samples per second of the tape; None takes the rate of the first block.
    """

    def __init__(self, sample_rate: int | None = None) -> None:
        self.sample_rate = sample_rate
        self._samples = 0
        self._segment: _Segment | None = None

    def add(self, block: Block, rate: int, start_seconds: float | None) -> Iterator[Block]:
        """Append a block.

        Parameters
        ----------
        block : (samples,) float32
        rate : int
            Samples per second of the block.
        start_seconds : float or None
            Where on the tape the block belongs; None is where the one before it ends.
        """
        if self.sample_rate is None:
            self.sample_rate = rate
        if start_seconds is not None:
            end_seconds = self._end_seconds(self.sample_rate)
            gap_seconds = start_seconds - end_seconds
            # The first block has none before it that it could be early or late against.
            tolerated_seconds = JITTER_SECONDS if end_seconds else 0.0
            if tolerated_seconds < gap_seconds <= LONGEST_GAP_SECONDS:
                yield from self.finish()
                yield from self._silence_until(round(start_seconds * self.sample_rate))
        if self._segment is None or self._segment.rate != rate:
            yield from self.finish()
            self._segment = _Segment(rate, self.sample_rate)
        yield self._counted(self._segment.convert(block))

    def finish(self) -> Iterator[Block]:
        """Give what the resampler still holds."""
        if self._segment is not None:
            yield self._counted(self._segment.finish())
            self._segment = None

    def _silence_until(self, end: int) -> Iterator[Block]:
        while self._samples < end:
            yield self._counted(np.zeros(min(SILENCE_SAMPLES, end - self._samples), np.float32))

    def _end_seconds(self, sample_rate: int) -> float:
        if self._segment is None:
            return self._samples / sample_rate
        return (self._samples - self._segment.samples_out) / sample_rate + self._segment.samples_in / self._segment.rate

    def _counted(self, block: Block) -> Block:
        self._samples += len(block)
        return block


class _Segment:
    """Blocks of one rate without a gap, resampled as the single signal that they are."""

    def __init__(self, rate: int, rate_out: int) -> None:
        self.rate = rate
        self.samples_in = 0
        self.samples_out = 0
        self._rate_out = rate_out
        self._resampler = None if rate == rate_out else AudioResampler("fltp", "mono", rate_out)

    def convert(self, block: Block) -> Block:
        self.samples_in += len(block)
        if self._resampler is None:
            converted = block
        elif len(block):
            frame = AudioFrame.from_ndarray(block[np.newaxis], format="fltp", layout="mono")
            frame.sample_rate = self.rate
            converted = _joined(self._resampler.resample(frame))
        else:
            converted = np.zeros(0, np.float32)
        self.samples_out += len(converted)
        return converted

    def finish(self) -> Block:
        """Give what the resampler still holds, so that the segment has ceil(samples_in * rate_out / rate) samples."""
        tail = np.zeros(0, np.float32) if self._resampler is None else _joined(self._resampler.resample(None))
        # FFmpeg gives a sample too few or too many at times, and nothing at all of a segment shorter than its filter.
        missing = math.ceil(self.samples_in * self._rate_out / self.rate) - self.samples_out
        tail = np.pad(tail[: max(0, missing)], (0, max(0, missing - len(tail))))
        self.samples_out += len(tail)
        return tail


def _joined(frames: list[AudioFrame]) -> Block:
    blocks = [frame.to_ndarray()[0].astype(np.float32, copy=False) for frame in frames]
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
