"""A file from one of its sources over HTTP, resumed where the connection broke off.

A server that names no version of it, has another one by now, or does not send parts of files (`Range`) is asked for all
of it again; of a file whose hash is known no version is needed.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from requests import RequestException, Session
from tqdm import tqdm

from soundnet_kd.errors import FormatError
from soundnet_kd.pretrained.http_session import explain_failure, without_password
from soundnet_kd.pretrained.partial import begin, begun, partial_file, remove_partial

CHUNK_BYTES = 1 << 16
"""Less than one chunk is lost when a connection breaks off."""
MAX_DOWNLOAD_BYTES = 1 << 32
"""No file of weights is larger."""

log = logging.getLogger(__name__)


def download(
    name: str,
    path: str | Path,
    url: str,
    check: Callable[[Path], None],
    session: Session,
    size_bytes: int | None = None,
) -> str | None:
    """Download a file to its place, with a progress bar.

    Parameters
    ----------
    name : str
        What it is, for the log.
    path : str or Path
        Where it goes; if the connection breaks off, the part that has arrived stays beside it for the next time.
    url : str
    check : callable
        Raises FormatError, with the path in front, if a file is not the right one; such a one is not kept.
    session : requests.Session
    size_bytes : int, optional
        Size of the file, if `check` asks for its hash: no more is downloaded, and a part that is there is continued
        wherever it came from.

    Returns
    -------
    str or None
        Why it could not be fetched, with its address.
    """
    path = Path(path)
    partial, shown = partial_file(path), without_password(url)
    resumed = partial.is_file()
    log.info("fetching %s from %s into %s", name, shown, path.parent)
    try:
        _transfer(url, partial, session, size_bytes)
        check(partial)
    except RequestException as error:
        return f"{shown}: {explain_failure(error)}"
    except FormatError as error:
        remove_partial(partial)
        if resumed:
            # What was there before may be to blame.
            return download(name, path, url, check, session, size_bytes)
        return f"{shown} {str(error).removeprefix(f'{partial} ')}"
    partial.replace(path)
    remove_partial(partial)
    return None


def _transfer(url: str, partial: Path, session: Session, size_bytes: int | None) -> None:
    """Download a file to `partial`, with a progress bar; if the connection breaks off, it is resumed the next time.

    Raises
    ------
    requests.RequestException
        If the file cannot be fetched, or not all of it.
    FormatError
        If it is larger than it can be.
    """
    have, version = begun(partial, without_password(url))
    if size_bytes is not None and partial.is_file():
        have, version = partial.stat().st_size, ""
    if have == size_bytes:
        return
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-"} | ({"If-Range": version} if version else {})
    with session.get(url, headers=headers, stream=True) as response:
        goes_on = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if response.status_code not in (206, 416):
            response.raise_for_status()
        if not goes_on:
            if response.status_code in (206, 416) and have:
                remove_partial(partial)
                _transfer(url, partial, session, size_bytes)
                return
            response.raise_for_status()
            have = 0
            begin(partial, without_password(url), _version(response.headers))
        limit = size_bytes or MAX_DOWNLOAD_BYTES
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else None
        with (
            partial.open("ab") as handle,
            tqdm(desc=partial.stem, total=total, initial=have, unit="B", unit_scale=True, disable=None) as bar,
        ):
            for chunk in response.iter_content(CHUNK_BYTES):
                have += len(chunk)
                if have > limit:
                    raise FormatError(f"{partial} grows beyond {limit} bytes, more than it can have")
                handle.write(chunk)
                bar.update(len(chunk))
            handle.flush()
            os.fsync(handle.fileno())


def _version(headers: Any) -> str:
    """Return the version of a file as it can be asked for again; a weak ETag does not do."""
    tag = headers.get("ETag", "")
    return str(tag if tag.startswith('"') else headers.get("Last-Modified", ""))
