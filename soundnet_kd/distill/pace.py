"""How fast a training goes, and how much of its time it waits for data."""

from time import perf_counter
from typing import Any

import lightning

from soundnet_kd.distill.data import ClockedLoader


class Pace(lightning.Callback):
    """Log clips per second over all devices, and the share of the time in which the first device waited for a batch.

    The time of validations does not count. On a GPU, which works while the processor waits, the share is an upper bound
    of what is lost.

    Parameters
    ----------
    batch_size : int
        Clips of an optimizer step, over all devices.
    """

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Start the clock."""
        self._restart(trainer)

    def on_validation_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Stop the clock."""
        self._stopped = perf_counter()

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Let the clock go on."""
        self._started += perf_counter() - self._stopped

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_index: int,
    ) -> None:
        """Log, at the steps at which the trainer logs."""
        steps = trainer.global_step - self._first_step
        if steps == 0 or trainer.global_step % getattr(trainer, "log_every_n_steps", 1):
            return
        seconds = perf_counter() - self._started
        waited = self._loader(trainer).waited_seconds - self._waited
        module.log("train/clips_per_second", steps * self.batch_size / seconds)
        module.log("train/data_wait_share", waited / seconds)
        self._restart(trainer)

    def _restart(self, trainer: lightning.Trainer) -> None:
        self._started = perf_counter()
        self._first_step = trainer.global_step
        self._waited = self._loader(trainer).waited_seconds

    @staticmethod
    def _loader(trainer: lightning.Trainer) -> ClockedLoader:
        loader = trainer.train_dataloader
        assert isinstance(loader, ClockedLoader)
        return loader
