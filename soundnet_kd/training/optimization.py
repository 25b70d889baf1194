"""How a network is trained: the optimizer, how its settings go over the epochs, and which weights are kept."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from soundnet_kd.errors import SettingsError
from soundnet_kd.training.augmentation import UNCHANGED, Augmentation

Loss = Literal["cross_entropy", "binary_cross_entropy", "squared_error"]
OptimizerName = Literal["sgd", "adam", "adamw"]
Schedule = Literal["constant", "linear", "cosine"]

WARM_UP_SHARE = 0.1
SHARE = "share"
"""Key of a group of the optimizer: what its learning rate is of the one that the schedule says; 1 if there is none."""


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained.

    Attributes
    ----------
    epochs : int
        Passes over the training sounds, or what the sampling calls an epoch; with patience, the most.
    batch_size : int
        Pieces of sound in a step.
    learning_rate : float
        Highest learning rate of the schedule.
    loss : {"cross_entropy", "binary_cross_entropy", "squared_error"}
        One class of several; each class for itself; the same, as a regression of its probability on 0 and 1.
    optimizer : {"sgd", "adam", "adamw"}
        Stochastic gradient descent, Adam, or Adam with decoupled weight decay.
    schedule : {"constant", "linear", "cosine"}
        linear: epoch by epoch from learning_rate and momentum to final_learning_rate and final_momentum. cosine: a
        warm-up over a tenth of the steps, then half a cosine down to 0.
    final_learning_rate : float, optional
        Value at the last epoch, for schedule linear.
    momentum : float
        Momentum of sgd.
    final_momentum : float, optional
        Value at the last epoch, for schedule linear.
    nesterov : bool
        Nesterov's momentum.
    weight_decay : float
        Each step shrinks the weights by this fraction times the learning rate.
    weights : {"last", "best"}
        Keep the weights of the last step, or those that were best on the validation sounds.
    best_by : {"accuracy", "loss"}
        What "best" is measured by, on the validation sounds.
    patience : int, optional
        Stop after this many epochs without a better result.
    one_network_per_tag : bool
        Where sounds have several tags: a network of its own for each, instead of one with an output for each.
    augmentation : Augmentation
        How pieces of sound are varied: shift (true: they begin anywhere), mix (share of them that are mixed with
        another one), gain_db (louder or softer by up to this many dB), noise (share of them that get noise of a random
        colour, 5 to 40 dB below their own level).
    precision : {"32", "bf16"}
        Precision of the computation; bf16 is faster on GPUs that support it.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    loss: Loss = "cross_entropy"
    optimizer: OptimizerName = "adam"
    schedule: Schedule = "constant"
    final_learning_rate: float | None = None
    momentum: float = 0.0
    final_momentum: float | None = None
    nesterov: bool = False
    weight_decay: float = 0.0
    weights: Literal["last", "best"] = "last"
    best_by: Literal["accuracy", "loss"] = "accuracy"
    patience: int | None = None
    one_network_per_tag: bool = False
    augmentation: Augmentation = UNCHANGED
    precision: Literal["32", "bf16"] = "32"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate", "patience", "final_learning_rate"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise SettingsError(f"{name} is {value}; it has to be above 0")
        if self.weight_decay < 0:
            raise SettingsError(f"weight_decay is {self.weight_decay}; it has to be at least 0, which is none")
        if self.optimizer != "sgd" and (self.momentum or self.final_momentum or self.nesterov):
            raise SettingsError(f"momentum is sgd's, not {self.optimizer}'s; leave it out, or set the optimizer to sgd")
        if self.nesterov and not self.momentum:
            raise SettingsError("nesterov needs a momentum above 0, such as 0.9")
        if self.schedule != "linear" and (self.final_learning_rate or self.final_momentum):
            raise SettingsError(f"final_learning_rate and final_momentum are for schedule linear, not {self.schedule}")

    def optimizer_for(self, network: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer of what learns in a network."""
        return self.optimizer_of([parameter for parameter in network.parameters() if parameter.requires_grad])

    def optimizer_of(self, learning: Sequence[Any]) -> torch.optim.Optimizer:
        """Return the optimizer of parameters, or of groups of them, each with its `SHARE` of the learning rate."""
        options: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        match self.optimizer:
            case "sgd":
                return torch.optim.SGD(learning, **options, momentum=self.momentum, nesterov=self.nesterov)
            case "adam":
                return torch.optim.Adam(learning, **options, fused=is_fused(learning))
            case "adamw":
                return torch.optim.AdamW(learning, **options, fused=is_fused(learning))

    def at(self, step: int, steps: int, steps_per_epoch: int) -> Mapping[str, float]:
        """Return the learning rate and the momentum of a step, by the optimizer's names.

        Parameters
        ----------
        step : int
            From 0.
        steps : int
            Steps of the whole training.
        steps_per_epoch : int
        """
        match self.schedule:
            case "constant":
                return {"lr": self.learning_rate}
            case "cosine":
                return {"lr": self.learning_rate * cosine_factor(step, steps)}
            case "linear":
                # The last epoch has the last value.
                done = step // steps_per_epoch / max(1, self.epochs - 1)
                now = {"lr": _between(self.learning_rate, self.final_learning_rate, done)}
                if self.optimizer == "sgd":
                    now["momentum"] = _between(self.momentum, self.final_momentum, done)
                return now


