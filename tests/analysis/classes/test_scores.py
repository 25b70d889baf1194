"""Scores of single classes, worked out by hand."""

from pathlib import Path

import numpy as np
import pytest

from soundnet_kd.analysis.classes.scores import (
    ConfusedPair,
    category_scores,
    class_scores,
    confused_pairs,
    read_extremes,
)
from soundnet_kd.data.datasets.esc50 import ESC50_CATEGORIES
from soundnet_kd.errors import FormatError, SettingsError
from tests.transfer.evaluations import write_results

#                   fold 1            fold 2       not tested
LABELS = np.array([0, 0, 1, 1, 2, 0, 0, 1, 1, -1, 0])
ANSWERS = np.array([0, 1, 1, 1, 1, 0, 0, 0, 1, -1, -1])
FOLDS = np.array([1, 1, 1, 1, 1, 2, 2, 2, 2, 0, 2])


def test_precision_recall_and_f1() -> None:
    scores = class_scores(LABELS, ANSWERS, FOLDS, ("cat", "dog", "hen", "pig"))
    assert scores.clips.tolist() == [4, 4, 1, 0]
    # cat: 4 guesses, 3 right, of 4; dog: 5 guesses, 3 right, of 4; hen: never guessed; pig: neither there nor guessed.
    np.testing.assert_allclose(scores.precision, [3 / 4, 3 / 5, np.nan, np.nan])
    np.testing.assert_allclose(scores.recall, [3 / 4, 3 / 4, 0, np.nan])
    np.testing.assert_allclose(scores.f1, [3 / 4, 2 / 3, 0, np.nan])
    # cat: 1/2 and 1; dog: 1 and 1/2; hen: in one fold.
    np.testing.assert_allclose(scores.recall_std, [1 / 4, 1 / 4, 0, np.nan])


def test_easiest_and_hardest_classes() -> None:
    scores = class_scores(LABELS, ANSWERS, FOLDS, ("cat", "dog", "hen", "pig"))
    # Recall of cat and dog is equal, so F1 decides; pig has no clips.
    assert scores.easiest_first.tolist() == [0, 1, 2]
    easiest, hardest = scores.ends
    assert (easiest.tolist(), hardest.tolist()) == ([0], [2])


def test_confused_pairs_count_both_directions() -> None:
    confusion = np.array([[7, 1, 2], [5, 3, 0], [0, 0, 4]])
    assert confused_pairs(confusion) == [
        ConfusedPair(first=1, second=0, first_as_second=5, second_as_first=1, clips=18),
        ConfusedPair(first=0, second=2, first_as_second=2, second_as_first=0, clips=14),
    ]
    assert confused_pairs(confusion)[0].mistakes == 6
    assert confused_pairs(confusion)[0].fraction == pytest.approx(1 / 3)
    assert confused_pairs(np.diag([3, 4])) == []


def test_categories_are_ten_classes_each() -> None:
    confusion = np.zeros((50, 50), dtype=np.int64)
    confusion[0, 0], confusion[9, 0], confusion[9, 10] = 6, 3, 1
    confusion[49, 49] = 5
    scores = category_scores(confusion)
    assert len(ESC50_CATEGORIES) == 5
    np.testing.assert_allclose(scores.accuracy, [0.6, np.nan, np.nan, np.nan, 1])
    np.testing.assert_allclose(scores.category_accuracy, [0.9, np.nan, np.nan, np.nan, 1])
    assert scores.confusion[0].tolist() == [9, 1, 0, 0, 0]
    assert scores.confusion.sum() == 15


NAMES = ("a", "b", "c", "d")
TRUE_CLASSES = "aaaabbbbccccdddd"
PREDICTIONS = {"conv1": 4 * "abbb", "pool5": "aaaaabbbaacccccd"}


def test_recalls_by_hand(tmp_path: Path) -> None:
    write_results(tmp_path, PREDICTIONS, TRUE_CLASSES)
    for place in (tmp_path / "results.json", tmp_path):
        found = read_extremes(place, NAMES)
        assert found.layer == "pool5"
        # Four classes have two ends of two.
        assert list(found.hardest.items()) == [(3, 0.25), (2, 0.5)]
        assert list(found.easiest.items()) == [(0, 1.0), (1, 0.75)]


def test_what_is_no_evaluation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="soundnet-kd evaluate"):
        read_extremes(tmp_path, NAMES)
    write_results(tmp_path, PREDICTIONS, TRUE_CLASSES)
    with pytest.raises(FormatError, match="other classes"):
        read_extremes(tmp_path, ("a", "b", "c", "e"))
    (tmp_path / "results.json").write_text("{}", encoding="utf-8")
    with pytest.raises(FormatError, match="holds nothing that is known"):
        read_extremes(tmp_path, NAMES)
