"""Labels, folds and answers of clips become an evaluation like any other."""

from pathlib import Path

import numpy as np
import pytest

from soundnet_kd.data import Clip, Manifest
from soundnet_kd.errors import FormatError
from soundnet_kd.media import RawAudioFile
from soundnet_kd.supervised.clip_evaluation import ClipTable, Experiment


def table_of(labels: list[int], folds: list[int], sources: list[str], unreadable: tuple[str, ...] = ()) -> ClipTable:
    clips = tuple(
        Clip(f"clip-{number}", Path(f"{number}.wav"), label, fold, (source,))
        for number, (label, fold, source) in enumerate(zip(labels, folds, sources, strict=True))
    )
    manifest = Manifest(clips, ("cat", "dog"), ("src_file",))
    sounds = {clip.id: RawAudioFile(clip.path) for clip in clips if clip.id not in unreadable}
    return ClipTable(manifest, sounds, seed=0)


def test_answers_by_hand() -> None:
    """Clip 1 is not there and clip 4 has no label; of fold 1 one of two is right, of fold 2 two of three."""
    table = table_of([0, 1, 1, 0, -1, 1, 0], [1, 1, 1, 2, 0, 2, 2], list("abcdefg"), unreadable=("clip-1",))
    clips = table.labelled
    assert [str(sound.file) for sound in clips.sounds] == ["0.wav", "2.wav", "3.wav", "5.wav", "6.wav"]
    assert [str(sound.file) for sound in clips.without(2)[0]] == ["0.wav", "2.wav"]
    assert clips.without(1)[1].tolist() == [0, 1, 0]
    answers = {1: np.array([0, 0]), 2: np.array([0, 1, 1])}
    experiment = Experiment("finetune", "pool5", 256, {"epochs": 3.0}, "mine", seed=0)
    evaluation = table.evaluation(experiment, answers, {"seed": 0})
    result = evaluation.results["pool5"]
    assert result.fold_accuracy == pytest.approx((0.5, 2 / 3))
    assert result.accuracy == pytest.approx(7 / 12)
    assert result.confusion.tolist() == [[2, 1], [1, 1]]
    assert result.predictions.tolist() == [0, 0, 0, -1, 1, 1]
    assert (result.left_out, evaluation.ids[3], evaluation.chance) == (1, "clip-4", 0.6)
    assert evaluation.groups == ("a", "c", "d", "e", "f", "g")
    assert evaluation.source == {"seed": 0, "folds": "the folds of the data set"}


def test_folds_that_are_drawn_keep_clips_of_one_recording_together() -> None:
    sources = [f"recording {number // 3}" for number in range(24)]
    table = table_of([number // 3 % 2 for number in range(24)], [0] * 24, sources)
    found = {
        source: {int(fold) for name, fold in zip(sources, table.folds, strict=True) if name == source}
        for source in sources
    }
    assert all(len(folds) == 1 for folds in found.values())
    assert set.union(*found.values()) == {1, 2, 3, 4}


def test_a_clip_that_names_no_recording_has_one_of_its_own() -> None:
    assert table_of([0, 1] * 6, [0] * 12, [""] * 12).groups == tuple(f"clip-{number}" for number in range(12))


def test_some_folds_are_refused() -> None:
    with pytest.raises(FormatError, match="1 labelled clips have no fold but others do"):
        table_of([0, 1, 0], [1, 2, 0], list("abc"))
