"""Which sounds there are, with their labels and folds."""

import csv
import difflib
import hashlib
import io
import json
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.media import find_media
from soundnet_kd.storage import text_of

log = logging.getLogger(__name__)

UNLABELED = -1
NO_FOLD = 0
ESC50_TABLE = Path("meta/esc50.csv")


@dataclass(frozen=True)
class Clip:
    """One sound of a data set.

    Attributes
    ----------
    id : str
        Unique in its manifest, stable when the data set moves.
    path : Path
        Where the sound lies.
    label : int
        Index into the manifest's class names, -1 if unlabeled.
    fold : int
        Number of the official fold, counted from 1; 0 if there are no folds.
    carried : tuple of str
        What its table says of it beside that, in the order of the manifest's `columns`.
    """

    id: str
    path: Path
    label: int = UNLABELED
    fold: int = NO_FOLD
    carried: tuple[str, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """The sounds of a data set in their order.

    Attributes
    ----------
    clips : tuple of Clip
    class_names : tuple of str
        None if the data set is unlabeled.
    columns : tuple of str
        Names of what each clip carries along from its table.
    """

    clips: tuple[Clip, ...]
    class_names: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for clip in self.clips:
            if clip.id in seen:
                raise FormatError(f"{clip.id} stands twice in the manifest; each sound may be named once")
            seen.add(clip.id)
            if len(clip.carried) != len(self.columns):
                raise FormatError(f"{clip.id} carries {len(clip.carried)} values for {len(self.columns)} columns")

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def identity(self) -> dict[str, Any]:
        """What tells these sounds from others: how many they are, and a hash of all that is said about them."""
        rows: list[Any] = [[(clip.id, clip.label, clip.fold) for clip in self.clips], self.class_names]
        if self.columns:
            rows += [self.columns, [clip.carried for clip in self.clips]]
        return {"count": len(self), "sha256": hashlib.sha256(json.dumps(rows).encode()).hexdigest()}


def read_manifest(sounds: str | Path | Iterable[str | Path]) -> Manifest:
    """Find the sounds of a data set.

    Parameters
    ----------
    sounds : str or Path, or several of them
        A folder in ESC-50's layout (`meta/esc50.csv` and `audio/`), a CSV file with a column `path` (relative to the
        file) and optionally `label`, `fold` and others that are carried along, a text file (`.txt`) with a path on each
        line (relative to the file), any other folder (a sound's label is the sub-folder that it lies in, if every sound
        lies in one), or a single media file. Several files and folders are one unlabeled data set.

    Raises
    ------
    FormatError
        If a table lacks a column or holds a value that is not what its column says.
    MediaError
        If there is nothing there.
    """
    several = [Path(sounds)] if isinstance(sounds, str | Path) else [Path(sound) for sound in sounds]
    if len(several) != 1:
        return _read_several(several)
    [place] = several
    if (place / ESC50_TABLE).is_file():
        return _read_esc50(place)
    if place.suffix.lower() == ".csv":
        return _read_table(place)
    if place.suffix.lower() == ".txt":
        return _read_list(place)
    return _read_folder(place)


def _read_esc50(folder: Path) -> Manifest:
    known = ("filename", "fold", "target", "category")
    rows = table_rows(folder / ESC50_TABLE, known)
    names = {_integer(row, "target", folder / ESC50_TABLE): row["category"] for row in rows}
    if sorted(names) != list(range(len(names))):
        raise FormatError(f"{folder / ESC50_TABLE}: the targets are not 0 … {len(names) - 1}")
    columns = _others(rows, known)
    clips = tuple(
        Clip(
            id=row["filename"],
            path=folder / "audio" / row["filename"],
            label=int(row["target"]),
            fold=_integer(row, "fold", folder / ESC50_TABLE),
            carried=tuple(row[column] for column in columns),
        )
        for row in rows
    )
    return Manifest(clips, tuple(names[index] for index in range(len(names))), columns)


def _read_table(table: Path) -> Manifest:
    rows = table_rows(table, ("path",))
    names = tuple(sorted({row["label"] for row in rows if row.get("label")}))
    label_of = {name: index for index, name in enumerate(names)}
    columns = _others(rows, ("path", "label", "fold"))
    clips = tuple(
        Clip(
            id=row["path"],
            path=table.parent / row["path"],
            label=label_of.get(row.get("label", ""), UNLABELED),
            fold=_integer(row, "fold", table) if row.get("fold") else NO_FOLD,
            carried=tuple(row[column] for column in columns),
        )
        for row in rows
    )
    return Manifest(clips, names, columns)


def _read_list(file: Path) -> Manifest:
    lines = [line.strip() for line in _text(file).splitlines()]
    clips = tuple(Clip(id=line, path=file.parent / line) for line in lines if line)
    if not clips:
        raise FormatError(f"{file} names no sounds")
    return Manifest(clips)


def _read_several(places: Sequence[Path]) -> Manifest:
    for place in places:
        if place.suffix.lower() in (".csv", ".txt") or (place / ESC50_TABLE).is_file():
            raise SettingsError(f"{place} names a data set of its own; give it alone, or give files and folders only")
    files = [file.absolute() for file in find_media(places)]
    root = Path(os.path.commonpath([file.parent for file in files]))
    return Manifest(tuple(Clip(id=text_of(file.relative_to(root).as_posix()), path=file) for file in files))


def _read_folder(sounds: Path) -> Manifest:
    files = find_media(sounds)
    root = sounds if sounds.is_dir() else sounds.parent
    parents = [text_of(file.relative_to(root).parent.as_posix()) for file in files]
    names = () if "." in parents else tuple(sorted(set(parents)))
    if "." in parents and len(set(parents)) > 1:
        log.warning("%s: some sounds lie in no sub-folder, so that none is given a label", root)
    label_of = {name: index for index, name in enumerate(names)}
    clips = tuple(
        Clip(id=text_of(file.relative_to(root).as_posix()), path=file, label=label_of.get(parent, UNLABELED))
        for file, parent in zip(files, parents, strict=True)
    )
    return Manifest(clips, names)


def table_rows(table: str | Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Read the rows of a CSV file, none of which lacks its first column.

    Parameters
    ----------
    table : str or Path
    columns : tuple of str
        That it has to have.

    Raises
    ------
    SettingsError
        If there is no such file.
    FormatError
        If it is not UTF-8, lacks a column, or has no rows.
    """
    table = Path(table)
    with io.StringIO(_text(table), newline="") as handle:
        reader = csv.DictReader(handle, restval="")
        found = reader.fieldnames or ()
        for column in columns:
            if column not in found:
                nearest = difflib.get_close_matches(column, found, n=1)
                hint = f"; did you mean to call {nearest[0]!r} so?" if nearest else ""
                raise FormatError(f"{table} has no column {column!r} (it has {', '.join(found) or 'none'}){hint}")
        rows = list(reader)
    if not rows:
        raise FormatError(f"{table} names no sounds")
    for number, row in enumerate(rows, start=2):
        if not row[columns[0]]:
            raise FormatError(f"{table}, line {number}: {columns[0]} is empty")
    return rows


def _others(rows: Sequence[dict[str, str]], known: Sequence[str]) -> tuple[str, ...]:
    """Name the columns to be carried along; one without a name, such as pandas's index, is not."""
    return tuple(column for column in rows[0] if column and column not in known)


def _text(file: Path) -> str:
    if not file.is_file():
        raise SettingsError(f"{file} does not exist")
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{file} is not UTF-8 text ({error.reason}); save it in UTF-8") from error
    if "\0" in text:
        raise FormatError(f"{file} holds zero bytes, so it is no text; save it in UTF-8")
    return text


def _integer(row: dict[str, str], column: str, table: Path) -> int:
    try:
        return int(row[column])
    except ValueError:
        raise FormatError(f"{table}: {column} is {row[column]!r} where a whole number is expected") from None
