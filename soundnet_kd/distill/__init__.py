"""The student learns from the sound what the teachers saw: objective, data feeding, training."""

from soundnet_kd.distill.objective import DistillationLoss
from soundnet_kd.distill.results import DistillResult

__all__ = ["DistillResult", "DistillationLoss"]
