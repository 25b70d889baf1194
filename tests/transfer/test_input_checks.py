"""Arrays as people have them: tables, lists, tensors and names give what plain arrays of numbers give."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from soundnet_kd import FeatureCache, cross_validate, neuron_statistics
from soundnet_kd.analysis.neurons.chance import ShuffledLabels
from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.transfer import CrossValidation, stratified_folds
from soundnet_kd.transfer.input_checks import folds_of, groups_of, labels_of
from soundnet_kd.transfer.significance import bootstrap_interval, mcnemar
from soundnet_kd.transfer.windows import Windows
from tests.analysis.caches import write_cache

NAMES = ("bell", "dog", "rain")
LABELS = np.repeat([0, 1, 2], 8)
FOLDS = np.tile([1, 2, 3, 4], 6)
RNG = np.random.default_rng(0)
FEATURES = (RNG.normal(size=(24, 3)) + 1.5 * np.eye(3)[LABELS]).astype(np.float32)


def validated(features: Any, labels: Any, folds: Any, **settings: Any) -> CrossValidation:
    return cross_validate(features, labels, folds, grid={"C": [0.1]}, workers=1, **settings)


WANTED = validated(FEATURES, LABELS, FOLDS)


def same(found: CrossValidation) -> bool:
    return found.predictions.tolist() == WANTED.predictions.tolist() and found.fold_accuracy == WANTED.fold_accuracy


def test_what_to_pandas_gives_is_taken(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    write_cache(tmp_path / "all.h5", {"conv5": FEATURES}, LABELS.tolist(), FOLDS.tolist(), NAMES)
    with FeatureCache(tmp_path / "all.h5") as cache:
        table = cache.to_pandas("conv5")
    features = table[[name for name in table if name.startswith("conv5_")]]
    for labels in (table["label"], table[["label"]], table["label"].astype("category"), table["label"].tolist()):
        for folds in (table["fold"], table["fold"].astype(str), table["fold"].astype("Int64"), list(table["fold"])):
            found = validated(features, labels, folds)
            assert same(found)
            assert (found.classes, found.folds) == (NAMES, (1, 2, 3, 4))
    assert same(validated(features.astype(object), pandas.Categorical(table["label"]), table["fold"].to_numpy(object)))
    with pytest.raises(FormatError, match=r"features are (object|str).*without ids and labels"):
        validated(table, table["label"], table["fold"])
    statistics = neuron_statistics(features, table["label"])
    assert statistics.classes == NAMES
    assert statistics.counts.tolist() == neuron_statistics(FEATURES, LABELS).counts.tolist()


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_are_taken(kind: torch.dtype) -> None:
    features = torch.tensor(FEATURES).to(kind)
    found = validated(features.requires_grad_(), torch.tensor(LABELS), torch.tensor(FOLDS))
    by_hand = validated(features.detach().double().numpy(), LABELS, FOLDS)
    assert found.predictions.tolist() == by_hand.predictions.tolist()
    assert same(found) or kind in (torch.float16, torch.bfloat16)
    assert same(validated(FEATURES, LABELS[:, None].tolist(), FOLDS[:, None]))
    assert same(validated(list(torch.tensor(FEATURES)), list(torch.tensor(LABELS)), list(torch.tensor(FOLDS))))


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint64, np.float32, np.float64, str, object])
def test_labels_and_folds_of_any_type_are_the_same(kind: type) -> None:
    assert same(validated(FEATURES.tolist(), LABELS.astype(kind), FOLDS.astype(kind)))
    assert validated(FEATURES, LABELS, (FOLDS - 1).astype(kind)).folds == (0, 1, 2, 3)
    assert validated(FEATURES, LABELS, FOLDS.astype(float).astype(str)).folds == (1, 2, 3, 4)


def test_folds_may_have_names() -> None:
    names = [f"part {fold}" for fold in FOLDS]
    assert same(validated(FEATURES, LABELS, names))
    assert validated(FEATURES, LABELS, names).folds == ("part 1", "part 2", "part 3", "part 4")
    with pytest.raises(SettingsError, match="all 24 labelled clips are in fold train"):
        validated(FEATURES, LABELS, ["train"] * 24)


@pytest.mark.parametrize("missing", [None, float("nan"), np.float32("nan"), "", " "])
def test_what_is_missing_is_no_class_and_no_fold(missing: Any) -> None:
    named: list[Any] = [NAMES[label] for label in LABELS]
    named[3] = missing
    unlabeled = LABELS.copy()
    unlabeled[3] = -1
    wanted = validated(FEATURES, unlabeled, FOLDS)
    folds: list[Any] = FOLDS.tolist()
    folds[3] = missing
    found = validated(FEATURES, named, folds)
    assert (found.left_out, found.classes) == (1, NAMES)
    assert found.predictions.tolist() == wanted.predictions.tolist()
    with pytest.raises(FormatError, match="1 of 24 labelled clips have no fold, the first is clip 3; give every clip"):
        validated(FEATURES, LABELS, folds)


def test_missing_values_of_pandas_and_of_masked_arrays_are_missing() -> None:
    pandas = pytest.importorskip("pandas")
    numbers = pandas.Series([0, 1, None], dtype="Int64")
    assert labels_of(numbers)[0].tolist() == labels_of(numbers.astype(float))[0].tolist() == [0, 1, -1]
    assert labels_of(pandas.Series(["b", "a", None], dtype="string"))[0].tolist() == [1, 0, -1]
    assert labels_of(np.ma.masked_equal([0, 1, 7], 7))[0].tolist() == [0, 1, -1]
    assert folds_of(pandas.Series([2, None, 1]))[2].tolist() == [False, True, False]


def test_the_order_of_the_classes_is_that_of_their_names_or_the_one_given() -> None:
    labels, names = labels_of(["rain", "bell", "rain", "dog"])
    assert (labels.tolist(), names) == ([2, 0, 2, 1], NAMES)
    labels, names = labels_of(["rain", "bell"], ["rain", "bell", "unheard"])
    assert (labels.tolist(), names) == ([0, 1], ("rain", "bell", "unheard"))
    with pytest.raises(FormatError, match="label 'rian' but no class of this name; did you mean 'rain'"):
        labels_of(["rian"], NAMES)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (np.eye(3)[LABELS], r"labels have shape \(24, 3\); expected one per clip"),
        (np.eye(3)[LABELS].tolist(), r"labels have shape \(24, 3\); expected one per clip"),
        (LABELS + 0.5, "there is a label 0.5; labels are names, or whole numbers from 0"),
        (["dog", 1] * 12, "there is a label 1; labels are names"),
        (5, r"labels have shape \(\)"),
        ([None] * 24, "none of the 24 clips has a label"),
    ],
)
def test_labels_that_mean_nothing_are_refused(labels: Any, reason: str) -> None:
    with pytest.raises((FormatError, SettingsError), match=reason):
        validated(FEATURES, labels, FOLDS)


def test_features_are_called_nan_only_where_they_are() -> None:
    features = FEATURES.tolist()
    features[5][1] = None
    for given in (features, np.array(features, dtype=float), torch.tensor(np.array(features, dtype=float))):
        with pytest.raises(FormatError, match="1 of 24 clips have features that are NaN or infinite, the first is"):
            validated(given, LABELS, FOLDS)
    for no_numbers in (FEATURES.astype(complex), [["a", "b"]] * 24, [object()] * 24):
        with pytest.raises(FormatError, match=r"features are .*, not numbers"):
            validated(no_numbers, LABELS, FOLDS)
    with pytest.raises(FormatError, match=r"features have shape \(24,\)"):
        validated(FEATURES[:, 0], LABELS, FOLDS)


def test_the_clips_of_windows_are_numbers_in_any_form() -> None:
    owners = np.repeat(np.arange(24), 2)
    wanted = validated(np.repeat(FEATURES, 2, axis=0), LABELS, FOLDS, clips=owners)
    for clips in (owners.tolist(), torch.tensor(owners), owners.astype(float)):
        found = validated(np.repeat(FEATURES, 2, axis=0), LABELS, FOLDS, clips=clips)
        assert found.predictions.tolist() == wanted.predictions.tolist()
    with pytest.raises(FormatError, match="clips are not whole numbers"):
        validated(np.repeat(FEATURES, 2, axis=0), LABELS, FOLDS, clips=owners.astype(str))


def test_groups_are_numbers_or_names_and_a_clip_without_one_stands_alone() -> None:
    assert groups_of([7, 3, 7]).tolist() == [1, 0, 1]
    assert len(np.unique(groups_of(["a", None, "a", "", "0"]))) == 4
    names = [NAMES[label] for label in LABELS]
    pairs = [f"r{clip // 2:02}" for clip in range(24)]
    by_number = stratified_folds(LABELS, 1, 4, [clip // 2 for clip in range(24)])
    assert stratified_folds(names, 1, 4, pairs).tolist() == by_number.tolist()
    with pytest.raises(FormatError, match="24 labels but 3 groups"):
        stratified_folds(names, 1, 4, ["a", "b", "c"])


def test_significance_takes_lists_and_tensors() -> None:
    first, second = [1, 0, 0, 1, 0, 0] * 4, [1, 1, 0, 1, 1, 0] * 4
    test = mcnemar(first, torch.tensor(second))
    assert (test.only_first, test.only_second) == (0, 8)
    recordings = [f"r{clip // 2}" for clip in range(24)]
    by_array = bootstrap_interval(
        np.array(first, bool), np.array(second, bool), np.unique(recordings, return_inverse=True)[1]
    )
    assert bootstrap_interval(first, second, recordings) == by_array
    with pytest.raises(FormatError, match=r"shapes \(24,\) and \(23,\)"):
        mcnemar(first, second[1:])


def test_windows_and_chance_take_lists_tensors_and_names() -> None:
    steps = np.arange(24, dtype=np.float32).reshape(8, 3)
    cut = Windows(seconds=0.2, pooling="flatten")
    wanted = cut.cut(steps, 0.1)
    assert wanted.shape == (7, 6)
    for given in (steps.tolist(), torch.tensor(steps), torch.tensor(steps).bfloat16()):
        assert cut.cut(given, 0.1).tolist() == wanted.tolist()
    with pytest.raises(FormatError, match=r"steps have shape \(8,\)"):
        cut.cut(steps[:, 0], 0.1)
    names: list[str | None] = [NAMES[label] for label in LABELS]
    numbers = ShuffledLabels(LABELS, shuffles=50).largest_counts(5)
    for labels in (names, [*names, None], torch.tensor(LABELS)):
        assert ShuffledLabels(labels, shuffles=50).largest_counts(5).tolist() == numbers.tolist()


@pytest.mark.parametrize("tested", [2, 2.0, "2", "2.0", [2], ["2"], np.array([2.0]), torch.tensor([2])])
@pytest.mark.parametrize("folds", [FOLDS, FOLDS.astype(float), FOLDS.astype(str)])
def test_what_is_tested_may_be_told_as_the_folds_are(tested: Any, folds: Any) -> None:
    found = validated(FEATURES, LABELS, folds, tested=tested)
    assert found.fold_accuracy == (WANTED.fold_accuracy[1],)
    named = np.where(FOLDS == 2, "test", "train")
    assert validated(FEATURES, LABELS, named, tested="test").fold_accuracy == found.fold_accuracy
