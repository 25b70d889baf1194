"""Collections that are no folders of this machine: tar shards, and folders and tables under an address."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path, PurePosixPath

from soundnet_kd.data.manifest import Clip, Manifest
from soundnet_kd.data.sources.csv_files import TABLE_SUFFIXES, Table
from soundnet_kd.data.sources.folders import read_names
from soundnet_kd.data.sources.tables import (
    DESCRIBING,
    KNOWN_TABLES,
    LIST_SUFFIXES,
    manifest_of_table,
    read_list,
    read_sound_table,
)
from soundnet_kd.errors import MediaError, SettingsError
from soundnet_kd.media import (
    MediaSource,
    StoredMedia,
    address_of,
    as_source,
    find_media,
    is_known_other,
    local_file,
    local_path,
)
from soundnet_kd.media.remote import folder_before_wildcards, is_object, list_objects
from soundnet_kd.media.stored import is_member
from soundnet_kd.media.tar_index import CLASS
from soundnet_kd.media.tar_shards import TarShards, columns_of, names_tars, open_tars, plain_name
from soundnet_kd.storage import escape_name

log = logging.getLogger(__name__)

PATH = "path"
CLASS_NUMBER = "class_id"
"""A column of classes that are in the order of numbers, where they are some."""
NO_SOUND = "no sound"
NOT_DOWNLOADED = "samples without a sound or video"


@dataclass(frozen=True)
class FoundSources:
    """Sounds or videos of a collection.

    Attributes
    ----------
    root : str
        What their names are relative to: a folder or an address.
    sources : mapping from name to Path or StoredMedia
    failures : mapping from name to reason
        Those that should be there and are not, such as videos that nobody could download.
    """

    root: str
    sources: Mapping[str, MediaSource]
    failures: Mapping[str, str] = field(default_factory=dict)


def is_stored(place: str | Path) -> bool:
    """Return whether a place is not read as files and folders of this machine are."""
    return address_of(place) is not None or names_tars(place)


def find_sources(place: str | Path, index_folder: str | Path | None = None) -> FoundSources:
    """Find the sounds or videos of a folder, a table or tars, wherever they lie.

    Parameters
    ----------
    place : str or Path
        A folder, one file, a table (CSV with a column `path`, or a text file with a path on each line), tars
        (`shards/*.tar`, `{00000..01234}.tar`, a folder of them), or one of these under an address that fsspec knows.
    index_folder : str or Path, optional
        Where it is kept what tars hold. [default: the user's cache]

    Raises
    ------
    MediaError
        If there is nothing.
    SettingsError
        If a store lets nobody in, or its library is missing.
    """
    if names_tars(place):
        shards = open_tars([place], index_folder)
        _tell_others(shards)
        return FoundSources(shards.root, dict(shards.sources()), shards.failures())
    address = address_of(place)
    if address is not None:
        names_sounds = PurePosixPath(address).suffix.lower() in TABLE_SUFFIXES | LIST_SUFFIXES
        is_folder = not names_sounds and not is_member(address) and not is_object(address)
        root = folder_before_wildcards(address).rstrip("/") if is_folder else address.rpartition("/")[0]
        if names_sounds:
            return FoundSources(root, {clip.id: clip.path for clip in read_remote(address).clips})
        return FoundSources(root, _media_below(address)[0])
    path = local_path(place)
    if path.suffix.lower() in TABLE_SUFFIXES | LIST_SUFFIXES and path.is_file():
        manifest = read_list(path) if path.suffix.lower() in LIST_SUFFIXES else read_sound_table(path)
        return FoundSources(escape_name(path.parent.resolve()), {clip.id: clip.path for clip in manifest.clips})
    root_folder = path if path.is_dir() else path.parent
    files = {escape_name(file.relative_to(root_folder).as_posix()): file for file in find_media(path)}
    return FoundSources(escape_name(root_folder.resolve()), files)


def find_all(places: str | Path | Iterable[str | Path]) -> list[MediaSource]:
    """List the sounds and videos of several places, as `find_media` does, and of those that `find_sources` knows."""
    several: list[str | Path] = [places] if isinstance(places, str | Path) else list(places)
    found: list[MediaSource] = []
    for stored, group in groupby(several, is_stored):
        if stored:
            found += [source for place in group for source in find_sources(place).sources.values()]
        else:
            found += find_media(map(local_path, group))
    return found or list(find_media(()))


def read_tars(
    places: Iterable[str | Path], index_folder: str | Path | None = None, class_files: bool = True
) -> Manifest:
    """Read the sounds of tars, with what stands in the JSON file beside each, or as its class in a file .cls.

    Where these name classes, folds or a split, as the columns of a table do, they count; else the names of members are
    read as those of files in a folder. A class of the JSON file comes before that of a file .cls.
    """
    shards = open_tars(places, index_folder)
    places_of_columns: dict[str, int] = {}
    ids: list[str] = []
    sources: list[StoredMedia] = []
    values: list[tuple[str, ...]] = []
    for name, source, found in columns_of(shards, index_folder):
        for column in found:
            places_of_columns.setdefault(column, len(places_of_columns))
        ids.append(name)
        sources.append(source)
        values.append(tuple(found.get(column, "") for column in places_of_columns))
    columns = tuple(places_of_columns)
    # Those before the first one that has a column lack it.
    values = [row if len(row) == len(columns) else (*row, *[""] * (len(columns) - len(row))) for row in values]
    columns, values = _with_classes(columns, values, class_files)
    if not ids:
        manifest = Manifest(())
    elif any(Table(Path(shards.root), columns, (), ()).place(meaning) is not None for meaning in DESCRIBING):
        manifest = _by_columns(shards.root, ids, sources, columns, values)
    else:
        manifest = _by_their_names(shards.root, ids, sources, columns, values)
    others = shards.others()
    return replace(
        manifest,
        skipped=dict(manifest.skipped) | ({NOT_DOWNLOADED: others} if others else {}),
        failures=shards.failures(),
    )


def _with_classes(
    columns: tuple[str, ...], values: list[tuple[str, ...]], class_files: bool
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Take what files .cls say for classes, unless JSON files name some."""
    if CLASS not in columns:
        return columns, values
    place = columns.index(CLASS)
    others = (*columns[:place], *columns[place + 1 :])
    if class_files and all(Table(Path(), others, (), ()).place(meaning) is None for meaning in ("label", "number")):
        return tuple(CLASS_NUMBER if column == CLASS else column for column in columns), values
    return others, [(*row[:place], *row[place + 1 :]) for row in values]


def _by_columns(
    root: str,
    ids: Sequence[str],
    sources: Sequence[StoredMedia],
    columns: tuple[str, ...],
    values: Sequence[tuple[str, ...]],
) -> Manifest:
    """Read what stands beside members of tars as the rows of a table."""
    # A value named path would stand in the way of where the sound lies.
    own = tuple("path in its JSON" if column.strip().casefold() == PATH else column for column in columns)
    rows = tuple((name, *row) for name, row in zip(ids, values, strict=True))
    return manifest_of_table(Table(Path(root), (PATH, *own), rows, tuple(range(1, len(rows) + 1))), ids, sources)


def _by_their_names(
    root: str,
    ids: Sequence[str],
    sources: Sequence[StoredMedia],
    columns: Sequence[str],
    values: Sequence[tuple[str, ...]],
) -> Manifest:
    """Read members of tars as the files of a folder, with other values that they carry along."""
    place_of = {escape_name(plain_name(source.member)): place for place, source in enumerate(sources)}
    if len(place_of) < len(sources):
        # Of several tars with the same names in them; no folder could hold them.
        rows = zip(ids, sources, values, strict=True)
        return Manifest(tuple(Clip(name, source, carried=row) for name, source, row in rows), (), tuple(columns))
    read = read_names(Path(root), {name: sources[place] for name, place in place_of.items()})
    kept = [place for place, column in enumerate(columns) if column not in read.columns]
    all_kept = len(kept) == len(columns)
    clips = []
    for clip in read.clips:
        place = place_of[clip.id]
        row = values[place] if all_kept else tuple(values[place][each] for each in kept)
        carried = (*clip.carried, *row) if clip.carried else row
        clips.append(Clip(ids[place], clip.path, clip.label, clip.fold, carried))
    # A million names take as much as the sounds themselves.
    del place_of
    return replace(read, clips=tuple(clips), columns=(*read.columns, *(columns[each] for each in kept)))


def read_remote(address: str) -> Manifest:
    """Read a data set under an address: a folder, a table, or a single sound; as `read_manifest` does of a disk."""
    suffix = PurePosixPath(address).suffix.lower()
    if suffix in TABLE_SUFFIXES | LIST_SUFFIXES:
        return _read_table(address)
    files, others = _media_below(address)
    known = next((table for table in KNOWN_TABLES if table in others), None)
    if known is not None:
        return _read_table(f"{address.rstrip('/')}/{known}")
    manifest = read_names(Path(address), files)
    return replace(manifest, skipped=dict(manifest.skipped) | ({NO_SOUND: tuple(others)} if others else {}))


def _read_table(address: str) -> Manifest:
    base = address.rpartition("/")[0]
    if base.rpartition("/")[2].lower() in ("meta", "metadata"):
        # ESC-50's layout.
        base = f"{base.rpartition('/')[0]}/audio"
    read = read_list if PurePosixPath(address).suffix.lower() in LIST_SUFFIXES else read_sound_table
    with local_file(StoredMedia(address)) as copy:
        return read(copy, base)


def _media_below(address: str) -> tuple[dict[str, StoredMedia], list[str]]:
    """Return the sounds and videos below an address by their names, and what else is there."""
    single = as_source(address)
    if isinstance(single, StoredMedia) and (single.member or is_object(address)):
        return {single.name: single}, []
    objects = list_objects(address)
    hidden = {name for name in objects if any(part.startswith(".") for part in PurePosixPath(name).parts)}
    others = sorted(name for name in objects if is_known_other(name) and name not in hidden)
    left_out = hidden.union(others)
    files = {name: each for name, each in objects.items() if name not in left_out}
    tars = [name for name in others if name.lower().endswith(".tar")]
    if not files:
        if tars:
            raise SettingsError(f"{address} holds tars; give {address.rstrip('/')}/*.tar to take what is in them")
        raise MediaError(f"{address} holds no sounds or videos ({len(objects)} other files); name a folder that does")
    return files, others


def _tell_others(shards: TarShards) -> None:
    others = shards.others()
    if others:
        log.info("%s: %d %s, such as %s", shards.root, len(others), NOT_DOWNLOADED, others[0])
