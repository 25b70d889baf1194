"""Train a network on labelled pieces of sound, and keep its last or its best weights."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor, nn
from torch.utils.data import DataLoader

from soundnet_kd.errors import SettingsError
from soundnet_kd.models import Network, choose_device
from soundnet_kd.models.device import keep_freed_memory
from soundnet_kd.system.workers import batch_readers
from soundnet_kd.training.callbacks import Columns, Progress, read_history
from soundnet_kd.training.checkpoints import BEST_FILE, FOLDER, BestCheckpoint, LastCheckpoints, last_checkpoint
from soundnet_kd.training.devices import trainer_options
from soundnet_kd.training.loading import StreamBatches, loader_options
from soundnet_kd.training.optimization import SHARE, TrainingConfig, accuracy, loss_of
from soundnet_kd.training.segments import SegmentDataset
from soundnet_kd.training.trainer import fit, trainer_of

FIGURES = ("train/loss", "train/accuracy", "train/learning_rate")
MEASURES = ("validation/loss", "validation/accuracy")


def in_batches(count: int, batch_size: int) -> Iterator[list[int]]:
    """Return 0 … count - 1 in batches, the last one of what is left."""
    for first in range(0, count, batch_size):
        yield list(range(first, min(first + batch_size, count)))


class BatchesDataModule(lightning.LightningDataModule):
    """Batches of pieces of sound, from the trainer's step on.

    Parameters
    ----------
    dataset : SegmentDataset
        To learn from.
    validation : SegmentDataset or None
        To measure by after each epoch; its last batch may be smaller.
    batch_size : int
    steps : int
        Steps of the whole training.
    workers : int
        Processes that read; 0 reads in the main process.
    """

    def __init__(
        self, dataset: SegmentDataset, validation: SegmentDataset | None, batch_size: int, steps: int, workers: int
    ) -> None:
        super().__init__()
        self.dataset = dataset
        self.validation = validation
        self.batch_size = batch_size
        self.steps = steps
        self.workers = workers

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Return the batches that are left."""
        first_step = 0 if self.trainer is None else self.trainer.global_step
        batches = StreamBatches(self.batch_size, self.steps, first_step)
        return DataLoader(self.dataset, batch_sampler=batches, **self._options())

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Return the batches to measure by."""
        assert self.validation is not None
        batches = list(in_batches(len(self.validation), self.batch_size))
        return DataLoader(self.validation, batch_sampler=batches, **self._options())

    def _options(self) -> dict[str, Any]:
        pinned = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return loader_options(self.workers, pinned, lambda: self.dataset[0], self.batch_size)


@dataclass(frozen=True)
class Trained:
    """What a training left beside the network.

    Attributes
    ----------
    history : list of dict from figure to number
        What was logged, in the order of the steps.
    kept_step : int
        Step whose weights the network has.
    steps_per_epoch : int
    seconds : float
        Time that the training took, over all its starts.
    """

    history: list[dict[str, float]]
    kept_step: int
    steps_per_epoch: int
    seconds: float


class NetworkTraining(lightning.LightningModule):
    """Learn what share of a piece of sound is of each class.

    Parameters
    ----------
    network : Network
    config : TrainingConfig
    steps, steps_per_epoch : int
        Steps of the whole training, and of one epoch.
    seed : int
        Seed of random numbers that the network itself uses, such as for dropout.
    margin : int, optional
        Where the network learns from steps of one of its layers in place of sounds: how many at either end are only
        what surrounds the others.
    """

    def __init__(
        self,
        network: Network,
        config: TrainingConfig,
        steps: int,
        steps_per_epoch: int,
        seed: int,
        margin: int | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self._amplitude = network.preprocessing.amplitude
        self._steps = (steps, steps_per_epoch)
        self._seed = seed
        self._continue = None if margin is None else partial(network.logits_from, margin=margin)

    def forward(self, sound: Tensor) -> Tensor:
        """Return the logits (batch, outputs) of pieces (batch, 1, samples) in ±1, or standardised by their dataset."""
        return self.network.logits(sound * self._amplitude)

    def on_train_batch_start(self, batch: Any, batch_index: int) -> None:
        """Set what goes by the step; a run that is taken up draws what it would have drawn."""
        step = self.trainer.global_step
        torch.manual_seed(self._seed * 1_000_003 + step)
        for group in self.trainer.optimizers[0].param_groups:
            now = self.config.at(step, *self._steps)
            group.update({**now, "lr": now["lr"] * group.get(SHARE, 1.0)})

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Return the loss of a batch."""
        sound, targets = batch
        logits = self(sound) if self._continue is None else self._continue(sound)
        loss, correct = self._measures(logits, targets)
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.log_dict(dict(zip(FIGURES, (loss.detach(), correct, rate), strict=True)))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        """Log loss and accuracy of a batch of the validation sounds."""
        sound, targets = batch
        self.log_dict(dict(zip(MEASURES, self._measures(self(sound), targets), strict=True)), batch_size=len(sound))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer."""
        return self.config.optimizer_for(self.network)

    def _measures(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return loss and accuracy of a batch."""
        return loss_of(self.config.loss, logits, targets), accuracy(self.config.loss, logits, targets)


