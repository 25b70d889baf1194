"""How this process was started: by which command, and as which of several that torchrun, SLURM, LSF or MPI started.

Each variable of the environment is read because it is the launcher's mark on a process that it started. Those that a
job script, a container or an older run leave in a shell (RANK, WORLD_SIZE, SLURM_NTASKS …) mean nothing without that
mark.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

_command: ContextVar[tuple[str, ...]] = ContextVar("command", default=())


@contextmanager
def running(words: Sequence[str]) -> Iterator[None]:
    """Note for the block which command line is run: its words, without the program's name."""
    token = _command.set(tuple(words))
    try:
        yield
    finally:
        _command.reset(token)


def command_words() -> tuple[str, ...]:
    """Return the words of the command line that is run; none where Python calls a function."""
    return _command.get()


@dataclass(frozen=True)
class Launch:
    """What started this process, and others beside it.

    Attributes
    ----------
    name : str
    rank, processes : int
        This process' number, from 0, and how many there are.
    """

    name: str
    rank: int
    processes: int


_INTERACTIVE = ("bash", "interactive")
"""Names of SLURM's jobs that are a shell, in which a person starts single processes."""
_LAUNCHERS = (
    ("torchrun", ("TORCHELASTIC_RUN_ID",), "RANK", ("WORLD_SIZE",)),
    # jsrun sets Open MPI's variables too, and Open MPI's mpirun may work within a step of srun or through one.
    ("jsrun", ("JSM_NAMESPACE_RANK",), "JSM_NAMESPACE_RANK", ("JSM_NAMESPACE_SIZE",)),
    ("mpirun", ("OMPI_COMM_WORLD_RANK",), "OMPI_COMM_WORLD_RANK", ("OMPI_COMM_WORLD_SIZE",)),
    # A batch script has SLURM_NTASKS and SLURM_PROCID too; only what srun starts belongs to a step.
    ("srun", ("SLURM_STEP_ID", "SLURM_STEPID"), "SLURM_PROCID", ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")),
    # srun sets these itself.
    ("mpirun", ("PMI_RANK",), "PMI_RANK", ("PMI_SIZE",)),
)


def find_launch() -> Launch | None:
    """Return what started this process as one of several, or None if it was started alone."""
    for name, marks, rank, sizes in _LAUNCHERS:
        number = _number(rank)
        marked = any(mark in os.environ for mark in marks) or (name == "srun" and bool(number))
        shell = name == "srun" and os.environ.get("SLURM_JOB_NAME") in _INTERACTIVE
        if marked and number is not None and not shell:
            processes = next((count for size in sizes if (count := _number(size)) is not None), number + 1)
            # A single process of one launcher may still be one of several that another started.
            if processes > 1:
                return Launch(name, number, processes)
    return None


def is_first_process() -> bool:
    """Whether this process is the one to write and to speak, where several train together."""
    launch = find_launch()
    return launch is None or launch.rank == 0


def _number(variable: str) -> int | None:
    text = os.environ.get(variable, "")
    return int(text) if text.isdigit() else None
