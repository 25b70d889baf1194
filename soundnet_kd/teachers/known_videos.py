"""What a run remembers of its videos: which were refused, and whether the videos found are still the same."""

import csv
import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from soundnet_kd.data.target_clips import LabelledVideo
from soundnet_kd.errors import GivenUpError, MediaError, RunConflictError
from soundnet_kd.pretrained.verification import sha256_of
from soundnet_kd.storage import write_csv

COLUMNS = ("file", "reason", "bytes", "modified_ns", "sha256")
FINGERPRINTED_BYTES = 2**16
"""So much of the start and of the end of a video identifies it, together with its length, at no cost."""
COMPARED = 64
"""How many of a moved folder's videos are opened to see whether they are the same."""


@dataclass(frozen=True)
class Refusal:
    """Why a video was refused, and which file it was: its length, when it was changed, its hash."""

    reason: str
    bytes: str = ""
    modified_ns: str = ""
    sha256: str = ""

    @classmethod
    def from_error(cls, video: str | Path, error: MediaError) -> "Refusal":
        """Return the refusal of a video; where the machine may be the cause it names no file, and does not last."""
        try:
            found = Path(video).stat()
            if not isinstance(error, GivenUpError):
                return cls(str(error), str(found.st_size), str(found.st_mtime_ns), sha256_of(video))
        except OSError:
            pass
        return cls(str(error))

    def holds_for(self, video: str | Path) -> bool:
        """Whether a file is still the one that was refused; it is read only if its date has changed."""
        try:
            found = Path(video).stat()
            if not self.sha256 or self.bytes != str(found.st_size):
                return False
            return self.modified_ns == str(found.st_mtime_ns) or self.sha256 == sha256_of(video)
        except OSError:
            return False


class Refusals:
    """The videos that a run refused, in a table that the next run of it remembers; without the table it does not.

    Parameters
    ----------
    file : str or Path
        A CSV file with a row for each of them.
    videos : mapping from source to Path
        All that the run is about; others are forgotten.
    """

    def __init__(self, file: str | Path, videos: Mapping[str, Path]) -> None:
        self._file = Path(file)
        self._videos = videos
        self._refusals = {source: refusal for source, refusal in _read(self._file) if source in videos}
        self.remembered = {source for source, refusal in self._refusals.items() if refusal.holds_for(videos[source])}
        """Those that need not be tried again."""
        self._refusals = {source: self._refusals[source] for source in self.remembered}

    def __len__(self) -> int:
        return len(self._refusals)

    def add(self, source: str, error: MediaError) -> None:
        """Refuse a video."""
        self._refusals[source] = Refusal.from_error(self._videos[source], error)

    def reasons(self) -> dict[str, str]:
        """Return why each video was refused."""
        return {source: self._refusals[source].reason for source in sorted(self._refusals)}

    def write(self) -> None:
        """Write the table; without refusals there is none."""
        if self._refusals:
            rows = sorted(
                (source, each.reason, each.bytes, each.modified_ns, each.sha256)
                for source, each in self._refusals.items()
            )
            write_csv(self._file, COLUMNS, rows)
        else:
            self._file.unlink(missing_ok=True)


def _read(file: Path) -> Iterable[tuple[str, Refusal]]:
    if not file.is_file():
        return
    with file.open(newline="", encoding="utf-8") as handle:
        # Tables of older versions have no more than a reason.
        for row in csv.DictReader(handle, restval=""):
            yield row.get("file", ""), Refusal(*(row.get(column) or "" for column in COLUMNS[1:]))


def fingerprint(video: str | Path) -> str:
    """Return a hash that identifies a video's file by its length, its start and its end."""
    with Path(video).open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        hashed = hashlib.sha256(str(length).encode())
        for start in (0, max(0, length - FINGERPRINTED_BYTES)):
            file.seek(start)
            hashed.update(file.read(FINGERPRINTED_BYTES))
    return hashed.hexdigest()


def require_moved(
    out: str | Path,
    before: str,
    now: str,
    labelled: Iterable[str],
    known: Mapping[str, LabelledVideo],
    videos: Mapping[str, Path],
) -> None:
    """Require that the videos of a run have been moved from one folder to another, as far as it has labelled them.

    Parameters
    ----------
    out : str or Path
        The run's folder, for the message.
    before, now : str
        The two folders.
    labelled : iterable of str
        Sources of the videos that are labelled.
    known : mapping from source to LabelledVideo
        What is known of them; of those that older versions labelled, nothing is.
    videos : mapping from source to Path
        Those that are there now.

    Raises
    ------
    RunConflictError
        If one is missing or is another one.
    """
    sources = sorted(labelled)
    gone = next((source for source in sources if source not in videos), None)
    checked = [source for source in sources if source in known and source in videos]
    step = -(-len(checked) // COMPARED) or 1
    other = next((each for each in checked[::step] if fingerprint(videos[each]) != known[each].fingerprint), None)
    if gone is not None or other is not None:
        why = f"{gone} is not there" if gone is not None else f"{other} is another video there"
        raise RunConflictError(
            f"{out} already holds a different run (videos was {before}, now {now}, and {why}); choose another --out, "
            "or name the folder that holds the videos of that run"
        )
