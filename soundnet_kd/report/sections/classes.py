"""What an evaluation says of the page's clips: the answer of each layer, and what it makes of each class."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.analysis.classes.scores import class_scores, confused_pairs
from soundnet_kd.report.clips import Clips
from soundnet_kd.report.scripts import packed, rounded
from soundnet_kd.transfer.fitting import UNTESTED
from soundnet_kd.transfer.results import Evaluation

MAX_PAIRS = 200
"""Confused pairs that the page lists; results/confused_pairs.csv has all."""


def predictions_of(results: Evaluation, layer: str, clips: Clips) -> NDArray[np.int64]:
    """Return a layer's answer for each clip of the page, (clips,), -1 where it was not tested."""
    numbers = {name: number for number, name in enumerate(clips.class_names)}
    # The classes of an evaluation may have another order than those of the page.
    predicted = [
        numbers.get(results.classes[each], UNTESTED) if each >= 0 else UNTESTED
        for each in results.results[layer].predictions
    ]
    given = dict(zip(results.ids, predicted, strict=True))
    return np.array([given.get(clip, UNTESTED) for clip in clips.ids], dtype=np.int64)


def confusion_of(predictions: NDArray[np.int64], clips: Clips) -> NDArray[np.int64]:
    """Count the tested clips by true class (row) and predicted class (column)."""
    confusion = np.zeros((len(clips.class_names),) * 2, dtype=np.int64)
    tested = (clips.labels >= 0) & (predictions >= 0)
    np.add.at(confusion, (clips.labels[tested], predictions[tested]), 1)
    return confusion


def answers_data(results: Evaluation, clips: Clips) -> dict[str, Any]:
    """Return what the page shows of an evaluation, layer by layer.

    Returns
    -------
    dict from layer to
        `predicted` (clips,), packed: 0 where untested, else the class's number + 1; `confusion` (classes, classes),
        packed; `recall`, `precision`, `f1`, `recall_std` and `clips`, one number for each class; `pairs`, rows of
        first class, second class, first taken for second, second taken for first, and their share of the clips of both.
    """
    fold_of = {clip: results.folds[place] for clip, place in results.place_of.items()}
    folds = np.array([fold_of.get(clip, 0) for clip in clips.ids], dtype=np.int64)
    data: dict[str, Any] = {}
    for layer in results.layers:
        predictions = predictions_of(results, layer, clips)
        confusion = confusion_of(predictions, clips)
        scores = class_scores(clips.labels, predictions, folds, clips.class_names)
        data[layer] = {
            "predicted": packed(predictions + 1),
            "confusion": packed(confusion),
            "clips": scores.clips.tolist(),
            **{name: rounded(getattr(scores, name)) for name in ("recall", "precision", "f1", "recall_std")},
            "pairs": [
                (pair.first, pair.second, pair.first_as_second, pair.second_as_first, round(pair.fraction, 4))
                for pair in confused_pairs(confusion)[:MAX_PAIRS]
            ],
        }
    return data
