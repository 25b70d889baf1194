"""What a path is taken for: a folder, a table or a list of sounds.

Sounds from another source, such as a table of another format, are a reader in a file beside this one, which returns a
`Manifest`, and a line in `READERS`.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from soundnet_kd.data.manifest import Clip, Manifest
from soundnet_kd.data.sources.csv_files import TABLE_SUFFIXES
from soundnet_kd.data.sources.folders import read_folder
from soundnet_kd.data.sources.stored import is_stored, read_remote, read_tars
from soundnet_kd.data.sources.tables import LIST_SUFFIXES, find_table, read_list, read_sound_table
from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.media import address_of, find_media, local_path, search_folder
from soundnet_kd.media.tar_shards import names_tars
from soundnet_kd.storage import escape_name

READERS: Mapping[str, Callable[[Path], Manifest]] = {
    **dict.fromkeys(TABLE_SUFFIXES, read_sound_table),
    **dict.fromkeys(LIST_SUFFIXES, read_list),
}
"""By the ending of a file that names sounds, in small letters."""
OTHER_TABLES = frozenset({".parquet", ".arrow", ".xls", ".xlsx", ".ods", ".json", ".jsonl"})


def read_manifest(sounds: str | Path | Iterable[str | Path], class_files: bool = True) -> Manifest:
    """Find the sounds of a data set.

    Parameters
    ----------
    sounds : str or Path, or several of them
        A folder in the layout of ESC-50 (`meta/esc50.csv` and `audio/`) or UrbanSound8K, a table (CSV) with a column
        `path` (relative to the file) and optionally `label`, `fold` or `split`, and others that are carried along, a
        text file (`.txt`) with a path on each line (relative to the file), any other folder (see `read_folder`), tars
        (see `read_tars`), any of these under an address that fsspec knows, or a single media file. Several files and
        folders, or several tars, are one data set.
    class_files : bool
        Whether files .cls in tars name classes. They did not once, and what was begun then goes on.

    Raises
    ------
    FormatError
        If a table lacks a column or holds a value that does not fit its column.
    MediaError
        If there is nothing there.
    """
    places: list[str | Path] = [sounds] if isinstance(sounds, str | Path) else list(sounds)
    if places and all(map(names_tars, places)):
        return read_tars(places, class_files=class_files)
    if len(places) == 1 and (address := address_of(places[0])) is not None:
        return read_remote(address)
    if (other := next(filter(is_stored, places), None)) is not None:
        raise SettingsError(
            f"{other} is a collection of its own; give it alone, or give tars only, or files and folders only"
        )
    several = [local_path(place) for place in places]
    if len(several) != 1:
        return _read_several(several)
    [place] = several
    if place.is_dir():
        table = find_table(place)
        return read_folder(place) if table is None else _read_table_of_folder(place, table)
    suffix = place.suffix.lower()
    if suffix in READERS:
        return READERS[suffix](place)
    if suffix in OTHER_TABLES:
        raise FormatError(f"{place} is no table that can be read here; save it as CSV, and its sounds as files")
    [file] = find_media(place)
    return Manifest((Clip(id=escape_name(file.name), path=file),))


def _read_table_of_folder(folder: Path, table: Path) -> Manifest:
    """Read the table of a folder, and note the sounds there that it does not name."""
    manifest = read_sound_table(table)
    named = {os.path.realpath(clip.path) for clip in manifest.clips if isinstance(clip.path, Path)}
    others = [file for file in search_folder(folder).files if os.path.realpath(file) not in named]
    unnamed = tuple(escape_name(file.relative_to(folder).as_posix()) for file in others)
    return replace(manifest, skipped={f"not in {table.name}": unnamed} if unnamed else {})


def _read_several(places: Sequence[Path]) -> Manifest:
    for place in places:
        suffix = place.suffix.lower()
        if (place.is_dir() and find_table(place) is not None) or suffix in READERS:
            raise SettingsError(f"{place} names a data set of its own; give it alone, or give files and folders only")
    files = [file.absolute() for file in find_media(places)]
    root = Path(os.path.commonpath([file.parent for file in files]))
    return Manifest(tuple(Clip(id=escape_name(file.relative_to(root).as_posix()), path=file) for file in files))
