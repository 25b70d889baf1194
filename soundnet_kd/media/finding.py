"""Which files of a folder are sounds and videos."""

import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from soundnet_kd.errors import MediaError

log = logging.getLogger(__name__)

# What lies beside sounds and videos. Everything else is taken for media, so that a file in an unusual or broken format
# is reported by whoever opens it and not passed over in silence.
_SUFFIXES = """
    .txt .md .rst .pdf .doc .docx .odt .rtf .tex .bib .html .htm .css .js .url .log .nfo
    .csv .tsv .xls .xlsx .ods .json .jsonl .ndjson .xml .yaml .yml .toml .ini .cfg .conf .parquet .arrow .db .sqlite
    .mf .lst .m3u .m3u8 .pls .cue .arff
    .jpg .jpeg .png .gif .bmp .webp .tif .tiff .svg .heic .heif .avif .ico .psd .thm
    .srt .vtt .ass .ssa .sub .idx .sbv .lrc .textgrid .lab .jams .mid .midi
    .npy .npz .h5 .hdf5 .pt .pth .pkl .pickle .mat .safetensors .onnx .ckpt
    .py .pyc .ipynb .sh .bat .ps1 .c .h .cpp .java
    .zip .tar .gz .tgz .bz2 .xz .zst .7z .rar .md5 .sha1 .sha256 .sfv
    .part .tmp .crdownload .torrent
"""
_NAMES = "license licence copying notice readme authors contributors changelog citation version makefile dockerfile"
NOT_MEDIA_SUFFIXES = frozenset(_SUFFIXES.split())
NOT_MEDIA_NAMES = frozenset(_NAMES.split())
_FILE_NAME = re.compile(r".+\.\w{2,5}")


@dataclass(frozen=True)
class FoundMedia:
    """What a folder holds, at any depth; links to folders are followed.

    Attributes
    ----------
    files : tuple of Path
        Sounds and videos, sorted. No file was opened: broken ones are among them.
    others : tuple of Path
        Files that are none, sorted.
    twice : mapping from Path to Path
        Folders that were passed over, since they are the same as another one, such as a link that leads back.
    unread : mapping from Path to str
        Links that lead nowhere and folders that cannot be read, with the reason.
    """

    files: tuple[Path, ...]
    others: tuple[Path, ...]
    twice: Mapping[Path, Path]
    unread: Mapping[Path, str]

    def require_media(self, folder: Path) -> None:
        """Check that there is something.

        Raises
        ------
        MediaError
            If not; the message names what else is there.
        """
        if self.files:
            return
        others = f"none of its {len(self.others)} files is one" if self.others else "it is empty"
        if self.unread:
            path, reason = next(iter(self.unread.items()))
            others = f"{path.relative_to(folder)} {reason}"
        raise MediaError(f"{folder} holds no sounds or videos ({others}); name a folder that does")


def find_media(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """List the sounds and videos that files and folders hold.

    A file that is named itself is always listed. Of a folder, every file at any depth is, but for hidden files and
    folders, documents, tables, images, subtitles, arrays, code, archives and unfinished downloads
    (`NOT_MEDIA_SUFFIXES`, `NOT_MEDIA_NAMES`). Links to folders are followed, a folder that can be reached twice is
    listed once. No file is opened: broken ones are listed too.

    Parameters
    ----------
    paths : str, Path or several of them

    Returns
    -------
    list of Path
        In the order of `paths`, each folder sorted, no file twice.

    Raises
    ------
    MediaError
        If a path does not exist, a folder holds no candidate, or `paths` is empty.
    """
    wanted = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    if not wanted:
        raise MediaError("no sounds or videos were named; give files or folders")
    found: dict[str, Path] = {}
    for path in wanted:
        if not os.path.exists(path):  # noqa: PTH110  (Path.exists raises where a folder above it may not be read)
            raise MediaError(f"{path} does not exist; check the path")
        for file in _of_folder(path) if path.is_dir() else [path]:
            found.setdefault(os.path.normpath(file.absolute()), file)
    return list(found.values())


def _of_folder(folder: Path) -> tuple[Path, ...]:
    found = search_folder(folder)
    found.require_media(folder)
    for path, reason in found.unread.items():
        log.warning("%s %s; it is left out", path, reason)
    if tars := [file for file in found.others if file.suffix.lower() == ".tar"]:
        log.warning(
            "%s holds %d tars beside sounds or videos; give '%s/*.tar' for those in them", folder, len(tars), folder
        )
    for path, first in found.twice.items():
        log.warning("%s is the same folder as %s; its files are taken once", path, first)
    return found.files


def search_folder(folder: str | Path) -> FoundMedia:
    """Search a folder, and all that links in it lead to.

    What lies in the folder itself comes before what links lead to: where both are the same, the link is passed over.
    """
    folder = Path(folder)
    search = _Search()
    waiting = [folder]
    while waiting:
        search.links = []
        # A folder that is linked itself is not taken as a part of another one that is linked.
        for top in [top for top in waiting if search.is_new(top)]:
            search.walk(top)
        waiting = sorted(search.links, key=lambda link: (len(link.parts), link))
    return FoundMedia(tuple(sorted(search.files)), tuple(sorted(search.others)), search.twice, search.unread)


class _Search:
    """What has been found so far, and the links to folders that wait to be followed."""

    def __init__(self) -> None:
        self.files: list[Path] = []
        self.others: list[Path] = []
        self.links: list[Path] = []
        self.twice: dict[Path, Path] = {}
        self.unread: dict[Path, str] = {}
        self._seen: dict[str, Path] = {}

    def is_new(self, folder: Path) -> bool:
        """Return whether a folder is found for the first time."""
        first = self._seen.setdefault(os.path.realpath(folder), folder)
        if first is not folder:
            self.twice[folder] = first
        return first is folder

    def walk(self, top: Path) -> None:
        """Search a folder without following the links in it."""
        stack = [top]
        while stack:
            here = stack.pop()
            try:
                entries = sorted(os.scandir(here), key=lambda entry: entry.name, reverse=True)
            except OSError as error:
                self.unread[here] = f"cannot be read ({error.strerror})"
                continue
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if self.is_new(folder := here / entry.name):
                        stack.append(folder)
                elif entry.is_symlink() and os.path.isdir(entry.path):  # noqa: PTH112
                    self.links.append(here / entry.name)
                else:
                    self._sort(here / entry.name)

    def _sort(self, file: Path) -> None:
        # The functions of os.path never raise, whatever a link leads to.
        if is_known_other(file):
            self.others.append(file)
        elif os.path.isfile(file):  # noqa: PTH113
            self.files.append(file)
        elif os.path.exists(file):  # noqa: PTH110
            # A pipe or a socket: reading it may never end.
            self.others.append(file)
        elif _FILE_NAME.fullmatch(file.name):
            # A link that leads nowhere, or is no longer there; whoever opens it says so.
            self.files.append(file)
        else:
            self.unread[file] = f"leads nowhere ({os.readlink(file)} is not there)"  # noqa: PTH115


def is_known_other(file: str | Path) -> bool:
    """Say by a file's name whether it is known to be neither sound nor video."""
    file = Path(file)
    return file.suffix.lower() in NOT_MEDIA_SUFFIXES or file.name.lower() in NOT_MEDIA_NAMES
