"""Jobs that share the shards of a list among them, each of which knows no more of the others than how many they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from soundnet_kd.errors import SettingsError
from soundnet_kd.shards.shard import Shard


@dataclass(frozen=True)
class Job:
    """One of several jobs, each of which does every so manyth shard.

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
            raise SettingsError(f"shard is {text!r}; it is written as 3/64, the third of 64 jobs")
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
        there = f", {self.before} were there" if self.before else ""
        then = f"{self.missing} of all {self.all_shards} are missing still"
        if not self.missing:
            then = f"all {self.all_shards} are there"
        refused = f", {self.failed} refused" if self.failed else ""
        return (
            f"job {self.job} did {self.shards} shards ({self.used} files{refused}){there}; {then}: the same command "
            f"without --shard does what is missing and joins all in {self.out}"
        )
