"""Ranking of evaluations of the same sounds: size of the network, time of training, accuracy; and its table."""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from soundnet_kd.errors import FormatError, SettingsError, nearest
from soundnet_kd.storage import atomic_write, write_csv
from soundnet_kd.transfer.comparison import require_same_clips
from soundnet_kd.transfer.results import Evaluation, read_evaluation

ParametersUpTo = Callable[[str, str], int | None]

NOT_TRAINED = "only a classifier on kept features was fitted"
NOT_TRAINED_HERE = "its weights were given"
UNKNOWN_SIZE = "it is not known how many parameters come before this layer"
NO_FIGURES = "its results.json has no parameters or seconds; make it again to have them"

RANKING_FILE, MARKDOWN_FILE = "ranking.csv", "ranking.md"
RANKING_FIGURE = "accuracy_by_parameters.png"
"""Written only if the size of a network is known."""
TABLE_HEADER = ("name", "protocol", "network", "layer", "parameters", "seconds", "accuracy")
FIRST_NUMBER = TABLE_HEADER.index("parameters")
"""Index of the first column of numbers."""


@dataclass(frozen=True)
class Ranked:
    """A layer of an evaluation, or the output of a trained network.

    Attributes
    ----------
    name : str
        Name of the evaluation.
    protocol, network, layer : str
    parameters : int or None
        Number of parameters of the network up to the layer; for a trained classifier all, with the head.
    training_seconds : float or None
        Time of one training on these sounds, mean over the folds (and seeds).
    accuracy : float
        Mean over the folds, from 0 to 1.
    std : float or None
        Standard deviation over the folds; None if there is only one test.
    note : str
        Why a number is missing.
    """

    name: str
    protocol: str
    network: str
    layer: str
    parameters: int | None
    training_seconds: float | None
    accuracy: float
    std: float | None
    note: str


_COLUMNS = tuple(each.name for each in fields(Ranked))


def rank_evaluations(
    results: Sequence[str | Path],
    names: Sequence[str] | None,
    layers: Sequence[str] | None,
    count_parameters: ParametersUpTo,
) -> list[Ranked]:
    """Read evaluations of the same sounds with the same folds, and sort them by accuracy, best first.

    Parameters
    ----------
    results : sequence of str or Path
        Folders of evaluations, or their results.json.
    names : sequence of str, optional
        Names of the evaluations. [default: the names of their folders]
    layers : sequence of str, optional
        Layers to rank; evaluations that have none of them keep all of theirs.
    count_parameters : callable
        Number of parameters of an architecture up to a layer, both given by name; None if it does not know them.

    Raises
    ------
    SettingsError
        If their clips, labels, classes or folds differ, or no evaluation has one of the layers.
    """
    read = [read_evaluation(path) for path in results]
    if not read:
        raise SettingsError("there is nothing to rank; give folders that evaluate, finetune or train wrote")
    for other in read[1:]:
        require_same_clips(read[0], other)
        _require_same_folds(read[0], other)
    if names is None:
        names = _names([Path(path) for path in results])
    if len(names) != len(read) or len(set(names)) < len(names):
        raise SettingsError(f"give {len(read)} different names, one for each of the results, not {list(names)}")
    known = [layer for each in read for layer in each.layers]
    for layer in layers or ():
        if layer not in known:
            raise SettingsError(f"none of the results has a layer {layer!r}{nearest(layer, known)}")
    rows = [row for name, each in zip(names, read, strict=True) for row in _rows(name, each, layers, count_parameters)]
    return sorted(rows, key=lambda row: -row.accuracy)


def notes(rows: Sequence[Ranked]) -> list[str]:
    """Write for which rows numbers are missing, and why."""
    of: dict[str, list[str]] = {}
    for row in rows:
        if row.note and row.name not in of.setdefault(row.note, []):
            of[row.note].append(row.name)
    return [f"{', '.join(names)}: {note}" for note, names in of.items()]


