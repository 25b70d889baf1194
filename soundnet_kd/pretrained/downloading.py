"""One file over HTTP, taken up where it broke off.

What has come lies in `FILE.part`; `FILE.part.json` says from where, and which version of the file it is, as the server
names it (`ETag` or `Last-Modified`). A server that names no version, has another one by now, or does not send parts of
files (`Range`) is asked for all of it again.
"""

import json
import os
from pathlib import Path
from typing import Any

from soundnet_kd.errors import FormatError

CHUNK_BYTES = 1 << 16
"""What has come of the chunk in hand is lost when a connection breaks off."""
TIMEOUT_SECONDS = 30
MOST_BYTES = 1 << 32


def download(url: str, part: Path) -> None:
    """Bring a file to `part`, with a progress bar; if it breaks off, what has come stays there for the next time.

    Raises
    ------
    requests.RequestException
        If the file cannot be had, or not all of it.
    FormatError
        If it is larger than any set of weights.
    """
    import requests
    from tqdm import tqdm

    have, version = _begun(url, part)
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
        goes_on = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if response.status_code not in (206, 416):
            response.raise_for_status()
        if not goes_on:
            if response.status_code in (206, 416) and have:
                discard(part)
                download(url, part)
                return
            response.raise_for_status()
            have = 0
            part.write_bytes(b"")
            _note(part).write_text(json.dumps({"url": url, "version": _version(response.headers)}), encoding="utf-8")
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else None
        with (
            part.open("ab") as handle,
            tqdm(desc=part.stem, total=total, initial=have, unit="B", unit_scale=True, disable=None) as bar,
        ):
            for chunk in response.iter_content(CHUNK_BYTES):
                have += len(chunk)
                if have > MOST_BYTES:
                    raise FormatError(f"{part} grows beyond {MOST_BYTES} bytes; no file of weights does")
                handle.write(chunk)
                bar.update(len(chunk))
            handle.flush()
            os.fsync(handle.fileno())


def part_of(path: Path) -> Path:
    """Give where a file lies while it comes."""
    return path.with_name(f"{path.name}.part")


def discard(part: Path) -> None:
    """Forget what has come of a file."""
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def keep(part: Path, path: Path) -> None:
    """Move a file that is whole to its place."""
    part.replace(path)
    discard(part)


def _begun(url: str, part: Path) -> tuple[int, str]:
    """Say how many bytes of which version of a file are there; 0 if they are not known to be of this file."""
    try:
        note = json.loads(_note(part).read_text(encoding="utf-8"))
        if note["url"] == url and isinstance(note["version"], str) and note["version"]:
            return part.stat().st_size, note["version"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return 0, ""


def _version(headers: Any) -> str:
    """Name the version of a file so that it can be asked for again; a weak ETag does not do."""
    tag = headers.get("ETag", "")
    return str(tag if tag.startswith('"') else headers.get("Last-Modified", ""))


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")
