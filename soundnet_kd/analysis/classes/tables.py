"""What an evaluation says about single classes: tables of every layer, figures and a short summary of the best one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from soundnet_kd.analysis.classes.figures import draw_class_scores, draw_confused_pairs, draw_confusion
from soundnet_kd.analysis.classes.scores import (
    CategoryScores,
    ClassScores,
    ConfusedPair,
    category_scores,
    class_scores,
    confused_pairs,
)
from soundnet_kd.data.datasets.esc50 import CLASSES_PER_CATEGORY, ESC50_CATEGORIES, is_esc50
from soundnet_kd.figures.style import display_name
from soundnet_kd.storage import write_csv
from soundnet_kd.transfer.results import Evaluation

_PAIRS_SHOWN = 3


@dataclass(frozen=True, eq=False)
class ClassReport:
    """How well one layer tells the classes apart; `categories` is None where they are not ESC-50's."""

    scores: ClassScores = field(repr=False)
    pairs: Sequence[ConfusedPair] = field(repr=False)
    categories: CategoryScores | None = field(repr=False)

    def __str__(self) -> str:
        classes = [display_name(name) for name in self.scores.classes]
        easiest, hardest = (
            ", ".join(f"{classes[number]} {self.scores.recall[number]:.0%}" for number in end)
            for end in self.scores.ends
        )
        lines = [f"  easiest: {easiest}", f"  hardest: {hardest}"]
        if self.pairs:
            mistakes = (
                f"{classes[pair.first]} for {classes[pair.second]} {pair.first_as_second} times "
                f"(the other way {pair.second_as_first})"
                for pair in self.pairs[:_PAIRS_SHOWN]
            )
            lines.append(f"  mistaken: {', '.join(mistakes)}")
        if self.categories is not None:
            accuracies = self.categories.accuracy, self.categories.category_accuracy
            per_category = zip(ESC50_CATEGORIES, *accuracies, strict=True)
            lines.append(
                "  class right (category right): "
                + "; ".join(f"{name} {correct:.0%} ({category:.0%})" for name, correct, category in per_category)
            )
        return "\n".join(lines)


def class_reports(evaluation: Evaluation) -> dict[str, ClassReport]:
    """Score the classes for every layer of an evaluation."""
    esc50 = is_esc50(evaluation.classes)
    return {
        layer: ClassReport(
            class_scores(evaluation.labels, result.predictions, evaluation.folds, evaluation.classes),
            confused_pairs(result.confusion),
            category_scores(result.confusion) if esc50 else None,
        )
        for layer, result in evaluation.results.items()
    }


def write_class_tables(reports: Mapping[str, ClassReport], out: str | Path) -> None:
    """Write `classes.csv`, `confused_pairs.csv` and, for ESC-50, `categories.csv`: rows for every layer.

    Parameters
    ----------
    reports : mapping from layer to ClassReport
    out : str or Path
        Folder.
    """
    out = Path(out)
    classes = next(iter(reports.values())).scores.classes
    esc50 = is_esc50(classes)
    category_of = [name for name in ESC50_CATEGORIES for _ in range(CLASSES_PER_CATEGORY)] if esc50 else None
    write_csv(
        out / "classes.csv",
        ("layer", "class", *(["category"] if category_of else []), "clips", "precision", "recall", "f1", "recall std"),
        (
            (
                layer,
                name,
                *([category_of[number]] if category_of else []),
                report.scores.clips[number],
                *(
                    _cell(values[number])
                    for values in (
                        report.scores.precision,
                        report.scores.recall,
                        report.scores.f1,
                        report.scores.recall_std,
                    )
                ),
            )
            for layer, report in reports.items()
            for number, name in enumerate(classes)
        ),
    )
    write_csv(
        out / "confused_pairs.csv",
        ("layer", "first", "second", "first as second", "second as first", "mistakes", "share of both"),
        (
            (
                layer,
                classes[pair.first],
                classes[pair.second],
                pair.first_as_second,
                pair.second_as_first,
                pair.mistakes,
                _cell(pair.fraction),
            )
            for layer, report in reports.items()
            for pair in report.pairs
        ),
    )
    if esc50:
        write_csv(
            out / "categories.csv",
            ("layer", "category", "clips", "accuracy", "category accuracy", *(f"as {n}" for n in ESC50_CATEGORIES)),
            (
                (layer, name, row.sum(), _cell(correct), _cell(category), *row)
                for layer, report in reports.items()
                if report.categories is not None
                for name, row, correct, category in zip(
                    ESC50_CATEGORIES,
                    report.categories.confusion,
                    report.categories.accuracy,
                    report.categories.category_accuracy,
                    strict=True,
                )
            ),
        )


def draw_classes(evaluation: Evaluation, report: ClassReport, layer: str, out: str | Path) -> None:
    """Draw a layer's confusion, scores of each class, commonest mistakes and, for ESC-50, confusion of categories.

    Parameters
    ----------
    evaluation : Evaluation
    report : ClassReport
    layer : str
    out : str or Path
        Folder.
    """
    out = Path(out)
    result = evaluation.results[layer]
    tests = f"{len(result.folds)} folds" if len(result.folds) > 1 else "one test"
    draw_confusion(
        result.confusion,
        evaluation.classes,
        f"What {layer} takes for what: {result.accuracy:.1%} right\n({tests}, protocol: {result.protocol})",
        out / f"confusion_{layer}.png",
    )
    draw_class_scores(report.scores, report.pairs, layer, out / f"classes_{layer}.png")
    if report.pairs:
        draw_confused_pairs(report.pairs, evaluation.classes, layer, out / f"confused_pairs_{layer}.png")
    if report.categories is not None:
        categories = report.categories.confusion
        draw_confusion(
            categories,
            ESC50_CATEGORIES,
            f"{layer}: {categories.trace() / categories.sum():.1%} of the clips are given the right category",
            out / f"categories_{layer}.png",
        )


def _cell(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.4f}"
