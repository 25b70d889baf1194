"""Finding the sounds that a table names: beside it, in a folder for each class or fold, or where they were moved to."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from soundnet_kd.errors import FormatError
from soundnet_kd.media import is_known_other

TRIED_ROWS = 20
MAX_FOLDERS = 200
MAX_DEPTH = 3
_FOLDERS_OF_TABLES = frozenset({"meta", "metadata"})
_ENDING = re.compile(r"\.[A-Za-z]\w{1,4}")


@dataclass(frozen=True)
class _Way:
    """A rule that leads from a table to its sounds."""

    base: Path
    between: Sequence[str] | None = field(repr=False)
    skipped: int

    def path(self, name: str, row: int) -> Path:
        """Return where the sound of a row would lie."""
        name = "/".join(name.split("/")[self.skipped :])
        # A path from the root stays one.
        return self.base / name if self.between is None else self.base / self.between[row] / name


def locate_files(
    table: Path,
    names: Sequence[str],
    between: Mapping[str, Sequence[str]],
    lines: Sequence[int],
) -> list[Path]:
    """Find the sounds that a table names.

    Their paths are relative to the table, or to a folder audio beside it, or to another folder there; some tables leave
    out the folder of the fold or the class, or the ending, or name the folder that the data set once lay in. The way on
    which most sounds are found is taken for all.

    Parameters
    ----------
    table : Path
    names : sequence of str
        Paths with `/`, one for each row.
    between : mapping to sequence of str
        Folders that may come in between, one for each row, such as fold1 or dog.
    lines : sequence of int
        The line of the table that each row is in.

    Returns
    -------
    list of Path
        Where each is; for a sound that is not there, where it should be.

    Raises
    ------
    FormatError
        If two rows lead to the same file.
    """
    folders = _Folders()
    rows = sorted({len(names) * number // TRIED_ROWS for number in range(TRIED_ROWS)})
    best, max_found = None, 0
    for way in _ways(table, max(name.count("/") for name in names), between):
        there = sum(folders.find(way.path(names[row], row)) is not None for row in rows)
        if there > max_found:
            best, max_found = way, there
        if max_found == len(rows):
            break
    best = best or _Way(_usual(table), None, 0)
    paths = [best.path(name, row) for row, name in enumerate(names)]
    files = [
        folders.find(path) or folders.find(table.parent / name) or path for path, name in zip(paths, names, strict=True)
    ]
    first: dict[str, int] = {}
    for row, file in enumerate(map(os.path.normpath, files)):
        before = first.setdefault(file, row)
        if before != row:
            raise FormatError(
                f"{names[before]} and {names[row]} in {table} (lines {lines[before]} and {lines[row]}) are the same "
                f"file, {file}; each sound may be named once"
            )
    return files


def normalize_slashes(table: Path, name: str) -> str:
    r"""Return a path as it is written here: a table from Windows writes a\b.wav."""
    return name.replace("\\", "/") if "\\" in name and not os.path.exists(table.parent / name) else name  # noqa: PTH110


def _ways(table: Path, depth: int, between: Mapping[str, Sequence[str]]) -> Iterator[_Way]:
    near = [table.parent, table.parent / "audio"]
    if table.parent.name.lower() in _FOLDERS_OF_TABLES:
        near += [table.parent.parent / "audio", table.parent.parent]
    yield from (_Way(base, None, 0) for base in near)
    middles = [None, *between.values()]
    yield from (_Way(base, middle, 0) for base, middle in product(near, middles[1:]))
    below = [folder for folder in _folders(_usual(table, "")) if folder not in near]
    yield from (_Way(base, middle, 0) for middle, base in product(middles, below))
    # Paths from another machine, or from the folder above.
    yield from (_Way(table.parent.parent / base, None, 0) for base in (".", "audio"))
    yield from (_Way(base, None, skipped) for skipped, base in product(range(1, depth + 1), [*near, *below]))


def _usual(table: Path, folder: str = "audio") -> Path:
    """Return the folder that a table in ESC-50's layout describes, or the table's own."""
    parent = table.parent
    return parent.parent / folder if parent.name.lower() in _FOLDERS_OF_TABLES else parent


def _folders(top: Path) -> list[Path]:
    """List the folders below one, the nearest first, and of rates in numbers the highest first."""
    found: list[Path] = []
    level = [top]
    for _ in range(MAX_DEPTH):
        below = [Path(entry.path) for folder in level for entry in _entries(folder) if entry.is_dir()]
        level = sorted((each for each in below if not each.name.startswith(".")), key=_order)
        found += level
        if len(found) > MAX_FOLDERS:
            break
    return found[:MAX_FOLDERS]


def _order(folder: Path) -> tuple[int, str]:
    return (-int(folder.name) if re.fullmatch(r"[0-9]{1,9}", folder.name) else 0, str(folder))


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        return list(os.scandir(folder))
    except OSError:
        return []


class _Folders:
    """The folders that have been listed so far."""

    def __init__(self) -> None:
        self._listed: dict[Path, Mapping[str, list[str]]] = {}

    def find(self, path: Path) -> Path | None:
        """Return a file, or the only sound in its folder of the same name with another ending or other capitals."""
        if os.path.isfile(path):  # noqa: PTH113  (never raises)
            return path
        if path.parent not in self._listed:
            self._listed[path.parent] = self._names(path.parent)
        alike = self._listed[path.parent]
        same = alike.get(path.name.casefold(), [])
        if not same and _ENDING.fullmatch(path.suffix):
            same = alike.get(path.stem.casefold(), [])
        return path.parent / same[0] if len(same) == 1 else None

    def _names(self, folder: Path) -> Mapping[str, list[str]]:
        """List a folder's sounds by their names, with and without ending, capitals aside."""
        names: defaultdict[str, list[str]] = defaultdict(list)
        for entry in _entries(folder):
            path = Path(entry.name)
            if not is_known_other(path) and not entry.name.startswith(".") and not entry.is_dir():
                for name in {path.stem.casefold(), path.name.casefold()}:
                    names[name].append(entry.name)
        return names
