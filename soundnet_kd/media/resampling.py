"""How a sound is brought to another rate as it is read from its file: by FFmpeg's swresample, block by block.

A sound of any length is resampled so without being in memory as a whole, and has as many samples as its length asks
for. Two more places resample what has been read already: `soundnet_kd.models.front_ends.resampling` within a network,
as the published systems did, and `soundnet_kd.data.voice_activity` for a detector that knows four rates only.
"""

import math

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

Block = NDArray[np.float32]

SECONDS_AT_A_TIME = 0.5
"""A decoder's blocks hold a thousand samples or so, for which a call costs more than the resampling; whoever listens to
a sound while it arrives waits for no more than this."""


def resample(waveform: Block, rate: int, rate_out: int) -> Block:
    """Return a whole waveform at another rate, (samples,) float32."""
    resampler = SegmentResampler(rate, rate_out)
    return np.concatenate([resampler.convert(waveform), resampler.finish()])


class SegmentResampler:
    """Blocks of one rate without a gap, resampled as the single signal that they are.

    Parameters
    ----------
    rate, rate_out : int
        Samples per second of the blocks, and of the result; where they are equal the blocks stay as they are.

    Attributes
    ----------
    samples_in, samples_out : int
        How many have come in and gone out so far.
    """

    def __init__(self, rate: int, rate_out: int) -> None:
        self.rate = rate
        self.samples_in = 0
        self.samples_out = 0
        self._rate_out = rate_out
        self._resampler = None if rate == rate_out else AudioResampler("fltp", "mono", rate_out)
        self._waiting: list[Block] = []
        self._samples_waiting = 0

    def convert(self, block: Block) -> Block:
        """Resample the next block, (samples,); it, or its last samples, may come with one of those after it."""
        self.samples_in += len(block)
        if self._resampler is None:
            converted = block
        else:
            self._waiting.append(block)
            self._samples_waiting += len(block)
            converted = (
                self._resampled() if self._samples_waiting >= SECONDS_AT_A_TIME * self.rate else np.zeros(0, np.float32)
            )
        self.samples_out += len(converted)
        return converted

    def finish(self) -> Block:
        """Return what the resampler still holds, so that the segment has ceil(samples_in * rate_out / rate) samples."""
        tail = np.zeros(0, np.float32)
        if self._resampler is not None:
            tail = np.concatenate([self._resampled(), _join(self._resampler.resample(None))])
        # FFmpeg gives a sample too few or too many at times, and nothing at all of a segment shorter than its filter.
        missing = math.ceil(self.samples_in * self._rate_out / self.rate) - self.samples_out
        tail = np.pad(tail[: max(0, missing)], (0, max(0, missing - len(tail))))
        self.samples_out += len(tail)
        return tail

    def _resampled(self) -> Block:
        """Resample what waits."""
        if self._resampler is None or not self._samples_waiting:
            return np.zeros(0, np.float32)
        frame = AudioFrame.from_ndarray(np.concatenate(self._waiting)[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate = self.rate
        self._waiting, self._samples_waiting = [], 0
        return _join(self._resampler.resample(frame))


def _join(frames: list[AudioFrame]) -> Block:
    blocks = [frame.to_ndarray()[0].astype(np.float32, copy=False) for frame in frames]
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
