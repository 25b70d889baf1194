"""How far the student is from its teachers."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from soundnet_kd.errors import SettingsError

Objective = Literal["soundnet", "kl", "l2"]
SOUNDNET_WEIGHT = 250.0
"""The factor lambda before the KL divergence in the paper's training code."""


class DistillationLoss:
    """Distance between the student's answer and the teachers' distributions, per head and in all.

    Parameters
    ----------
    objective : {"soundnet", "kl", "l2"}
        `soundnet`: 250 x KL(teacher || student), averaged over *all* elements of a batch x classes matrix as Torch7's
        `DistKLDivCriterion` does, then over the (step, head) terms; a head of more classes therefore weighs less.
        `kl`: the ordinary divergence, summed over the classes, averaged over batch and steps, then over the heads.
        `l2`: squared distance of the two distributions, summed and averaged like `kl` (the paper's ablation).
    """

    def __init__(self, objective: Objective = "soundnet") -> None:
        if objective not in ("soundnet", "kl", "l2"):
            raise SettingsError(f"there is no objective {objective!r}; choose soundnet, kl or l2")
        self.objective = objective

    def __call__(self, logits: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare.

        Parameters
        ----------
        logits : mapping from head to (batch, classes, steps)
        targets : mapping from head to (batch, classes, steps)
            Distributions over the classes.

        Returns
        -------
        total : ()
            Mean over the heads.
        per_head : dict from head to ()
        """
        if logits.keys() != targets.keys():
            raise SettingsError(f"the student has the heads {', '.join(logits)}, the targets have {', '.join(targets)}")
        per_head = {name: self._distance(logits[name], targets[name]) for name in logits}
        return torch.stack(list(per_head.values())).mean(), per_head

    def _distance(self, logits: Tensor, target: Tensor) -> Tensor:
        if logits.shape != target.shape:
            raise SettingsError(
                f"the student answers {tuple(logits.shape)} (batch, classes, steps) to targets of {tuple(target.shape)}"
            )
        if self.objective == "l2":
            return (logits.softmax(dim=1) - target).square().sum(dim=1).mean()
        divergence = torch.nn.functional.kl_div(logits.log_softmax(dim=1), target, reduction="none")
        if self.objective == "soundnet":
            return SOUNDNET_WEIGHT * divergence.mean()
        return divergence.sum(dim=1).mean()
