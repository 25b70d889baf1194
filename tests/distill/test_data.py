"""Feeding: clips of 20 s, batches that can be taken up anywhere, videos that stay on one side."""

import numpy as np
import pytest

from soundnet_kd.data import LabelledClip
from soundnet_kd.distill.data import ShuffledBatches, fill, held_out_videos

RATE = 100


def clip_of(steps: int, samples: int) -> LabelledClip:
    rows = np.arange(steps * 2, dtype=np.float32).reshape(steps, 2)
    return LabelledClip("v", 0.0, np.arange(1, samples + 1).astype(np.int16), np.zeros(steps), {"a": rows})


@pytest.mark.parametrize(
    ("steps", "order"), [(1, [0, 0, 0, 0]), (2, [0, 1, 0, 1]), (3, [0, 1, 2, 0]), (4, [0, 1, 2, 3])]
)
def test_short_videos_are_repeated_to_four_steps(steps: int, order: list[int]) -> None:
    clip = clip_of(steps, steps * 5 * RATE)
    waveform, targets = fill(clip, RATE)
    assert waveform.shape == (20 * RATE,)
    assert targets["a"].tolist() == [[2.0 * step, 2.0 * step + 1] for step in order]
    # The sound of each step is the sound that its labels belong to.
    for place, step in enumerate(order):
        found = waveform[place * 5 * RATE : (place + 1) * 5 * RATE] * 32768
        assert found.tolist() == list(range(step * 5 * RATE + 1, (step + 1) * 5 * RATE + 1))


def test_sound_shorter_than_its_steps_is_padded_with_zeros() -> None:
    waveform, _ = fill(clip_of(2, 700), RATE)
    assert (waveform[:700] * 32768).tolist() == list(range(1, 701))
    assert not waveform[700:1000].any()
    np.testing.assert_array_equal(waveform[1000:], waveform[:1000])


def test_every_pass_gives_every_clip_once_in_another_order() -> None:
    given = [index for batch in ShuffledBatches(clips=7, batch_size=3, steps=7, seed=1) for index in batch]
    passes = [given[first : first + 7] for first in (0, 7, 14)]
    assert all(sorted(order) == list(range(7)) for order in passes)
    assert len({tuple(order) for order in passes}) == 3


@pytest.mark.parametrize("first_step", [0, 1, 4, 9])
def test_taking_up_the_order_at_a_step(first_step: int) -> None:
    whole = list(ShuffledBatches(clips=5, batch_size=8, steps=10, seed=3))
    rest = list(ShuffledBatches(clips=5, batch_size=8, steps=10, seed=3, first_step=first_step))
    assert rest == whole[first_step:]


def test_the_seed_decides() -> None:
    assert list(ShuffledBatches(50, 8, 4, seed=0)) == list(ShuffledBatches(50, 8, 4, seed=0))
    assert list(ShuffledBatches(50, 8, 4, seed=0)) != list(ShuffledBatches(50, 8, 4, seed=1))


def test_held_out_videos_stay_when_others_come() -> None:
    names = [f"video {number}.mp4" for number in range(200)]
    held = held_out_videos(names, 0.1, seed=0)
    assert 8 <= len(held) <= 32  # 20 expected, the deviation of a binomial is 4.2
    assert held_out_videos(list(reversed(names)), 0.1, seed=0) == held
    more = held_out_videos([*names, *(f"more {number}.mp4" for number in range(20))], 0.1, seed=0)
    assert more & set(names) == held


@pytest.mark.parametrize(("videos", "share", "count"), [(1, 0.5, 0), (2, 1e-9, 1), (3, 0.999999, 2), (10, 0.0, 0)])
def test_something_is_always_left_to_learn_from(videos: int, share: float, count: int) -> None:
    assert len(held_out_videos([str(number) for number in range(videos)], share, seed=0)) == count
