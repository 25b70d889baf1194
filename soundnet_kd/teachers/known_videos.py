"""What a run remembers of its videos: which were refused, and whether the videos found are still the same."""

import csv
import hashlib
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import astuple
from pathlib import Path

from soundnet_kd.data.parts_index import PartsIndex
from soundnet_kd.data.target_clips import RefusedVideo
from soundnet_kd.data.target_parts import TargetsPart
from soundnet_kd.errors import GivenUpError, MediaError, RunConflictError
from soundnet_kd.media import MediaSource, StoredMedia, as_source, local_file, located, read_bytes
from soundnet_kd.storage import escape_name, write_csv

COLUMNS = ("file", "reason", "bytes", "modified_ns", "sha256")
FINGERPRINTED_BYTES = 2**16
"""So much of the start and of the end of a video identifies it, together with its length, at no cost."""
COMPARED = 64
"""How many of a moved folder's videos are opened to see whether they are the same."""


def refuse(source: str, video: str | Path | StoredMedia, error: MediaError) -> RefusedVideo:
    """Return the refusal of a video; where the machine may be the cause it names no file, and does not last."""
    try:
        if not isinstance(error, GivenUpError):
            place = as_source(video)
            # What would have to be fetched for its hash is known by its size, and the version of its tar.
            hashed = "" if isinstance(place, StoredMedia) else _sha256_of(place)
            return RefusedVideo(source, escape_name(str(error)), *_size_and_date(place), hashed)
    except (OSError, MediaError):
        pass
    return RefusedVideo(source, escape_name(str(error)))


def holds_for(refused: RefusedVideo, video: str | Path | StoredMedia) -> bool:
    """Whether a file is still the one that was refused; it is read only if its date has changed."""
    if not refused.modified_ns:
        return False
    try:
        place = as_source(video)
        size, date = _size_and_date(place)
        if isinstance(place, StoredMedia):
            return (refused.bytes, refused.modified_ns) == (size, date)
        if not refused.sha256 or refused.bytes != size:
            return False
        return refused.modified_ns == date or refused.sha256 == _sha256_of(place)
    except (OSError, MediaError):
        return False


def _sha256_of(place: Path) -> str:
    # With it comes PyTorch.
    from soundnet_kd.pretrained.verification import sha256_of

    return sha256_of(place)


def _size_and_date(place: MediaSource) -> tuple[str, str]:
    """Return how large a video is, and when its file was changed, or the version of the tar or object it lies in."""
    if isinstance(place, StoredMedia):
        place = located(place)
        return str(place.size), place.version
    found = place.stat()
    return str(found.st_size), str(found.st_mtime_ns)


def read_refusals(file: str | Path) -> dict[str, RefusedVideo]:
    """Read the table of refused videos; without one there are none."""
    file = Path(file)
    if not file.is_file():
        return {}
    with file.open(newline="", encoding="utf-8") as handle:
        # Tables of older versions have no more than a reason.
        rows = [[row.get(column) or "" for column in COLUMNS] for row in csv.DictReader(handle, restval="")]
    return {row[0]: RefusedVideo(*row) for row in rows}


def write_refusals(file: str | Path, refusals: Iterable[RefusedVideo]) -> None:
    """Write the table, a row for each; without refusals there is none."""
    rows = sorted(astuple(refused) for refused in refusals)
    if rows:
        write_csv(file, COLUMNS, rows)
    else:
        Path(file).unlink(missing_ok=True)


def fingerprint(video: str | Path | StoredMedia) -> str:
    """Return a hash that identifies a video's file by its length, its start and its end, wherever it lies."""
    place = as_source(video)
    if isinstance(place, StoredMedia):
        place = located(place)
        if place.size < 0:
            # Its server does not say how long it is.
            with local_file(place) as copy:
                return fingerprint(copy)
    length = place.size if isinstance(place, StoredMedia) else place.stat().st_size
    hashed = hashlib.sha256(str(length).encode())
    for start in (0, max(0, length - FINGERPRINTED_BYTES)):
        hashed.update(_bytes_of(place, start, min(FINGERPRINTED_BYTES, length - start)))
    return hashed.hexdigest()


def _bytes_of(place: MediaSource, start: int, count: int) -> bytes:
    if isinstance(place, StoredMedia):
        return read_bytes(place, start, count)
    with place.open("rb") as file:
        file.seek(start)
        return file.read(count)


def require_moved(out: str | Path, before: str, now: str, parts: PartsIndex, videos: Mapping[str, MediaSource]) -> None:
    """Require that the videos of a run have been moved from one folder to another, as far as it has labelled them.

    Parameters
    ----------
    out : str or Path
        The run's folder.
    before, now : str
        The two folders.
    parts : PartsIndex
        What it has labelled.
    videos : mapping from source to Path or StoredMedia
        Those that are there now.

    Raises
    ------
    RunConflictError
        If one is missing or is another one.
    """
    part_of = {source: part for part in parts.parts for source in part.videos}
    sources = sorted(part_of)
    gone = next((source for source in sources if source not in videos), None)
    step = -(-len(sources) // COMPARED) or 1
    compared = [source for source in sources if source in videos][::step]
    fingerprints: dict[str, str] = {}
    for part in {part_of[source].file: part_of[source] for source in compared}.values():
        with closing(TargetsPart(part.place)) as opened:
            # Of videos in parts of older versions nothing is known.
            fingerprints |= {video.source: video.fingerprint for video in opened.videos()}
    other = next(
        (each for each in compared if each in fingerprints and fingerprint(videos[each]) != fingerprints[each]), None
    )
    if gone is not None or other is not None:
        why = f"{gone} is not there" if gone is not None else f"{other} is another video there"
        raise RunConflictError(
            f"{out} already holds a different run (videos was {before}, now {now}, and {why}); choose another --out, "
            "or name the folder that holds the videos of that run"
        )
