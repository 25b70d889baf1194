"""Expected numbers: FACTS.md, section 1 (protocol `notebook`), or made data whose answer is plain."""

import functools
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.transfer import CrossValidation, cross_validate
from soundnet_kd.transfer.classifiers import CLASSIFIERS, ClassifierName
from soundnet_kd.transfer.protocols import ProtocolName, Selection
from soundnet_kd.transfer.svm import linear_svm

FOLDS = np.tile([1, 2, 3], 20)
LABELS = np.repeat([0, 1], 30)
SELECTED: tuple[Selection, ...] = ("same folds", "nested")


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
    assert [setting["C"] for setting in on_esc50.grid] == [1e-4, 1e-3, 1e-2, 0.1, 1, 10]
    assert on_esc50.grid_accuracy == pytest.approx((0.570, 0.641, 0.711, 0.7195, 0.6665, 0.6315), abs=0.0025)
    assert on_esc50.chosen == ({"C": 0.1},) * 5
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
    assert result.selection == "same folds"


def test_a_clip_on_the_wrong_side_is_counted_where_it_was_taken_for() -> None:
    features = apart(LABELS)
    features[0] = features[45]
    result = cross_validate(features, LABELS, FOLDS, grid={"C": (0.01,)})
    assert result.confusion.tolist() == [[29, 1], [0, 30]]
    assert result.fold_accuracy == (0.95, 1.0, 1.0)
    assert result.predictions[0] == 1


def test_unlabeled_clips_are_left_out_and_counted() -> None:
    labels = LABELS.copy()
    labels[[3, 40]] = -1
    result = cross_validate(apart(labels), labels, FOLDS, grid={"C": (1,)})
    assert result.left_out == 2
    assert result.predictions[[3, 40]].tolist() == [-1, -1]
    assert result.confusion.sum() == 58


def test_the_result_does_not_depend_on_the_number_of_workers() -> None:
    rng = np.random.default_rng(1)
    features, labels = rng.normal(size=(90, 6)), rng.integers(0, 3, 90)
    folds = np.tile([1, 2, 3], 30)
    alone, together = (cross_validate(features, labels, folds, workers=workers) for workers in (1, 2))
    assert alone.grid_accuracy == together.grid_accuracy
    assert alone.predictions.tolist() == together.predictions.tolist()


def test_a_class_that_was_never_trained_on_is_wrong_but_no_error() -> None:
    labels, folds = LABELS.copy(), FOLDS.copy()
    labels[:2], folds[:2] = 2, 1
    result = cross_validate(apart(labels), labels, folds, grid={"C": (0.1,)})
    assert result.confusion[2, 2] == 0
    assert result.confusion[2].sum() == 2


def test_a_solver_that_stops_early_is_recorded_and_not_shouted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_svm, "fit_path", functools.partial(linear_svm.fit_path, max_iter=4))
    rng = np.random.default_rng(2)
    features, labels = rng.normal(size=(60, 10)), rng.integers(0, 3, 60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = cross_validate(features, labels, FOLDS, grid={"C": (1e-6, 1e3)})
    assert result.unconverged == ({"C": 1e3},)


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
    with pytest.raises(SettingsError, match="'notebok'; did you mean 'notebook'"):
        cross_validate(apart(LABELS), LABELS, FOLDS, "notebok")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="'linear_svn'; did you mean 'linear_svm'"):
        cross_validate(apart(LABELS), LABELS, FOLDS, head="linear_svn")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="there is no setting 'gamma'; did you mean 'C'"):
        cross_validate(apart(LABELS), LABELS, FOLDS, grid={"gamma": (1.0,)})
    with pytest.raises(SettingsError, match="selection is 'honest' for 6 settings; choose 'same folds' or 'nested'"):
        cross_validate(apart(LABELS), LABELS, FOLDS, selection="honest")  # type: ignore[arg-type]


@pytest.mark.real
def test_a_cube_root_lifts_the_real_features_as_published(real_data: Path) -> None:
    """FACTS.md, `power`: 0.765 to 0.768 at C about 0.03; nested selection finds the same C in every fold."""
    for selection in SELECTED:
        result = cross_validate(*_reference(real_data), protocol="power", selection=selection)
        assert result.accuracy >= 0.765
        assert result.chosen == ({"C": 0.03},) * 5


