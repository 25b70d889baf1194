"""Published weights on demand: fetched once into the user's cache, checked at every use, offline after that.

A file whose sha256 the registry knows must have it. One whose sha256 nobody published is trusted on first use: it must
be a state dict that fits its network, and the hash that it then has is kept beside it, in `FILE.sha256` (as `sha256sum`
writes it), and asked of it from then on.
"""

import hashlib
import logging
import os
from pathlib import Path

import torch
from filelock import FileLock

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.pretrained.checkpoints import load_weights
from soundnet_kd.pretrained.registry import PretrainedWeights, registry
from soundnet_kd.storage import whole

CACHE_VARIABLE = "SOUNDNET_KD_CACHE"
"""Environment variable: the folder that keeps fetched files, instead of the user's cache."""
MIRROR_VARIABLE = "SOUNDNET_KD_MIRROR"
"""Environment variable: a base URL that has the files under their names; asked before those of the registry."""
CHUNK_BYTES = 1 << 20

log = logging.getLogger(__name__)


def fetch(weights: str | PretrainedWeights) -> Path:
    """Give the file of a published set of weights; fetch it if it is not in the cache yet.

    Parameters
    ----------
    weights : str or PretrainedWeights
        A name in the registry, or an entry.

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
        known = registry()
        if weights not in known:
            raise SettingsError(f"the registry has no weights {weights!r}; it has {', '.join(known)}")
        weights = known[weights]
    path = cached(weights)
    if not path.is_file() or _known_hash(weights, path) is None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_name(f"{path.name}.lock")):
                if not path.is_file():
                    _download(weights, path)
                if _known_hash(weights, path) is None:
                    _trust(weights, path)
        except OSError as error:
            raise SettingsError(
                f"{weights.name} cannot be kept in {path.parent} ({error.strerror or error}); "
                f"let {CACHE_VARIABLE} name another folder"
            ) from error
    _check_cached(weights, path)
    return path


def check_file(weights: PretrainedWeights, path: Path, sha256: str | None = None) -> None:
    """Check what can be told of a file before it is trusted.

    Parameters
    ----------
    weights : PretrainedWeights
        What the file should be.
    path : Path
    sha256 : str, optional
        What its hash should be. [default: what the registry says]

    Raises
    ------
    FormatError
        If size or hash are others, or, where no hash is known, if the file is not a state dict of the right shapes.
    """
    size, sha256 = path.stat().st_size, sha256 or weights.sha256
    if weights.size_bytes is not None and size != weights.size_bytes:
        raise FormatError(f"{path} has {size} bytes; {weights.name} has {weights.size_bytes}")
    if sha256 is None:
        _check_shapes(weights, path)
    elif (found := sha256_of(path)) != sha256:
        raise FormatError(f"{path} has the sha256 {found}; {weights.name} has {sha256}")


def cached(weights: PretrainedWeights) -> Path:
    """Give the place of a file in the cache, whether it is there or not."""
    import pooch

    return Path(os.environ.get(CACHE_VARIABLE) or pooch.os_cache("soundnet_kd")).expanduser() / weights.file_name


def sha256_of(path: Path) -> str:
    """Hash a file, as 64 hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _download(weights: PretrainedWeights, path: Path) -> None:
    import pooch
    from requests import RequestException

    mirror = os.environ.get(MIRROR_VARIABLE)
    urls = (*([f"{mirror.rstrip('/')}/{weights.file_name}"] if mirror else []), *weights.urls)
    reasons = []
    for url in urls:
        log.info("fetching %s from %s into %s", weights.name, url, path.parent)
        try:
            with whole(path) as partial:
                pooch.HTTPDownloader(progressbar=True, chunk_size=CHUNK_BYTES)(url, str(partial), None)
                check_file(weights, partial, _known_hash(weights, path))
        except RequestException as error:
            reasons.append(f"{url}: {_reason(error)}")
        except FormatError as error:
            reasons.append(f"{url} {str(error).removeprefix(f'{partial} ')}")
        else:
            return
    raise SettingsError(
        f"{weights.name} could not be fetched ({'; '.join(reasons)}); fetch {weights.urls[0]} elsewhere, "
        f"put it at {path}, and run the same command again"
    )


def _reason(error: Exception) -> str:
    """Say in a few words why a download failed; requests tells its whole stack."""
    import requests

    match error:
        case requests.HTTPError() if error.response is not None:
            return f"HTTP {error.response.status_code} {error.response.reason}"
        case requests.Timeout():
            return "no answer in time"
        case requests.exceptions.ChunkedEncodingError():
            return "the connection broke off"
        case requests.exceptions.SSLError():
            return "its certificate is not trusted"
        case requests.exceptions.ProxyError():
            return "no connection through the proxy"
        case requests.ConnectionError():
            return "no connection, or it was lost"
    return " ".join(str(error).split())


def _check_shapes(weights: PretrainedWeights, path: Path) -> None:
    from torchvision import models

    classes = len(weights.class_names())
    with torch.device("meta"):
        network = models.get_model(weights.architecture, weights=None, num_classes=classes)
    load_weights(network, path, f"{weights.architecture} with {classes} classes", assign=True)


def _trust(weights: PretrainedWeights, path: Path) -> None:
    """Keep the hash of a file that has none in the registry, if it is one that fits."""
    _check_cached(weights, path)
    with whole(_record(path)) as partial:
        partial.write_text(f"{sha256_of(path)}  {path.name}\n", encoding="utf-8")


def _check_cached(weights: PretrainedWeights, path: Path) -> None:
    try:
        check_file(weights, path, _known_hash(weights, path))
    except FormatError as error:
        record = _record(path)
        trusted = f", and {record} if the file was replaced on purpose," if record.is_file() else ""
        raise FormatError(f"{error}; delete it{trusted} and run the same command again") from error


def _known_hash(weights: PretrainedWeights, path: Path) -> str | None:
    """Give the hash that the cached file must have: the registry's, or the one that it had at its first use."""
    record = _record(path)
    if weights.sha256 is not None or not record.is_file():
        return weights.sha256
    return record.read_text(encoding="utf-8").partition(" ")[0]


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
