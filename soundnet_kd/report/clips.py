"""The clips of a page: their labels, folds and files, and the classes that evaluations predict for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data import read_manifest
from soundnet_kd.data.manifest import NO_FOLD, UNLABELED
from soundnet_kd.features import FeatureCache
from soundnet_kd.media import MediaSource, as_source
from soundnet_kd.transfer.fitting import UNTESTED
from soundnet_kd.transfer.results import Evaluation


@dataclass(frozen=True, eq=False)
class Clips:
    """The clips of a page, in the order of the page.

    Attributes
    ----------
    ids : tuple of str
    labels : (clips,) int64
        Index into `class_names`; -1 where unlabeled.
    folds : (clips,) int64
        `no_fold` for clips without a fold.
    class_names : tuple of str
    paths : tuple of Path or None
        File of each clip; None where it is not known.
    no_fold : int
        Number that stands for no fold: 0, or -1 where folds are counted from 0.
    """

    ids: tuple[str, ...] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    folds: NDArray[np.int64] = field(repr=False)
    class_names: tuple[str, ...]
    paths: tuple[MediaSource | None, ...] = field(repr=False)
    no_fold: int = NO_FOLD

    @classmethod
    def of_cache(cls, cache: FeatureCache, sounds: str | Path | None) -> Self:
        """Take the sounds of a cache, which names their files.

        Parameters
        ----------
        cache : FeatureCache
        sounds : str or Path, optional
            Where the sounds are now, if they were moved, as for `read_manifest`.
        """
        sounds = None if sounds is None else Path(sounds)
        moved = _places(sounds)
        paths = tuple(moved.get(clip, path) for clip, path in zip(cache.ids, cache.paths, strict=True))
        return cls(cache.ids, cache.labels, cache.folds, cache.class_names, paths, cache.no_fold)

    @classmethod
    def of_evaluation(cls, evaluation: Evaluation, sounds: str | Path | None) -> Self:
        """Take the clips of an evaluation, for a page without features.

        Parameters
        ----------
        evaluation : Evaluation
        sounds : str or Path, optional
            Where the sounds are now, as for `read_manifest`. [default: where the evaluation found them]
        """
        sounds = None if sounds is None else Path(sounds)
        tested = list(evaluation.place_of.values())
        known = (
            {}
            if evaluation.paths is None
            else {clip: as_source(path) for clip, path in zip(evaluation.ids, evaluation.paths, strict=True)}
        )
        places = {**known, **_places(sounds)}
        folds = evaluation.folds[tested]
        return cls(
            ids=tuple(evaluation.place_of),
            labels=evaluation.labels[tested],
            folds=folds,
            class_names=evaluation.classes,
            paths=tuple(places.get(clip) for clip in evaluation.place_of),
            # All tested clips have a fold, so that a 0 here is the first fold.
            no_fold=-1 if 0 in folds else NO_FOLD,
        )

    @property
    def row_of(self) -> dict[str, int]:
        """Row of each clip, by its id."""
        return {clip: row for row, clip in enumerate(self.ids)}

    @property
    def is_labelled(self) -> bool:
        """Whether any clip has a class."""
        return bool((self.labels != UNLABELED).any())


def _places(sounds: str | Path | None) -> Mapping[str, MediaSource]:
    return {} if sounds is None else {clip.id: clip.path for clip in read_manifest(sounds).clips}


def predictions_of(evaluation: Evaluation, layer: str, clips: Clips) -> NDArray[np.int64]:
    """Classes predicted from a layer for the clips of the page, (clips,); -1 where a clip was not tested."""
    numbers = {name: number for number, name in enumerate(clips.class_names)}
    # An evaluation may have the classes in another order than the page.
    predicted = [
        numbers.get(evaluation.classes[each], UNTESTED) if each >= 0 else UNTESTED
        for each in evaluation.results[layer].predictions
    ]
    given = dict(zip(evaluation.ids, predicted, strict=True))
    return np.array([given.get(clip, UNTESTED) for clip in clips.ids], dtype=np.int64)


def confusion_of(predictions: NDArray[np.int64], clips: Clips) -> NDArray[np.int64]:
    """Count the tested clips by true class (row) and predicted class (column)."""
    confusion = np.zeros((len(clips.class_names),) * 2, dtype=np.int64)
    tested = (clips.labels >= 0) & (predictions >= 0)
    np.add.at(confusion, (clips.labels[tested], predictions[tested]), 1)
    return confusion
