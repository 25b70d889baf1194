"""Train a network on labelled pieces of sound, and keep its last or its best weights."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor, nn
from torch.utils.data import DataLoader

from soundnet_kd.errors import SettingsError
from soundnet_kd.models import choose_device
from soundnet_kd.models.device import keep_freed_memory
from soundnet_kd.training.callbacks import Columns, Progress, read_history
from soundnet_kd.training.checkpoints import BEST_FILE, FOLDER, BestCheckpoint, LastCheckpoints, last_checkpoint
from soundnet_kd.training.devices import trainer_options, usual_workers
from soundnet_kd.training.loading import loader_options
from soundnet_kd.training.optimization import TrainingConfig, accuracy, loss_of
from soundnet_kd.training.segments import SegmentDataset
from soundnet_kd.training.streams import StreamBatches
from soundnet_kd.training.trainer import fit, trainer_of

FIGURES = ("train/loss", "train/accuracy", "train/learning_rate")
MEASURES = ("validation/loss", "validation/accuracy")

ForwardFunction = Callable[[Tensor], Tensor]
"""Gives the logits (batch, outputs) of sound (batch, 1, samples), scaled as the training pieces are."""


@dataclass(frozen=True, eq=False)
class TrainingBatches:
    """What a network learns from, and what it is measured by meanwhile.

    Attributes
    ----------
    stream : SegmentDataset
    batch_size : int
    steps : int
        Of the whole training.
    steps_per_epoch : int
    validation : SegmentDataset, optional
        None measures nothing.
    validation_pieces : int
        How many of it, from its start.
    """

    stream: SegmentDataset
    batch_size: int
    steps: int
    steps_per_epoch: int
    validation: SegmentDataset | None = None
    validation_pieces: int = 0

    def batches(self, first_step: int, workers: int, pinned: bool) -> DataLoader[tuple[Tensor, Tensor]]:
        """Return the batches from a step on."""
        batches = StreamBatches(self.batch_size, self.steps, first_step)
        options = loader_options(workers, pinned, lambda: self.stream[0], self.batch_size)
        return DataLoader(self.stream, batch_sampler=batches, **options)

    def measured(self, workers: int, pinned: bool) -> DataLoader[tuple[Tensor, Tensor]]:
        """Return the batches to measure by; the last one may be smaller."""
        assert self.validation is not None
        return DataLoader(
            self.validation,
            batch_sampler=list(in_batches(self.validation_pieces, self.batch_size)),
            **loader_options(workers, pinned, lambda: self.stream[0], self.batch_size),
        )


def in_batches(count: int, batch_size: int) -> Iterator[list[int]]:
    """Give 0 … count - 1 in batches, the last one of what is left."""
    for first in range(0, count, batch_size):
        yield list(range(first, min(first + batch_size, count)))


class BatchesDataModule(lightning.LightningDataModule):
    """A feed, from the trainer's step on.

    Parameters
    ----------
    feed : TrainingBatches
    workers : int
        Processes that read; 0 reads in the main process.
    """

    def __init__(self, feed: TrainingBatches, workers: int) -> None:
        super().__init__()
        self.feed = feed
        self.workers = workers

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Return the batches that are left."""
        assert self.trainer is not None
        return self.feed.batches(self.trainer.global_step, self.workers, self._pinned)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Return the batches to measure by."""
        return self.feed.measured(self.workers, self._pinned)

    @property
    def _pinned(self) -> bool:
        assert self.trainer is not None
        return self.trainer.strategy.root_device.type == "cuda"


@dataclass(frozen=True)
class Trained:
    """What a training left beside the network.

    Attributes
    ----------
    history : list of dict from figure to number
        What was logged, in the order of the steps.
    steps : int
        Of the optimizer.
    kept_step : int
        Whose weights the network has.
    seconds : float
        That the training took, over all its starts.
    """

    history: list[dict[str, float]]
    steps: int
    kept_step: int
    seconds: float


class NetworkTraining(lightning.LightningModule):
    """Learn what share of a piece of sound is of each class.

    Parameters
    ----------
    network : Module
    listen : callable
        Lets the network hear.
    optimisation : TrainingConfig
    feed : TrainingBatches
    seed : int
        Of what the network itself draws, such as dropout.
    """

    def __init__(
        self,
        network: nn.Module,
        listen: ForwardFunction,
        optimisation: TrainingConfig,
        feed: TrainingBatches,
        seed: int,
    ) -> None:
        super().__init__()
        self.network = network
        self.optimisation = optimisation
        self._listen = listen
        self._steps = (feed.steps, feed.steps_per_epoch)
        self._seed = seed

    def on_train_batch_start(self, batch: Any, batch_index: int) -> None:
        """Set what goes by the step; a run that is taken up draws what it would have drawn."""
        step = self.trainer.global_step
        torch.manual_seed(self._seed * 1_000_003 + step)
        for group in self.trainer.optimizers[0].param_groups:
            group.update(self.optimisation.at(step, *self._steps))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Return the loss of a batch."""
        sound, targets = batch
        logits = self._listen(sound)
        loss = loss_of(self.optimisation.loss, logits, targets)
        right = accuracy(self.optimisation.loss, logits, targets)
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.log_dict(dict(zip(FIGURES, (loss.detach(), right, rate), strict=True)))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        """Log loss and accuracy of a batch of the validation sounds."""
        sound, targets = batch
        logits = self._listen(sound)
        loss = loss_of(self.optimisation.loss, logits, targets)
        right = accuracy(self.optimisation.loss, logits, targets)
        self.log_dict(dict(zip(MEASURES, (loss, right), strict=True)), batch_size=len(sound))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer."""
        return self.optimisation.optimizer_for(self.network)


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
    network: nn.Module,
    listen: ForwardFunction,
    optimisation: TrainingConfig,
    feed: TrainingBatches,
    folder: Path,
    name: str,
    seed: int,
    device: str = "auto",
    workers: int | None = None,
    checkpoint_minutes: float = 10.0,
) -> Trained:
    """Train a network in place, from its last checkpoint on if there is one; it stays on the device.

    Parameters
    ----------
    network : Module
    listen : callable
        Lets it hear a batch.
    optimisation : TrainingConfig
    feed : TrainingBatches
    folder : Path
        For checkpoints and logs.
    name : str
        What the progress bar is of.
    seed : int
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
    where = choose_device(device)
    if workers is None:
        workers = usual_workers(where)
    measured = feed.validation is not None and feed.validation_pieces > 0
    if not measured and (optimisation.weights == "best" or optimisation.patience):
        raise SettingsError(
            "there are no validation sounds to choose the best weights by; set a validation_share, or training.weights "
            "to last and training.patience to null"
        )
    monitor, mode = f"validation/{optimisation.best_by}", "max" if optimisation.best_by == "accuracy" else "min"
    every = feed.steps_per_epoch if measured else 0
    stopwatch = Stopwatch()
    callbacks: list[lightning.Callback] = [
        Columns([*FIGURES, *(MEASURES if measured else ())]),
        Progress(name),
        stopwatch,
        *([BestCheckpoint(folder / FOLDER, monitor, mode)] if optimisation.weights == "best" else []),
        *([_patience(optimisation.patience, monitor, mode)] if optimisation.patience else []),
        LastCheckpoints(folder / FOLDER, checkpoint_minutes, keep=2, validate_every=every),
    ]
    keep_freed_memory()
    on_one_device = trainer_options(where, devices=1, nodes=1, together=False)
    trainer = trainer_of(
        folder,
        feed.steps,
        validate_every=every,
        precision=optimisation.precision,
        callbacks=callbacks,
        device_options=on_one_device,
    )
    module = NetworkTraining(network, listen, optimisation, feed, seed).train()
    start = last_checkpoint(folder, module.state_dict(), needs_best=optimisation.weights == "best")
    fit(trainer, module, BatchesDataModule(feed, workers), start)
    steps = kept = trainer.global_step
    best = folder / FOLDER / BEST_FILE
    if optimisation.weights == "best" and best.is_file():
        content = torch.load(best, map_location="cpu", weights_only=True)
        module.load_state_dict(content["state_dict"])
        kept = int(content["global_step"])
    if not all(bool(torch.isfinite(tensor).all()) for tensor in network.state_dict().values()):
        raise SettingsError(
            f"the training of {name} diverged at step {steps}; try a lower learning rate, with another --out"
        )
    network.to(where).eval()
    return Trained(read_history(folder), steps, kept, stopwatch.seconds)


def parameter_count(network: nn.Module) -> int:
    """Count the parameters of a network, learned or frozen; the statistics of batch norm are none."""
    return sum(parameter.numel() for parameter in network.parameters())


def _patience(epochs: int, monitor: str, mode: str) -> Patience:
    return Patience(monitor, patience=epochs, mode=mode, check_on_train_epoch_end=False)
