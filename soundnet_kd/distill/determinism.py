"""Training that gives the same weights each time, on the same machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_memory: Any = torch.utils.deterministic


@contextmanager
def deterministic() -> Iterator[None]:
    """Prefer deterministic algorithms for the time of a training, and leave the process as it was."""
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    filled = _memory.fill_uninitialized_memory
    try:
        be_deterministic()
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        _memory.fill_uninitialized_memory = filled


def be_deterministic() -> None:
    """Do the same for good, in a process that does nothing but train."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    # It would fill every new tensor, which costs time and guards only against reading what was never written.
    _memory.fill_uninitialized_memory = False
