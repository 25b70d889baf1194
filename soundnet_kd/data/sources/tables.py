"""Data sets that are tables: ESC-50's, UrbanSound8K's, and anybody's with a column for the paths of the sounds."""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from soundnet_kd.data.datasets import esc50, urbansound8k
from soundnet_kd.data.manifest import UNLABELED, Clip, Manifest, parse_split, resolve_splits
from soundnet_kd.data.sources.csv_files import Table, order_classes, read_table, read_text
from soundnet_kd.data.sources.named_files import locate_files, normalize_slashes
from soundnet_kd.errors import FormatError, SoundNetKDError
from soundnet_kd.media import MediaSource, address_of, as_source, is_known_other

log = logging.getLogger(__name__)

KNOWN_TABLES = (*esc50.TABLES, *urbansound8k.TABLES)
LIST_SUFFIXES = frozenset({".txt", ".lst", ".mf"})
HUGGING_FACE_TABLE = "metadata.csv"
_FOLD = re.compile(r"(?:fold[ _-]*)?(\d{1,9})(?:[.,]0+)?", re.IGNORECASE)
_NEWLINE = re.compile(r"\r\n|\r|\n")
DESCRIBING = ("label", "number", "fold", "split")
"""Meanings of columns that describe a sound, not where it lies."""
_NONE = frozenset({"", "nan", "none", "null", "na", "n/a"})


def find_table(folder: str | Path) -> Path | None:
    """Return the table of a folder in a layout that is known: ESC-50's, UrbanSound8K's or Hugging Face's.

    It may lie in the only sub-folder, as archives leave it, or beside the folder, if that is its folder audio.
    """
    folder = Path(folder)
    places = [folder]
    while (inner := _only_folder(places[-1])) is not None and len(places) < 4:
        places.append(inner)
    if folder.name.lower() == "audio":
        places.append(folder.absolute().parent)
    for place in places:
        for name in KNOWN_TABLES:
            if (place / name).is_file():
                return place / name
        if _is_hugging_faces(place / HUGGING_FACE_TABLE):
            return place / HUGGING_FACE_TABLE
    return None


def _is_hugging_faces(file: Path) -> bool:
    try:
        table = read_table(file)
    except SoundNetKDError:
        return False
    places = [table.place(meaning) for meaning in DESCRIBING]
    return table.place("file_name") is not None and any(place is not None for place in places)


def _only_folder(folder: Path) -> Path | None:
    """Return the folder that is all that a folder holds, but for documents and the archive that it came in."""
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith((".", "__MACOSX"))]
    except OSError:
        return None
    inner = [entry for entry in entries if entry.is_dir()]
    rest = [entry for entry in entries if entry not in inner]
    return inner[0] if len(inner) == 1 and all(map(is_known_other, rest)) else None


def read_sound_table(file: str | Path, base: str = "") -> Manifest:
    """Read a table of sounds.

    Parameters
    ----------
    file : str or Path
    base : str
        Address that its paths are relative to, where it was fetched from one.

    Raises
    ------
    FormatError
        If it lacks the column of paths, or holds a value that does not fit its column.
    """
    file = Path(file)
    table = read_table(file)
    return manifest_of_table(table, [normalize_slashes(file, name) for name in table.paths()], base=base)


def manifest_of_table(
    table: Table, ids: Sequence[str], sources: Sequence[MediaSource] | None = None, base: str = ""
) -> Manifest:
    """Return the sounds of a table.

    Parameters
    ----------
    table : Table
    ids : sequence of str
        What the sound of each row is called.
    sources : sequence of Path or StoredMedia, optional
        Where each lies. [default: found by `ids`, which are paths or addresses]
    base : str
        Address that paths are relative to.
    """
    labels, classes, of_labels = _classes(table)
    folds, split_column = _folds_and_split(table, labels)
    folds_from = _folds_from(folds, labels)
    used = {table.place(meaning) for meaning in ("path", "fold", *of_labels)}
    carried = [
        place for place, column in enumerate(table.columns) if column and (place not in used or column == split_column)
    ]
    if sources is None:
        between: dict[str, Sequence[str]] = {"fold": [f"fold{fold}" for fold in folds]} if any(folds) else {}
        between |= {column: values for column in ("label", "split") if (values := table.values(column)) is not None}
        sources = _located(table.file, ids, between, table.lines, base)
    number_of = {name: place for place, name in enumerate(classes)}
    clips = tuple(
        Clip(
            id=name,
            path=source,
            label=number_of.get(label, UNLABELED),
            fold=folds_from - 1 if fold is None else fold,
            carried=tuple(row[place] for place in carried),
        )
        for name, source, label, fold, row in zip(ids, sources, labels, folds, table.rows, strict=True)
    )
    return Manifest(clips, classes, tuple(table.columns[place] for place in carried), folds_from, split_column)


