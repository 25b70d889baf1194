"""Which sounds there are, with their labels and folds."""

import csv
import difflib
import io
import logging
from dataclasses import dataclass
from pathlib import Path

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.media import find_media

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
    """

    id: str
    path: Path
    label: int = UNLABELED
    fold: int = NO_FOLD


@dataclass(frozen=True)
class Manifest:
    """The sounds of a data set in their order, and the names of its classes (none if it is unlabeled)."""

    clips: tuple[Clip, ...]
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for clip in self.clips:
            if clip.id in seen:
                raise FormatError(f"{clip.id} stands twice in the manifest; each sound may be named once")
            seen.add(clip.id)

    def __len__(self) -> int:
        return len(self.clips)


def read_manifest(sounds: Path) -> Manifest:
    """Find the sounds of a data set.

    Parameters
    ----------
    sounds : Path
        A folder in ESC-50's layout (`meta/esc50.csv` and `audio/`), a CSV file with a column `path` (relative to the
        file) and optionally `label` and `fold`, any other folder (a sound's label is the sub-folder that it lies in,
        if every sound lies in one), or a single media file.

    Raises
    ------
    FormatError
        If a table lacks a column or holds a value that is not what its column says.
    MediaError
        If there is nothing there.
    """
    if (sounds / ESC50_TABLE).is_file():
        return _read_esc50(sounds)
    if sounds.suffix.lower() == ".csv":
        return _read_table(sounds)
    return _read_folder(sounds)


def _read_esc50(folder: Path) -> Manifest:
    rows = _rows(folder / ESC50_TABLE, ("filename", "fold", "target", "category"))
    names = {_integer(row, "target", folder / ESC50_TABLE): row["category"] for row in rows}
    if sorted(names) != list(range(len(names))):
        raise FormatError(f"{folder / ESC50_TABLE}: the targets are not 0 … {len(names) - 1}")
    clips = tuple(
        Clip(
            id=row["filename"],
            path=folder / "audio" / row["filename"],
            label=int(row["target"]),
            fold=_integer(row, "fold", folder / ESC50_TABLE),
        )
        for row in rows
    )
    return Manifest(clips, tuple(names[index] for index in range(len(names))))


def _read_table(table: Path) -> Manifest:
    rows = _rows(table, ("path",))
    names = tuple(sorted({row["label"] for row in rows if row.get("label")}))
    label_of = {name: index for index, name in enumerate(names)}
    clips = tuple(
        Clip(
            id=row["path"],
            path=table.parent / row["path"],
            label=label_of.get(row.get("label", ""), UNLABELED),
            fold=_integer(row, "fold", table) if row.get("fold") else NO_FOLD,
        )
        for row in rows
    )
    return Manifest(clips, names)


def _read_folder(sounds: Path) -> Manifest:
    files = find_media(sounds)
    root = sounds if sounds.is_dir() else sounds.parent
    parents = [file.relative_to(root).parent.as_posix() for file in files]
    names = () if "." in parents else tuple(sorted(set(parents)))
    if "." in parents and len(set(parents)) > 1:
        log.warning("%s: some sounds lie in no sub-folder, so that none is given a label", root)
    label_of = {name: index for index, name in enumerate(names)}
    clips = tuple(
        Clip(id=file.relative_to(root).as_posix(), path=file, label=label_of.get(parent, UNLABELED))
        for file, parent in zip(files, parents, strict=True)
    )
    return Manifest(clips, names)


def _rows(table: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    if not table.is_file():
        raise SettingsError(f"{table} does not exist")
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{table} is not UTF-8 text ({error.reason}); save it as CSV in UTF-8") from error
    with io.StringIO(text, newline="") as handle:
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


def _integer(row: dict[str, str], column: str, table: Path) -> int:
    try:
        return int(row[column])
    except ValueError:
        raise FormatError(f"{table}: {column} is {row[column]!r} where a whole number is expected") from None
