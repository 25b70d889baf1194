"""A training as the page shows it: its settings, and how its figures went over the steps."""

import csv
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

from soundnet_kd.storage import read_json

HISTORY_FILE = "history.csv"
SETTINGS_FILES = ("run.json", "finetune.json", "train.json")
LABELS = ("network", "fold", "seed")
"""Columns of a history that tell one training of a run from the others, the most telling first."""
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
    """Read the curves of a training's history.

    Returns
    -------
    list of dict
        Of each logged figure, and of each training where a run has several: `figure`, `of` (such as fold 2; None where
        there is one training), `steps` and `values`.
    """
    points: dict[tuple[str, str | None], list[tuple[float, float]]] = defaultdict(list)
    with (folder / HISTORY_FILE).open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            told = {label: row.pop(label) for label in LABELS if label in row}
            name, training = next(iter(told.items()), ("", ""))
            of = (training if name == "network" else f"{name} {training}") if name else None
            step = float(row.pop("step"))
            for figure, text in row.items():
                if text and math.isfinite(value := float(text)):
                    points[figure, of].append((step, value))
    curves = []
    for (figure, of), found in points.items():
        every = -(-len(found) // MAX_POINTS)
        # Counted from the end, so that the last figure is always there.
        kept = found[::-1][::every][::-1]
        curves.append(
            {
                "figure": figure,
                "of": of,
                "steps": [step for step, _ in kept],
                "values": [float(f"{value:.5g}") for _, value in kept],
            }
        )
    return curves
