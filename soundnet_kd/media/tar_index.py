"""What a tar holds, as WebDataset and video2dataset write them, found once and kept in a file.

A sample is what has one key: the path of a member up to the first dot of its base name. What stands behind that dot, in
small letters, is its extension: clip.1.mp4 is key clip, extension 1.mp4 (webdataset 1.0, `tariterators.base_plus_ext`).
A sample that video2dataset failed to download is there as .json and .txt only, with a status other than "success" in
the JSON. The headers of a tar are read once, without the data between them, and of JSON files what is a single value.
"""

import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from soundnet_kd.errors import FormatError
from soundnet_kd.media.finding import is_known_other
from soundnet_kd.media.stored import StoredMedia, address_of, file_version
from soundnet_kd.system.cache_folders import cache_folder

INDEX_FORMAT = 1
COLUMNS_FORMAT = 2
"""2 has classes of files .cls among them."""
INDEX_FOLDER = ".tar-index"
"""Name of the folder beside targets that indexes are kept in."""
MAX_JSON_BYTES = 2**20
"""A larger JSON file describes no clip."""
CLASS = ".cls"
"""The column that holds what a file .cls says; no JSON file of a clip has a value of this name."""
MAX_CLASS_BYTES = 2**10
BLOCK_BYTES = 2**15
"""So much of a tar under an address is read at once: a header, and the small files that lie beside a clip."""
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"(\xb5/\xfd": "Zstandard"}

# What WebDataset's own decoders take for something else than sound or video, besides documents, pictures and arrays.
_OTHER_EXTENSIONS = """
    cls cls2 class count index inx id text transcript utf8 jsn pyd ten tb mp msg cbor
"""
OTHER_EXTENSIONS = frozenset(_OTHER_EXTENSIONS.split())


def split_name(member: str) -> tuple[str, str]:
    """Return the key of a member of a tar, and its extension in small letters; no key for a hidden file or a folder."""
    folder, slash, name = member.rpartition("/")
    stem, dot, extension = name.partition(".")
    return (f"{folder}{slash}{stem}", extension.lower()) if stem and dot else ("", extension.lower())


def is_media(extension: str) -> bool:
    """Return whether a member with an extension may be a sound or a video, as `is_known_other` does for files."""
    last = extension.rpartition(".")[2]
    return bool(last) and last not in OTHER_EXTENSIONS and not is_known_other(f"clip.{last}")


@dataclass(frozen=True)
class TarIndex:
    """What a tar holds.

    Attributes
    ----------
    container : str
        Path or address of the tar.
    version : str
        What tells it from another one that lay there before.
    names : sequence of str
        Names of its sounds and videos, in its own order. A name that stands twice has ~2 behind it the second time.
    offsets, sizes : sequence of int
        Where the bytes of each are.
    failures : mapping from key to reason
        Samples without a sound or video that were never fetched, by their JSON.
    others : sequence of str
        Keys of all other samples without one.
    twice, apart : sequence of str
        Names that stand twice, and keys whose members do not stand together.
    cut : str
        Where it ends too early, or cannot be read on.
    """

    container: str
    version: str
    names: Sequence[str] = field(repr=False)
    offsets: Sequence[int] = field(repr=False)
    sizes: Sequence[int] = field(repr=False)
    failures: Mapping[str, str] = field(default_factory=dict, repr=False)
    others: Sequence[str] = field(default=(), repr=False)
    twice: Sequence[str] = ()
    apart: Sequence[str] = ()
    cut: str = ""

    def __len__(self) -> int:
        """Return the number of sounds and videos."""
        return len(self.names)

    def sources(self) -> Iterator[StoredMedia]:
        """Return its sounds and videos."""
        for name, offset, size in zip(self.names, self.offsets, self.sizes, strict=True):
            yield StoredMedia(self.container, name, offset, size, self.version)

    def find(self, member: str) -> StoredMedia | None:
        """Return a sound or video by its name."""
        return next((source for source in self.sources() if source.member == member), None)


def tar_index(container: str, folder: str | Path | None = None, known: StoredMedia | None = None) -> TarIndex:
    """Return what a tar holds, from a file that an earlier start wrote if the tar has not changed since.

    Parameters
    ----------
    container : str
        Path or address.
    folder : str or Path, optional
        Where these files are kept. [default: the user's cache]
    known : StoredMedia, optional
        Size and version of a tar under an address, where they are known.

    Raises
    ------
    FormatError
        If it is no tar, or is compressed.
    GivenUpError
        If it cannot be read.
    """
    return _read_or_scan(container, folder, known)[0]


