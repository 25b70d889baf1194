"""The targets as batches for the student: clips of exactly 20 s, with the labels of their steps, to train or held out.

The seed determines their order. The time that the student waits for batches is measured here too.
"""

import hashlib
import itertools
from collections.abc import Iterator
from time import perf_counter
from typing import Any, NamedTuple

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from soundnet_kd.data import CLIP_SECONDS, LabelledClip, Targets, tile_to_clip
from soundnet_kd.data.target_clips import count_clip_steps
from soundnet_kd.errors import SettingsError
from soundnet_kd.training.augmentation import UNCHANGED_CLIPS, ClipAugmentation
from soundnet_kd.training.loading import StreamBatches, item_at, loader_options

MEASURED_CLIPS = 2048
"""Held-out clips, at most, on which the agreement is measured; more would only cost time."""
MOMENT_CLIPS = 512
"""Clips, at most, that the mean and standard deviation of features are computed from."""
LEAST_DEVIATION = 0.01
"""Of features, as a fraction of the median standard deviation."""
DISTRIBUTIONS, FEATURES, VIDEO = "distributions/", "features/", "video"
Rows = dict[str, NDArray[Any]]
"""What is known of a clip's steps: distributions/TEACHER and features/TEACHER, (steps, numbers) float32, and video,
(steps,) int64, the number of the video that it is of."""


class Example(NamedTuple):
    """A clip of 20 s, and what is known of its label steps; or a batch of such clips.

    Attributes
    ----------
    sound : (1, samples) int16, or float32 in ±1
    distributions : dict from teacher to (classes, steps) float32
    features : dict from teacher to (dims, steps) float32
    video : (steps,) int64
        Number of the video that each step is of.
    """

    sound: Tensor
    distributions: dict[str, Tensor]
    features: dict[str, Tensor]
    video: Tensor


def rows_of(clip: LabelledClip, video: int = 0) -> Rows:
    """Return what is known of each step of a clip that is of a video of this number."""
    rows: Rows = {f"{DISTRIBUTIONS}{name}": values for name, values in clip.distributions.items()}
    rows |= {f"{FEATURES}{name}": values for name, values in clip.features.items()}
    return rows | {VIDEO: np.full(len(clip.frame_seconds), video)}


def fill_clip(clip: LabelledClip, sample_rate: int, video: int = 0) -> tuple[NDArray[np.int16], Rows]:
    """Make a clip of k label steps 20 s long, as the paper's data loader did.

    The sound is padded with zeros (or cut) to its k steps; then sound and labels are repeated from their start until
    they fill 20 s, and cut there.

    Returns
    -------
    sound : (20 s of samples,) int16
    rows : Rows
        Of all steps of 20 s: four of 5 s.
    """
    sound = tile_to_clip(clip.sound, len(clip.frame_seconds), sample_rate, clip.step_seconds)
    steps = count_clip_steps(clip.step_seconds)
    return sound, {name: np.resize(rows, (steps, *rows.shape[1:])) for name, rows in rows_of(clip, video).items()}


def join_clips(
    clips: Iterator[tuple[LabelledClip, int]], sample_rate: int, rng: np.random.Generator
) -> tuple[NDArray[np.int16], Rows]:
    """Fill 20 s with one clip after the other; of the last one as many consecutive steps as are left to fill.

    Parameters
    ----------
    clips : iterator of (LabelledClip, int)
        Each with the number of its video; no more are taken than are needed.
    sample_rate : int
        In Hz.
    rng : Generator
        Decides where those steps begin.

    Returns
    -------
    sound : (20 s of samples,) int16
        The sound of each step is where its labels are, with zeros behind it where it is shorter.
    rows : Rows
    """
    joined = np.zeros(round(CLIP_SECONDS * sample_rate), np.int16)
    parts: list[Rows] = []
    first = 0
    for clip, video in clips:
        total, count = count_clip_steps(clip.step_seconds), len(clip.frame_seconds)
        taken = min(count, total - first)
        start = int(rng.integers(count - taken + 1))
        begins, ends, cut = (round(step * clip.step_seconds * sample_rate) for step in (first, first + taken, start))
        sound = clip.sound[cut : cut + ends - begins]
        joined[begins : begins + len(sound)] = sound
        parts.append({name: rows[start : start + taken] for name, rows in rows_of(clip, video).items()})
        first += taken
        if first == total:
            break
    return joined, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class HeldOutClips(Dataset[Example]):
    """Held-out clips with their targets, without augmentation."""

    def __init__(self, targets: Targets, with_features: bool = True) -> None:
        self.targets = targets
        self.with_features = with_features
        self._videos = _numbers(targets.videos)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Example:
        clip = self.targets.clip(index, with_features=self.with_features)
        return _example(*fill_clip(clip, self.targets.sample_rate, int(self._videos[index])))


