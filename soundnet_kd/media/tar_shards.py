"""Which tars a text stands for (shards/*.tar, {00000..01234}.tar, a folder of tars), and what they hold together."""

import glob
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, takewhile
from pathlib import Path

from soundnet_kd.errors import MediaError, SettingsError
from soundnet_kd.media.finding import is_known_other, search_folder
from soundnet_kd.media.remote import ends_the_run, has_wildcard, list_objects
from soundnet_kd.media.stored import StoredMedia, address_of, is_member, local_path
from soundnet_kd.media.tar_index import TarIndex, described, split_name, tar_columns, tar_index
from soundnet_kd.storage import escape_name

TAR_SUFFIX = ".tar"
PACKED_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
"""Compressed tars, which cannot be read one member at a time."""
CONNECTIONS = 16
"""Tars under addresses that are looked at together: most of the time is waiting."""
MAX_TARS = 10_000_000
MAX_TOLD = 5
"""Of so many tars it is said what is wrong with them; of the others how many they are."""

_BRACES = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TarShards:
    """Tars that make one collection.

    Attributes
    ----------
    root : str
        The folder or address that all of them lie below: the names of what is in them do not change when it moves.
    indexes : tuple of TarIndex
        What each holds.
    """

    root: str
    indexes: tuple[TarIndex, ...] = field(repr=False)

    def name_of(self, index: TarIndex, member: str) -> str:
        """Return what a member is called: the tar it is in, and its own name."""
        return escape_name(f"{index.container.removeprefix(self.root).lstrip('/')}/{plain_name(member)}")

    def sources(self) -> Iterator[tuple[str, StoredMedia]]:
        """Return all sounds and videos with their names."""
        for index in self.indexes:
            above = self.name_of(index, "")
            for source in index.sources():
                yield escape_name(f"{above}{plain_name(source.member)}"), source

    def failures(self) -> dict[str, str]:
        """Return why samples were never fetched, by what they would be called."""
        return {
            self.name_of(index, key): f"it was not downloaded ({reason})"
            for index in self.indexes
            for key, reason in index.failures.items()
        }

    def others(self) -> tuple[str, ...]:
        """Return the samples that have no sound or video and name no reason."""
        return tuple(self.name_of(index, key) for index in self.indexes for key in index.others)


def plain_name(member: str) -> str:
    """Return the name of a member without what `tar cf a.tar .` puts before it."""
    return member.removeprefix("./")


def names_tars(place: str | Path) -> bool:
    """Return whether a text stands for tars: by its ending, or as a folder that holds tars and no sounds or videos."""
    text = os.fspath(place)
    if is_member(text):
        return False
    path = local_path(place)
    if text.lower().endswith((TAR_SUFFIX, *PACKED_SUFFIXES)):
        return address_of(place) is not None or not path.is_dir()
    return address_of(place) is None and path.is_dir() and bool(_tars_of_folder(path))


def _tars_of_folder(folder: Path) -> list[str]:
    """Return the tars of a folder that holds no sounds or videos beside them."""
    if _holds_media(folder):
        return []
    found = search_folder(folder)
    return [] if found.files else [str(file) for file in found.others if file.suffix.lower() == TAR_SUFFIX]


def _holds_media(folder: Path) -> bool:
    """Return whether there is a sound or video in a folder, as soon as one is found."""
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if any(not name.startswith(".") and not is_known_other(name) for name in files):
            return True
    return False


def find_tars(places: Iterable[str | Path]) -> dict[str, StoredMedia | None]:
    """Return the tars that texts stand for: path or address of each, with its size and version where they are known.

    Parameters
    ----------
    places : iterable of str or Path
        Each a tar, a pattern (`shards/*.tar`, `shards/{00000..01234}.tar`) or a folder of tars; also under an address.

    Raises
    ------
    SettingsError
        If there are none, or one of them is not there.
    """
    found: dict[str, StoredMedia | None] = {}
    for place in places:
        for text in expand_braces(os.fspath(place)):
            address = address_of(text)
            if address is None:
                found |= dict.fromkeys(map(os.path.abspath, _local(text)))
            else:
                found |= _stored(address)
    return found


def _local(text: str) -> list[str]:
    path = local_path(text)
    if path.is_dir():
        return _tars_of_folder(path)
    if path.is_file():
        return [str(path)]
    matching = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207  (sorts as a shell does)
    if not matching:
        what = "no file fits it" if glob.has_magic(str(path)) else "it is not there"
        raise SettingsError(f"{path}: {what}; check the path, and put quotes around * and {{}}")
    return matching


