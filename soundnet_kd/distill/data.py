"""Feed the targets to the student: clips of exactly 20 s and four label steps, in an order that the seed decides."""

from collections.abc import Iterator
from time import perf_counter
from typing import Any

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from soundnet_kd.data import CLIP_SECONDS, STEP_SECONDS, LabelledClip, Targets, tiled_to_clip
from soundnet_kd.distill.augmentation import UNCHANGED, Augmentation
from soundnet_kd.distill.loading import reading
from soundnet_kd.distill.split import held_out_clips
from soundnet_kd.distill.stream import StreamBatches, clip_at

STEPS = round(CLIP_SECONDS / STEP_SECONDS)
Example = tuple[Tensor, dict[str, Tensor]]
"""(1, samples) int16, or float32 in ±1; per teacher (classes, 4) float32."""


def fill(clip: LabelledClip, sample_rate: int) -> tuple[NDArray[np.int16], dict[str, NDArray[np.float32]]]:
    """Make a clip of k label steps 20 s long and four steps long, as the paper's data loader did.

    The sound is padded with zeros (or cut) to k x 5 s; then sound and labels are repeated from their start until they
    fill 20 s and four steps, and cut there.

    Returns
    -------
    sound : (20 s of samples,) int16
    targets : dict from teacher to (4, classes) float32
    """
    sound = tiled_to_clip(clip.sound, len(clip.frame_seconds), sample_rate)
    return sound, {name: np.resize(rows, (STEPS, rows.shape[1])) for name, rows in clip.distributions.items()}


class HeldOutClips(Dataset[Example]):
    """Targets as the student and its loss want them, unchanged."""

    def __init__(self, targets: Targets) -> None:
        self.targets = targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Example:
        sound, distributions = fill(self.targets[index], self.targets.sample_rate)
        return _tensors(sound, distributions)


class TrainingStream(Dataset[Example]):
    """An endless stream of training clips: every position of it always holds the same clip, varied in the same way.

    Parameters
    ----------
    targets : Targets
    clips : (clips,) int
        Those to learn from.
    augmentation : Augmentation
    seed : int
    """

    def __init__(self, targets: Targets, clips: NDArray[np.intp], augmentation: Augmentation, seed: int) -> None:
        self.targets = targets
        self.clips = clips
        self.augmentation = augmentation
        self.seed = seed

    def index_at(self, position: int) -> int:
        """Give the clip at a position."""
        return int(self.clips[clip_at(position, len(self.clips), self.seed)])

    def __getitem__(self, position: int) -> Example:
        sound, distributions = self._filled(self.index_at(position))
        if not self.augmentation:
            return _tensors(sound, distributions)
        rng = np.random.default_rng((self.seed, position, 1))
        waveform, distributions = self.augmentation(
            (_in_one(sound), distributions),
            lambda: self._another(rng),
            self.targets.sample_rate,
            rng,
        )
        return _tensors(waveform, distributions)

    def _another(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        sound, distributions = self._filled(int(rng.choice(self.clips)))
        return _in_one(sound), distributions

    def _filled(self, index: int) -> tuple[NDArray[np.int16], dict[str, NDArray[np.float32]]]:
        return fill(self.targets[index], self.targets.sample_rate)


class ClockedLoader(DataLoader[Example]):
    """A loader that knows how long it let others wait.

    Attributes
    ----------
    waited_seconds : float
        Time spent so far until batches were there.
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
        Of the whole training.
    held_out : float
        Share of the videos held out, from 0 to 1.
    accumulate : int
        Batches whose gradients make one step.
    augmentation : Augmentation
        Of the training clips.
    workers : int
        Processes that read, for each device; 0 reads in the main process.
    seed : int
        Of the shuffling, the augmentation and the choice of held-out videos.
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
        """Give this rank's batches from the trainer's step on."""
        rank, ranks, first_step = 0, 1, 0
        if self.trainer is not None:
            rank, ranks, first_step = self.trainer.global_rank, self.trainer.world_size, self.trainer.global_step
        batches = StreamBatches(self.batch_size, self.steps, first_step, self.accumulate, rank, ranks)
        piece = self.batch_size // (self.accumulate * ranks)
        return ClockedLoader(self.training, batch_sampler=batches, **self._reading(self.workers, piece, ranks))

    def val_dataloader(self) -> DataLoader[Example]:
        """Give this rank's share of the held-out clips, in order; all of them where there are fewer than ranks."""
        rank, ranks = (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
        count = len(self.validation)
        share = Subset(self.validation, range(rank, count, ranks)) if count >= ranks else self.validation
        piece = self.batch_size // (self.accumulate * ranks)
        return DataLoader(share, piece, **self._reading(min(self.workers, 2), piece, ranks))

    def _reading(self, workers: int, batch_size: int, ranks: int) -> dict[str, Any]:
        on_accelerator = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return reading(workers, on_accelerator, lambda: self.training[0], batch_size, ranks)


def _in_one(sound: NDArray[np.int16]) -> NDArray[np.float32]:
    return sound.astype(np.float32) / np.float32(2**15)


def _tensors(sound: NDArray[Any], distributions: dict[str, NDArray[np.float32]]) -> Example:
    return torch.from_numpy(sound)[None], {
        name: torch.from_numpy(np.ascontiguousarray(rows.T)) for name, rows in distributions.items()
    }
