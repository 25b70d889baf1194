"""Distillation: the objective, the student in training, the targets as batches, and what a run leaves."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from soundnet_kd.distill.objective import DistillationLoss as DistillationLoss
    from soundnet_kd.distill.results import DistillResult as DistillResult

# Each is imported when it is first used: results are read without PyTorch.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "objective": ["DistillationLoss"],
        "results": ["DistillResult"],
    },
)
