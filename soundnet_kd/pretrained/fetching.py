"""Published weights on demand: fetched once into the user's cache, checked at every use, offline after that.

A file whose hash the registry has (sha256, or git's id of it) must match it. One whose hash nobody published is
trusted on first use: it must hold tensors that fit its network, and the sha256 that it then has is kept beside it, in
`FILE.sha256` (as `sha256sum` writes it), and asked of it from then on.
"""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

import torch

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.pretrained.conversion import convert
from soundnet_kd.pretrained.downloading import download, partial_file, remove_partial
from soundnet_kd.pretrained.formats.state_dict import load_weights
from soundnet_kd.pretrained.image_networks import find_library
from soundnet_kd.pretrained.registry import PretrainedStudent, PretrainedWeights, PublishedFile, find_entry
from soundnet_kd.storage import atomic_write, lock_file
from soundnet_kd.system.cache_folders import home_folder

CACHE_VARIABLE = "SOUNDNET_KD_CACHE"
"""Environment variable: the folder for fetched files, instead of the user's cache."""
CHUNK_BYTES = 1 << 20


def fetch(weights: str | PublishedFile) -> Path:
    """Return the file of a published set of weights; fetch it if it is not in the cache yet.

    Parameters
    ----------
    weights : str or PublishedFile
        A name in the registry, or an entry. Of a student this gives the file as it was published; `load_student` gives
        the network.

    Returns
    -------
    Path
        The checked file.

    Raises
    ------
    SettingsError
        If the registry has no such name, or no source could be reached or gave the right file.
    FormatError
        If the file in the cache is not the right one.
    """
    if isinstance(weights, str):
        weights = find_entry(weights)
    path = cached_file(weights)
    if path.is_file():
        # A kill may have left the note of its download; in a read-only cache it stays.
        with suppress(OSError):
            remove_partial(partial_file(path))
    if not path.is_file() or _is_unknown(weights, path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with lock_file(path.with_name(f"{path.name}.lock")):
                if not path.is_file():
                    sha256 = known_sha256(weights, path)
                    download(weights.name, path, weights.urls, lambda file: check_file(weights, file, sha256))
                if _is_unknown(weights, path):
                    _trust(weights, path)
        except OSError as error:
            raise SettingsError(
                f"{weights.name} cannot be kept in {path.parent} ({error.strerror or error}); "
                f"let {CACHE_VARIABLE} name another folder"
            ) from error
    _check_cached_file(weights, path)
    return path


def check_file(weights: PublishedFile, path: str | Path, sha256: str | None = None) -> None:
    """Check a file before it is trusted.

    Parameters
    ----------
    weights : PublishedFile
        What the file should be.
    path : str or Path
    sha256 : str, optional
        What its hash should be. [default: what the registry says]

    Raises
    ------
    FormatError
        If size or hash are others, or, where no hash is known, if the file does not hold tensors of the right shapes.
    """
    path = Path(path)
    size, sha256 = path.stat().st_size, sha256 or weights.sha256
    if weights.size_bytes is not None and size != weights.size_bytes:
        raise FormatError(f"{path} has {size} bytes; {weights.name} has {weights.size_bytes}")
    if sha256 is not None:
        if (found := sha256_of(path)) != sha256:
            raise FormatError(f"{path} has the sha256 {found}; {weights.name} has {sha256}")
    elif weights.git_blob is not None:
        if (found := git_blob_of(path)) != weights.git_blob:
            raise FormatError(f"{path} has the git blob id {found}; {weights.name} has {weights.git_blob}")
    elif isinstance(weights, PretrainedStudent):
        convert(path, weights)
    elif isinstance(weights, PretrainedWeights):
        _check_shapes(weights, path)


def cache_folder() -> Path:
    """Return the folder that keeps what was fetched and converted."""
    import pooch

    if home_folder() is None and not {CACHE_VARIABLE, "XDG_CACHE_HOME"} & os.environ.keys():
        # Nothing is there, and nothing can be kept there: the error of whoever tries names the variable.
        return Path(os.devnull) / "soundnet_kd"
    return Path(os.environ.get(CACHE_VARIABLE) or pooch.os_cache("soundnet_kd")).expanduser()


def cached_file(weights: PublishedFile) -> Path:
    """Return the place of a file in the cache, whether it is there or not."""
    return cache_folder() / weights.file_name


def sha256_of(path: str | Path) -> str:
    """Hash a file, as 64 hexadecimal digits."""
    path = Path(path)
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def git_blob_of(path: str | Path) -> str:
    """Return the id that git gives a file, as 40 hexadecimal digits."""
    path = Path(path)
    # sha1 no longer resists somebody who prepares two files alike; the readers run nothing in either.
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _check_shapes(weights: PretrainedWeights, path: Path) -> None:
    classes = len(weights.class_names())
    with torch.device("meta"):
        network = find_library(weights.architecture).build(weights.architecture, classes)
    load_weights(network, path, f"{weights.architecture} with {classes} classes", assign=True)


def _is_unknown(weights: PublishedFile, path: Path) -> bool:
    return weights.git_blob is None and known_sha256(weights, path) is None


def _trust(weights: PublishedFile, path: Path) -> None:
    """Keep the hash of a file that has none in the registry, if it is one that fits."""
    _check_cached_file(weights, path)
    with atomic_write(_record(path)) as partial:
        partial.write_text(f"{sha256_of(path)}  {path.name}\n", encoding="utf-8")


def _check_cached_file(weights: PublishedFile, path: Path) -> None:
    try:
        check_file(weights, path, known_sha256(weights, path))
    except FormatError as error:
        record = _record(path)
        trusted = f", and {record} if the file was replaced on purpose," if record.is_file() else ""
        raise FormatError(f"{error}; delete it{trusted} and run the same command again") from error


def known_sha256(weights: PublishedFile, path: str | Path) -> str | None:
    """Return the hash that the cached file must have: the registry's, or the one that it had at its first use."""
    record = _record(Path(path))
    if weights.sha256 is not None or not record.is_file():
        return weights.sha256
    return record.read_text(encoding="utf-8").partition(" ")[0]


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
