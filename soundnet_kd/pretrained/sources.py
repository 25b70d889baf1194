"""One file from the first of its sources that gives the right one: the user's mirror, its origin, its mirrors."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.pretrained.downloading import discard, download, keep, part_of

MIRROR_VARIABLE = "SOUNDNET_KD_MIRROR"
"""Environment variable: a base URL that has the files under their names; asked before those of the registry."""

log = logging.getLogger(__name__)


def bring(name: str, path: Path, urls: Sequence[str], check: Callable[[Path], None]) -> None:
    """Download a file to its place.

    Parameters
    ----------
    name : str
        What it is, for messages.
    path : Path
        Where it goes; what has come of it, if a connection breaks off, stays beside this for the next time.
    urls : sequence of str
        Tried in turn, after the user's mirror.
    check : callable
        Raises FormatError, with the path in front, if a file is not the right one; such a one is not kept.

    Raises
    ------
    SettingsError
        If no source gave the right file; the message has the reason of each, and the cure.
    """
    mirror = os.environ.get(MIRROR_VARIABLE)
    part = part_of(path)
    reasons = []
    for url in (*([f"{mirror.rstrip('/')}/{path.name}"] if mirror else []), *urls):
        log.info("fetching %s from %s into %s", name, url, path.parent)
        if (reason := _failure(url, part, check)) is None:
            return keep(part, path)
        reasons.append(reason)
    had = part.stat().st_size if part.is_file() else 0
    elsewhere = f"fetch {urls[0]} elsewhere, put it at {path}, and run the same command again"
    cure = (
        f"run the same command again to go on after the {had} bytes that are there, or {elsewhere}"
        if had
        else elsewhere
    )
    raise SettingsError(f"{name} could not be fetched ({'; '.join(reasons)}); {cure}")


def _failure(url: str, part: Path, check: Callable[[Path], None]) -> str | None:
    """Download and check; say why it failed, if it did. One that was taken up is tried once more from its start."""
    from requests import RequestException

    begun = part.is_file()
    try:
        download(url, part)
        check(part)
    except RequestException as error:
        return f"{url}: {_reason(error)}"
    except FormatError as error:
        discard(part)
        return _failure(url, part, check) if begun else f"{url} {str(error).removeprefix(f'{part} ')}"
    return None


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
