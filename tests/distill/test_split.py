"""Which videos are held out."""

import numpy as np
import pytest
from numpy.typing import NDArray

from soundnet_kd.distill.data import MEASURED_CLIPS, held_out_clips
from soundnet_kd.errors import SettingsError


def videos(*names: int) -> NDArray[np.uint64]:
    return np.array(names, dtype=np.uint64)


def test_held_out_videos_stay_when_others_come() -> None:
    names = videos(*range(200))
    training, held = held_out_clips(names, 0.1, seed=0)
    assert 8 <= len(held) <= 32  # 20 expected, the deviation of a binomial is 4.2
    assert sorted([*training, *held]) == list(range(200))
    _, backwards = held_out_clips(names[::-1].copy(), 0.1, seed=0)
    assert sorted(199 - backwards) == held.tolist()
    _, more = held_out_clips(videos(*range(220)), 0.1, seed=0)
    assert [index for index in more if index < 200] == held.tolist()
    assert held_out_clips(names, 0.1, seed=1)[1].tolist() != held.tolist()


@pytest.mark.parametrize(("count", "share", "held"), [(1, 0.5, 0), (2, 1e-9, 1), (3, 0.999999, 2), (10, 0.0, 0)])
def test_something_is_always_left_to_learn_from(count: int, share: float, held: int) -> None:
    training, measured = held_out_clips(videos(*range(count)), share, seed=0)
    assert (len(training), len(measured)) == (count - held, held)


def test_of_many_held_out_clips_some_are_measured_and_none_is_learned() -> None:
    names = np.repeat(np.arange(100, dtype=np.uint64), 100)
    training, measured = held_out_clips(names, 0.5, seed=0)
    assert len(measured) == MEASURED_CLIPS
    assert len(set(names[measured].tolist())) > 30
    assert not set(names[measured].tolist()) & set(names[training].tolist())


def test_a_share_is_a_share() -> None:
    with pytest.raises(SettingsError, match=r"held_out is 1\.0"):
        held_out_clips(videos(1, 2), 1.0, seed=0)
