"""The objective of distillation: the distance between the student and its teachers."""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from soundnet_kd.errors import SettingsError

Objective = Literal["soundnet", "kl", "l2"]
SOUNDNET_WEIGHT = 250.0
"""The factor lambda before the KL divergence in the paper's training code."""


class DistillationLoss:
    """Distance between the student's and the teachers' distributions, for each head and in total.

    Parameters
    ----------
    objective : {"soundnet", "kl", "l2"}
        `soundnet`: 250 x KL(teacher || student), averaged over *all* elements of a batch x classes matrix as Torch7's
        `DistKLDivCriterion` does, then over the (step, head) terms; a head of more classes therefore weighs less.
        `kl`: the ordinary divergence, summed over the classes, averaged over batch and steps, then over the heads.
        `l2`: squared distance of the two distributions, summed and averaged like `kl` (the paper's ablation).
    temperature : float
        Above 1 both distributions are softened, p^(1/T) normalised, and the distance is multiplied by T^2 so that its
        gradients keep their size (Hinton, Vinyals, Dean, 2015).
    weights : mapping from head to float, optional
        Weight of each head in the mean over the heads; 1 for heads that are not named.
    """

    def __init__(
        self,
        objective: Objective = "soundnet",
        temperature: float = 1.0,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        if objective not in DISTANCES:
            raise SettingsError(f"there is no objective {objective!r}; choose {' or '.join(DISTANCES)}")
        if temperature <= 0:
            raise SettingsError(f"temperature is {temperature}; it has to be above 0, and 1 changes nothing")
        self.objective = objective
        self.temperature = temperature
        self.weights = dict(weights or {})
        if any(weight < 0 for weight in self.weights.values()):
            raise SettingsError(f"the teachers' weights are {self.weights}; none may be negative")

    def __call__(self, logits: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare the student with the teachers.

        Parameters
        ----------
        logits : mapping from head to (batch, classes, steps)
        targets : mapping from head to (batch, classes, steps)
            Distributions over the classes.

        Returns
        -------
        total : ()
            Weighted mean over the heads.
        per_head : dict from head to ()
            Distance of each head, without its weight.
        """
        if logits.keys() != targets.keys():
            raise SettingsError(f"the student has the heads {', '.join(logits)}, the targets have {', '.join(targets)}")
        per_head = {name: self._distance(logits[name].float(), targets[name]) for name in logits}
        weights = {name: self.weights.get(name, 1.0) for name in per_head}
        total = torch.stack([weights[name] * value for name, value in per_head.items()]).sum()
        return total / sum(weights.values()), per_head

    def _distance(self, logits: Tensor, target: Tensor) -> Tensor:
        if logits.shape != target.shape:
            raise SettingsError(
                f"the student answers {tuple(logits.shape)} (batch, classes, steps) to targets of {tuple(target.shape)}"
            )
        if self.temperature != 1:
            logits = logits / self.temperature
            target = (target.log() / self.temperature).softmax(dim=1)
        return self.temperature**2 * DISTANCES[self.objective](logits, target)


def soundnet_distance(logits: Tensor, target: Tensor) -> Tensor:
    """Return the divergence as the paper's code computed it; (batch, classes, steps) both, the target sums to 1."""
    return SOUNDNET_WEIGHT * _divergence(logits, target).mean()


def kl_distance(logits: Tensor, target: Tensor) -> Tensor:
    """Return KL(target || student), summed over the classes, averaged over batch and steps."""
    return _divergence(logits, target).sum(dim=1).mean()


def l2_distance(logits: Tensor, target: Tensor) -> Tensor:
    """Return the squared distance, summed over the classes, averaged over batch and steps."""
    return (logits.softmax(dim=1) - target).square().sum(dim=1).mean()


DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "soundnet": soundnet_distance,
    "kl": kl_distance,
    "l2": l2_distance,
}
"""Of each objective, by the names in `Objective`."""


def _divergence(logits: Tensor, target: Tensor) -> Tensor:
    return torch.nn.functional.kl_div(logits.log_softmax(dim=1), target, reduction="none")
