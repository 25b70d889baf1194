"""Trainings: settings, and curves of losses and accuracies over the steps."""

from pathlib import Path
from typing import Any

from soundnet_kd.report.facts import facts_of_training
from soundnet_kd.report.inputs import ReportInputs
from soundnet_kd.report.section import Content, Section
from soundnet_kd.training.history import read_curves
from soundnet_kd.training.settings_file import read_training_settings

MAX_POINTS = 400
"""Points of a curve at most; a longer history is thinned."""
FILTERS = ("conv1", "filters")
"""Names of the figures of a training that show its first layer."""


def show(inputs: ReportInputs) -> Content | None:
    """Return the trainings of a run that have a history."""
    trainings, data = [], []
    for label, folder in inputs.files.trainings.items():
        curves = inputs.skipped.read(label, curves_data, folder)
        if not curves:
            continue
        settings = read_training_settings(folder)
        # A run that was made with one objective names none in its losses.
        objectives = list(settings.settings.get("objectives", ())) if settings is not None else []
        data.append({"objectives": objectives, "curves": curves})
        # Other figures of a training with an evaluation are shown with the evaluation.
        figures = inputs.figures.copy(folder, label) if label not in inputs.files.evaluations else []
        trainings.append(
            {
                "name": inputs.files.name_of(label),
                "facts": list(facts_of_training(folder)),
                "figures": figures,
                "filters": next((figure for figure in figures if figure.name in FILTERS), None),
            }
        )
    return Content({"trainings": trainings}, data) if trainings else None


def curves_data(folder: str | Path) -> list[dict[str, Any]]:
    """Curves of a training's history: `figure`, `training` (null if there is only one), `steps` and `values`."""
    curves = []
    for curve in read_curves(folder):
        every = -(-len(curve.steps) // MAX_POINTS)
        # Counted from the end, so that the last point is always there.
        kept = slice(None, None, -every)
        curves.append(
            {
                "figure": curve.figure,
                "training": curve.training,
                "steps": curve.steps[kept][::-1],
                "values": [float(f"{value:.5g}") for value in curve.values[kept][::-1]],
            }
        )
    return curves


TRAINING = Section("training", "Training", show)
