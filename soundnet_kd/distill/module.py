"""The Lightning module that trains a student."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import lightning
import torch
from torch import Tensor

from soundnet_kd.distill.data import Example
from soundnet_kd.distill.label_steps import averaged, interpolated, parameters_behind
from soundnet_kd.distill.objectives import Objectives
from soundnet_kd.errors import SettingsError
from soundnet_kd.models import Student
from soundnet_kd.models.device import keep_freed_memory
from soundnet_kd.pretrained.description import CHECKPOINT_KEY, describe
from soundnet_kd.training.checkpoints import HELD_OUT_LOSSES, LEAST_LOSS
from soundnet_kd.training.devices import gathered
from soundnet_kd.training.optimization import average_of, cosine_factor, is_fused
from soundnet_kd.training.trainer import be_deterministic

Schedule = Literal["constant", "cosine"]
TOP = 5
"""Number of first guesses among which the teacher's is looked for."""
HELD_OUT_GROUP = 64
"""Held-out clips, at most, among which features are compared."""
TEMPERATURE = "temperature_"
"""The start of the figures that say nothing of what is held out."""
VALIDATION, AVERAGED = "validation", "averaged"
"""What the figures on held-out videos begin with, those of the weights of the step and those of their average."""


class Distillation(lightning.LightningModule):
    """Train a student on targets with Adam, as the paper did (learning rate 1e-3, beta1 0.9).

    It logs the total loss and that of each objective and teacher, over all devices and accumulated batches of a step,
    and the learning rates; on held-out videos the losses and the agreement with each teacher: how often the teacher's
    first guess is the student's, and how often it is among the student's first five. Losses of held-out features are
    taken over groups of at most 64 clips, so that the number of pictures among which a sound's own has to be found
    depends neither on the batch nor on the devices. The average of the weights is measured in the same way; it is
    compared with features through the projections of the step, which are not averaged.

    Parameters
    ----------
    student : Student
    objectives : Objectives
    layer : str, optional
        The student's layer that is compared with features; needed only where features are compared.
    learning_rate : float
    schedule : {"constant", "cosine"}
        How the learning rates change over the steps.
    steps : int
        Optimizer steps of the whole training.
    accumulate : int
        Batches of a step.
    held : sequence of str
        Modules of the student that stay as they are: they are not updated, and their batch norm uses its running
        statistics as they are.
    kept : collection of str
        Parameters that were there before, for `kept_learning_rate`.
    kept_learning_rate : float, optional
        Learning rate of what was there before. [default: learning_rate]
    fixed_statistics : sequence of str
        Batch norms of the student that use their running statistics as they are, while their weights learn.
    weight_decay : float
        Above 0 the optimizer is AdamW: each step shrinks the weights by this fraction times the learning rate, but not
        biases, batch norms and temperatures.
    average : float, optional
        Decay of the exponential moving average of the student's weights that is kept beside them.

    Raises
    ------
    SettingsError
        If nothing learns of what is compared with features.
    """

    def __init__(
        self,
        student: Student,
        objectives: Objectives,
        layer: str | None = None,
        learning_rate: float = 1e-3,
        schedule: Schedule = "constant",
        steps: int = 100_000,
        accumulate: int = 1,
        held: Sequence[str] = (),
        kept: Collection[str] = (),
        kept_learning_rate: float | None = None,
        fixed_statistics: Sequence[str] = (),
        weight_decay: float = 0.0,
        average: float | None = None,
    ) -> None:
        super().__init__()
        self.student = student
        self.objectives = objectives
        self.layer = layer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.steps = steps
        self.accumulate = accumulate
        self.held = tuple(held)
        self.fixed_statistics = tuple(fixed_statistics)
        self.weight_decay = weight_decay
        self._losses: list[dict[str, Tensor]] = []
        self._held_out: dict[str, list[_HeldOut]] = {}
        self._sums: dict[str, Tensor] = {}
        self._heard = 0
        for name in self.held:
            student.get_submodule(name).requires_grad_(False)
        if layer is not None:
            behind = parameters_behind(student, layer)
            if len(behind) == sum(each.requires_grad for each in student.parameters()):
                hearing = " and ".join(objectives.settings.of_features)
                raise SettingsError(
                    f"nothing up to {layer} learns, which {hearing} would teach: leave freeze out, let it be {layer} "
                    f"or an earlier layer, or leave {hearing} out"
                )
            if not objectives.losses:
                # Nothing asks the heads, nor what lies behind the layer.
                for name in behind:
                    student.get_parameter(name).requires_grad_(False)
        self.kept = frozenset() if kept_learning_rate is None else frozenset(kept)
        self.kept_learning_rate = learning_rate if kept_learning_rate is None else kept_learning_rate
        self.averaged = None if average is None else average_of(student, average)
        self.train()

    def train(self, mode: bool = True) -> "Distillation":
        """Go into training mode; what is held does not, nor do batch norms with fixed statistics."""
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
        losses = {stage: self.trainer.callback_metrics.get(f"{stage}/loss") for stage in self._measured()}
        if self.averaged is not None:
            checkpoint[HELD_OUT_LOSSES] = {stage: float(loss) for stage, loss in losses.items() if loss is not None}

    def training_step(self, batch: Example, batch_index: int) -> Tensor:
        """Return the loss of a batch."""
        logits, layer = self._answer(self.student, batch)
        total, figures = self.objectives.of_distributions(logits, batch.distributions)
        if layer is not None:
            features = {name: gathered(batch.features[name]) for name in self.objectives.teachers}
            more, others = self.objectives.of_features(gathered(layer), features, gathered(batch.video))
            total, figures = total + more, figures | others
        assert isinstance(total, Tensor)
        self._losses.append(_named("train", {"loss": total.detach(), **figures}))
        if len(self._losses) == self.accumulate:
            self._log_losses()
        return total

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        """Take a step, and let the average follow."""
        super().optimizer_step(*arguments, **options)
        if self.averaged is not None:
            self.averaged.update_parameters(self.student)

    def _measured(self) -> dict[str, Student]:
        """Return the students that are measured on held-out videos, by what their figures begin with."""
        students = {VALIDATION: self.student}
        if self.averaged is not None:
            averaged = self.averaged.module
            assert isinstance(averaged, Student)
            students[AVERAGED] = averaged
        return students

    def _answer(self, student: Student, batch: Example) -> tuple[dict[str, Tensor], Tensor | None]:
        """Return a student's logits of each head, and its layer that is compared with features, at the labels' steps.

        The layer is averaged over each step; where a head has another number of steps, its logits are taken linearly
        between the middles of its own.
        """
        waveform, steps = student.preprocessing.amplify(batch.sound), batch.video.shape[1]
        logits: dict[str, Tensor]
        layer = None
        if self.layer is None:
            logits = student(waveform)
        else:
            output = student.output_layer
            found = student(waveform, [self.layer, output] if self.objectives.losses else [self.layer])
            layer = averaged(found[self.layer], steps)
            sizes = [len(names) for names in student.class_names.values()]
            heads = found[output].split(sizes, dim=1) if output in found else ()
            logits = dict(zip(student.class_names, heads, strict=False))
        return {name: interpolated(each, steps) for name, each in logits.items()}, layer

    def _log_losses(self) -> None:
        """Log the mean over the batches of a step."""
        names = self._losses[0].keys()
        means = {name: torch.stack([losses[name].detach() for losses in self._losses]).mean() for name in names}
        self._losses.clear()
        self.log_dict(means, sync_dist=True)
        groups = self.trainer.optimizers[0].param_groups
        rates = {figure: group["lr"] for (figure, _), group in zip(self._groups(), groups, strict=True)}
        for figure, rate in rates.items():
            self.log(f"train/{figure}", rate)

    def validation_step(self, batch: Example, batch_index: int) -> None:
        """Measure losses and agreement on a held-out batch; losses of features wait until all of them are there."""
        for stage, student in self._measured().items():
            logits, layer = self._answer(student, batch)
            total, figures = self.objectives.of_distributions(logits, batch.distributions)
            for name, answer in logits.items():
                figures |= agreement(name, answer, batch.distributions[name])
            if layer is not None:
                features = {name: batch.features[name] for name in self.objectives.teachers}
                self._held_out.setdefault(stage, []).append(_HeldOut(layer, features, batch.video))
            figures = {"loss": torch.as_tensor(total, device=self.device), **figures}
            for name, value in _named(stage, figures).items():
                self._sums[name] = self._sums.get(name, 0.0) + value * len(batch.sound)
        self._heard += len(batch.sound)

    def on_validation_epoch_end(self) -> None:
        """Log means over all that is held out, the same however many devices heard it.

        Lightning's own are wrong where the devices do not have equally many clips: it rounds their mean number down.
        """
        sums = gathered(torch.stack([*self._sums.values(), torch.tensor(float(self._heard), device=self.device)])[None])
        *found, heard = sums.sum(dim=0)
        figures = {name: value / heard for name, value in zip(self._sums, found, strict=True)}
        self._sums, self._heard = {}, 0
        for stage, parts in self._held_out.items():
            total, others = self._of_held_out_features(self._everyones(_joined(parts)))
            figures |= _named(stage, others)
            figures[f"{stage}/loss"] += total
        self._held_out = {}
        self.log_dict(figures)
        if self.averaged is not None:
            least = torch.fmin(*(figures[f"{stage}/loss"] for stage in (VALIDATION, AVERAGED)))
            self.log(LEAST_LOSS, least, logger=False)

    def _of_held_out_features(self, held_out: "_HeldOut") -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of features, and its figures, over groups of clips of almost the same size."""
        groups = -(-len(held_out.layer) // HELD_OUT_GROUP)
        parts = zip(
            held_out.layer.tensor_split(groups),
            held_out.video.tensor_split(groups),
            *(values.tensor_split(groups) for values in held_out.features.values()),
            strict=True,
        )
        sums: dict[str, Tensor] = {}
        for layer, video, *features in parts:
            total, figures = self.objectives.of_features(
                layer, dict(zip(held_out.features, features, strict=True)), video
            )
            for name, value in {"loss": total, **figures}.items():
                sums[name] = sums.get(name, 0.0) + value * (len(layer) / len(held_out.layer))
        return sums.pop("loss"), {name: value for name, value in sums.items() if not name.startswith(TEMPERATURE)}

    def _everyones(self, mine: "_HeldOut") -> "_HeldOut":
        """Join what all devices heard, in the order of the clips."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        ranks, clips = self.trainer.world_size, len(data.validation)
        if clips < ranks or ranks == 1:
            return mine
        longest = -(-clips // ranks)

        def join(values: Tensor) -> Tensor:
            padded = torch.cat([values, values[:1]])[:longest]
            # Each device has every so many-th clip.
            of_ranks = gathered(padded).reshape(ranks, longest, *values.shape[1:])
            return of_ranks.transpose(0, 1).flatten(0, 1)[:clips]

        return _HeldOut(join(mine.layer), {name: join(each) for name, each in mine.features.items()}, join(mine.video))

    def figures(self) -> list[str]:
        """Return the names of all values that are logged."""
        speed = [*dict(self._groups()), "clips_per_second", "data_wait_share"]
        figures = ["loss", *self.objectives.figures()]
        agreements = [f"agreement{top}_{head}" for head in self.objectives.classes for top in ("", f"_top{TOP}")]
        held_out = [name for name in figures if not name.startswith(TEMPERATURE)]
        return [f"train/{name}" for name in (*figures, *speed)] + [
            f"{stage}/{name}" for stage in self._measured() for name in (*held_out, *agreements)
        ]

    def configure_optimizers(self) -> Any:
        """Return the paper's optimizer, or AdamW, and the schedule of its learning rate."""
        groups = [group for _, group in self._groups()]
        # Lightning limits no gradients of a fused optimizer in bf16.
        fused = is_fused(groups) if self.trainer.gradient_clip_val is None else None
        kind = torch.optim.AdamW if self.weight_decay else torch.optim.Adam
        optimizer = kind(groups, betas=(0.9, 0.999), fused=fused)
        factor = {"constant": lambda step: 1.0, "cosine": lambda step: cosine_factor(step, self.steps)}[self.schedule]
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _groups(self) -> list[tuple[str, dict[str, Any]]]:
        """Return what learns in groups, each with the figure that its learning rate is logged as."""
        learning = {name: each for name, each in self.student.named_parameters() if each.requires_grad}
        new = [each for name, each in learning.items() if name not in self.kept]
        kept = [each for name, each in learning.items() if name in self.kept]
        rates = {
            "learning_rate": (self.learning_rate, [*new, *self.objectives.parameters()]),
            "learning_rate_kept": (self.kept_learning_rate, kept),
        }
        groups = []
        for figure, (rate, parameters) in rates.items():
            if not self.weight_decay:
                groups.append((figure, {"params": parameters, "lr": rate}))
                continue
            # A weight of a convolution or of a linear layer has several dimensions; a bias or a batch norm's has one.
            for decay, is_decayed in ((self.weight_decay, True), (0.0, False)):
                chosen = [each for each in parameters if (each.ndim > 1) == is_decayed]
                groups.append((figure, {"params": chosen, "lr": rate, "weight_decay": decay}))
        return [(figure, group) for figure, group in groups if group["params"]]


def agreement(name: str, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Measure how often a teacher's first guess is the student's, and how often it is among its first five.

    Parameters
    ----------
    name : str
        Name of the head.
    logits, target : (batch, classes, steps)

    Returns
    -------
    dict from `agreement_NAME` and `agreement_top5_NAME` to ()
        The second only if there are more than five classes.
    """
    guess = target.argmax(dim=1, keepdim=True)
    figures = {f"agreement_{name}": (logits.argmax(dim=1, keepdim=True) == guess).float().mean()}
    if logits.shape[1] > TOP:
        first = logits.topk(TOP, dim=1).indices
        figures[f"agreement_top{TOP}_{name}"] = (first == guess).any(dim=1).float().mean()
    return figures


class _HeldOut(NamedTuple):
    """Held-out clips, as `Objectives.of_features` takes them."""

    layer: Tensor
    features: dict[str, Tensor]
    video: Tensor


def _joined(parts: Sequence[_HeldOut]) -> _HeldOut:
    return _HeldOut(
        torch.cat([part.layer for part in parts]),
        {name: torch.cat([part.features[name] for part in parts]) for name in parts[0].features},
        torch.cat([part.video for part in parts]),
    )


def _named(stage: str, figures: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{stage}/{name}": value for name, value in figures.items()}