@pytest.mark.real
def test_the_best_protocol_is_honest_and_above_its_aim(real_data: Path) -> None:
    features, labels, folds = _reference(real_data)
    result = cross_validate(features, labels, folds, protocol="best")
    assert result.selection == "nested"
    assert result.grid_accuracy == ()
    assert result.accuracy >= 0.79
    shuffled = labels.copy()
    rng = np.random.default_rng(0)
    for fold in range(1, 6):
        shuffled[folds == fold] = rng.permutation(labels[folds == fold])
    settings = {"whiten__shrinkage": (0.5,), "gamma": (1.0,), "alpha": (0.03,)}
    chance = cross_validate(features, shuffled, folds, protocol="best", grid=settings)
    assert chance.accuracy < 0.04


@pytest.mark.real
def test_real_layers_are_chosen_above_each_alone_and_to_no_avail_for_shuffled_labels(real_data: Path) -> None:
    """The notebook's pool5, and its conv4 and conv6, which are there for three folds: 1200 clips, chance 2 %."""
    folder = real_data / "soundnet_reference"
    pool5, labels, folds = (each[:1200] for each in _reference(real_data))
    conv4, conv6 = (np.load(folder / f"X_out_{number}.npy") for number in (4, 6))
    several = {"conv4": conv4, "pool5": pool5, "joint": np.concatenate([conv4, pool5, conv6], axis=1)}
    result = cross_validate(several, labels, folds, protocol="best")
    assert {setting["features"] for setting in result.chosen} == {"joint"}
    assert result.accuracy > cross_validate(pool5, labels, folds, protocol="best").accuracy
    shuffled = labels.copy()
    rng = np.random.default_rng(0)
    for fold in range(1, 4):
        shuffled[folds == fold] = rng.permutation(labels[folds == fold])
    assert cross_validate(several, shuffled, folds, protocol="best").accuracy < 0.04


def test_nested_selection_is_scikit_learns_grid_search_inside_each_training_part() -> None:
    rng = np.random.default_rng(3)
    labels, folds = np.tile(np.arange(4), 30), np.repeat(np.arange(1, 6), 24)
    features = 0.8 * rng.normal(size=(4, 20))[labels] + rng.normal(size=(120, 20))
    grid = (1e-3, 1e-2, 0.1, 1.0)
    result = cross_validate(features, labels, folds, selection="nested", grid={"C": grid})
    for number, fold in enumerate(range(1, 6)):
        train = folds != fold
        search = GridSearchCV(
            make_pipeline(StandardScaler(), LinearSVC(dual=False, tol=1e-8, intercept_scaling=1)),
            {"linearsvc__C": grid},
            cv=PredefinedSplit(folds[train]),
        ).fit(features[train], labels[train])
        assert result.chosen[number] == {"C": search.best_params_["linearsvc__C"]}
        np.testing.assert_array_equal(result.predictions[~train], search.predict(features[~train]))
    assert result.accuracy == pytest.approx(np.mean(result.predictions == labels))


def test_nested_selection_never_sees_the_tested_fold() -> None:
    """Other labels in a fold change what is right there, not what is chosen and answered."""
    rng = np.random.default_rng(4)
    labels, folds = np.tile(np.arange(3), 20), np.repeat([1, 2, 3], 20)
    features = rng.normal(size=(3, 8))[labels] + rng.normal(size=(60, 8))
    before = cross_validate(features, labels, folds, selection="nested")
    other = labels.copy()
    other[folds == 2] = rng.permutation(labels[folds == 2])
    after = cross_validate(features, other, folds, selection="nested")
    assert after.chosen[1] == before.chosen[1]
    np.testing.assert_array_equal(after.predictions[folds == 2], before.predictions[folds == 2])
    assert after.fold_accuracy[1] != before.fold_accuracy[1]


def test_features_are_chosen_inside_each_training_part() -> None:
    """By hand: for each fold, the features and the C that do best on the other folds, each tested in its turn."""
    rng = np.random.default_rng(3)
    labels, folds = np.tile(np.arange(4), 30), np.repeat(np.arange(1, 6), 24)
    several = {
        name: rng.normal(size=(4, 12))[labels] * 0.5 + rng.normal(size=(120, 12)) for name in ("one", "other", "third")
    }
    grid = (1e-3, 0.1)
    result = cross_validate(several, labels, folds, selection="nested", grid={"C": grid})
    assert len({setting["features"] for setting in result.chosen}) > 1
    for number, fold in enumerate(range(1, 6)):
        train = folds != fold
        searches = {
            name: GridSearchCV(
                make_pipeline(StandardScaler(), LinearSVC(dual=False, tol=1e-8, intercept_scaling=1)),
                {"linearsvc__C": grid},
                cv=PredefinedSplit(folds[train]),
            ).fit(features[train], labels[train])
            for name, features in several.items()
        }
        best = max(searches, key=lambda name: searches[name].best_score_)
        assert result.chosen[number] == {"features": best, "C": searches[best].best_params_["linearsvc__C"]}
        np.testing.assert_array_equal(result.predictions[~train], searches[best].predict(several[best][~train]))


