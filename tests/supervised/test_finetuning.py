"""Labels, folds and predictions of clips become an evaluation like any other."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soundnet_kd import SoundNet5
from soundnet_kd.data import Clip, Manifest
from soundnet_kd.data.manifest import Split
from soundnet_kd.data.splits import SplitSounds
from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.supervised.clip_folds import ClipFolds
from soundnet_kd.supervised.evaluation import describe_run, evaluate_classes
from soundnet_kd.supervised.experiment import ExperimentRun
from soundnet_kd.supervised.finetuning import FinetuneConfig, FinetuneTraining
from soundnet_kd.supervised.plan import Trial
from soundnet_kd.supervised.sounds import clips_for
from soundnet_kd.supervised.trial import TrialResult
from soundnet_kd.training.segments import Crops

CONFIG = FinetuneConfig(
    student=SoundNet5({"a": 1}),
    layer="conv4",
    from_layer=None,
    scratch=False,
    training=FinetuneTraining(epochs=3, batch_size=2, learning_rate=0.1),
    sampling=Crops(1.0),
    seeds=(0,),
)
PATIENT = replace(CONFIG, training=FinetuneTraining(epochs=3, batch_size=2, learning_rate=0.1, patience=1))


def manifest_of(labels: list[int], folds: list[int], sources: list[str]) -> Manifest:
    clips = tuple(
        Clip(f"clip-{number}", Path(f"{number}.wav"), label, fold, (source,))
        for number, (label, fold, source) in enumerate(zip(labels, folds, sources, strict=True))
    )
    return Manifest(clips, ("cat", "dog"), ("src_file",))


def result_of(seed: int, fold: int, ids: tuple[str, ...], classes: list[int]) -> TrialResult:
    return TrialResult(
        trial=Trial(seed, fold, (0, 1)),
        network="SoundNet5",
        ids=ids,
        owners=np.arange(len(ids)),
        pieces=np.eye(2)[classes],
        truth=np.zeros((len(ids), 2), np.float32),
        by_class=True,
        history=(),
        kept_step=3,
        steps_per_epoch=1,
        parameters=10,
        seconds=1.5,
    )


def test_predictions_by_hand() -> None:
    """Clip 1 is not there and clip 4 has no label; of fold 1 one of two is right, of fold 2 two of three."""
    manifest = manifest_of([0, 1, 1, 0, -1, 1, 0], [1, 1, 1, 2, 0, 2, 2], list("abcdefg"))
    config = replace(CONFIG, seeds=(0, 7))
    sets = config.split(manifest)
    sets = config.select_readable(sets, {f"clip-{number}" for number in (0, 2, 3, 4, 5, 6)})
    assert [clips_for(sets[7], 2, split) for split in ("train", "test")] == [[0, 2], [3, 5, 6]]
    assert clips_for(sets[0], None, "train") == [0, 2, 3, 5, 6]
    assert sets[0].targets[[0, 2, 4]].tolist() == [[1, 0], [0, 1], [0, 0]]
    tested = ("clip-0", "clip-2"), ("clip-3", "clip-5", "clip-6")
    results = [result_of(0, 1, tested[0], [0, 0]), result_of(0, 2, tested[1], [0, 1, 1])]
    results += [result_of(7, 1, tested[0], [0, 1]), result_of(7, 2, tested[1], [0, 1, 0])]
    run = ExperimentRun(Path("out"), config, sets, tuple(results), ("",) * 4, {"clip-1": "it is not there"}, {})
    evaluation = evaluate_classes(run, describe_run(run))
    result = evaluation.results["conv4 seed 0"]
    assert result.fold_accuracy == pytest.approx((0.5, 2 / 3))
    assert result.accuracy == pytest.approx(7 / 12)
    assert result.confusion.tolist() == [[2, 1], [1, 1]]
    assert result.predictions.tolist() == [0, 0, 0, -1, 1, 1]
    assert (result.left_out, evaluation.ids[3], evaluation.chance) == (1, "clip-4", 0.6)
    assert evaluation.results["conv4 seed 7"].accuracy == 1.0
    assert evaluation.groups == ("a", "c", "d", "e", "f", "g")
    assert evaluation.source == {"skipped": 1, "parameters": 10, "training_seconds": 6.0, "trainings": 4}
    assert run.clips.origin == "the folds of the data set"


def test_folds_that_are_drawn_keep_clips_of_one_recording_together() -> None:
    sources = [f"recording {number // 3}" for number in range(24)]
    folds = ClipFolds(manifest_of([number // 3 % 2 for number in range(24)], [0] * 24, sources), 0)
    found = {
        source: {int(fold) for name, fold in zip(sources, folds.plan.folds, strict=True) if name == source}
        for source in sources
    }
    assert all(len(each) == 1 for each in found.values())
    assert set.union(*found.values()) == {1, 2, 3, 4}


def test_a_clip_that_names_no_recording_has_one_of_its_own() -> None:
    folds = ClipFolds(manifest_of([0, 1] * 6, [0] * 12, [""] * 12), 0)
    assert folds.groups == tuple(f"clip-{number}" for number in range(12))


def test_some_folds_are_refused() -> None:
    with pytest.raises(FormatError, match="1 labelled clips have no fold but others do"):
        ClipFolds(manifest_of([0, 1, 0], [1, 2, 0], list("abc")), 0)


def sets_of(folds: ClipFolds, config: FinetuneConfig) -> Mapping[int, SplitSounds]:
    return folds.split(config.seeds, config.validation_share, config.measures_validation)


def splits_of(folds: ClipFolds, config: FinetuneConfig, seed: int, fold: int) -> list[Split | None]:
    return list(sets_of(folds, config)[seed].splits[fold])


def test_recordings_are_held_out_whole_of_what_is_learned_from_and_drawn_by_the_seed() -> None:
    """Of each class a fold leaves two recordings of two clips to learn from, of which one is held out."""
    labels = [number // 2 % 2 for number in range(16)]
    sources = [f"recording {number // 2}" for number in range(16)]
    folds = ClipFolds(manifest_of(labels, [1 + number // 8 for number in range(16)], sources), 0)
    config = replace(PATIENT, seeds=(0, 1, 2, 3), validation_share=0.5)
    held_out = set()
    for seed in config.seeds:
        splits = splits_of(folds, config, seed, 2)
        assert splits[8:] == ["test"] * 8
        assert splits[:8:2] == splits[1:8:2]
        assert sorted(labels[place] for place in range(8) if splits[place] == "validation") == [0, 0, 1, 1]
        held_out.add(tuple(splits))
        # In the end all is learned from but what is held out where fold 1 is tested.
        without_first = splits_of(folds, config, seed, 1)
        learned = [place for place in range(16) if without_first[place] != "validation"]
        assert clips_for(sets_of(folds, config)[seed], None, "train") == learned
    assert len(held_out) > 1


def test_a_validation_part_is_learned_from_unless_something_is_chosen_by_it() -> None:
    parts = ["train"] * 4 + ["validation"] * 4 + ["test"] * 4
    clips = tuple(
        Clip(f"clip-{number}", Path(f"{number}.wav"), number % 2, carried=(part,)) for number, part in enumerate(parts)
    )
    folds = ClipFolds(Manifest(clips, ("cat", "dog"), ("split",), split_column="split"), 0)
    assert splits_of(folds, CONFIG, 0, 1) == ["train"] * 8 + ["test"] * 4
    assert splits_of(folds, PATIENT, 0, 1) == parts


def test_nothing_is_chosen_by_sounds_that_there_are_none_of() -> None:
    folds = ClipFolds(manifest_of([0, 1, 0, 1], [1, 1, 2, 2], list("abcd")), 0)
    with pytest.raises(SettingsError, match="no validation sounds to choose the best weights or the end by"):
        sets_of(folds, PATIENT)
    with pytest.raises(SettingsError, match=r"the shares of the clips are validation 1\.5"):
        replace(CONFIG, validation_share=1.5)
