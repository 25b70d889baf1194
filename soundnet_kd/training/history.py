"""The table `history.csv` of a run: what its trainings measured, step by step, and how it is drawn.

Columns: `seed`, `fold` and `network` where a run has several trainings, by which they are told apart; `step`, counted
from 1; and a column for each figure, such as `train/loss`, empty where it was not measured.
"""

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundnet_kd.storage import write_csv

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HISTORY_FILE = "history.csv"
_TRAINING_COLUMNS = ("network", "fold", "seed")
"""What tells one training of a run from the others, the most telling first."""


@dataclass(frozen=True)
class Curve:
    """How a figure went in a training.

    Attributes
    ----------
    figure : str
        Such as train/loss.
    training : str or None
        Such as fold 2; None where the run has one training.
    steps, values : list of float
        Where it was measured, and what; finite.
    """

    figure: str
    training: str | None
    steps: list[float]
    values: list[float]


def write_history(
    out: str | Path,
    trainings: Iterable[tuple[Mapping[str, object], Sequence[Mapping[str, float]]]],
    figures: Sequence[str] | None = None,
) -> None:
    """Write the history of a run.

    Parameters
    ----------
    out : str or Path
        Folder of the run.
    trainings : iterable of (mapping, sequence of mapping)
        Of each training what tells it from the others, such as {"fold": 2}, the same columns for all; and its rows from
        column to number, each with its `step`.
    figures : sequence of str, optional
        Columns to write. [default: all that a row has, by their names]
    """
    trainings = list(trainings)
    if figures is None:
        figures = sorted({column for _, rows in trainings for row in rows for column in row} - {"step"})
    told_apart_by = next((list(training) for training, _ in trainings), [])
    write_csv(
        Path(out) / HISTORY_FILE,
        (*told_apart_by, "step", *figures),
        (
            (*training.values(), int(row["step"]), *(row.get(figure, "") for figure in figures))
            for training, rows in trainings
            for row in rows
        ),
    )


def read_curves(out: str | Path) -> list[Curve]:
    """Read the history in a run's folder, figure by figure and training by training."""
    points: dict[tuple[str, str | None], list[tuple[float, float]]] = defaultdict(list)
    with (Path(out) / HISTORY_FILE).open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            told_apart = {column: row.pop(column) for column in _TRAINING_COLUMNS if column in row}
            column, name = next(iter(told_apart.items()), ("", None))
            training = name if column in ("", "network") else f"{column} {name}"
            step = float(row.pop("step"))
            for figure, text in row.items():
                if text and math.isfinite(value := float(text)):
                    points[figure, training].append((step, value))
    return [
        Curve(figure, training, [step for step, _ in found], [value for _, value in found])
        for (figure, training), found in points.items()
    ]


def draw_curve(
    axes: "Axes", history: Sequence[Mapping[str, float]], column: str, *, linestyle: str = "-", **style: Any
) -> None:
    """Draw one column of a history over the steps, through the rows that have it; draw nothing if none does.

    Parameters
    ----------
    axes : Axes
    history : sequence of mapping from column to value
        Rows of `history.csv`; each has a `step`.
    column : str
        Such as `validation/loss`.
    linestyle : str
        As matplotlib writes it: "--" is dashed.
    **style
        Properties of the line that matplotlib knows: color, label, alpha, linewidth …
    """
    points = [(row["step"], row[column]) for row in history if column in row]
    if points:
        steps, values = zip(*points, strict=True)
        axes.plot(steps, values, linestyle=linestyle, **style)


def finish_curves(axes: "Axes", title: str, *, fractions: bool = False) -> None:
    """Label the axes of training curves; the y axis of fractions goes from 0% to 100%."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.set_title(title)
    if fractions:
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(lambda fraction, _: f"{fraction:.0%}")
