"""Tables of sounds as programs write them: CSV with any separator, in UTF-8 or UTF-16, under several headings."""

import codecs
import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from soundnet_kd.errors import FormatError, SettingsError, closest

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".tab"})
SEPARATORS = ",;\t|"

HEADINGS: Mapping[str, str] = {
    "path": "path file filename file_name filepath file_path slice_file_name fname audio_path audio_file audio wav",
    "label": "label category class class_name classname genre",
    "number": "target class_id classid label_id",
    "fold": "fold folds fold_id",
    "split": "split subset set partition",
}
"""What the columns that have a meaning may be called, the likeliest name first; capitals and blanks do not count."""

_SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".m4a", ".opus", ".au", ".aif", ".aiff", ".mp4", ".webm", ".mkv")
_FIRST_LINE = "its first line has to name the columns, such as path,label,fold"


@dataclass(frozen=True)
class Table:
    """The rows of a table.

    Attributes
    ----------
    file : Path
    columns : tuple of str
        Their names, without blanks around them.
    rows : tuple of tuple of str
        As long as `columns`, without blanks around the values; at least one.
    lines : tuple of int
        In which line of the file each row ends.
    """

    file: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...] = field(repr=False)
    lines: tuple[int, ...] = field(repr=False)

    def place(self, meaning: str) -> int | None:
        """Return the number of the column that has a meaning of `HEADINGS`, or the very name; None if there is none."""
        names = [_plain(column) for column in self.columns]
        for wanted in HEADINGS.get(meaning, meaning).split():
            if wanted in names:
                # A column of exactly this name comes before one that is spelled otherwise.
                return self.columns.index(wanted) if wanted in self.columns else names.index(wanted)
        return None

    def values(self, meaning: str) -> tuple[str, ...] | None:
        """Return the values of a column; None if there is none."""
        place = self.place(meaning)
        return None if place is None else tuple(row[place] for row in self.rows)

    def required(self, meaning: str) -> tuple[str, ...]:
        """Return the values of a column.

        Raises
        ------
        FormatError
            If there is none; the message names the nearest.
        """
        values = self.values(meaning)
        if values is not None:
            return values
        near = closest(meaning, self.columns)
        hint = f"; should {near!r} be called that?" if near is not None else ""
        if not _name_columns(self.columns):
            hint = f"; {_FIRST_LINE}"
        raise FormatError(f"{self.file} has no column {meaning!r} (it has {', '.join(self.columns) or 'none'}){hint}")

    def paths(self) -> tuple[str, ...]:
        """Return the paths of the sounds.

        Raises
        ------
        FormatError
            If there is no such column, a path is empty, or one occurs twice.
        """
        paths = self.required("path")
        first: dict[str, int] = {}
        for path, line in zip(paths, self.lines, strict=True):
            if not path:
                raise FormatError(f"{self.file}, line {line}: {self.columns[self.place('path') or 0]} is empty")
            if path in first:
                raise FormatError(
                    f"{path} stands twice in {self.file} (lines {first[path]} and {line}); each sound may be named once"
                )
            first[path] = line
        return paths


def read_table(file: str | Path) -> Table:
    """Read a table.

    Its values may be separated by commas, semicolons, tabs or bars, whichever its first line holds most of.

    Raises
    ------
    SettingsError
        If there is no such file.
    FormatError
        If it is no text, or has no rows.
    """
    file = Path(file)
    text = read_text(file)
    first, _, rest = text.lstrip("\r\n").partition("\n")
    if first.strip().lower().startswith("sep=") and len(first.strip()) == len("sep=;"):
        # Excel's way of naming its separator.
        text, first = rest, rest.partition("\n")[0]
    separator = max(SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    try:
        lines = [(reader.line_num, row) for row in reader if any(value.strip() for value in row)]
    except csv.Error as error:
        raise FormatError(f"{file}, line {reader.line_num}: it is no table ({error})") from error
    columns = tuple(name.strip() for name in lines[0][1]) if lines else ()
    rows = []
    for number, row in lines[1:]:
        if len(row) > len(columns) and any(value.strip() for value in row[len(columns) :]):
            cure = "put quotes around what holds a separator" if _name_columns(columns) else _FIRST_LINE
            raise FormatError(f"{file}, line {number}: there are {len(row)} values for {len(columns)} columns; {cure}")
        rows.append(tuple(value.strip() for value in (*row, *[""] * (len(columns) - len(row)))[: len(columns)]))
    if not rows:
        raise FormatError(f"{file} names no sounds")
    return Table(file, columns, tuple(rows), tuple(number for number, _ in lines[1:]))


def read_text(file: str | Path) -> str:
    """Read a file as text, in UTF-8 or, where it begins with its byte order mark, in UTF-16.

    Raises
    ------
    SettingsError
        If there is no such file.
    FormatError
        If it is no text.
    """
    file = Path(file)
    if not file.is_file():
        raise SettingsError(f"{file} does not exist")
    content = file.read_bytes()
    utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{file} is not UTF-8 text ({error.reason}); save it in UTF-8") from error
    if "\0" in text:
        raise FormatError(f"{file} holds zero bytes, so it is no text; save it in UTF-8")
    return text


def order_classes(names: Sequence[str], numbers: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the classes in alphabetical order, or in the order of their numbers.

    Parameters
    ----------
    names : sequence of str
        Class of each row; empty where it has none.
    numbers : sequence of str, optional
        Number of each row's class.

    Returns
    -------
    tuple of str
        Empty if they are not numbers, or a class has several or shares its own.
    """
    classes = sorted({name for name in names if name})
    if numbers is None:
        return tuple(classes)
    pairs = {(name, number) for name, number in zip(names, numbers, strict=True) if name}
    by_number = {number: name for name, number in pairs}
    if len(pairs) != len(classes) or len(by_number) != len(classes) or not all(map(str.isdecimal, by_number)):
        return ()
    return tuple(by_number[number] for number in sorted(by_number, key=int))


def _name_columns(first: Sequence[str]) -> bool:
    """Return whether the values of a first line can be names of columns, not a remark or a sound."""
    return not any(Path(name).suffix.lower() in _SOUNDS for name in first) and not "".join(first).startswith("#")


def _plain(heading: str) -> str:
    return heading.casefold().replace(" ", "_").replace("-", "_")
