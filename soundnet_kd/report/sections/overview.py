"""Overview: what was run, and how good the results are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundnet_kd.data.datasets.esc50 import OTHER_ACCURACIES, PAPER, is_esc50
from soundnet_kd.report.evaluations import ShownEvaluation
from soundnet_kd.report.facts import facts_of_cache, facts_of_teachers
from soundnet_kd.report.figure_files import FigureLink
from soundnet_kd.report.inputs import ReportInputs, preferred_layer
from soundnet_kd.report.section import Content, Section
from soundnet_kd.report.sections.neurons import selective_neurons
from soundnet_kd.transfer.comparison import Comparison, LayerComparison, read_comparison
from soundnet_kd.transfer.ranking import RANKING_FIGURE, notes, read_ranking
from soundnet_kd.transfer.results import Evaluation

MAX_CLASSES, CLIPS_OF_A_CLASS = 4, 2
"""Classes with a selective neuron, and clips of each, at the top of the page; so many fit on a first screen."""
WRITTEN_TO = 1e-4
"""Precision of the accuracies in the table of a comparison, which has four digits."""


def show(inputs: ReportInputs) -> Content:
    """Return the evaluations, comparisons and rankings of a run, facts about them, and the most selective neurons."""
    evaluations, comparisons = inputs.evaluations, _comparisons(inputs)
    neurons = _selective(inputs)
    rankings = [made for label in inputs.files.rankings if (made := _ranking(inputs, label)) is not None]
    is_of_esc50 = any(is_esc50(each.evaluation.classes) for each in evaluations)
    return Content(
        {
            "evaluations": evaluations,
            "rankings": rankings,
            "comparisons": comparisons,
            "gains": gains(comparisons.values(), evaluations),
            "has_selective_neurons": bool(neurons),
            "about": _about(inputs),
            "paper": PAPER,
            "published": OTHER_ACCURACIES if is_of_esc50 else {},
            "figures": _figures(inputs),
        },
        {"neurons": neurons},
    )


@dataclass(frozen=True)
class Gains:
    """Two evaluations for the top of the page: accuracies, and that of guessing, from 0 to 1."""

    names: tuple[str, str]
    chance: float
    rows: tuple[LayerComparison, ...]

    @property
    def best(self) -> LayerComparison:
        """The row in which the second evaluation has its best accuracy."""
        return max(self.rows, key=lambda row: row.accuracy[1])


def gains(comparisons: Iterable[Comparison], evaluations: Sequence[ShownEvaluation]) -> Gains | None:
    """Find a comparison of the page's first evaluation with another one, layer by layer.

    Returns
    -------
    Gains or None
        The first comparison of that evaluation that has its best layer; None if there is none.
    """
    for first in evaluations[:1]:
        for each in comparisons:
            # Rows that compare two different layers (pool2:pool5) have no place in the order of layers.
            rows = tuple(row for row in each.rows if row.layers[0] == row.layers[1])
            has_best = any(row.layers[1] == first.best.layer for row in rows)
            if has_best and is_of(each, first.evaluation):
                return Gains(each.names, first.chance, rows)
    return None


def is_of(comparison: Comparison, evaluation: Evaluation) -> bool:
    """Tell whether the results of a comparison are an evaluation: by its protocol, and the accuracy of every layer."""
    clips = tuple(evaluation.place_of)
    return comparison.protocols[1] == evaluation.protocol and all(
        row.layers[1] in evaluation.layers
        and abs(float(evaluation.correct(row.layers[1], clips).mean()) - row.accuracy[1]) < WRITTEN_TO
        for row in comparison.rows
    )


def _comparisons(inputs: ReportInputs) -> dict[str, Comparison]:
    found = {}
    for label, file in inputs.files.comparisons.items():
        comparison = inputs.skipped.read(label, read_comparison, file)
        if comparison is not None:
            found[Path(label).with_suffix("").as_posix()] = comparison
    return found


def _ranking(inputs: ReportInputs, label: str) -> dict[str, Any] | None:
    file = inputs.files.rankings[label]
    rows = inputs.skipped.read(label, read_ranking, file)
    if not rows:
        return None
    figures = inputs.figures.copy(file.parent, label, RANKING_FIGURE)
    return {"name": inputs.files.name_of(label), "rows": rows, "notes": notes(rows), "figures": figures}


def _selective(inputs: ReportInputs) -> list[dict[str, Any]]:
    if inputs.neurons is None or inputs.pooled is None:
        return []
    layer = preferred_layer(inputs.neurons.layers)
    found = inputs.skipped.read(f"{inputs.neurons.name}, {layer}", inputs.neurons.file.read, layer)
    if found is None:
        return []
    neurons = selective_neurons(*found, inputs.pooled[layer], MAX_CLASSES, CLIPS_OF_A_CLASS)
    return [{"layer": layer, **neuron} for neuron in neurons]


def _about(inputs: ReportInputs) -> list[tuple[str, str]]:
    facts = [] if inputs.cache is None else list(facts_of_cache(inputs.cache))
    for folder in inputs.files.trainings.values():
        facts += [fact for fact in facts_of_teachers(folder) if fact not in facts]
    return facts


def _figures(inputs: ReportInputs) -> list[FigureLink]:
    """Copy the figures of evaluations of other clips than the page's; those of its own clips are with the classes."""
    if inputs.clips is None:
        return []
    others = [each for each in inputs.evaluations if not each.is_of(inputs.clips)]
    return [figure for each in others for figure in inputs.figures.copy(each.folder, each.label)]


OVERVIEW = Section("overview", "Overview", show)