def _rows(
    name: str, evaluation: Evaluation, layers: Sequence[str] | None, count_parameters: ParametersUpTo
) -> Iterator[Ranked]:
    started_from = evaluation.network
    chosen = [layer for layer in evaluation.layers if layer in (layers or ())] or evaluation.layers
    for layer in chosen:
        result = evaluation.results[layer]
        network = started_from.architecture if started_from else result.head
        parameters, seconds, note = evaluation.parameters, evaluation.seconds_per_training, ""
        if evaluation.kind == "features":
            parameters = count_parameters(network, layer)
            note = NOT_TRAINED if parameters else f"{NOT_TRAINED}; {UNKNOWN_SIZE}"
        elif seconds is None:
            note = NOT_TRAINED_HERE if parameters else NO_FIGURES
        yield Ranked(
            name=name,
            protocol=result.protocol,
            network=network,
            # The only layer of a training from scratch is named after its network, and the seed if there are several.
            layer=layer if started_from else layer.removeprefix(network).strip() or "output",
            parameters=parameters,
            training_seconds=seconds,
            accuracy=result.accuracy,
            std=float(np.std(result.fold_accuracy)) if len(result.fold_accuracy) > 1 else None,
            note=note,
        )


def _require_same_folds(first: Evaluation, other: Evaluation) -> None:
    one = {clip: int(first.folds[place]) for clip, place in first.place_of.items()}
    two = {clip: int(other.folds[place]) for clip, place in other.place_of.items()}
    moved = [clip for clip in one if one[clip] != two[clip]]
    if moved:
        raise SettingsError(
            f"{first.folder} and {other.folder} cannot be compared: {len(moved)} clips were tested in another fold, "
            f"such as {moved[0]} ({one[moved[0]]}, {two[moved[0]]})"
        )


def _names(paths: Sequence[Path]) -> list[str]:
    folders = [path.parent if path.suffix == ".json" else path for path in paths]
    short = [folder.resolve().name for folder in folders]
    return short if len(set(short)) == len(short) else [folder.as_posix() for folder in folders]


def table_cells(row: Ranked) -> tuple[str, ...]:
    """Return the texts of a row, for the columns `TABLE_HEADER`."""
    return (
        row.name,
        row.protocol,
        row.network,
        row.layer,
        "" if row.parameters is None else f"{row.parameters:,}".replace(",", " "),
        "" if row.training_seconds is None else f"{row.training_seconds:.1f}",
        f"{row.accuracy:.1%}" + ("" if row.std is None else f" ± {row.std:.1%}"),
    )


def write_ranking(rows: Sequence[Ranked], out: str | Path) -> None:
    """Write `ranking.csv`, with a column for each attribute of a row, and `ranking.md`, to be read by people."""
    out = Path(out)
    write_csv(out / RANKING_FILE, _COLUMNS, map(_cells, rows))
    with atomic_write(out / MARKDOWN_FILE) as partial:
        partial.write_text(_markdown(rows), encoding="utf-8")


def _cells(row: Ranked) -> list[Any]:
    values = (getattr(row, name) for name in _COLUMNS)
    return ["" if value is None else f"{value:.4f}" if isinstance(value, float) else value for value in values]


def _markdown(rows: Sequence[Ranked]) -> str:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n"

    rule = ["---"] * FIRST_NUMBER + ["---:"] * (len(TABLE_HEADER) - FIRST_NUMBER)
    below = "".join(f"\n{note}\n" for note in notes(rows))
    ranked = "".join(map(line, [TABLE_HEADER, rule, *map(table_cells, rows)])) + below
    header, *lines = layer_table(rows)
    if not lines:
        return ranked
    return ranked + "\n" + "".join(map(line, [header, ["---"] + ["---:"] * (len(header) - 1), *lines]))


def layer_table(rows: Sequence[Ranked]) -> list[tuple[str, ...]]:
    """Return accuracies with a line for each layer and a column for each evaluation, below a header.

    There are no lines where no layer is in two evaluations. Layers stand from the input on, those of unknown size last.
    """
    names = list(dict.fromkeys(row.name for row in rows))
    accuracies: dict[str, dict[str, str]] = {}
    for row in sorted(rows, key=lambda row: (row.parameters is None, row.parameters or 0, row.layer)):
        accuracies.setdefault(row.layer, {})[row.name] = f"{row.accuracy:.2%}"
    shared = any(len(found) > 1 for found in accuracies.values())
    lines = [(layer, *(found.get(name, "") for name in names)) for layer, found in accuracies.items()]
    return [("layer", *names), *(lines if shared else ())]


def read_ranking(path: str | Path) -> tuple[Ranked, ...]:
    """Read the table that `soundnet-kd rank` wrote.

    Raises
    ------
    FormatError
        If the file is not such a table.
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


def is_ranking(path: str | Path) -> bool:
    """Tell whether a table is a ranking, by the names of its columns."""
    try:
        with Path(path).open(newline="", encoding="utf-8", errors="replace") as handle:
            return tuple(next(csv.reader(handle), ())) == _COLUMNS
    except (OSError, csv.Error):
        return False
