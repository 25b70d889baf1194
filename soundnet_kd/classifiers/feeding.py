"""Batches of streams for Lightning: those that are left of a training, and those to measure by."""

from collections.abc import Iterator
from dataclasses import dataclass

import lightning
from torch import Tensor
from torch.utils.data import DataLoader

from soundnet_kd.classifiers.crops import VariedStream
from soundnet_kd.distill.loading import reading
from soundnet_kd.distill.stream import StreamBatches


@dataclass(frozen=True, eq=False)
class Feed:
    """What a network learns from, and what it is measured by meanwhile.

    Attributes
    ----------
    stream : VariedStream
    batch_size : int
    steps : int
        Of the whole training.
    steps_per_epoch : int
    validation : VariedStream, optional
        None measures nothing.
    validation_pieces : int
        How many of it, from its start.
    """

    stream: VariedStream
    batch_size: int
    steps: int
    steps_per_epoch: int
    validation: VariedStream | None = None
    validation_pieces: int = 0

    def batches(self, first_step: int, workers: int, pinned: bool) -> DataLoader[tuple[Tensor, Tensor]]:
        """Give the batches from a step on."""
        batches = StreamBatches(self.batch_size, self.steps, first_step)
        options = reading(workers, pinned, lambda: self.stream[0], self.batch_size)
        return DataLoader(self.stream, batch_sampler=batches, **options)

    def measured(self, workers: int, pinned: bool) -> DataLoader[tuple[Tensor, Tensor]]:
        """Give the batches to measure by; the last one may be smaller."""
        assert self.validation is not None
        return DataLoader(
            self.validation,
            batch_sampler=list(in_batches(self.validation_pieces, self.batch_size)),
            **reading(workers, pinned, lambda: self.stream[0], self.batch_size),
        )


def in_batches(count: int, batch_size: int) -> Iterator[list[int]]:
    """Give 0 … count - 1 in batches, the last one of what is left."""
    for first in range(0, count, batch_size):
        yield list(range(first, min(first + batch_size, count)))


class FeedDataModule(lightning.LightningDataModule):
    """A feed, from the trainer's step on.

    Parameters
    ----------
    feed : Feed
    workers : int
        Processes that read; 0 reads in the main process.
    """

    def __init__(self, feed: Feed, workers: int) -> None:
        super().__init__()
        self.feed = feed
        self.workers = workers

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Give the batches that are left."""
        assert self.trainer is not None
        return self.feed.batches(self.trainer.global_step, self.workers, self._pinned)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Give the batches to measure by."""
        return self.feed.measured(self.workers, self._pinned)

    @property
    def _pinned(self) -> bool:
        assert self.trainer is not None
        return self.trainer.strategy.root_device.type == "cuda"
