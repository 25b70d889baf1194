"""Collections that are no folders of this machine: tar shards, and folders and tables under an address."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path, PurePosixPath

from soundnet_kd.data.manifest import Clip, Manifest
from soundnet_kd.data.sources.csv_files import TABLE_SUFFIXES, Table
from soundnet_kd.data.sources.folders import manifest_of_folder
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
    FoundMedia,
    MediaSource,
    StoredMedia,
    address_of,
    find_media,
    is_known_other,
    local_file,
    local_path,
)
from soundnet_kd.media.remote import folder_before_wildcards, is_object, list_objects
from soundnet_kd.media.tar_shards import TarShards, columns_of, names_tars, open_tars
from soundnet_kd.storage import escape_name

log = logging.getLogger(__name__)

PATH = "path"
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
        is_folder = not names_sounds and not is_object(address)
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


def read_tars(places: Iterable[str | Path], index_folder: str | Path | None = None) -> Manifest:
    """Read the sounds of tars, with what stands in the JSON file beside each.

    Where these name classes, folds or a split, as the columns of a table do, they count; else the names of members are
    read as those of files in a folder.
    """
    shards = open_tars(places, index_folder)
    rows = list(columns_of(shards, index_folder))
    # A member named path would stand in the way of where the sound lies.
    columns = tuple(dict.fromkeys(name for _, _, values in rows for name in values if name))
    if PATH in columns:
        log.warning("%s: %r in the JSON files is left out, as the cache has its own", shards.root, PATH)
        columns = tuple(name for name in columns if name != PATH)
    ids, sources = [escape_name(name) for name, _, _ in rows], [source for _, source, _ in rows]
    table = Table(
        Path(shards.root),
        (PATH, *columns),
        tuple((name, *(values.get(column, "") for column in columns)) for name, _, values in rows),
        tuple(range(1, len(rows) + 1)),
    )
    if not rows:
        manifest = Manifest(())
    elif any(table.place(meaning) is not None for meaning in DESCRIBING):
        manifest = manifest_of_table(table, ids, sources)
    else:
        manifest = _by_their_names(shards.root, ids, sources, columns, [row[1:] for row in table.rows])
    others = shards.others()
    return replace(
        manifest,
        skipped=dict(manifest.skipped) | ({NOT_DOWNLOADED: others} if others else {}),
        failures=shards.failures(),
    )


def _by_their_names(
    root: str,
    ids: Sequence[str],
    sources: Sequence[StoredMedia],
    columns: Sequence[str],
    values: Sequence[tuple[str, ...]],
) -> Manifest:
    """Read members of tars as the files of a folder, with other values that they carry along."""
    place_of = {escape_name(source.member): place for place, source in enumerate(sources)}
    if len(place_of) < len(sources):
        # Of several tars with the same names in them; no folder could hold them.
        clips = [Clip(name, source) for name, source in zip(ids, sources, strict=True)]
        return Manifest(
            tuple(replace(clip, carried=each) for clip, each in zip(clips, values, strict=True)), (), tuple(columns)
        )
    read = _of_folder(root, {source.member: source for source in sources})
    places = [place_of[clip.id] for clip in read.clips]
    kept = [place for place, column in enumerate(columns) if column not in read.columns]
    clips = [
        replace(
            clip,
            id=ids[place],
            path=sources[place],
            carried=(*clip.carried, *(values[place][each] for each in kept)),
        )
        for clip, place in sorted(zip(read.clips, places, strict=True), key=lambda pair: pair[1])
    ]
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
    manifest = _of_folder(address, files)
    return replace(manifest, skipped=dict(manifest.skipped) | ({NO_SOUND: tuple(others)} if others else {}))


def _read_table(address: str) -> Manifest:
    base = address.rpartition("/")[0]
    if base.rpartition("/")[2].lower() in ("meta", "metadata"):
        # ESC-50's layout.
        base = f"{base.rpartition('/')[0]}/audio"
    read = read_list if PurePosixPath(address).suffix.lower() in LIST_SUFFIXES else read_sound_table
    with local_file(StoredMedia(address)) as copy:
        return read(copy, base)


def _of_folder(root: str, files: Mapping[str, StoredMedia]) -> Manifest:
    """Read names as those of files in a folder."""
    folder = Path(root)
    by_path = {folder / name: source for name, source in files.items()}
    manifest = manifest_of_folder(folder, FoundMedia(tuple(sorted(by_path)), (), {}, {}))
    return replace(manifest, clips=tuple(replace(clip, path=by_path[_path_of(clip)]) for clip in manifest.clips))


def _path_of(clip: Clip) -> Path:
    assert isinstance(clip.path, Path)
    return clip.path


def _media_below(address: str) -> tuple[dict[str, StoredMedia], list[str]]:
    """Return the sounds and videos below an address by their names, and what else is there."""
    objects = list_objects(address) if not is_object(address) else {StoredMedia(address).name: StoredMedia(address)}
    hidden = {name for name in objects if any(part.startswith(".") for part in PurePosixPath(name).parts)}
    others = sorted(name for name in objects if is_known_other(name) and name not in hidden and len(objects) > 1)
    files = {name: each for name, each in objects.items() if name not in hidden and name not in others}
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
