"""Expected numbers: FACTS.md, section 1 (protocol `notebook`), or made data whose answer is plain."""

import functools
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.transfer import CrossValidation, cross_validate, linear_svm

FOLDS = np.tile([1, 2, 3], 20)
LABELS = np.repeat([0, 1], 30)


def apart(labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Features in which the first channel tells two classes apart."""
    noise = np.random.default_rng(0).normal(size=(len(labels), 3))
    noise[:, 0] = np.where(labels == 1, 5.0, -5.0) + 0.1 * noise[:, 1]
    return noise.astype(np.float32)


@pytest.fixture(scope="module")
def on_esc50(real_data: Path) -> CrossValidation:
    reference = real_data / "soundnet_reference"
    folds = np.repeat(np.arange(1, 6), 400)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return cross_validate(np.load(reference / "X.npy"), np.load(reference / "y.npy"), folds)


@pytest.mark.real
def test_the_real_features_give_the_accuracies_of_the_notebook(on_esc50: CrossValidation) -> None:
    assert tuple(on_esc50.accuracy_by_C) == (1e-4, 1e-3, 1e-2, 0.1, 1, 10)
    assert tuple(on_esc50.accuracy_by_C.values()) == pytest.approx(
        (0.570, 0.641, 0.711, 0.7195, 0.6665, 0.6315), abs=0.0025
    )
    assert on_esc50.best_C == 0.1
    assert on_esc50.accuracy == pytest.approx(0.7195, abs=0.0025)
    assert on_esc50.fold_accuracy == pytest.approx((0.7325, 0.7000, 0.7250, 0.7275, 0.7125), abs=0.0025)


@pytest.mark.real
def test_the_confusion_of_the_real_features_counts_every_clip_once(on_esc50: CrossValidation) -> None:
    assert on_esc50.confusion.sum(axis=1).tolist() == [40] * 50
    assert np.trace(on_esc50.confusion) / 2000 == pytest.approx(on_esc50.accuracy)


def test_classes_that_lie_apart_are_told_apart() -> None:
    result = cross_validate(apart(LABELS), LABELS, FOLDS, class_names=("cat", "dog", "unheard"))
    assert result.accuracy == 1.0
    assert result.folds == (1, 2, 3)
    assert result.fold_accuracy == (1.0, 1.0, 1.0)
    assert result.confusion.tolist() == [[30, 0, 0], [0, 30, 0], [0, 0, 0]]
    assert result.predictions.tolist() == LABELS.tolist()
    assert result.classes == ("cat", "dog", "unheard")
    assert "same folds" in result.selection


def test_a_clip_on_the_wrong_side_is_counted_where_it_was_taken_for() -> None:
    features = apart(LABELS)
    features[0] = features[45]
    result = cross_validate(features, LABELS, FOLDS, Cs=(0.01,))
    assert result.confusion.tolist() == [[29, 1], [0, 30]]
    assert result.fold_accuracy == (0.95, 1.0, 1.0)
    assert result.predictions[0] == 1


def test_unlabeled_clips_are_left_out_and_counted() -> None:
    labels = LABELS.copy()
    labels[[3, 40]] = -1
    result = cross_validate(apart(labels), labels, FOLDS, Cs=(1,))
    assert result.left_out == 2
    assert result.predictions[[3, 40]].tolist() == [-1, -1]
    assert result.confusion.sum() == 58


def test_the_result_does_not_depend_on_the_number_of_workers() -> None:
    rng = np.random.default_rng(1)
    features, labels = rng.normal(size=(90, 6)), rng.integers(0, 3, 90)
    folds = np.tile([1, 2, 3], 30)
    alone, together = (cross_validate(features, labels, folds, workers=workers) for workers in (1, 2))
    assert alone.accuracy_by_C == together.accuracy_by_C
    assert alone.predictions.tolist() == together.predictions.tolist()


def test_a_class_that_was_never_trained_on_is_wrong_but_no_error() -> None:
    labels, folds = LABELS.copy(), FOLDS.copy()
    labels[:2], folds[:2] = 2, 1
    result = cross_validate(apart(labels), labels, folds, Cs=(0.1,))
    assert result.confusion[2, 2] == 0
    assert result.confusion[2].sum() == 2


def test_a_solver_that_stops_early_is_recorded_and_not_shouted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_svm, "fit_path", functools.partial(linear_svm.fit_path, max_iter=4))
    rng = np.random.default_rng(2)
    features, labels = rng.normal(size=(60, 10)), rng.integers(0, 3, 60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = cross_validate(features, labels, FOLDS, Cs=(1e-6, 1e3))
    assert result.unconverged == (1e3,)


def broken(row: int) -> NDArray[np.float32]:
    features = apart(LABELS)
    features[row, 2] = np.nan
    return features


@pytest.mark.parametrize(
    ("features", "labels", "folds", "message"),
    [
        (apart(LABELS)[:-1], LABELS, FOLDS, "59 clips but labels of shape"),
        (apart(LABELS), LABELS, FOLDS[:-1], "folds of shape"),
        (broken(7), LABELS, FOLDS, "1 of 60 clips have features that are NaN or infinite, the first is clip 7"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    features: NDArray[np.float32], labels: NDArray[np.int64], folds: NDArray[np.int64], message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        cross_validate(features, labels, folds)


@pytest.mark.parametrize(
    ("labels", "folds", "message"),
    [
        (LABELS, np.ones_like(FOLDS), "at least two folds"),
        (np.zeros_like(LABELS), FOLDS, "at least two classes"),
        (np.full_like(LABELS, -1), FOLDS, "none of the 60 clips has a label"),
        (LABELS, LABELS, "without fold 0 only 'dog' is left to train on"),
    ],
)
def test_what_cannot_be_tested_is_refused(labels: NDArray[np.int64], folds: NDArray[np.int64], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        cross_validate(apart(LABELS), labels, folds, class_names=("cat", "dog"))


def test_an_unknown_protocol_names_the_nearest_one() -> None:
    with pytest.raises(SettingsError, match="'notebok', did you mean 'notebook'"):
        cross_validate(apart(LABELS), LABELS, FOLDS, "notebok")
