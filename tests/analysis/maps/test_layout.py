"""Empty room on a map is shortened, and nothing else is changed."""

import numpy as np
import pytest

from soundnet_kd.analysis.maps.layout import shorten_empty_strips


def test_a_few_clips_far_away_by_hand() -> None:
    """Of 101 clips on 0 … 10 the middle is 9 wide: a strip of 1.35 is left of that between 10 and 100, and of -5."""
    body = np.linspace(0, 10, 101)
    x = np.concatenate([[100.0, 101.0], body, [-5.0]])
    points = np.column_stack([x, np.zeros(len(x))])
    shown = shorten_empty_strips(points)
    low, high = np.quantile(x, [0.05, 0.95])
    widest = 0.15 * (high - low)
    assert widest == pytest.approx(1.39, abs=0.06)
    moved = shown.points[:, 0]
    assert moved[-1] == -5
    np.testing.assert_allclose(moved[2:-1], body - 5 + widest)
    np.testing.assert_allclose(moved[:2], moved[-2] + widest + np.array([0.0, 1.0]))
    np.testing.assert_allclose(shown.breaks[0], [-5 + widest / 2, moved[-2] + widest / 2])
    assert len(shown.breaks[1]) == 0
    assert shown.note
    assert not shown.points[:, 1].any()


@pytest.mark.parametrize(
    "points",
    [
        np.random.default_rng(0).uniform(size=(2000, 2)),
        np.arange(12.0).reshape(6, 2),
        np.zeros((60, 2)),
    ],
)
def test_a_map_without_such_room_stays_as_it_is(points: np.ndarray) -> None:
    shown = shorten_empty_strips(points)
    np.testing.assert_array_equal(shown.points, points)
    assert shown.note == ""
