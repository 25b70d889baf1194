"""The Lightning module that trains a student."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import lightning
import torch
from torch import Tensor

from soundnet_kd.distill.data import Example
from soundnet_kd.distill.objective import DistillationLoss
from soundnet_kd.models import Student
from soundnet_kd.models.device import keep_freed_memory
from soundnet_kd.pretrained.description import CHECKPOINT_KEY, describe
from soundnet_kd.training.optimization import cosine_factor, is_fused
from soundnet_kd.training.trainer import be_deterministic

Schedule = Literal["constant", "cosine"]
TOP = 5
"""Number of first guesses among which the teacher's is looked for."""


class Distillation(lightning.LightningModule):
    """Train a student on targets with Adam, as the paper did (learning rate 1e-3, beta1 0.9).

    It logs the total loss and that of each head, over all devices and accumulated batches of a step, and the learning
    rates; on held-out videos the loss and the agreement with each teacher: how often the teacher's first guess is the
    student's, and how often it is among the student's first five.

    Parameters
    ----------
    student : Student
    loss : DistillationLoss
    learning_rate : float
    schedule : {"constant", "cosine"}
        How the learning rates go over the steps.
    steps : int
        Optimizer steps of the whole training.
    accumulate : int
        Batches of a step.
    held : sequence of str
        Modules of the student that stay as they are: they get no step, and their batch norm uses the running averages
        that it brought along, and leaves them so.
    kept : collection of str
        Parameters that were there before, for `kept_learning_rate`.
    kept_learning_rate : float, optional
        Learning rate of what was there before. [default: learning_rate]
    fixed_statistics : sequence of str
        Batch norms of the student that use their running averages and leave them so, while their weights learn.
    """

    def __init__(
        self,
        student: Student,
        loss: DistillationLoss,
        learning_rate: float = 1e-3,
        schedule: Schedule = "constant",
        steps: int = 100_000,
        accumulate: int = 1,
        held: Sequence[str] = (),
        kept: Collection[str] = (),
        kept_learning_rate: float | None = None,
        fixed_statistics: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.student = student
        self.loss = loss
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.steps = steps
        self.accumulate = accumulate
        self.held = tuple(held)
        self.fixed_statistics = tuple(fixed_statistics)
        self._losses: list[dict[str, Tensor]] = []
        for name in self.held:
            student.get_submodule(name).requires_grad_(False)
        self.kept = frozenset() if kept_learning_rate is None else frozenset(kept)
        self.kept_learning_rate = learning_rate if kept_learning_rate is None else kept_learning_rate
        self.train()

    def train(self, mode: bool = True) -> "Distillation":
        """Go into training mode; what is held does not, nor do batch norms with fixed averages."""
        super().train(mode)
        for name in (*self.held, *self.fixed_statistics):
            self.student.get_submodule(name).eval()
        return self

    def on_fit_start(self) -> None:
        """Prepare the process that trains, which may be another than the one that was started."""
        keep_freed_memory()
        be_deterministic()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Describe the student in the checkpoint, so that it can be used without the run folder."""
        checkpoint[CHECKPOINT_KEY] = describe(self.student)

    def training_step(self, batch: Example, batch_index: int) -> Tensor:
        """Return the loss of a batch."""
        sound, targets = batch
        total, per_head = self.loss(self.student(self.student.preprocessing.amplify(sound)), targets)
        self._losses.append(_named("train", total.detach(), per_head))
        if len(self._losses) == self.accumulate:
            self._log_losses()
        return total

    def _log_losses(self) -> None:
        """Log the mean over the batches of a step."""
        names = self._losses[0].keys()
        means = {name: torch.stack([losses[name].detach() for losses in self._losses]).mean() for name in names}
        self._losses.clear()
        self.log_dict(means, sync_dist=True)
        groups = self.trainer.optimizers[0].param_groups
        for name, group in zip(self._groups(), groups, strict=True):
            self.log(f"train/{name}", group["lr"])

    def validation_step(self, batch: Example, batch_index: int) -> None:
        """Log loss and agreement of a held-out batch."""
        sound, targets = batch
        logits = self.student(self.student.preprocessing.amplify(sound))
        figures = _named("validation", *self.loss(logits, targets))
        for name, answer in logits.items():
            figures |= agreement(name, answer, targets[name])
        self.log_dict(figures, batch_size=len(sound), sync_dist=True)

    def figures(self) -> list[str]:
        """Return the names of all values that are logged."""
        heads = list(self.student.class_names)
        speed = [*self._groups(), "clips_per_second", "data_wait_share"]
        losses = ["loss", *(f"loss_{head}" for head in heads)]
        agreements = [f"agreement{top}_{head}" for head in heads for top in ("", f"_top{TOP}")]
        return [f"train/{name}" for name in (*losses, *speed)] + [
            f"validation/{name}" for name in (*losses, *agreements)
        ]

    def configure_optimizers(self) -> Any:
        """Return the paper's optimizer, and the schedule of its learning rate."""
        groups = list(self._groups().values())
        # Lightning limits no gradients of a fused optimizer in bf16.
        fused = is_fused(groups) if self.trainer.gradient_clip_val is None else None
        optimizer = torch.optim.Adam(groups, betas=(0.9, 0.999), fused=fused)
        factor = {"constant": lambda step: 1.0, "cosine": lambda step: cosine_factor(step, self.steps)}[self.schedule]
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _groups(self) -> dict[str, dict[str, Any]]:
        """Return what learns, by the figure that its learning rate is logged as."""
        learning = {name: each for name, each in self.student.named_parameters() if each.requires_grad}
        groups = {
            "learning_rate": (self.learning_rate, learning.keys() - self.kept),
            "learning_rate_kept": (self.kept_learning_rate, learning.keys() & self.kept),
        }
        return {
            figure: {"params": [each for name, each in learning.items() if name in names], "lr": rate}
            for figure, (rate, names) in groups.items()
            if names
        }


def agreement(name: str, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Measure how often a teacher's first guess is the student's, and how often it is among its first five.

    Parameters
    ----------
    name : str
        Name of the head.
    logits, target : (batch, classes, steps)

    Returns
    -------
    dict from `validation/agreement_NAME` and `validation/agreement_top5_NAME` to ()
        The second only if there are more than five classes.
    """
    guess = target.argmax(dim=1, keepdim=True)
    figures = {f"validation/agreement_{name}": (logits.argmax(dim=1, keepdim=True) == guess).float().mean()}
    if logits.shape[1] > TOP:
        first = logits.topk(TOP, dim=1).indices
        figures[f"validation/agreement_top{TOP}_{name}"] = (first == guess).any(dim=1).float().mean()
    return figures


def _named(stage: str, total: Tensor, per_head: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{stage}/loss": total, **{f"{stage}/loss_{name}": value for name, value in per_head.items()}}
