"""The student in training, as Lightning wants it."""

from typing import Any

import lightning
import torch
from torch import Tensor

from soundnet_kd.distill.data import Example
from soundnet_kd.distill.objective import DistillationLoss, Objective
from soundnet_kd.models import SoundNet


class Distillation(lightning.LightningModule):
    """Train a student on targets with Adam, as the paper did (learning rate 1e-3, beta1 0.9).

    It logs the loss in all and per head, and on held-out videos the agreement with each teacher: how often the
    student's first guess is the teacher's.
    """

    def __init__(self, student: SoundNet, objective: Objective = "soundnet", learning_rate: float = 1e-3) -> None:
        super().__init__()
        self.student = student
        self.loss = DistillationLoss(objective)
        self.learning_rate = learning_rate

    def training_step(self, batch: Example, batch_index: int) -> Tensor:
        """Give the loss of a batch."""
        waveform, targets = batch
        total, per_head = self.loss(self.student(waveform), targets)
        self.log("train/loss", total)
        self.log_dict({f"train/loss_{name}": value for name, value in per_head.items()})
        return total

    def validation_step(self, batch: Example, batch_index: int) -> None:
        """Log loss and agreement of a held-out batch."""
        waveform, targets = batch
        logits = self.student(waveform)
        total, per_head = self.loss(logits, targets)
        size = len(waveform)
        self.log("validation/loss", total, batch_size=size)
        for name, value in per_head.items():
            agreement = (logits[name].argmax(dim=1) == targets[name].argmax(dim=1)).float().mean()
            self.log(f"validation/loss_{name}", value, batch_size=size)
            self.log(f"validation/agreement_{name}", agreement, batch_size=size)

    def configure_optimizers(self) -> Any:
        """Give the paper's optimizer."""
        return torch.optim.Adam(self.student.parameters(), lr=self.learning_rate, betas=(0.9, 0.999))
