"""Feed clips to a classifier that learns: pieces of one length, varied and mixed, in an order that the seed decides."""

from collections.abc import Sequence

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from soundnet_kd.distill.augmentation import Augmentation, Example
from soundnet_kd.distill.stream import StreamBatches, clip_at
from soundnet_kd.media import StoredSound

CLASSES = "classes"


def crop(sound: StoredSound, start: int, samples: int) -> NDArray[np.float32]:
    """Cut a piece out of the endless repetition of a sound.

    Parameters
    ----------
    sound : StoredSound
    start : int
        Sample of the sound at which the piece begins.
    samples : int

    Returns
    -------
    (samples,) float32
    """
    pieces = []
    while samples > 0:
        piece = np.fromfile(sound.file, np.float32, samples, offset=start * np.dtype(np.float32).itemsize)
        pieces.append(piece)
        samples, start = samples - len(piece), 0
    return np.concatenate(pieces)


class CropStream(Dataset[tuple[Tensor, Tensor]]):
    """An endless stream of pieces of clips: every position of it always holds the same one, varied in the same way.

    Parameters
    ----------
    sounds : sequence of StoredSound
    labels : (sounds,) int
    classes : int
    samples : int
        Length of a piece; a shorter sound is repeated.
    sample_rate : int
        In Hz.
    augmentation : Augmentation
        With `shift`, a piece begins anywhere in its sound, else at its start.
    seed : int
    """

    def __init__(
        self,
        sounds: Sequence[StoredSound],
        labels: NDArray[np.integer],
        classes: int,
        samples: int,
        sample_rate: int,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        self.sounds = sounds
        self.labels = labels
        self.classes = classes
        self.samples = samples
        self.sample_rate = sample_rate
        self.augmentation = augmentation
        self.seed = seed

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        """Give a piece (1, samples) float32 in ±1, and how much it is of each class, (classes,) float32."""
        rng = np.random.default_rng((self.seed, position, 1))
        waveform, shares = self.augmentation(
            self._example(clip_at(position, len(self.sounds), self.seed), rng),
            lambda: self._example(int(rng.integers(len(self.sounds))), rng),
            self.sample_rate,
            rng,
        )
        return torch.from_numpy(waveform)[None], torch.from_numpy(shares[CLASSES][0])

    def _example(self, index: int, rng: np.random.Generator) -> Example:
        sound = self.sounds[index]
        start = int(rng.integers(len(sound))) if self.augmentation.shift else 0
        share = np.zeros((1, self.classes), np.float32)
        share[0, self.labels[index]] = 1
        return crop(sound, start, self.samples), {CLASSES: share}


class CropDataModule(lightning.LightningDataModule):
    """Batches of a stream, from the trainer's step on.

    Parameters
    ----------
    stream : CropStream
    batch_size : int
    steps : int
        Of the whole training.
    workers : int
        Processes that read; 0 reads in the main process.
    """

    def __init__(self, stream: CropStream, batch_size: int, steps: int, workers: int) -> None:
        super().__init__()
        self.stream = stream
        self.batch_size = batch_size
        self.steps = steps
        self.workers = workers

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Give the batches that are left."""
        assert self.trainer is not None
        batches = StreamBatches(self.batch_size, self.steps, self.trainer.global_step)
        on_accelerator = self.trainer.strategy.root_device.type == "cuda"
        return DataLoader(self.stream, batch_sampler=batches, num_workers=self.workers, pin_memory=on_accelerator)