def _located(
    file: Path, names: Sequence[str], between: Mapping[str, Sequence[str]], lines: Sequence[int], base: str
) -> Sequence[MediaSource]:
    """Find sounds: addresses are where they are, paths relative to an address or near the table."""
    if base:
        return [as_source(name if address_of(name) else f"{base}/{name.lstrip('/')}") for name in names]
    stored = {row: as_source(address) for row, name in enumerate(names) if (address := address_of(name)) is not None}
    on_disk = [row for row in range(len(names)) if row not in stored]
    found = (
        locate_files(
            file,
            [names[row] for row in on_disk],
            {column: [values[row] for row in on_disk] for column, values in between.items()},
            [lines[row] for row in on_disk],
        )
        if on_disk
        else []
    )
    sources: dict[int, MediaSource] = {**stored, **dict(zip(on_disk, found, strict=True))}
    return [sources[row] for row in range(len(names))]


def _classes(table: Table) -> tuple[Sequence[str], tuple[str, ...], tuple[str, ...]]:
    """Return the class of each row, the classes in order, and the meanings of the columns that hold them."""
    labels, numbers = table.values("label"), table.values("number")
    if labels is not None:
        _warn_of_labels_that_are_none(table.file, labels)
    else:
        labels = numbers or ("",) * len(table.rows)
        return labels, order_classes(labels, labels) or order_classes(labels), ("number",)
    # Where a column is called label, no other one is about classes.
    ordered = () if numbers is None or "label" in table.columns else order_classes(labels, numbers)
    return labels, ordered or order_classes(labels), ("label", "number") if ordered else ("label",)


def _folds_and_split(table: Table, labels: Sequence[str]) -> tuple[list[int | None], str]:
    """Return the fold of each row, or else the name of the column of splits."""
    folds: list[int | None] = [None] * len(table.rows)
    for meaning in ("fold", "split"):
        values, place = table.values(meaning), table.place(meaning)
        if values is None or place is None:
            continue
        splits = [parse_split(value) for value in values]
        named = zip(values, splits, labels, strict=True)
        odd = [value for value, split, label in named if split is None and (value or label)]
        if resolve_splits(splits) and not odd:
            return [None] * len(values), table.columns[place]
        if meaning == "fold":
            folds = [_fold(value, table) for value in values]
            if set(folds) - {None, 0}:
                return folds, ""
        elif resolve_splits(splits):
            log.warning(
                "%s: column %s holds %r, which is none of train, validation and test, so that it is not taken for a "
                "split",
                table.file,
                table.columns[place],
                odd[0],
            )
    return folds, ""


def _fold(value: str, table: Table) -> int | None:
    if value.casefold() in _NONE:
        return None
    match = _FOLD.fullmatch(value)
    if match is None:
        raise FormatError(f"{table.file}: fold is {value!r} where a whole number is expected")
    return int(match[1])


def _folds_from(folds: Sequence[int | None], labels: Sequence[str]) -> int:
    """Whether folds are counted from 0 or from 1; a 0 that no labelled sound has, or that all have, means none."""
    unlabelled = not any(labels)
    counted = {fold for fold, label in zip(folds, labels, strict=True) if label or unlabelled} - {None}
    return 0 if 0 in counted and len(counted) > 1 else 1


def read_list(file: str | Path, base: str = "") -> Manifest:
    """Read a text file with a path on each line, and behind a tab, where there is one, its class.

    A first line that names columns, such as path and label, makes it a table.
    """
    file = Path(file)
    numbered = [(number, line) for number, line in enumerate(_NEWLINE.split(read_text(file)), 1) if line.strip()]
    if not numbered:
        raise FormatError(f"{file} names no sounds")
    rows = [[value.strip() for value in line.split("\t")] for _, line in numbered]
    if len(rows[0]) > 1 and len(rows) > 1:
        heading = Table(file, tuple(rows[0]), (), ())
        if heading.place("path") is not None and any(heading.place(each) is not None for each in DESCRIBING):
            return read_sound_table(file, base)
    has_labels = {len(row) for row in rows} in ({2}, {1, 2}) and not any(
        len(row) == 2 and os.path.isfile(file.parent / line)  # noqa: PTH113  (never raises)
        for row, (_, line) in zip(rows, numbered, strict=True)
    )
    names = [
        normalize_slashes(file, row[0] if has_labels else line.strip())
        for row, (_, line) in zip(rows, numbered, strict=True)
    ]
    labels = [row[1] if has_labels and len(row) == 2 else "" for row in rows]
    _warn_of_labels_that_are_none(file, labels)
    classes = order_classes(labels)
    between = {"label": labels} if has_labels else {}
    paths = _located(file, names, between, [number for number, _ in numbered], base)
    return Manifest(
        tuple(
            Clip(name, path, classes.index(label) if label else UNLABELED)
            for name, path, label in zip(names, paths, labels, strict=True)
        ),
        classes,
    )


def _warn_of_labels_that_are_none(file: Path, labels: Sequence[str]) -> None:
    """Warn that a word such as nan is taken for a class, as it may really be one."""
    classes = {label for label in labels if label}
    for word in sorted(label for label in classes if label.casefold() in _NONE):
        if len(classes) > 1:
            log.warning(
                "%s: %r is taken for a class, that of %d sounds; leave the label empty where a sound has none",
                file,
                word,
                labels.count(word),
            )
