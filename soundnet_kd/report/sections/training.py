"""A training as the page shows it: its settings, and how its figures went over the steps."""

from pathlib import Path
from typing import Any

from soundnet_kd.storage import read_json
from soundnet_kd.training.history import read_curves

SETTINGS_FILES = ("run.json", "finetune.json", "train.json")
MAX_POINTS = 400
"""Of a curve; a longer history is thinned."""


def training_settings(folder: Path) -> dict[str, Any]:
    """Return the settings of a training, or nothing where it left none."""
    for name in SETTINGS_FILES:
        if (folder / name).is_file():
            settings: dict[str, Any] = read_json(folder / name)
            return settings
    return {}


def curves_of(folder: Path) -> list[dict[str, Any]]:
    """Return the curves of a training's history as the page draws them: `figure`, `training`, `steps` and `values`."""
    curves = []
    for curve in read_curves(folder):
        every = -(-len(curve.steps) // MAX_POINTS)
        # Counted from the end, so that the last figure is always there.
        kept = slice(None, None, -every)
        curves.append(
            {
                "figure": curve.figure,
                "of": curve.training,
                "steps": curve.steps[kept][::-1],
                "values": [float(f"{value:.5g}") for value in curve.values[kept][::-1]],
            }
        )
    return curves
