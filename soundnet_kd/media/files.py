"""Which files of a folder are sounds and videos."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from soundnet_kd.errors import MediaError

# What lies beside sounds and videos. Everything else is taken for media, so that a file in an unusual or broken format
# is reported by whoever opens it and not passed over in silence.
_SUFFIXES = """
    .txt .md .rst .pdf .doc .docx .odt .rtf .tex .bib .html .htm .css .js .url .log .nfo
    .csv .tsv .xls .xlsx .ods .json .jsonl .ndjson .xml .yaml .yml .toml .ini .cfg .conf .parquet .arrow .db .sqlite
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


def find_media(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """List the sounds and videos that files and folders hold.

    A file that is named itself is always listed. Of a folder, every file at any depth is, but for hidden files and
    folders, documents, tables, images, subtitles, arrays, code, archives and unfinished downloads
    (`NOT_MEDIA_SUFFIXES`, `NOT_MEDIA_NAMES`). No file is opened: broken ones are listed too.

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
        if not path.exists():
            raise MediaError(f"{path} does not exist; check the path")
        for file in _of_folder(path) if path.is_dir() else [path]:
            found.setdefault(os.path.normpath(file.absolute()), file)
    return list(found.values())


def _of_folder(folder: Path) -> list[Path]:
    files = list(_visible_files(folder))
    media = sorted(file for file in files if not _is_known_other(file))
    if not media:
        others = f"none of its {len(files)} files is one" if files else "it is empty"
        raise MediaError(f"{folder} holds no sounds or videos ({others}); name a folder that does")
    return media


def _visible_files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def _is_known_other(file: Path) -> bool:
    return file.suffix.lower() in NOT_MEDIA_SUFFIXES or file.name.lower() in NOT_MEDIA_NAMES
