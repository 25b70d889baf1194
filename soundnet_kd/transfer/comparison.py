"""Comparison of two evaluations of the same clips, layer by layer, and its table."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.storage import write_csv
from soundnet_kd.transfer.results import Evaluation
from soundnet_kd.transfer.significance import McNemarTest


@dataclass(frozen=True)
class LayerComparison:
    """Comparison of a layer of the baseline with a layer of the results.

    Attributes
    ----------
    layers : (str, str)
    accuracy : (float, float)
        Fraction of all clips that are classified correctly; `evaluate` reports the mean over the folds, which is the
        same if the folds are equally large.
    gain : float
        Accuracy of the results minus that of the baseline.
    interval : (float, float)
        95 % bootstrap interval of the gain.
    test : McNemarTest
    """

    layers: tuple[str, str]
    accuracy: tuple[float, float]
    gain: float
    interval: tuple[float, float]
    test: McNemarTest

    @property
    def name(self) -> str:
        """The layer, or BASELINE:RESULTS if the two differ."""
        return ":".join(dict.fromkeys(self.layers))


@dataclass(frozen=True)
class Comparison:
    """Comparison of two evaluations: the baseline and the results, everywhere in this order.

    Attributes
    ----------
    names, protocols : (str, str)
    rows : tuple of LayerComparison
    """

    names: tuple[str, str]
    protocols: tuple[str, str]
    rows: tuple[LayerComparison, ...]


def require_same_clips(before: Evaluation, after: Evaluation) -> None:
    """Check that two evaluations tested the same clips with the same labels.

    Raises
    ------
    SettingsError
        If they did not.
    """
    what = f"{before.folder} and {after.folder} cannot be compared"
    if set(before.classes) != set(after.classes):
        raise SettingsError(f"{what}: their classes differ")
    alone = sorted(before.place_of.keys() ^ after.place_of.keys())
    if alone:
        raise SettingsError(f"{what}: {len(alone)} clips were tested in one of them only, such as {alone[0]}")
    other = [clip for clip in before.place_of if before.true_class(clip) != after.true_class(clip)]
    if other:
        labels = f"{before.true_class(other[0])}, {after.true_class(other[0])}"
        raise SettingsError(f"{what}: {len(other)} clips have another label, such as {other[0]} ({labels})")


def write_comparison(comparison: Comparison, path: str | Path) -> None:
    """Write the table of a comparison."""
    first, second = comparison.names
    write_csv(
        path,
        (*_columns(first, second), f"protocol of {first}", f"protocol of {second}"),
        ((*_cells(row), *comparison.protocols) for row in comparison.rows),
    )


def read_comparison(path: str | Path) -> Comparison:
    """Read the table that `soundnet-kd compare` wrote.

    Raises
    ------
    FormatError
        If the file is not such a table.
    """
    path = Path(path)
    with path.open(newline="", encoding="utf-8") as handle:
        header, *rows = csv.reader(handle)
    try:
        names = (header[1], header[2])
        if tuple(header[:9]) != _columns(*names):
            raise ValueError(f"its columns are {', '.join(header)}")
        protocols = (rows[0][9], rows[0][10]) if rows else ("", "")
        return Comparison(names, protocols, tuple(map(_row, rows)))
    except (IndexError, ValueError) as error:
        raise FormatError(f"{path} is no table that `soundnet-kd compare` wrote ({error}); write it again") from error


def is_comparison(path: str | Path) -> bool:
    """Tell whether a table is a comparison, by the names of its columns."""
    try:
        with Path(path).open(newline="", encoding="utf-8", errors="replace") as handle:
            header = next(csv.reader(handle), [])
    except (OSError, csv.Error):
        return False
    return len(header) > 2 and tuple(header[:9]) == _columns(header[1], header[2])


def _columns(first: str, second: str) -> tuple[str, ...]:
    return ("layer", first, second, "gain", "low", "high", f"only {first}", f"only {second}", "p")


def _cells(row: LayerComparison) -> tuple[object, ...]:
    shares = (*row.accuracy, row.gain, *row.interval)
    only = row.test.only_first, row.test.only_second
    return row.name, *(f"{share:.4f}" for share in shares), *only, f"{row.test.p_value:.4g}"


def _row(cells: Sequence[str]) -> LayerComparison:
    first, _, second = cells[0].partition(":")
    before, after, gain, low, high = map(float, cells[1:6])
    test = McNemarTest(int(cells[6]), int(cells[7]), float(cells[8]))
    return LayerComparison((first, second or first), (before, after), gain, (low, high), test)