class TrainingStream(Dataset[Example]):
    """An endless stream of training clips: each position always gives the same clip with the same augmentation.

    Parameters
    ----------
    targets : Targets
    clips : (clips,) int
        The clips to train on.
    augmentation : ClipAugmentation
    seed : int
    with_features : bool
        Whether features are read, too.
    """

    def __init__(
        self,
        targets: Targets,
        clips: NDArray[np.intp],
        augmentation: ClipAugmentation,
        seed: int,
        with_features: bool = True,
    ) -> None:
        self.with_features = with_features
        self.targets = targets
        self.clips = clips
        self.augmentation = augmentation
        self.seed = seed
        self._videos = _numbers(targets.videos)

    def index_at(self, position: int) -> int:
        """Return the clip at a position."""
        return int(self.clips[item_at(position, len(self.clips), self.seed)])

    def __getitem__(self, position: int) -> Example:
        joining = np.random.default_rng((self.seed, position, 2)) if self.augmentation.join else None
        sound, rows = self._filled(self.index_at(position), joining)
        if not self.augmentation:
            return _example(sound, rows)
        rng = np.random.default_rng((self.seed, position, 1))
        waveform, rows = self.augmentation(
            (_full_scale_to_one(sound), rows),
            lambda: self._another(rng, joining),
            self.targets.sample_rate,
            rng,
        )
        return _example(waveform, rows)

    def _another(
        self, rng: np.random.Generator, joining: np.random.Generator | None
    ) -> tuple[NDArray[np.float32], Rows]:
        sound, rows = self._filled(int(rng.choice(self.clips)), joining)
        return _full_scale_to_one(sound), rows

    def _filled(self, index: int, joining: np.random.Generator | None) -> tuple[NDArray[np.int16], Rows]:
        clip, video = self._clip(index)
        if joining is None or len(clip.frame_seconds) == self.targets.steps_per_clip:
            return fill_clip(clip, self.targets.sample_rate, video)
        others = (self._clip(int(joining.choice(self.clips))) for _ in itertools.count())
        return join_clips(itertools.chain([(clip, video)], others), self.targets.sample_rate, joining)

    def _clip(self, index: int) -> tuple[LabelledClip, int]:
        return self.targets.clip(index, with_features=self.with_features), int(self._videos[index])


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
    augmentation : ClipAugmentation
        Augmentation of the training clips.
    workers : int
        Processes that read the targets, per device; 0 reads in the main process.
    seed : int
        Seed of the shuffling, the augmentation and the choice of held-out videos.
    with_features : bool
        Whether features are read, too.
    """

    def __init__(
        self,
        targets: Targets,
        batch_size: int,
        steps: int,
        held_out: float = 0.05,
        accumulate: int = 1,
        augmentation: ClipAugmentation = UNCHANGED_CLIPS,
        workers: int = 0,
        seed: int = 0,
        with_features: bool = True,
    ) -> None:
        super().__init__()
        training, validation = held_out_clips(targets.videos, held_out, seed)
        self.training = TrainingStream(targets, training, augmentation, seed, with_features)
        self.validation = Subset(HeldOutClips(targets, with_features), validation)  # type: ignore[arg-type]
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


def _example(sound: NDArray[Any], rows: Rows) -> Example:
    def of(group: str) -> dict[str, Tensor]:
        return {
            name.removeprefix(group): torch.from_numpy(np.ascontiguousarray(values.T))
            for name, values in rows.items()
            if name.startswith(group)
        }

    return Example(torch.from_numpy(sound)[None], of(DISTRIBUTIONS), of(FEATURES), torch.from_numpy(rows[VIDEO]))


def _numbers(videos: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Return the number of each clip's video, counted from 0."""
    return np.unique(videos, return_inverse=True)[1]


def feature_moments(
    targets: Targets, clips: NDArray[np.intp]
) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Return mean and standard deviation of each teacher's features over steps of at most 512 clips, evenly spread.

    Returns
    -------
    dict from teacher to (mean, standard deviation), both (dims,) float32
        A standard deviation is at least 1 % of the median over the dimensions that vary, so that one that hardly varies
        does not outweigh all others; of a dimension that does not vary it is 1.
    """
    chosen = clips[np.linspace(0, len(clips) - 1, min(len(clips), MOMENT_CLIPS)).round().astype(int)]
    found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in targets.feature_sizes}
    for index in chosen:
        for name, rows in targets[int(index)].features.items():
            found[name].append(rows)
    moments = {}
    for name, parts in found.items():
        rows = np.concatenate(parts).astype(np.float64)
        deviation = rows.std(axis=0)
        changes = deviation > 1e-6 * np.abs(rows).max(initial=0)
        if changes.any():
            deviation = np.maximum(deviation, LEAST_DEVIATION * np.median(deviation[changes]))
        deviation[~changes] = 1
        moments[name] = rows.mean(axis=0).astype(np.float32), deviation.astype(np.float32)
    return moments


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
        raise SettingsError(f"held_out is {fraction}; give a fraction of the videos, from 0 to below 1")
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

    Validation does not count. A GPU keeps working while the CPU waits, so that the fraction is an upper bound of
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
