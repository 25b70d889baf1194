"""Blocks of sound on one timeline, with stamps made by hand."""

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from soundnet_kd.media.resampling import SECONDS_AT_A_TIME, SegmentResampler
from soundnet_kd.media.timeline import Timeline

RATE = 48_000
BLOCK = 960
"""20 ms."""


@pytest.mark.parametrize("lengths", [[1], [7, 1024, 3], [int(SECONDS_AT_A_TIME * 48_000) - 1], [10**6]])
def test_blocks_of_any_length_are_resampled_as_the_one_signal_that_they_are(lengths: list[int]) -> None:
    """As PyAV's resampler does it with all of it at once."""
    signal = np.random.default_rng(0).normal(0, 0.2, 5000 if lengths == [1] else 100_000).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(signal[np.newaxis], format="fltp", layout="mono")
    frame.sample_rate = RATE
    whole = av.AudioResampler("fltp", "mono", 22_050)
    expected = np.concatenate([each.to_ndarray()[0] for each in (*whole.resample(frame), *whole.resample(None))])
    resampler = SegmentResampler(RATE, 22_050)
    found: list[NDArray[np.float32]] = []
    while resampler.samples_in < len(signal):
        end = resampler.samples_in + lengths[len(found) % len(lengths)]
        found.append(resampler.convert(signal[resampler.samples_in : end]))
    found.append(resampler.finish())
    np.testing.assert_array_equal(np.concatenate(found), expected[: -(-len(signal) * 22_050 // RATE)])


@pytest.mark.parametrize("rate_out", [RATE, 22_050])
def test_what_is_late_is_late_against_the_first_block_whatever_the_rate(rate_out: int) -> None:
    """The second block comes 15 ms late, which is jitter, all later ones 25 ms, which are missing."""
    timeline = Timeline(rate_out)
    late_seconds = [0.0, 0.015, *[0.025] * 200]
    pieces: list[NDArray[np.float32]] = []
    for number, late in enumerate(late_seconds):
        pieces.extend(timeline.add(np.ones(BLOCK, np.float32), RATE, number * BLOCK / RATE + late))
    pieces.extend(timeline.finish())
    sound = np.concatenate(pieces)
    assert len(sound) == pytest.approx((len(late_seconds) * BLOCK / RATE + 0.025) * rate_out, abs=1)
    assert np.count_nonzero(sound == 0) == pytest.approx(0.025 * rate_out, abs=1)
