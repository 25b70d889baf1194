"""Tars as people have them, written member by member."""

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

MODIFIED = 1_700_000_000


def write_tar(path: Path, members: Sequence[tuple[str, bytes]], format: int = tarfile.GNU_FORMAT) -> Path:
    """Write a tar of members in their order; a name may stand there twice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=format) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), MODIFIED
            tar.addfile(info, io.BytesIO(content))
    return path
