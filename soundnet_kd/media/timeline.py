"""One waveform from decoded blocks that come late, leave gaps, change their rate or run past the end."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.media.resampling import SegmentResampler

# Vorbis stamps its blocks of changing length up to 17 ms early or late though nothing is missing (10.7 ms at 44.1 kHz).
# A smaller gap is jitter. Gaps add up until they pass it, so sound is never later than this against the clock.
JITTER_SECONDS = 0.02
# A longer gap is a broken clock, as where two recordings were glued together: the sound goes on without a pause.
LONGEST_GAP_SECONDS = 600.0
# A gap is believed when the stamps of so much sound behind it agree. A wrong stamp spreads over what the file stores
# under it: up to 8 frames of a codec in Matroska, some more in MPEG-TS.
BELIEVED_SECONDS = 2.0
# A coder fills up its last frame, by 0.26 s at most (2048 samples at 8 kHz). More than that behind the end that a file
# states is sound: the statement is wrong.
LONGEST_PADDING_SECONDS = 0.3
# Silence comes in pieces of this size at most, as a long gap at once would be large.
SILENCE_SAMPLES = 1 << 16

Block = NDArray[np.float32]


@dataclass
class _Waiting:
    """A block, and how much is missing before it if its stamp is right."""

    block: Block
    rate: int
    gap_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        return len(self.block) / self.rate


class Timeline:
    """Put blocks of sound at their time; what is missing between them becomes silence.

    A stamp that says that sound is missing is believed only if those that follow agree: one that is wrong by itself
    moves nothing. No more is kept than that needs. Each call gives the blocks, (samples,) float32, that follow those of
    the call before; they have to be taken before the next call.

    Parameters
    ----------
    sample_rate : int, optional
        Samples per second of the timeline; None takes the rate of the first block.
    end_seconds : float, optional
        Where the sound ends, if its file says so: what an encoder added after it is left out.
    starts_late : bool
        Whether the first block may lie behind the start, as sound that begins after the pictures does. Where nothing
        else is there the timeline begins with it.
    """

    def __init__(
        self, sample_rate: int | None = None, *, end_seconds: float | None = None, starts_late: bool = True
    ) -> None:
        self.sample_rate = sample_rate
        self._end_of_sound_seconds = end_seconds
        self._starts_late = starts_late
        self._clock_seconds = 0.0
        self._samples = 0
        self._segment: SegmentResampler | None = None
        self._waiting: deque[_Waiting] = deque()
        self._padding: list[tuple[Block, int]] = []

    def add(self, block: Block, rate: int, start_seconds: float | None) -> Iterator[Block]:
        """Append a block.

        Parameters
        ----------
        block : (samples,) float32
        rate : int
            Samples per second of the block.
        start_seconds : float or None
            Where on the timeline the block belongs; None is where the one before it ends.
        """
        if self.sample_rate is None:
            self.sample_rate = rate
        self._waiting.append(_Waiting(block, rate, 0.0 if start_seconds is None else self._gap_before(start_seconds)))
        while self._waiting and self._is_sure():
            yield from self._put(self._waiting.popleft())

    def finish(self) -> Iterator[Block]:
        """Return the blocks that waited for more, and what the resampler still holds."""
        last = self._waiting[-1] if self._waiting else None
        if last is not None and (self._begun or len(self._waiting) > 1):
            # Nothing follows that could agree.
            last.gap_seconds = 0.0
        while self._waiting:
            yield from self._put(self._waiting.popleft())
        yield from self._end_segment()

    @property
    def _begun(self) -> bool:
        """Whether a block has been put, be it that the resampler still holds all of it."""
        return self._segment is not None or self._samples > 0

    def _gap_before(self, start_seconds: float) -> float:
        """Return how much is missing before a block; gaps before it that its stamp contradicts are forgotten."""
        expected = self._clock_seconds + self._end_seconds() + self._padding_seconds()
        expected += sum(waiting.gap_seconds + waiting.seconds for waiting in self._waiting)
        for waiting in reversed(self._waiting):
            if start_seconds >= expected - JITTER_SECONDS:
                break
            expected -= waiting.gap_seconds
            waiting.gap_seconds = 0.0
        gap_seconds = start_seconds - expected
        if not self._begun and not self._waiting and 0 < gap_seconds <= JITTER_SECONDS:
            # Nothing is missing before the first block; those that follow are as late.
            self._clock_seconds = gap_seconds
        return gap_seconds if JITTER_SECONDS < gap_seconds <= LONGEST_GAP_SECONDS else 0.0

    def _is_sure(self) -> bool:
        """Whether the first block that waits is known to belong where it would be put."""
        first = self._waiting[0]
        return not first.gap_seconds or sum(waiting.seconds for waiting in self._waiting) >= BELIEVED_SECONDS

    def _put(self, waiting: _Waiting) -> Iterator[Block]:
        if waiting.gap_seconds and not self._begun and not self._starts_late:
            self._clock_seconds += waiting.gap_seconds
        elif waiting.gap_seconds:
            yield from self._keep_padding()
            end_seconds = self._end_seconds() + waiting.gap_seconds
            yield from self._end_segment()
            yield from self._silence_until(round(end_seconds * (self.sample_rate or waiting.rate)))
        yield from self._record(waiting.block, waiting.rate)

    def _record(self, block: Block, rate: int) -> Iterator[Block]:
        if self._end_of_sound_seconds is None:
            yield from self._convert(block, rate)
            return
        left = max(0, round((self._end_of_sound_seconds - self._end_seconds()) * rate))
        if block[:left].size:
            yield from self._convert(block[:left], rate)
        if block[left:].size:
            self._padding.append((block[left:], rate))
        if self._padding_seconds() > LONGEST_PADDING_SECONDS:
            yield from self._keep_padding()

    def _padding_seconds(self) -> float:
        return sum(len(padding) / rate for padding, rate in self._padding)

    def _keep_padding(self) -> Iterator[Block]:
        """Treat what follows the stated end as sound after all."""
        if self._padding:
            self._end_of_sound_seconds = None
        for padding, rate in self._padding:
            yield from self._convert(padding, rate)
        self._padding.clear()

    def _convert(self, block: Block, rate: int) -> Iterator[Block]:
        if self._segment is None or self._segment.rate != rate:
            yield from self._end_segment()
            self._segment = SegmentResampler(rate, self.sample_rate or rate)
        converted = self._segment.convert(block)
        if len(converted):
            yield self._counted(converted)

    def _end_segment(self) -> Iterator[Block]:
        if self._segment is not None:
            yield self._counted(self._segment.finish())
            self._segment = None

    def _silence_until(self, end: int) -> Iterator[Block]:
        while self._samples < end:
            yield self._counted(np.zeros(min(SILENCE_SAMPLES, end - self._samples), np.float32))

    def _end_seconds(self) -> float:
        if self.sample_rate is None:
            return 0.0
        if self._segment is None:
            return self._samples / self.sample_rate
        before = (self._samples - self._segment.samples_out) / self.sample_rate
        return before + self._segment.samples_in / self._segment.rate

    def _counted(self, block: Block) -> Block:
        self._samples += len(block)
        return block