class Patience(EarlyStopping):
    """End a training that has not become better for so many epochs, also one that is taken up after that."""

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """End at once, if it had ended."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class Stopwatch(lightning.Callback):
    """Count the seconds of a training, over all its starts."""

    def __init__(self) -> None:
        self._before = 0.0
        # A training that is taken up after its last step does not start any more.
        self._started: float | None = None

    @property
    def seconds(self) -> float:
        """Until now."""
        return self._before + (0.0 if self._started is None else monotonic() - self._started)

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Start."""
        self._started = monotonic()

    def state_dict(self) -> dict[str, float]:
        """Return what a checkpoint keeps."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Go on from a checkpoint."""
        self._before = state_dict["seconds"]


def train_network(
    network: Network,
    config: TrainingConfig,
    dataset: SegmentDataset,
    validation: SegmentDataset | None,
    folder: Path,
    name: str,
    seed: int,
    whole_epochs: bool = True,
    device: str = "auto",
    workers: int | None = None,
    checkpoint_minutes: float = 10.0,
) -> Trained:
    """Train a network in place, from its last checkpoint on if there is one; it stays on the device.

    Parameters
    ----------
    network : Network
    config : TrainingConfig
    dataset : SegmentDataset
        To learn from.
    validation : SegmentDataset or None
        To measure by after each epoch; None measures nothing.
    folder : Path
        For checkpoints and logs.
    name : str
        What the progress bar is of.
    seed : int
    whole_epochs : bool
        As in `step_counts`.
    device : str
        As in `choose_device`.
    workers : int, optional
        Processes that read; 0 on a CPU, else as many as there are cores but one, at most 8, if not given.
    checkpoint_minutes : float
        Longest time between two checkpoints.

    Raises
    ------
    SettingsError
        If the training diverged, or is to be measured and nothing is there to measure by.
    """
    root_device = choose_device(device)
    if workers is None:
        workers = batch_readers(root_device.type)
    if not validation:
        require_no_validation(config)
    batch_size, steps_per_epoch, steps = step_counts(config, len(dataset), whole_epochs)
    keeps_best = config.weights == "best"
    validate_every = steps_per_epoch if validation else 0
    monitor, mode = f"validation/{config.best_by}", "max" if config.best_by == "accuracy" else "min"
    stopwatch = Stopwatch()
    callbacks: list[lightning.Callback] = [
        Columns([*FIGURES, *(MEASURES if validation else ())]),
        Progress(name),
        stopwatch,
        *([BestCheckpoint(folder / FOLDER, monitor, mode)] if keeps_best else []),
        *([_patience(config.patience, monitor, mode)] if config.patience else []),
        LastCheckpoints(folder / FOLDER, checkpoint_minutes, keep=2, validate_every=validate_every),
    ]
    keep_freed_memory()
    trainer = trainer_of(
        folder,
        steps,
        validate_every=validate_every,
        precision=config.precision,
        callbacks=callbacks,
        device_options=trainer_options(root_device, devices=1, nodes=1, together=False),
    )
    module = NetworkTraining(network, config, steps, steps_per_epoch, seed, dataset.margin).train()
    start = last_checkpoint(folder, module.state_dict(), needs_best=keeps_best)
    fit(trainer, module, BatchesDataModule(dataset, validation, batch_size, steps, workers), start)
    last_step = kept_step = trainer.global_step
    best = folder / FOLDER / BEST_FILE
    if keeps_best and best.is_file():
        content = torch.load(best, map_location="cpu", weights_only=True)
        module.load_state_dict(content["state_dict"])
        kept_step = int(content["global_step"])
    if not all(bool(torch.isfinite(tensor).all()) for tensor in network.state_dict().values()):
        raise SettingsError(
            f"the training of {name} diverged at step {last_step}; try a lower learning rate, with another --out"
        )
    network.to(root_device).eval()
    return Trained(read_history(folder), kept_step, steps_per_epoch, stopwatch.seconds)


def step_counts(config: TrainingConfig, pieces: int, whole_epochs: bool = True) -> tuple[int, int, int]:
    """Count the pieces of a batch, the steps of an epoch, and those of the whole training.

    Parameters
    ----------
    config : TrainingConfig
    pieces : int
        Number of pieces in an epoch.
    whole_epochs : bool
        An epoch is as many steps as a pass needs at least, its last batch being filled up from the next pass. Else all
        passes together are as many steps as they need at least, and no batch is larger than a pass.
    """
    if whole_epochs:
        steps_per_epoch = max(1, math.ceil(pieces / config.batch_size))
        return config.batch_size, steps_per_epoch, config.epochs * steps_per_epoch
    batch_size = min(config.batch_size, pieces)
    return batch_size, math.ceil(pieces / batch_size), math.ceil(config.epochs * pieces / batch_size)


def require_no_validation(config: TrainingConfig) -> None:
    """Check that a training does without validation sounds.

    Raises
    ------
    SettingsError
        If weights or the end of the training are to be chosen by them.
    """
    if config.weights == "best" or config.patience:
        raise SettingsError(
            "there are no validation sounds to choose the best weights by; set a validation_share, or training.weights "
            "to last and training.patience to null"
        )


def parameter_count(network: nn.Module) -> int:
    """Count the parameters of a network, learned or frozen; the statistics of batch norm are none."""
    return sum(parameter.numel() for parameter in network.parameters())


def _patience(epochs: int, monitor: str, mode: str) -> Patience:
    return Patience(monitor, patience=epochs, mode=mode, check_on_train_epoch_end=False)