def is_fused(learning: Sequence[Any]) -> bool | None:
    """Tell how Adam is to go over parameters, or groups of them: on a CPU once, instead of once for each operation.

    Returns
    -------
    bool or None
        None leaves it to PyTorch.
    """
    parameters = [each for part in learning for each in (part["params"] if isinstance(part, dict) else [part])]
    return True if all(parameter.device.type == "cpu" for parameter in parameters) else None


def average_of(network: nn.Module, decay: float) -> AveragedModel:
    """Return an exponential moving average of a network's weights and batch norm; `update_parameters` moves it.

    Over the first steps it moves faster, so that little is left of the weights that it began with: step n keeps
    (1 + n) / (10 + n) of the average, as long as that is below the decay (TensorFlow's `ExponentialMovingAverage`).

    Parameters
    ----------
    network : Module
    decay : float
        How much of the average a step keeps; from 0 to below 1.
    """
    average = AveragedModel(network, multi_avg_fn=partial(_follow, decay), use_buffers=True)
    return average.requires_grad_(False)


def _follow(decay: float, averages: Any, current: Any, followed: Tensor | int) -> None:
    steps = int(followed)
    follow: Any = get_ema_multi_avg_fn  # It has no types.
    follow(min(decay, (1 + steps) / (10 + steps)))(averages, current, followed)


def loss_of(loss: Loss, logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean loss.

    Parameters
    ----------
    loss : {"cross_entropy", "binary_cross_entropy", "squared_error"}
    logits, targets : (batch, outputs)
        How much a sound is of each class, from 0 to 1.
    """
    match loss:
        case "cross_entropy":
            return nn.functional.cross_entropy(logits, targets)
        case "binary_cross_entropy":
            return nn.functional.binary_cross_entropy_with_logits(logits, targets)
        case "squared_error":
            return nn.functional.mse_loss(logits.sigmoid(), targets)


def probabilities(loss: Loss, logits: Tensor) -> Tensor:
    """Return what a network that learned by this loss takes each class to be worth, (batch, outputs) from 0 to 1."""
    return logits.softmax(dim=1) if loss == "cross_entropy" else logits.sigmoid()


def accuracy(loss: Loss, logits: Tensor, targets: Tensor) -> Tensor:
    """Return the share of right answers: of sounds by their likeliest class, or of all outputs by their side of 1/2."""
    if loss == "cross_entropy":
        return (logits.argmax(dim=1) == targets.argmax(dim=1)).float().mean()
    return ((logits > 0) == (targets > 0.5)).float().mean()


def _between(first: float, last: float | None, share: float) -> float:
    return first if last is None else first + (last - first) * share


def cosine_factor(step: int, steps: int) -> float:
    """Return what the learning rate is multiplied by: a linear warm-up over a tenth of the steps, then half a cosine.

    Besides training well it keeps the batch norm's running statistics accurate: they are of the last ten steps or so,
    over which the weights hardly move any more.
    """
    warm_up = max(1, round(WARM_UP_SHARE * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))
