"""The student in training, as Lightning wants it."""

import math
from typing import Any, Literal

import lightning
import torch
from torch import Tensor

from soundnet_kd.distill.data import Example
from soundnet_kd.distill.objective import DistillationLoss, Objective
from soundnet_kd.models import SoundNet

Schedule = Literal["constant", "cosine"]
WARM_UP_SHARE = 0.1


class Distillation(lightning.LightningModule):
    """Train a student on targets with Adam, as the paper did (learning rate 1e-3, beta1 0.9).

    It logs the loss in all and per head, and on held-out videos the agreement with each teacher: how often the
    student's first guess is the teacher's.
    """

    def __init__(
        self,
        student: SoundNet,
        objective: Objective = "soundnet",
        learning_rate: float = 1e-3,
        schedule: Schedule = "constant",
        steps: int = 100_000,
    ) -> None:
        super().__init__()
        self.student = student
        self.loss = DistillationLoss(objective)
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.steps = steps

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
        """Give the paper's optimizer, and the schedule of its learning rate."""
        optimizer = torch.optim.Adam(self.student.parameters(), lr=self.learning_rate, betas=(0.9, 0.999))
        factor = {"constant": lambda step: 1.0, "cosine": lambda step: cosine_factor(step, self.steps)}[self.schedule]
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def cosine_factor(step: int, steps: int) -> float:
    """Give what the learning rate is multiplied by: a linear warm-up over a tenth of the steps, then half a cosine.

    Besides training well it leaves the batch norm's running averages true: they are of the last ten steps or so, over
    which the weights hardly move any more.
    """
    warm_up = max(1, round(WARM_UP_SHARE * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))
