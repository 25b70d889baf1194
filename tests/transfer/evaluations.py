"""Evaluations of a few clips, made up by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from soundnet_kd.transfer.cross_validation import CrossValidation
from soundnet_kd.transfer.results import Evaluation, Kind, write_evaluation

SOURCE = {"features": "features.h5", "identity": {"student": {"architecture": "SoundNet8"}}}


def evaluation(
    predictions: Mapping[str, str],
    labels: str,
    groups: Sequence[str] | None = None,
    protocol: str = "notebook",
    first_id: int = 0,
    kind: Kind = "features",
    source: Mapping[str, Any] = SOURCE,
) -> Evaluation:
    """Evaluate clips in one fold; each letter of `predictions` and `labels` is the class of a clip, - that of none."""
    classes = tuple(sorted(set(labels).union(*predictions.values()) - {"-"}))
    truth = np.array([classes.index(label) if label != "-" else -1 for label in labels])
    results = {}
    for layer, letters in predictions.items():
        given = np.array([classes.index(each) if each != "-" else -1 for each in letters])
        confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
        np.add.at(confusion, (truth[truth >= 0], given[truth >= 0]), 1)
        accuracy = float(confusion.trace() / confusion.sum())
        results[layer] = CrossValidation(
            protocol=protocol, head="linear_svm", selection="same folds", accuracy=accuracy, folds=(1,),
            fold_accuracy=(accuracy,), chosen=({"C": 0.1},), grid=({"C": 0.1}, {"C": 1.0}),
            grid_accuracy=(accuracy, 0.0), confusion=confusion, predictions=given, classes=classes,
            left_out=int((truth < 0).sum()), unconverged=(),
        )  # fmt: skip
    return Evaluation(
        kind=kind,
        results=results,
        channels=dict.fromkeys(results, 16),
        classes=classes,
        ids=tuple(f"clip-{first_id + number}" for number in range(len(labels))),
        labels=truth,
        folds=np.ones(len(labels), dtype=np.int64),
        groups=None if groups is None else tuple(groups),
        source=source,
    )


def write_results(folder: Path, predictions: Mapping[str, str], labels: str, **others: Any) -> Path:
    """Write an evaluation to a folder, and name the folder."""
    write_evaluation(evaluation(predictions, labels, **others), folder)
    return folder
