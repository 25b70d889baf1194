"""The targets as batches for the student: clips of exactly 20 s and four label steps, training and held out.

The seed determines their order. The time that the student waits for batches is measured here too.
"""

import hashlib
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from soundnet_kd.data import CLIP_SECONDS, STEP_SECONDS, LabelledClip, Targets, tile_to_clip
from soundnet_kd.errors import SettingsError
from soundnet_kd.training.augmentation import UNCHANGED, Augmentation
from soundnet_kd.training.loading import StreamBatches, item_at, loader_options

STEPS = round(CLIP_SECONDS / STEP_SECONDS)
MEASURED_CLIPS = 2048
"""Held-out clips, at most, on which the agreement is measured; more would only cost time."""
Example = tuple[Tensor, dict[str, Tensor]]
"""(1, samples) int16, or float32 in ±1; per teacher (classes, 4) float32."""


def fill_clip(clip: LabelledClip, sample_rate: int) -> tuple[NDArray[np.int16], dict[str, NDArray[np.float32]]]:
    """Make a clip of k label steps 20 s long and four steps long, as the paper's data loader did.

    The sound is padded with zeros (or cut) to k x 5 s; then sound and labels are repeated from their start until they
    fill 20 s and four steps, and cut there.

    Returns
    -------
    sound : (20 s of samples,) int16
    targets : dict from teacher to (4, classes) float32
    """
    sound = tile_to_clip(clip.sound, len(clip.frame_seconds), sample_rate)
    return sound, {name: np.resize(rows, (STEPS, rows.shape[1])) for name, rows in clip.distributions.items()}


class HeldOutClips(Dataset[Example]):
    """Held-out clips with their targets, without augmentation."""

    def __init__(self, targets: Targets) -> None:
        self.targets = targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Example:
        sound, distributions = fill_clip(self.targets[index], self.targets.sample_rate)
        return _tensors(sound, distributions)