def tar_columns(
    container: str, folder: str | Path | None = None, known: StoredMedia | None = None
) -> Mapping[str, Mapping[str, str]]:
    """Return the single values of the JSON file beside each clip, by its key and by their names; as `tar_index`.

    What a file .cls says is one named `CLASS`.
    """
    return _read_or_scan(container, folder, known, with_columns=True)[1]


def _read_or_scan(
    container: str, folder: str | Path | None, known: StoredMedia | None, *, with_columns: bool = False
) -> tuple[TarIndex, Mapping[str, Mapping[str, str]]]:
    with _opened(container, known) as (file, version):
        kept = Path(folder or cache_folder() / "tars") / f"{sha256(container.encode()).hexdigest()[:32]}.json"
        columns_kept = kept.with_suffix(".columns.json")
        index = _read(kept, INDEX_FORMAT, version)
        columns = _read(columns_kept, COLUMNS_FORMAT, version) if with_columns else {}
        if index is not None and columns is not None:
            return TarIndex(container, version, **index), columns
        scan = _Scan(container, file)
        scan.read()
        _keep(kept, INDEX_FORMAT, version, scan.index())
        _keep(columns_kept, COLUMNS_FORMAT, version, scan.columns)
        return TarIndex(container, version, **scan.index()), scan.columns


def _read(file: Path, format: int, version: str) -> dict[str, Any] | None:
    """Return what is kept of a tar; None if it is of another version of it, or is no such file."""
    try:
        content = json.loads(file.read_bytes())
        return content["of"] if content["format"] == format and content["version"] == version else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(file: Path, format: int, version: str, content: Mapping[str, Any]) -> None:
    """Keep what was found for the next start; where nothing can be written, it searches again."""
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        # Several runs may write it at once.
        handle, partial = tempfile.mkstemp(prefix=".partial-", dir=file.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as writer:
                json.dump({"format": format, "version": version, "of": content}, writer)
            Path(partial).replace(file)
        finally:
            Path(partial).unlink(missing_ok=True)


@contextmanager
def _opened(container: str, known: StoredMedia | None) -> Iterator[tuple[IO[bytes], str]]:
    """Open a tar where it is; also yields its version."""
    if address_of(container) is None:
        with Path(container).open("rb") as file:
            yield file, file_version(os.fstat(file.fileno()))
        return
    from soundnet_kd.media.remote import describe_object

    found = known if known is not None and known.size >= 0 else describe_object(StoredMedia(container))
    if found.size < 0:
        raise FormatError(f"{container}: its server does not say how long it is; copy it to a disk or another store")
    with closing(io.BufferedReader(_Ranges(found), BLOCK_BYTES)) as remote:
        yield remote, f"{found.size}-{found.version}"


class _Ranges(io.RawIOBase):
    """Reads an object in parts; a block of it at a time, of which a buffer hands out what is asked for."""

    def __init__(self, source: StoredMedia) -> None:
        self._source = source
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._source.size}[whence]
        self._place = base + offset
        return self._place

    def readinto(self, buffer: Any) -> int:
        from soundnet_kd.media.remote import read_object

        count = min(len(buffer), self._source.size - self._place)
        if count <= 0:
            return 0
        buffer[:count] = read_object(self._source.container, self._place, count)
        self._place += count
        return count


