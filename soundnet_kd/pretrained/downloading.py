"""A file from one of its sources over HTTP, resumed where the connection broke off.

What has been downloaded is in `FILE.part`; `FILE.part.json` says from where, and which version it is, as the server
names it (`ETag` or `Last-Modified`). A server that names no version, has another one by now, or does not send parts of
files (`Range`) is asked for all of it again.
"""

import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from soundnet_kd.errors import FormatError, SettingsError

MIRROR_VARIABLE = "SOUNDNET_KD_MIRROR"
"""Environment variable: a base URL that has the files under their names; asked before those of the registry."""
CHUNK_BYTES = 1 << 16
"""Less than one chunk is lost when a connection breaks off."""
TIMEOUT_SECONDS = 30
MAX_DOWNLOAD_BYTES = 1 << 32
"""No file of weights is larger."""

log = logging.getLogger(__name__)


def download(name: str, path: str | Path, urls: Sequence[str], check: Callable[[Path], None]) -> None:
    """Download a file to its place.

    Parameters
    ----------
    name : str
        What it is, for messages.
    path : str or Path
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
    path = Path(path)
    mirror = os.environ.get(MIRROR_VARIABLE)
    partial = partial_file(path)
    reasons = []
    for url in (*([f"{mirror.rstrip('/')}/{path.name}"] if mirror else []), *urls):
        log.info("fetching %s from %s into %s", name, url, path.parent)
        if (reason := _failure(url, partial, check)) is None:
            partial.replace(path)
            remove_partial(partial)
            return
        reasons.append(reason)
    had = partial.stat().st_size if partial.is_file() else 0
    elsewhere = f"fetch {urls[0]} elsewhere, put it at {path}, and run the same command again"
    cure = (
        f"run the same command again to go on after the {had} bytes that are there, or {elsewhere}"
        if had
        else elsewhere
    )
    raise SettingsError(f"{name} could not be fetched ({'; '.join(reasons)}); {cure}")


def partial_file(path: str | Path) -> Path:
    """Return the path of a file while it is downloaded."""
    path = Path(path)
    return path.with_name(f"{path.name}.part")


def remove_partial(partial: str | Path) -> None:
    """Remove what has been downloaded of a file."""
    partial = Path(partial)
    partial.unlink(missing_ok=True)
    _note(partial).unlink(missing_ok=True)


def _failure(url: str, partial: Path, check: Callable[[Path], None]) -> str | None:
    """Download and check; return the reason of a failure. A resumed download is tried once more from its start."""
    from requests import RequestException

    begun = partial.is_file()
    try:
        _transfer(url, partial)
        check(partial)
    except RequestException as error:
        return f"{url}: {_reason(error)}"
    except FormatError as error:
        remove_partial(partial)
        return _failure(url, partial, check) if begun else f"{url} {str(error).removeprefix(f'{partial} ')}"
    return None


def _transfer(url: str, partial: Path) -> None:
    """Download a file to `partial`, with a progress bar; if the connection breaks off, it is resumed the next time.

    Raises
    ------
    requests.RequestException
        If the file cannot be had, or not all of it.
    FormatError
        If it is larger than any set of weights.
    """
    import requests
    from tqdm import tqdm

    have, version = _begun(url, partial)
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
        goes_on = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if response.status_code not in (206, 416):
            response.raise_for_status()
        if not goes_on:
            if response.status_code in (206, 416) and have:
                remove_partial(partial)
                _transfer(url, partial)
                return
            response.raise_for_status()
            have = 0
            partial.write_bytes(b"")
            _note(partial).write_text(json.dumps({"url": url, "version": _version(response.headers)}), encoding="utf-8")
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else None
        with (
            partial.open("ab") as handle,
            tqdm(desc=partial.stem, total=total, initial=have, unit="B", unit_scale=True, disable=None) as bar,
        ):
            for chunk in response.iter_content(CHUNK_BYTES):
                have += len(chunk)
                if have > MAX_DOWNLOAD_BYTES:
                    raise FormatError(f"{partial} grows beyond {MAX_DOWNLOAD_BYTES} bytes; no file of weights does")
                handle.write(chunk)
                bar.update(len(chunk))
            handle.flush()
            os.fsync(handle.fileno())


def _begun(url: str, partial: Path) -> tuple[int, str]:
    """Return how many bytes of which version of a file are there; 0 if they may be of another file."""
    try:
        note = json.loads(_note(partial).read_text(encoding="utf-8"))
        if note["url"] == url and isinstance(note["version"], str) and note["version"]:
            return partial.stat().st_size, note["version"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return 0, ""


def _version(headers: Any) -> str:
    """Return the version of a file as it can be asked for again; a weak ETag does not do."""
    tag = headers.get("ETag", "")
    return str(tag if tag.startswith('"') else headers.get("Last-Modified", ""))


def _note(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def _reason(error: Exception) -> str:
    """Return in a few words why a download failed; requests gives its whole stack."""
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
