"""A training as the page shows it: its settings, and how its figures went over the steps."""

import csv
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

from soundnet_kd.storage import read_json

HISTORY_FILE = "history.csv"
SETTINGS_FILES = ("run.json", "finetune.json")
MOST_POINTS = 400
"""Of a curve; a longer history is thinned."""


def training_settings(folder: Path) -> dict[str, Any]:
    """Give the settings of a training, or nothing where it left none."""
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
        Of each logged figure, and of each fold where there are several: `figure`, `fold` (None without folds), `steps`
        and `values`.
    """
    points: dict[tuple[str, str | None], list[tuple[float, float]]] = defaultdict(list)
    with (folder / HISTORY_FILE).open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            fold = row.pop("fold", None)
            step = float(row.pop("step"))
            for figure, text in row.items():
                if text and math.isfinite(value := float(text)):
                    points[figure, fold].append((step, value))
    curves = []
    for (figure, fold), found in points.items():
        every = -(-len(found) // MOST_POINTS)
        # Counted from the end, so that the last figure is always there.
        kept = found[::-1][::every][::-1]
        curves.append(
            {
                "figure": figure,
                "fold": fold,
                "steps": [step for step, _ in kept],
                "values": [float(f"{value:.5g}") for _, value in kept],
            }
        )
    return curves
