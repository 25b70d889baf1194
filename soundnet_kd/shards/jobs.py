"""Jobs that share the shards of a list among them, each of which knows no more of the others than how many they are."""

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Self

from soundnet_kd.errors import RunConflictError, SettingsError
from soundnet_kd.media.stored import address_of
from soundnet_kd.shards.shard import Shard
from soundnet_kd.storage import LOCK, lock_file, read_own_json, spell_jobs, write_json
from soundnet_kd.system.launch import command_words

NOTE_FILE = ".shared-by.json"
"""How many jobs share a folder, and how each was started."""
SHARE_FLAG = "--shard"
NAMED = 3
"""So many of the shards that are missing are named."""


@dataclass(frozen=True)
class Job:
    """One of several jobs: of n jobs, job k does shards k, k + n, k + 2n and so on.

    Attributes
    ----------
    number : int
        From 1.
    jobs : int
        How many there are.
    """

    number: int
    jobs: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a job as it is written: 3/64.

        Raises
        ------
        SettingsError
            If it is none.
        """
        parts = text.split("/")
        if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
            raise SettingsError(f"shard is {text!r}; write it as 3/64, the third of 64 jobs")
        number, jobs = map(int, parts)
        if not 1 <= number <= jobs:
            last = max(jobs, 1)
            raise SettingsError(f"shard is {text}; jobs are counted from 1/{last} to {last}/{last}")
        return cls(number, jobs)

    def __str__(self) -> str:
        return f"{self.number}/{self.jobs}"

    @property
    def name(self) -> str:
        """As it can stand in a file's name."""
        return f"{self.number}-of-{self.jobs}"

    def share(self, shards: Sequence[Shard]) -> list[Shard]:
        """Return its own of all shards."""
        return list(shards[self.number - 1 :: self.jobs])


@dataclass(frozen=True)
class JobsNote:
    """What is known of the jobs that share a folder; those that started last, where they were of several numbers.

    Attributes
    ----------
    jobs : int
        How many they are.
    command : str
        The command line of each, but for which one it is; empty where Python started them.
    """

    jobs: int
    command: str

    @classmethod
    def of(cls, folder: str | Path) -> Self | None:
        """Read it; None if there is none, as where jobs of an older version share a folder."""
        found = read_own_json(Path(folder) / NOTE_FILE, ("jobs", "command"), "the next job writes it anew")
        return None if found is None else cls(found["jobs"], found["command"])

    def require_done(self, out: str | Path, missing: Iterable[tuple[int, str]], shards: int) -> None:
        """Check that all shards are there.

        Parameters
        ----------
        out : str or Path
            What the jobs write.
        missing : iterable of (int, str)
            Place among all shards of each that is not there, and its first sound or video.
        shards : int
            How many there are.

        Raises
        ------
        RunConflictError
            If some are missing: which, and whose, and how these jobs are started.
        """
        missing = list(missing)
        if not missing:
            return
        numbers = sorted({place % self.jobs + 1 for place, _ in missing})
        named = ", ".join(first for _, first in islice(missing, NAMED)) + (" …" if len(missing) > NAMED else "")
        start = f"`{self.command} {SHARE_FLAG} {numbers[0]}/{self.jobs}`" if self.command else "as before"
        which = f"such as {start}" if self.command and len(numbers) > 1 else start
        raise RunConflictError(
            f"{out} lacks {len(missing)} of {shards} shards (those that begin with {named}), which are of "
            f"{spell_jobs(numbers, self.jobs)}; start {'these' if len(numbers) > 1 else 'it'} again, {which}, then "
            "join"
        )


def claim(folder: str | Path, job: Job, begin: Callable[[], object], is_begun: Callable[[], bool]) -> None:
    """Have the first of the jobs that share a folder write down what they share, and note how many they are.

    Parameters
    ----------
    folder : str or Path
    job : Job
    begin : callable
        Writes it.
    is_begun : callable
        Tells whether it is there.
    """
    folder = Path(folder)
    note = JobsNote(job.jobs, _shared_command())
    with lock_file(folder / f"{LOCK}-{NOTE_FILE.lstrip('.')}", tell=False, leave=False):
        before = JobsNote.of(folder)
        if before is None or not is_begun():
            begin()
        if before != note:
            write_json(folder / NOTE_FILE, asdict(note))


def _shared_command() -> str:
    """Return the command line of this process without what says which job it is; empty where that is not in it."""
    words = list(command_words())
    if SHARE_FLAG in words:
        place = words.index(SHARE_FLAG)
        del words[place : place + 2]
    elif joined := [word for word in words if word.startswith(f"{SHARE_FLAG}=")]:
        words.remove(joined[0])
    else:
        return ""
    return shlex.join(["soundnet-kd", *words])


@dataclass(frozen=True)
class JobResult:
    """What a job did.

    Attributes
    ----------
    out : Path
    job : Job
    shards, used, failed : int
        Shards that it did, and the sounds or videos in them that could be used, or not.
    before : int
        Shards of its own that were there already.
    missing, all_shards : int
        How many shards of all jobs are not there yet, and how many there are.
    """

    out: Path
    job: Job
    shards: int
    used: int
    failed: int
    before: int
    missing: int
    all_shards: int

    def __str__(self) -> str:
        out = str(address_of(self.out) or self.out)
        if not self.all_shards:
            return (
                f"job {self.job} did nothing, since nothing is left for jobs to do in {out}; the same command without "
                "--shard tries refused files again that have changed since"
            )
        there = f", {self.before} were there" if self.before else ""
        refused = f", {self.failed} refused" if self.failed else ""
        join = f"`{shlex.join(['soundnet-kd', 'join', out])}`"
        then = (
            f"{self.missing} of {self.all_shards} are still missing; when all jobs have ended, {join} joins them, or "
            "names what nobody did"
        )
        if not self.missing:
            then = f"all {self.all_shards} are there: {join} joins them"
        shards = "1 shard" if self.shards == 1 else f"{self.shards} shards"
        return f"job {self.job} did {shards} ({self.used} files{refused}){there}; {then}"
