"""What has come of a file that is being downloaded, and how it is gone on with.

It is in `FILE.part`; `FILE.part.json` says from where, and which version it is, as the server names it (`ETag` or
`Last-Modified`).
"""

import json
from pathlib import Path


def partial_file(path: str | Path) -> Path:
    """Return the path of a file while it is downloaded."""
    path = Path(path)
    return path.with_name(f"{path.name}.part")


def remove_partial(partial: str | Path) -> None:
    """Remove what has been downloaded of a file."""
    partial = Path(partial)
    partial.unlink(missing_ok=True)
    _note(partial).unlink(missing_ok=True)


def begin(partial: str | Path, url: str, version: str) -> None:
    """Make a file empty, and note which version of what it will be; an empty `version` if the server names none."""
    partial = Path(partial)
    partial.write_bytes(b"")
    _note(partial).write_text(json.dumps({"url": url, "version": version}), encoding="utf-8")


def begun(partial: str | Path, url: str) -> tuple[int, str]:
    """Return how many bytes of which version of an address are there; 0 if they may be of something else."""
    partial = Path(partial)
    try:
        note = json.loads(_note(partial).read_text(encoding="utf-8"))
        if note["url"] == url and isinstance(note["version"], str) and note["version"]:
            return partial.stat().st_size, note["version"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return 0, ""


def _note(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")
