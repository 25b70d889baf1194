"""Expected numbers: FACTS.md, section 1 (neuron statistics), or counted by hand."""

import csv
from pathlib import Path

import numpy as np
import pytest

from soundnet_kd.analysis import NeuronStatistics, neuron_statistics
from soundnet_kd.errors import SettingsError


@pytest.fixture(scope="module")
def class_names(real_data: Path) -> tuple[str, ...]:
    with (real_data / "esc50/meta/esc50.csv").open(encoding="utf-8") as handle:
        names = {int(row["target"]): row["category"].replace("_", " ") for row in csv.DictReader(handle)}
    return tuple(names[index] for index in range(50))


@pytest.fixture(scope="module")
def pool5(real_data: Path, class_names: tuple[str, ...]) -> NeuronStatistics:
    reference = real_data / "soundnet_reference"
    return neuron_statistics(np.load(reference / "X.npy"), np.load(reference / "y.npy"), class_names)


@pytest.mark.real
def test_best_shares_of_the_real_pool5(pool5: NeuronStatistics) -> None:
    assert pool5.expected == 100
    assert pool5.activated.max() == 100
    assert (pool5.best_share > 0.20).sum() == 61
    selective = pool5.best_class[pool5.best_share > 0.30]
    names, counts = np.unique([pool5.classes[best] for best in selective], return_counts=True)
    assert dict(zip(names, counts, strict=True)) == {"hand saw": 10, "thunderstorm": 1}


@pytest.mark.real
def test_commonest_best_classes_of_the_real_pool5(pool5: NeuronStatistics) -> None:
    per_class = pool5.neurons_per_class
    assert (per_class > 5).sum() == 12
    commonest = [(pool5.classes[best], int(per_class[best])) for best in np.argsort(-per_class)[:5]]
    assert commonest == [("cat", 44), ("hand saw", 36), ("keyboard typing", 19), ("brushing teeth", 17), ("frog", 16)]


@pytest.mark.real
def test_classes_of_the_first_real_neuron(pool5: NeuronStatistics) -> None:
    counts = pool5.counts[0]
    assert counts.sum() == 100
    strongest = {pool5.classes[best]: int(counts[best]) for best in np.argsort(-counts)[:5]}
    assert strongest == {"engine": 18, "pig": 13, "toilet flush": 12, "helicopter": 11, "rain": 8}


@pytest.mark.real
@pytest.mark.parametrize(
    ("file", "median"),
    [("X_out_1", 0.242), ("X_out_2", 0.200), ("X_out_3", 0.192), ("X_out_4", 0.167), ("X_out_6", 0.167)],
)
def test_median_best_share_falls_with_depth(real_data: Path, file: str, median: float) -> None:
    reference = real_data / "soundnet_reference"
    found = neuron_statistics(np.load(reference / f"{file}.npy"), np.load(reference / "y.npy")[:1200])
    assert np.median(found.best_share) == pytest.approx(median, abs=0.0005)


# Twenty-one clips: the 80th percentile of 21 distinct values is the 17th smallest, so the 4 largest lie above it.
LABELS = np.array([0] * 7 + [1] * 7 + [2] * 7)
RISING = np.arange(21.0)
RARE = np.where(np.arange(21) == 3, 1.0, 0.0)
SILENT = np.zeros(21)


def test_counts_by_hand() -> None:
    swapped = RISING.copy()
    swapped[[0, 20]] = swapped[[20, 0]]
    found = neuron_statistics(np.stack([RISING, swapped, RARE, SILENT], axis=1), LABELS, ("a", "b", "c"), percentile=80)
    assert found.expected == 4
    assert found.thresholds.tolist() == [16, 16, 0, 0]
    assert found.activated.tolist() == [4, 4, 1, 0]
    assert found.counts.tolist() == [[0, 0, 4], [1, 0, 3], [1, 0, 0], [0, 0, 0]]
    assert found.share[1].tolist() == [0.25, 0, 0.75]
    assert found.best_share.tolist() == [1, 0.75, 0.25, 0]
    assert found.best_class.tolist() == [2, 2, 0, -1]
    assert found.neurons_per_class.tolist() == [1, 0, 2]
    assert found.order[:3, :2].tolist() == [[20, 19], [0, 19], [3, 0]]
    assert found.order[0].tolist() == list(range(20, -1, -1))


def test_unlabeled_clips_are_left_out_and_rows_keep_their_numbers() -> None:
    activations = np.concatenate([[100.0, 99.0], RISING])[:, None]
    found = neuron_statistics(activations, np.concatenate([[-1, -1], LABELS]), percentile=80)
    assert found.thresholds.tolist() == [16]
    assert found.order.tolist() == [list(range(22, 1, -1))]


@pytest.mark.parametrize("percentile", [0, 100, 950])
def test_a_percentile_that_is_none_is_refused(percentile: float) -> None:
    with pytest.raises(SettingsError, match="more than 0 and less than 100"):
        neuron_statistics(RISING[:, None], LABELS, percentile=percentile)