def test_the_choice_of_features_never_sees_the_tested_fold() -> None:
    rng = np.random.default_rng(6)
    labels, folds = np.tile(np.arange(3), 40), np.repeat([1, 2, 3, 4], 30)
    several = {name: rng.normal(size=(3, 8))[labels] * 0.7 + rng.normal(size=(120, 8)) for name in "abc"}
    before = cross_validate(several, labels, folds, "best")
    tested = folds == 2
    spoilt = {name: np.where(tested[:, None], rng.normal(size=rows.shape), rows) for name, rows in several.items()}
    mixed = np.where(tested, rng.permutation(labels), labels)
    after = cross_validate(spoilt, mixed, folds, "best")
    assert after.chosen[1] == before.chosen[1]
    assert after.fold_accuracy[1] < before.fold_accuracy[1]
    assert after.chosen != before.chosen


def test_of_shuffled_labels_the_whole_choice_makes_nothing() -> None:
    """500 clips of ten classes: chance is 10 %, and with a standard deviation of 1.3 % 15 % is beyond it."""
    rng = np.random.default_rng(7)
    labels, folds = np.tile(np.arange(10), 50), np.repeat(np.arange(1, 6), 100)
    several = {name: rng.normal(size=(10, 6))[labels] + rng.normal(size=(500, 6)) for name in "abcd"}
    assert cross_validate(several, labels, folds, "best").accuracy > 0.4
    assert cross_validate(several, rng.permutation(labels), folds, "best").accuracy < 0.15


def test_there_have_to_be_features_of_the_same_clips() -> None:
    with pytest.raises(SettingsError, match="there are no features to choose among"):
        cross_validate({}, LABELS, FOLDS)
    with pytest.raises(FormatError, match="there are 59 clips but labels of shape"):
        cross_validate({"a": apart(LABELS), "b": apart(LABELS)[1:]}, LABELS, FOLDS)


def test_nested_selection_needs_three_folds() -> None:
    with pytest.raises(SettingsError, match="nested selection needs at least three folds"):
        cross_validate(apart(LABELS), LABELS, np.tile([1, 2], 30), selection="nested")


@pytest.mark.parametrize("head", CLASSIFIERS)
def test_every_head_tells_apart_what_lies_apart(head: ClassifierName) -> None:
    labels = np.tile(np.arange(3), 30)
    features = 6 * np.eye(3)[labels] + np.random.default_rng(0).normal(size=(90, 3)) + 5
    protocols: tuple[ProtocolName, ...] = ("notebook", "best")
    for protocol in protocols:
        result = cross_validate(features, labels, np.repeat([1, 2, 3], 30), protocol, head=head)
        assert result.accuracy > 0.95
        assert result.head == head
        two = labels < 2
        pair = cross_validate(features[two], labels[two], np.repeat([1, 2, 3], 30)[two], protocol, head=head)
        assert pair.accuracy > 0.95


def test_a_clips_windows_are_averaged() -> None:
    """Of each clip one window points far to the right side, two a little to the wrong one: the sum decides."""
    labels, folds = np.tile([0, 1], 12), np.tile([1, 2, 3], 8)
    signs = np.where(labels == 1, 1.0, -1.0)
    windows = np.stack([5 * signs, -signs, -signs], axis=1).reshape(-1, 1) + np.tile([[0.0], [0.01], [0.02]], (24, 1))
    clips = np.repeat(np.arange(24), 3)
    result = cross_validate(windows, labels, folds, clips=clips, grid={"C": (0.1,)})
    assert result.accuracy == 1.0
    assert result.selection == "fixed"
    assert result.predictions.shape == (24,)
    with pytest.raises(FormatError, match="1 labelled clips have no row of features, the first is clip 23"):
        cross_validate(windows[:-3], labels, folds, clips=clips[:-3])


def _reference(real_data: Path) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    folder = real_data / "soundnet_reference"
    return np.load(folder / "X.npy"), np.load(folder / "y.npy").astype(np.int64), np.repeat(np.arange(1, 6), 400)
