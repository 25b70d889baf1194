"""Two evaluations of the same clips side by side, and how far their difference can be trusted."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.storage import write_csv
from soundnet_kd.transfer.results import StoredResults
from soundnet_kd.transfer.significance import McNemarTest


@dataclass(frozen=True)
class LayerComparison:
    """A layer of the baseline against a layer of the results.

    Attributes
    ----------
    layers : (str, str)
    accuracy : (float, float)
        Share of all clips that are right, 0 … 1; `evaluate` tells the mean over the folds, which is the same where
        folds are equally large.
    interval : (float, float)
        95 % bootstrap interval of the gain.
    test : McNemarTest
    """

    layers: tuple[str, str]
    accuracy: tuple[float, float]
    interval: tuple[float, float]
    test: McNemarTest

    @property
    def name(self) -> str:
        """The layer, or BASELINE:RESULTS where there are two."""
        return ":".join(dict.fromkeys(self.layers))

    @property
    def gain(self) -> float:
        """Accuracy of the results less that of the baseline."""
        return self.accuracy[1] - self.accuracy[0]


@dataclass(frozen=True)
class Comparison:
    """Two evaluations side by side: the baseline and the results, in this order wherever there are two of something.

    Attributes
    ----------
    out : Path
    names, protocols : (str, str)
    rows : tuple of LayerComparison
    clips : int
    groups : int, optional
        Source recordings of the clips, where they are known.
    """

    out: Path
    names: tuple[str, str]
    protocols: tuple[str, str]
    rows: tuple[LayerComparison, ...]
    clips: int
    groups: int | None

    def __str__(self) -> str:
        widths = [max(len(name), 8) for name in self.names]
        width = max(7, *(len(row.name) for row in self.rows))
        lines = [
            f"{'layer':<{width}} {self.names[0]:>{widths[0]}} {self.names[1]:>{widths[1]}}     gain"
            f"   95 % interval        p"
        ]
        for row in self.rows:
            before, after = row.accuracy
            low, high = row.interval
            lines.append(
                f"{row.name:<{width}} {before:>{widths[0]}.1%} {after:>{widths[1]}.1%} {100 * row.gain:>+8.1f}"
                f"  {100 * low:>+6.1f} … {100 * high:>+5.1f}  {_p_value(row.test.p_value)}"
            )
        counted = "1 comparison" if len(self.rows) == 1 else f"{len(self.rows)} comparisons"
        many = len({row.layers for row in self.rows}) > 1
        resampled = "clips" if self.groups is None else f"the {self.groups} source recordings"
        return "\n".join(
            [
                *lines,
                *(f"{name}: {protocol}" for name, protocol in zip(self.names, self.protocols, strict=True)),
                f"gain in percentage points; interval: bootstrap over {resampled}; p: McNemar's test, row by row, with "
                "clips taken for independent",
                *(["a layer that was chosen for its accuracy on these clips flatters its row"] if many else []),
                f"wrote {self.out}: {counted} on {self.clips} clips",
            ]
        )


def require_same_clips(before: StoredResults, after: StoredResults) -> None:
    """Check that two evaluations tested the same clips, of the same labels.

    Raises
    ------
    SettingsError
        If they did not.
    """
    what = f"{before.folder} and {after.folder} cannot be compared"
    if set(before.classes) != set(after.classes):
        raise SettingsError(f"{what}: their classes differ")
    alone = sorted(before.labels.keys() ^ after.labels.keys())
    if alone:
        raise SettingsError(f"{what}: {len(alone)} clips were tested in one of them only, such as {alone[0]}")
    other = [clip for clip, label in before.labels.items() if after.labels[clip] != label]
    if other:
        labels = f"{before.labels[other[0]]}, {after.labels[other[0]]}"
        raise SettingsError(f"{what}: {len(other)} clips have another label, such as {other[0]} ({labels})")


def write_comparison(comparison: Comparison) -> None:
    """Write the table of a comparison to its `out`."""
    first, second = comparison.names
    header = ("layer", first, second, "gain", "low", "high", f"only {first}", f"only {second}", "p")
    protocols = (f"protocol of {first}", f"protocol of {second}")
    write_csv(comparison.out, header + protocols, ((*row, *comparison.protocols) for row in _cells(comparison.rows)))


def _cells(rows: Sequence[LayerComparison]) -> Iterator[tuple[object, ...]]:
    for row in rows:
        shares = (*row.accuracy, row.gain, *row.interval)
        only = row.test.only_first, row.test.only_second
        yield row.name, *(f"{share:.4f}" for share in shares), *only, f"{row.test.p_value:.4g}"


def _p_value(p_value: float) -> str:
    return "<0.0001" if p_value < 1e-4 else f"{p_value:>7.4f}"


_GAIN = ("gain", "low", "high")


@dataclass(frozen=True)
class ComparedLayer:
    """A row of a comparison: accuracies, and the gain with its 95 % interval, from 0 to 1; McNemar's p."""

    layer: str
    first: float
    second: float
    gain: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class StoredComparison:
    """Two evaluations side by side.

    Attributes
    ----------
    names : pair of str
        Of the baseline and of what is compared with it.
    rows : tuple of ComparedLayer
    """

    names: tuple[str, str]
    rows: tuple[ComparedLayer, ...]

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read the table that `soundnet-kd compare` wrote.

        Raises
        ------
        FormatError
            If it is none.
        """
        path = Path(path)
        with path.open(newline="", encoding="utf-8") as handle:
            header, *rows = csv.reader(handle)
        try:
            return cls(
                names=(header[1], header[2]),
                rows=tuple(
                    ComparedLayer(row[0], *(float(row[place]) for place in (*range(1, 6), header.index("p"))))
                    for row in rows
                ),
            )
        except (IndexError, ValueError) as error:
            raise FormatError(
                f"{path} is no table that `soundnet-kd compare` wrote ({error}); write it again"
            ) from error


def is_comparison(path: Path) -> bool:
    """Tell a comparison from other tables by the names of its columns."""
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as handle:
            header = next(csv.reader(handle), [])
    except (OSError, csv.Error):
        return False
    return header[:1] == ["layer"] and tuple(header[3:6]) == _GAIN and "p" in header