class _Scan:
    """What has been found in a tar so far."""

    def __init__(self, container: str, file: IO[bytes]) -> None:
        self._container = container
        self._file = file
        self._length = file.seek(0, os.SEEK_END)
        self._media: dict[str, tuple[int, int]] = {}
        self._names: set[str] = set()
        self._with_media: set[str] = set()
        self._keys: dict[str, None] = {}
        self._twice: list[str] = []
        self._apart: dict[str, None] = {}
        self._statuses: dict[str, str] = {}
        self._cut = ""
        self.columns: dict[str, dict[str, str]] = {}

    def index(self) -> dict[str, Any]:
        """Return the rest of a `TarIndex`, as JSON can hold it."""
        without = [key for key in self._keys if key not in self._with_media]
        return {
            "names": list(self._media),
            "offsets": [offset for offset, _ in self._media.values()],
            "sizes": [size for _, size in self._media.values()],
            "failures": {key: self._statuses[key] for key in without if key in self._statuses},
            "others": [key for key in without if key not in self._statuses],
            "twice": self._twice,
            "apart": list(self._apart),
            "cut": self._cut,
        }

    def read(self) -> None:
        """Read all headers.

        Raises
        ------
        FormatError
            If it is no tar.
        """
        self._file.seek(0)
        start = self._file.read(6)
        packed = next((name for sign, name in COMPRESSED.items() if start.startswith(sign)), None)
        if packed is not None:
            raise FormatError(
                f"{self._container} is compressed ({packed}), so that its members cannot be read one by one; unpack it "
                "to a plain .tar, sounds and videos are compressed already"
            )
        self._file.seek(0)
        last, before, stop = "", "", 0
        try:
            with tarfile.open(fileobj=self._file, mode="r:") as tar:
                for member in tar:
                    # tarfile remembers all of them.
                    tar.members = []  # type: ignore[attr-defined]
                    if member.isfile() and member.offset_data + member.size > self._length:
                        self._cut = f"ends within {member.name}"
                        return
                    last, stop = member.name, tar.offset
                    if member.isfile() and not member.issparse():
                        before = self._add(member, before)
        except tarfile.TarError as error:
            if not last:
                why = str(error) if self._length else "it is empty"
                raise FormatError(f"{self._container} is no tar ({why}); copy or download it again") from error
            self._cut = f"is damaged behind {last}"
        else:
            self._cut = self._find_damage(last, stop)

    def _find_damage(self, last: str, stop: int) -> str:
        """Return what is wrong behind the last member, where zeros have to be; tarfile takes anything for the end."""
        self._file.seek(stop)
        mark, rest = self._file.read(tarfile.BLOCKSIZE), self._file.read(2 * tarfile.RECORDSIZE)
        if len(mark) < tarfile.BLOCKSIZE:
            return f"ends behind {last} without the mark of an end"
        if mark.strip(b"\0"):
            return f"is damaged behind {last}"
        return f"goes on behind its end, which is behind {last}, as where tars were joined" if rest.strip(b"\0") else ""

    def _add(self, member: tarfile.TarInfo, before: str) -> str:
        key, extension = split_name(member.name)
        if not key:
            return before
        if key != before and key in self._keys:
            self._apart[key] = None
        self._keys[key] = None
        if is_media(extension):
            self._with_media.add(key)
            name, number = member.name, 1
            # A leading ./ does not count in the names of clips.
            while name.removeprefix("./") in self._names:
                number += 1
                name = f"{member.name}~{number}"
            if number > 1:
                self._twice.append(member.name)
            self._names.add(name.removeprefix("./"))
            self._media[name] = (member.offset_data, member.size)
        elif extension.rpartition(".")[2] in ("json", "jsn") and member.size <= MAX_JSON_BYTES:
            self._add_values(key, member)
        elif extension == "cls" and member.size <= MAX_CLASS_BYTES:
            self._file.seek(member.offset_data)
            if text := _text(self._file.read(member.size).decode("utf-8", "replace").strip()):
                self.columns.setdefault(key, {})[CLASS] = text
        return key

    def _add_values(self, key: str, member: tarfile.TarInfo) -> None:
        self._file.seek(member.offset_data)
        try:
            content = json.loads(self._file.read(member.size))
        except ValueError:
            return
        if not isinstance(content, dict):
            return
        values = {name: text for name, value in content.items() if name != CLASS and (text := _text(value)) is not None}
        status = values.get("status", "")
        if status and status != "success":
            reason = values.get("error_message", "")
            self._statuses[key] = f"{status}: {reason}" if reason else status
        self.columns[key] = {**values, **self.columns.get(key, {})}


def _text(value: object) -> str | None:
    """Return a single value of a JSON file as text; None for lists and objects."""
    if value is None:
        return ""
    if isinstance(value, str):
        # What no file of text, and no HDF5, can hold.
        return value.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    return json.dumps(value) if isinstance(value, bool | int | float) else None


def described(index: TarIndex) -> list[str]:
    """Return what is to be told of a tar, in one line each."""
    tar = index.container
    told = []
    if index.cut:
        told.append(
            f"{tar} {index.cut}; its {len(index)} whole sounds or videos before that are used; copy, download or write "
            "it again for the rest"
        )
    if index.twice:
        told.append(
            f"{tar}: {index.twice[0]}{_more(index.twice)} stands there more than once; each is used, the later ones "
            "under a name that ends in ~2, ~3 …"
        )
    if index.apart:
        told.append(
            f"{tar}: what belongs to {index.apart[0]}{_more(index.apart)} does not stand together, and WebDataset "
            "would take it for several samples; here it is one"
        )
    return told


def _more(names: Sequence[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
