"""Distillation: the objective, the student in training, the targets as batches, and what a run leaves."""

from soundnet_kd.distill.objective import DistillationLoss
from soundnet_kd.distill.results import DistillResult

__all__ = ["DistillResult", "DistillationLoss"]
