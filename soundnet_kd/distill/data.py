"""Feed the targets to the student: clips of exactly 20 s and four label steps, split by video."""

import hashlib
from collections.abc import Iterator
from itertools import chain, count, islice

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, Subset

from soundnet_kd.data import CLIP_SECONDS, STEP_SECONDS, LabelledClip, Targets
from soundnet_kd.errors import SettingsError
from soundnet_kd.models import Preprocessing

STEPS = round(CLIP_SECONDS / STEP_SECONDS)
Example = tuple[Tensor, dict[str, Tensor]]


def fill(clip: LabelledClip, sample_rate: int) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
    """Make a clip of k label steps 20 s long and four steps long, as the paper's data loader did.

    The sound is padded with zeros (or cut) to k x 5 s; then sound and labels are repeated from their start until they
    fill 20 s and four steps, and cut there.

    Returns
    -------
    waveform : (20 s of samples,) float32 in ±1
    targets : dict from teacher to (4, classes) float32
    """
    steps = len(clip.frame_seconds)
    span = round(steps * STEP_SECONDS * sample_rate)
    sound = np.zeros(span, dtype=np.float32)
    kept = clip.sound[:span]
    sound[: len(kept)] = kept / np.float32(32768.0)
    waveform = np.resize(sound, round(CLIP_SECONDS * sample_rate))
    return waveform, {name: np.resize(rows, (STEPS, rows.shape[1])) for name, rows in clip.distributions.items()}


class TargetsDataset(Dataset[Example]):
    """Targets as the network and its loss want them: ((1, samples), {teacher: (classes, 4)})."""

    def __init__(self, targets: Targets, preprocessing: Preprocessing) -> None:
        self.targets = targets
        self.preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Example:
        waveform, distributions = fill(self.targets[index], self.targets.sample_rate)
        return self.preprocessing(waveform), {
            name: torch.from_numpy(np.ascontiguousarray(rows.T)) for name, rows in distributions.items()
        }


class ShuffledBatches(Sampler[list[int]]):
    """Batches of clip indices for every step of a training, repeatable from the seed and able to start at any step.

    The clips are shuffled anew for every pass over them; a batch may hold the end of one pass and the start of another.

    Parameters
    ----------
    clips : int
    batch_size : int
    steps : int
        Of the whole training.
    seed : int
    first_step : int
        The step to start at: batches before it are left out, those after it are as if they had been given.
    """

    def __init__(self, clips: int, batch_size: int, steps: int, seed: int, first_step: int = 0) -> None:
        self.clips = clips
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed
        self.first_step = first_step

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        first, skipped = divmod(self.first_step * self.batch_size, self.clips)
        order = islice(chain.from_iterable(map(self._shuffled, count(first))), skipped, None)
        for _ in range(self.first_step, self.steps):
            yield list(islice(order, self.batch_size))

    def _shuffled(self, number: int) -> list[int]:
        """Give the order of one pass over all clips."""
        return list(map(int, np.random.default_rng((self.seed, number)).permutation(self.clips)))


class TargetsDataModule(lightning.LightningDataModule):
    """Shuffled training clips and held-out ones; clips of one video are never on both sides.

    Parameters
    ----------
    targets : Targets
    preprocessing : Preprocessing
        The student's.
    batch_size : int
    steps : int
        Of the whole training.
    held_out : float
        Share of the videos held out, from 0 to 1.
    workers : int
        Processes that read; 0 reads in the main process.
    seed : int
        Of the shuffling and of the choice of held-out videos.
    """

    def __init__(
        self,
        targets: Targets,
        preprocessing: Preprocessing,
        batch_size: int,
        steps: int,
        held_out: float,
        workers: int,
        seed: int,
    ) -> None:
        super().__init__()
        if not 0 <= held_out < 1:
            raise SettingsError(f"held_out is {held_out}; it is a share of the videos, from 0 to below 1")
        if targets.sample_rate != preprocessing.sample_rate:
            raise SettingsError(
                f"{targets.folder} holds sound at {targets.sample_rate} Hz, "
                f"the student hears {preprocessing.sample_rate} Hz"
            )
        dataset = TargetsDataset(targets, preprocessing)
        sources = targets.sources()
        held = held_out_videos(sources, held_out, seed)
        self.validation = Subset(dataset, [index for index, source in enumerate(sources) if source in held])
        self.training = Subset(dataset, [index for index, source in enumerate(sources) if source not in held])
        self.batch_size = batch_size
        self.steps = steps
        self.workers = workers
        self.seed = seed

    def train_dataloader(self) -> DataLoader[Example]:
        """Give the batches from the trainer's step on."""
        first_step = self.trainer.global_step if self.trainer else 0
        batches = ShuffledBatches(len(self.training), self.batch_size, self.steps, self.seed, first_step)
        return DataLoader(self.training, batch_sampler=batches, num_workers=self.workers)

    def val_dataloader(self) -> DataLoader[Example]:
        """Give the held-out clips, in order."""
        return DataLoader(self.validation, self.batch_size, num_workers=self.workers)


def held_out_videos(sources: list[str], share: float, seed: int) -> set[str]:
    """Choose which videos are held out: those whose name's hash lies below `share`, so that adding videos moves none.

    At least one video is held out of two or more, unless `share` is 0; at least one is left to learn from.
    """
    places = {source: _place(source, seed) for source in set(sources)}
    videos = sorted(places, key=lambda source: places[source])
    count = sum(place < share for place in places.values())
    return set(videos[: min(max(count, 1), len(videos) - 1)]) if share > 0 else set()


def _place(source: str, seed: int) -> float:
    """Give a number from 0 to 1 that a video's name decides."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{source}".encode()).digest()[:8]) / 2**64
