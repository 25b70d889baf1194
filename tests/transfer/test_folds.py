import numpy as np
import pytest
import sklearn
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.utils.fixes import parse_version

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.transfer import stratified_folds
from soundnet_kd.transfer.folds import plan_folds, require_whole_groups

LABELS = np.repeat([0, 1, -1], [10, 20, 3])


def test_each_class_is_dealt_out_evenly() -> None:
    folds = stratified_folds(LABELS, seed=0)
    assert np.bincount(folds[LABELS == 0]).tolist() == [0, 2, 2, 2, 2, 2]
    assert np.bincount(folds[LABELS == 1]).tolist() == [0, 4, 4, 4, 4, 4]
    assert folds[LABELS == -1].tolist() == [0, 0, 0]


def test_a_seed_repeats_its_folds_and_another_gives_others() -> None:
    assert stratified_folds(LABELS, seed=3).tolist() == stratified_folds(LABELS, seed=3).tolist()
    assert stratified_folds(LABELS, seed=3).tolist() != stratified_folds(LABELS, seed=4).tolist()


def test_folds_hang_on_no_version_of_any_library() -> None:
    """Dealt out by scikit-learn 1.9.1's StratifiedKFold and StratifiedGroupKFold; before 1.8 the latter gave others."""
    assert stratified_folds(np.repeat([0, 1, 2, -1], [7, 5, 6, 2]), seed=3).tolist() == (
        [3, 5, 4, 2, 1, 1, 2, 5, 3, 4, 2, 1, 5, 1, 4, 2, 3, 3, 0, 0]
    )
    pairs = [f"r{clip // 2}" for clip in range(18)]
    assert stratified_folds(np.repeat([0, 1, 2], [7, 5, 6]), 3, 4, pairs).tolist() == (
        [3, 3, 1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 1, 1, 3, 3, 2, 2]
    )


@pytest.mark.parametrize("seed", range(8))
def test_folds_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, rng.integers(2, 9), 150)
    clips = np.zeros(len(labels))
    folds = stratified_folds(labels, seed)
    wanted = np.empty_like(folds)
    for fold, (_, tested) in enumerate(StratifiedKFold(5, shuffle=True, random_state=seed).split(clips, labels), 1):
        wanted[tested] = fold
    assert folds.tolist() == wanted.tolist()


@pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.8"),
    reason="its folds are uneven before 1.8 where it shuffles",
)
@pytest.mark.parametrize("seed", range(8))
def test_folds_of_whole_recordings_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, groups = rng.integers(0, rng.integers(2, 9), 150), rng.integers(0, 60, 150)
    folds = stratified_folds(labels, seed, groups=groups)
    wanted = np.empty_like(folds)
    splits = StratifiedGroupKFold(int(folds.max()), shuffle=True, random_state=seed).split(labels, labels, groups)
    for fold, (_, tested) in enumerate(splits, 1):
        wanted[tested] = fold
    assert folds.tolist() == wanted.tolist()


def test_folds_of_whole_recordings_are_even() -> None:
    """As many clips as ESC-50 has, of recordings of one to six; 375 to 414 were in a fold of 400."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(50), 40)
    groups = np.concatenate([np.repeat(np.arange(40), rng.integers(1, 7, 40))[:40] + 40 * each for each in range(50)])
    sizes = np.bincount(stratified_folds(labels, seed=0, groups=groups))[1:]
    assert sizes.sum() == 2000
    assert np.abs(sizes - 400).max() <= 8


@pytest.mark.parametrize(("smallest", "folds"), [(1, 2), (2, 2), (3, 3), (9, 5)])
def test_a_small_class_makes_fewer_folds(smallest: int, folds: int) -> None:
    labels = np.repeat([0, 1], [smallest, 10])
    assert stratified_folds(labels, seed=0).max() == folds


def test_classes_of_one_clip_cannot_be_dealt_out() -> None:
    with pytest.raises(SettingsError, match="no class has two clips"):
        stratified_folds(np.array([0, 1, 2, -1]), seed=0)


def test_the_data_sets_own_folds_are_kept() -> None:
    own = np.array([1, 2, 0])
    plan = plan_folds(own, np.array([0, 1, -1]), seed=0)
    assert plan.folds.tolist() == [1, 2, 0]
    assert plan.origin == "the folds of the data set"


def test_folds_of_some_clips_only_are_refused() -> None:
    with pytest.raises(FormatError, match="1 labelled clips have no fold"):
        plan_folds(np.array([1, 2, 0]), np.array([0, 1, 1]), seed=0)


def test_other_folds_may_be_made_and_keep_the_clips_of_a_source_together() -> None:
    labels = np.repeat([0, 1, 2, -1], [12, 12, 12, 4])
    groups = [f"recording {index // 2}" for index in range(40)]
    own = np.tile([1, 2], 20)
    plan = plan_folds(own, labels, seed=0, count=3, groups=groups)
    folds = plan.folds
    assert plan.origin == "3 folds, drawn class by class, clips of one source together with seed 0"
    assert set(folds[labels >= 0]) == {1, 2, 3}
    assert (folds[0:36:2] == folds[1:36:2]).all()
    assert [np.bincount(folds[labels == label]).tolist() for label in range(3)] == [[0, 4, 4, 4]] * 3
    require_whole_groups(folds, labels, groups)
    with pytest.raises(SettingsError, match="split 18 recordings; give --folds"):
        require_whole_groups(own, labels, groups)
    with pytest.raises(SettingsError, match="folds is 1"):
        plan_folds(own, labels, seed=0, count=1)
    with pytest.raises(SettingsError, match="no class has two sources"):
        plan_folds(own, labels, seed=0, count=2, groups=[f"{label}" for label in labels])
