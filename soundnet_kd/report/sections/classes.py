"""Classes: what evaluations predict for the page's clips, and how well they recognise each class."""

from typing import Any

import numpy as np

from soundnet_kd.analysis.classes.scores import class_scores, confused_pairs
from soundnet_kd.report.clips import Clips, confusion_of, predictions_of
from soundnet_kd.report.evaluations import LayerAccuracy, ShownEvaluation
from soundnet_kd.report.figure_files import FigureLink
from soundnet_kd.report.inputs import ReportInputs
from soundnet_kd.report.page_data import encode_integers, rounded
from soundnet_kd.report.section import Content, Section
from soundnet_kd.transfer.results import Evaluation

MAX_PAIRS = 200
"""Confused pairs that the page lists at most; confused_pairs.csv lists all."""


def show(inputs: ReportInputs) -> Content | None:
    """Write the data of each evaluation of the page's clips, and return how they are shown."""
    if inputs.clips is None:
        return None
    evaluations: list[dict[str, Any]] = []
    figures: list[FigureLink] = []
    for each in inputs.evaluations:
        if not each.is_of(inputs.clips):
            inputs.skipped[f"{each.label} in Classes"] = "its clips or classes are others than the page's"
            continue
        figures += inputs.figures.copy(each.folder, each.label)
        figures += inputs.figures.confusions(each, inputs.clips)
        inputs.data.write(f"classes-{len(evaluations)}", classes_data(each.evaluation, inputs.clips))
        evaluations.append(
            {
                "name": each.name,
                "number": len(evaluations),
                "layers": each.evaluation.layers,
                "best": each.best.layer,
                "notes": {row.layer: _note(row, each) for row in each.rows},
            }
        )
    return Content({"figures": figures}, {"evaluations": evaluations}) if evaluations else None


def _note(row: LayerAccuracy, shown: ShownEvaluation) -> str:
    return (
        f"{row.layer}: {row.accuracy:.1%} right (± {row.std:.1%} over {len(row.folds)} folds); "
        f"protocol {shown.protocol}, {shown.head}; settings chosen: {shown.selection}"
    )


def classes_data(evaluation: Evaluation, clips: Clips) -> dict[str, Any]:
    """Collect the data of an evaluation for the page, layer by layer.

    Returns
    -------
    dict from layer to
        `predicted` (clips,), encoded: 0 where untested, else the class's number + 1; `confusion` (classes, classes),
        encoded; `recall`, `precision`, `f1`, `recall_std` and `clips`, one number for each class; `pairs`, rows of
        first class, second class, first taken for second, second taken for first, and the fraction of the clips of
        both that these are.
    """
    fold_of = {clip: evaluation.folds[place] for clip, place in evaluation.place_of.items()}
    folds = np.array([fold_of.get(clip, 0) for clip in clips.ids], dtype=np.int64)
    data: dict[str, Any] = {}
    for layer in evaluation.layers:
        predictions = predictions_of(evaluation, layer, clips)
        confusion = confusion_of(predictions, clips)
        scores = class_scores(clips.labels, predictions, folds, clips.class_names)
        data[layer] = {
            "predicted": encode_integers(predictions + 1),
            "confusion": encode_integers(confusion),
            "clips": scores.clips.tolist(),
            **{name: rounded(getattr(scores, name)) for name in ("recall", "precision", "f1", "recall_std")},
            "pairs": [
                (pair.first, pair.second, pair.first_as_second, pair.second_as_first, round(pair.fraction, 4))
                for pair in confused_pairs(confusion)[:MAX_PAIRS]
            ],
        }
    return data


CLASSES = Section("classes", "Classes", show, "soundnet-kd evaluate FEATURES", "evaluations")
