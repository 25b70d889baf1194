"""A ranking as `rank` left it on the disk, for whoever shows it again."""

import csv
from dataclasses import fields
from pathlib import Path
from typing import Any

from soundnet_kd.errors import FormatError
from soundnet_kd.transfer.ranking import Ranked

RANKING_FILE = "ranking.csv"
RANKING_FIGURE = "accuracy_by_parameters.png"
"""Not there where no size is known."""
COLUMNS = tuple(each.name for each in fields(Ranked))


def row_of(ranked: Ranked) -> list[Any]:
    """Give a row of the table, under `COLUMNS`; what is missing is empty."""
    values = (getattr(ranked, name) for name in COLUMNS)
    return ["" if value is None else f"{value:.4f}" if isinstance(value, float) else value for value in values]


def read_ranking(path: str | Path) -> tuple[Ranked, ...]:
    """Read the table that `soundnet-kd rank` wrote.

    Raises
    ------
    FormatError
        If it is none.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
        return tuple(
            Ranked(
                name=row["name"],
                protocol=row["protocol"],
                network=row["network"],
                layer=row["layer"],
                parameters=int(row["parameters"]) if row["parameters"] else None,
                training_seconds=float(row["training_seconds"]) if row["training_seconds"] else None,
                accuracy=float(row["accuracy"]),
                std=float(row["std"]) if row["std"] else None,
                note=row["note"],
            )
            for row in rows
        )
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise FormatError(f"{path} is no table that `soundnet-kd rank` wrote ({error}); write it again") from error


def is_ranking(path: Path) -> bool:
    """Tell a ranking from other tables by the names of its columns."""
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as handle:
            return tuple(next(csv.reader(handle), ())) == COLUMNS
    except (OSError, csv.Error):
        return False