class TrainingStream(Dataset[Example]):
    """An endless stream of training clips: each position always gives the same clip with the same augmentation.

    Parameters
    ----------
    targets : Targets
    clips : (clips,) int
        The clips to train on.
    augmentation : Augmentation
    seed : int
    """

    def __init__(self, targets: Targets, clips: NDArray[np.intp], augmentation: Augmentation, seed: int) -> None:
        self.targets = targets
        self.clips = clips
        self.augmentation = augmentation
        self.seed = seed

    def index_at(self, position: int) -> int:
        """Return the clip at a position."""
        return int(self.clips[item_at(position, len(self.clips), self.seed)])

    def __getitem__(self, position: int) -> Example:
        sound, distributions = self._filled(self.index_at(position))
        if not self.augmentation:
            return _tensors(sound, distributions)
        rng = np.random.default_rng((self.seed, position, 1))
        waveform, distributions = self.augmentation(
            (_full_scale_to_one(sound), distributions),
            lambda: self._another(rng),
            self.targets.sample_rate,
            rng,
        )
        return _tensors(waveform, distributions)

    def _another(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        sound, distributions = self._filled(int(rng.choice(self.clips)))
        return _full_scale_to_one(sound), distributions

    def _filled(self, index: int) -> tuple[NDArray[np.int16], dict[str, NDArray[np.float32]]]:
        return fill_clip(self.targets[index], self.targets.sample_rate)


class ClockedLoader(DataLoader[Example]):
    """A loader that measures how long batches are waited for.

    Attributes
    ----------
    waited_seconds : float
        Total time spent waiting for batches.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.waited_seconds = 0.0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        asked = perf_counter()
        for batch in super().__iter__():
            self.waited_seconds += perf_counter() - asked
            yield batch
            asked = perf_counter()


class TargetsDataModule(lightning.LightningDataModule):
    """Shuffled training clips and held-out ones; clips of one video are never on both sides.

    Parameters
    ----------
    targets : Targets
    batch_size : int
        Clips of an optimizer step, over all devices.
    steps : int
        Optimizer steps of the whole training.
    held_out : float
        Fraction of the videos held out, from 0 to 1.
    accumulate : int
        Number of batches whose gradients make one step.
    augmentation : Augmentation
        Augmentation of the training clips.
    workers : int
        Processes that read the targets, per device; 0 reads in the main process.
    seed : int
        Seed of the shuffling, the augmentation and the choice of held-out videos.
    """

    def __init__(
        self,
        targets: Targets,
        batch_size: int,
        steps: int,
        held_out: float = 0.05,
        accumulate: int = 1,
        augmentation: Augmentation = UNCHANGED,
        workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        training, validation = held_out_clips(targets.videos, held_out, seed)
        self.training = TrainingStream(targets, training, augmentation, seed)
        self.validation = Subset(HeldOutClips(targets), validation)  # type: ignore[arg-type]
        self.batch_size = batch_size
        self.steps = steps
        self.accumulate = accumulate
        self.workers = workers

    def train_dataloader(self) -> ClockedLoader:
        """Return this rank's batches from the trainer's step on."""
        rank, ranks, first_step = 0, 1, 0
        if self.trainer is not None:
            rank, ranks, first_step = self.trainer.global_rank, self.trainer.world_size, self.trainer.global_step
        batches = StreamBatches(self.batch_size, self.steps, first_step, self.accumulate, rank, ranks)
        piece = self.batch_size // (self.accumulate * ranks)
        return ClockedLoader(self.training, batch_sampler=batches, **self._loader_options(self.workers, piece, ranks))

    def val_dataloader(self) -> DataLoader[Example]:
        """Return this rank's part of the held-out clips, in order; all of them if there are fewer than ranks."""
        rank, ranks = (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
        count = len(self.validation)
        mine = Subset(self.validation, range(rank, count, ranks)) if count >= ranks else self.validation
        piece = self.batch_size // (self.accumulate * ranks)
        return DataLoader(mine, piece, **self._loader_options(min(self.workers, 2), piece, ranks))

    def _loader_options(self, workers: int, batch_size: int, ranks: int) -> dict[str, Any]:
        on_accelerator = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return loader_options(workers, on_accelerator, lambda: self.training[0], batch_size, ranks)


def _full_scale_to_one(sound: NDArray[np.int16]) -> NDArray[np.float32]:
    return sound.astype(np.float32) / np.float32(2**15)


def _tensors(sound: NDArray[Any], distributions: dict[str, NDArray[np.float32]]) -> Example:
    return torch.from_numpy(sound)[None], {
        name: torch.from_numpy(np.ascontiguousarray(rows.T)) for name, rows in distributions.items()
    }


def held_out_clips(videos: NDArray[np.uint64], fraction: float, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Divide clips into those to train on and those held out, on which agreement is measured.

    A video is held out if a hash of its name and the seed is below `fraction`, so that adding videos does not move
    others. Of two or more videos at least one is held out, unless `fraction` is 0, and at least one is trained on.

    Parameters
    ----------
    videos : (clips,) uint64
        The video of each clip, as in `Targets.videos`.
    fraction : float
        Fraction of the videos to hold out, from 0 to below 1.
    seed : int

    Returns
    -------
    training : (clips_to_learn_from,) int
    measured : (clips_to_measure_on,) int
        Held-out clips, evenly spread; at most 2048.

    Raises
    ------
    SettingsError
        If `fraction` is out of range.
    """
    if not 0 <= fraction < 1:
        raise SettingsError(f"held_out is {fraction}; it is a fraction of the videos, from 0 to below 1")
    names, video_of_clip = np.unique(videos, return_inverse=True)
    places = np.fromiter((_place(int(name), seed) for name in names), np.float64, len(names))
    count = 0
    if fraction > 0:
        count = min(max(int((places < fraction).sum()), 1), len(names) - 1)
    held = np.zeros(len(names), dtype=bool)
    held[np.argsort(places)[:count]] = True
    held_clips = held[video_of_clip]
    measured = np.flatnonzero(held_clips)
    if len(measured) > MEASURED_CLIPS:
        measured = measured[np.linspace(0, len(measured) - 1, MEASURED_CLIPS).round().astype(int)]
    return np.flatnonzero(~held_clips), measured


def _place(video: int, seed: int) -> float:
    """Return a number from 0 to 1 that is determined by a video's name and the seed."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{video}".encode()).digest()[:8]) / 2**64


class Throughput(lightning.Callback):
    """Log clips per second on all devices, and the fraction of the time that the first device waited for a batch.

    Validation does not count. A GPU keeps working while the processor waits, so that the fraction is an upper bound of
    the time lost.

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
        """Start the clock again."""
        self._started += perf_counter() - self._stopped

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_index: int,
    ) -> None:
        """Log the throughput at the steps at which the trainer logs."""
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
