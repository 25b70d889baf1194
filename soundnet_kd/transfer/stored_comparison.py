"""A comparison as `compare` left it on the disk, for whoever shows it again."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from soundnet_kd.errors import FormatError

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