def _stored(address: str) -> dict[str, StoredMedia | None]:
    if not has_wildcard(address):
        return {address: None}
    objects = {each.container: each for each in list_objects(address).values()}
    if not objects:
        raise SettingsError(f"{address}: nothing there fits it; check the address")
    return dict(objects)


def expand_braces(text: str) -> list[str]:
    """Return the texts that a range such as {00000..01234} or a choice such as {a,b} stands for, as a shell would.

    Raises
    ------
    SettingsError
        If they are more than anybody has.
    """
    return list(islice(_expanded(text), MAX_TARS + 1))


def _expanded(text: str) -> Iterator[str]:
    match = None if os.path.lexists(text) else _BRACES.search(text)
    if match is None:
        yield text
        return
    choices: Iterable[str] = (match[3] or "").split(",")
    if match[3] is None:
        first, last = int(match[1]), int(match[2])
        if abs(last - first) >= MAX_TARS:
            raise SettingsError(f"{text} stands for {abs(last - first) + 1} files; check the numbers")
        width = max(map(len, match.groups()[:2])) if "0" in (match[1][0], match[2][0]) else 0
        numbers = range(first, last + 1) if first <= last else range(first, last - 1, -1)
        choices = (f"{number:0{width}d}" for number in numbers)
    for choice in choices:
        yield from _expanded(f"{text[: match.start()]}{choice}{text[match.end() :]}")


def open_tars(places: Iterable[str | Path], index_folder: str | Path | None = None) -> TarShards:
    """Find tars and read what they hold, from the indexes that an earlier start left where there are some.

    Parameters
    ----------
    places : iterable of str or Path
        As for `find_tars`.
    index_folder : str or Path, optional
        Where the indexes are kept. [default: the user's cache]

    Raises
    ------
    SettingsError, FormatError
        If there are none, or one is no tar.
    MediaError
        If there is no sound or video in them, and none was to be there.
    """
    places = list(places)
    shown = ", ".join(map(str, places[:3])) + (" …" if len(places) > 3 else "")
    tars = find_tars(places)
    opened = partial(tar_index, folder=index_folder)
    remote = any(address_of(tar) is not None for tar in tars)
    with ends_the_run(), ThreadPoolExecutor(CONNECTIONS if remote else 1) as pool:
        indexes = tuple(pool.map(lambda item: opened(item[0], known=item[1]), tars.items()))
    told = [line for index in indexes for line in described(index)]
    log.info("%s: %d tars with %d sounds or videos", shown, len(indexes), sum(map(len, indexes)))
    for line in told[:MAX_TOLD]:
        log.warning("%s", line)
    if len(told) > MAX_TOLD:
        log.warning("… and %d more such warnings about tars", len(told) - MAX_TOLD)
    shards = TarShards(_common_folder(list(tars)), indexes)
    if not any(map(len, indexes)) and not any(index.failures for index in indexes):
        others = shards.others()
        what = f"{len(others)} samples, such as {others[0]}, have none" if others else "they are empty"
        raise MediaError(f"{shown} holds no sounds or videos ({what}); name tars that do")
    return shards


def columns_of(
    shards: TarShards, index_folder: str | Path | None = None
) -> Iterator[tuple[str, StoredMedia, Mapping[str, str]]]:
    """Return all sounds and videos with their names, and the single values of the JSON file beside each."""
    for index in shards.indexes:
        version = index.version.partition("-")[2]
        known = StoredMedia(index.container, size=int(index.version.partition("-")[0]), version=version)
        columns = tar_columns(index.container, index_folder, known)
        # Of what stands beside many clips, such as a rate, one copy is kept.
        same: dict[str, str] = {}
        above = shards.name_of(index, "")
        for source in index.sources():
            yield (
                escape_name(f"{above}{plain_name(source.member)}"),
                source,
                {
                    column: same.setdefault(text, text)
                    for column, text in columns.get(split_name(source.member)[0], {}).items()
                },
            )


def _common_folder(tars: Sequence[str]) -> str:
    """Return the folder or address that all tars lie below."""
    folders = [tar.split("/")[:-1] for tar in tars]
    shared = takewhile(lambda same: len(set(same)) == 1, zip(*folders, strict=False))
    return "/".join(same[0] for same in shared)
