"""What a run of the teacher stage left, and how it is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from soundnet_kd.data import STEP_SECONDS
from soundnet_kd.errors import counted
from soundnet_kd.media.stored import address_of
from soundnet_kd.shards.jobs import JobResult
from soundnet_kd.storage import FAILURES_FILE


@dataclass(frozen=True)
class TeachResult:
    """What a run of the teacher stage left.

    Attributes
    ----------
    out : Path
        The targets folder; an address is understood as a path too.
    labelled, clips, steps : int
        Videos, their clips, and the labelled steps in them.
    failures : mapping from video to reason
        The videos that were refused.
    remembered : int
        How many of them an earlier run had refused, so that they were not tried again.
    seconds, silent_seconds, rest_seconds, behind_jump_seconds : float
        Sound with pictures that was looked at; what was left out of it in silent clips, in ends too short for a step,
        and after a jump of the clock, as where recordings were joined.
    stray_steps : int
        Steps that were labelled from a key frame outside their own time.
    failed_steps : int
        Steps that were left out since there was no picture of them, or since a teacher's answer was not finite.
    step_seconds : float
        Length of a step.
    job : JobResult, optional
        What one of several jobs did; all of the above is then of its own videos.
    """

    out: Path
    labelled: int
    clips: int
    failures: Mapping[str, str]
    remembered: int = 0
    seconds: float = 0.0
    silent_seconds: float = 0.0
    rest_seconds: float = 0.0
    behind_jump_seconds: float = 0.0
    steps: int = 0
    stray_steps: int = 0
    failed_steps: int = 0
    step_seconds: float = STEP_SECONDS
    job: JobResult | None = None

    def __str__(self) -> str:
        if self.job is not None:
            return str(self.job)
        out = address_of(self.out) or self.out
        facts = [f"wrote {out}: {counted(self.clips, 'clip')} of {counted(self.labelled, 'video')}"]
        if self.failures:
            again = "; remove it to try them again" if self.remembered else ""
            facts.append(f"{len(self.failures)} refused (see {out}/{FAILURES_FILE}{again})")
        left_out = {
            "in silent clips": self.silent_seconds,
            "in ends too short for a step": self.rest_seconds,
            "after a jump of the clock": self.behind_jump_seconds,
        }
        reasons = [f"{seconds:.1f} s {why}" for why, seconds in left_out.items() if round(seconds, 1) > 0]
        if reasons:
            facts.append(f"{' and '.join(reasons)} left out (of {self.seconds:.1f} s)")
        if self.stray_steps:
            outside = f"a key frame outside their {self.step_seconds:g} s"
            facts.append(f"{self.stray_steps} of {self.steps} steps labelled from {outside}")
        if self.failed_steps:
            whole = self.steps + self.failed_steps
            facts.append(f"{self.failed_steps} of {whole} steps without a picture or a finite answer left out")
        return ", ".join(facts)
