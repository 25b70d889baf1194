"""Expected numbers: counted by hand, or from labels that are really shuffled."""

from pathlib import Path

import numpy as np
import pytest

from soundnet_kd.analysis import neuron_statistics
from soundnet_kd.analysis.neurons.chance import ShuffledLabels
from soundnet_kd.errors import SettingsError

LABELS = np.array([0, 0, 0, 1, 1, 1, -1])


def test_two_of_six_clips_by_hand() -> None:
    # Of the 15 pairs of six clips, 3 + 3 are of one class.
    drawn = ShuffledLabels(LABELS).largest_counts(2)
    assert set(drawn) == {1, 2}
    assert (drawn == 2).mean() == pytest.approx(6 / 15, abs=0.015)


def test_draws_are_those_of_shuffled_labels() -> None:
    labels = np.repeat([0, 1, 2, 3], [40, 10, 25, 5])
    rng = np.random.default_rng(1)
    shuffled = [np.bincount(rng.permutation(labels)[:12]).max() for _ in range(10_000)]
    drawn = ShuffledLabels(labels).largest_counts(12)
    assert drawn.mean() == pytest.approx(np.mean(shuffled), abs=0.06)
    for count in range(4, 12):
        assert (drawn >= count).mean() == pytest.approx((np.array(shuffled) >= count).mean(), abs=0.02)


def test_the_seed_says_what_is_drawn() -> None:
    first, again, other = (ShuffledLabels(np.arange(200) % 9, seed=seed).largest_counts(10) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_which_neurons_are_above_chance() -> None:
    labels = np.repeat(np.arange(10), 20)
    rng = np.random.default_rng(0)
    telling = 10.0 * (labels == 4) + rng.random(200)
    one_clip = np.where(np.arange(200) == 7, 1.0, 0.0)
    activations = np.stack([telling, rng.random(200), one_clip, np.zeros(200)], axis=1)
    statistics = neuron_statistics(activations, labels)
    chance = ShuffledLabels(labels, shuffles=999).judge(statistics)
    # No shuffle brings all ten clips of one class; a single clip is always of one class, and a silent neuron of none.
    assert chance.p_values[[0, 2, 3]].tolist() == [0.001, 1, 1]
    assert chance.p_values[1] > 0.05
    # Benjamini and Hochberg: the smallest of four p-values is multiplied by four.
    assert chance.q_values[0] == pytest.approx(0.004)
    assert chance.is_above.tolist() == [True, False, False, False]
    assert chance.share == pytest.approx(0.4)


def test_no_shuffles_are_refused() -> None:
    with pytest.raises(SettingsError, match="expected at least 1"):
        ShuffledLabels(LABELS, shuffles=0)


@pytest.mark.real
def test_what_chance_gives_the_real_pool5(real_data: Path) -> None:
    reference = real_data / "soundnet_reference"
    labels = np.load(reference / "y.npy")
    statistics = neuron_statistics(np.load(reference / "X.npy"), labels)
    chance = ShuffledLabels(labels).judge(statistics)
    rng = np.random.default_rng(2)
    shuffled = [np.bincount(rng.permutation(labels)[:100]).max() for _ in range(2000)]
    assert chance.share == np.quantile(shuffled, 0.95) / 100
    # Above the quantile by far, so above chance also with 256 neurons; no clip activates the silent one.
    assert chance.is_above[statistics.best_share > 0.12].all()
    assert not chance.is_above[statistics.activated == 0].any()
