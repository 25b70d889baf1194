"""The student learns from the sound what the teachers saw: objective, data feeding, training."""

from soundnet_kd.distill.objective import DistillationLoss
from soundnet_kd.distill.outcome import DistillResult
from soundnet_kd.distill.training import distill

__all__ = ["DistillResult", "DistillationLoss", "distill"]
