"""One training of the bench: a network of a seed, without a fold, and for some data sets of one tag; and its test."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from soundnet_kd.data.manifest import Split
from soundnet_kd.data.splits import SplitSounds
from soundnet_kd.errors import FormatError
from soundnet_kd.models import choose_device
from soundnet_kd.models.checkpoint import read_network, write_network
from soundnet_kd.models.classifiers import SoundClassifier
from soundnet_kd.models.device import full_precision
from soundnet_kd.storage import make_folder, read_json, read_own_json, rename_damaged, write_json
from soundnet_kd.supervised.config import ExperimentConfig
from soundnet_kd.supervised.sounds import DecodedSounds
from soundnet_kd.training.classification import TrainingBatches, in_batches, parameter_count, train_network
from soundnet_kd.training.optimization import probabilities
from soundnet_kd.training.segments import HeardSounds, SegmentDataset

FITTED_BATCHES = 100
"""The front end is fitted to so many batches of training pieces."""


@dataclass(frozen=True)
class Trial:
    """Which training of a run it is.

    Attributes
    ----------
    seed : int
    fold : int
        The one that is tested.
    outputs : tuple of int
        The classes that the network has an output for.
    """

    seed: int
    fold: int
    outputs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class TrialResult:
    """What came of a training.

    Attributes
    ----------
    ids : tuple of str
        The tested clips.
    owners : (pieces,) int64
        The tested clip that each piece is of.
    pieces : (pieces, outputs) float64
        The probability of each output.
    history : list of dict from figure to number
    kept_step, steps_per_epoch, parameters : int
    seconds : float
        That the training took.
    """

    ids: tuple[str, ...]
    owners: NDArray[np.int64]
    pieces: NDArray[np.float64]
    history: Sequence[Mapping[str, float]]
    kept_step: int
    steps_per_epoch: int
    parameters: int
    seconds: float

    @property
    def clips(self) -> NDArray[np.float64]:
        """(clips, outputs) the mean probability over each clip's pieces."""
        sums = np.zeros((len(self.ids), self.pieces.shape[1]))
        np.add.at(sums, self.owners, self.pieces)
        return np.asarray(sums / np.bincount(self.owners, minlength=len(self.ids))[:, None])

    def at_kept_step(self, figure: str) -> float:
        """Return a figure of the step whose weights were kept; NaN where it was not measured."""
        found = [row[figure] for row in self.history if figure in row and row["step"] == self.kept_step]
        return found[-1] if found else float("nan")


@dataclass(frozen=True)
class TrialRunner:
    """What all trainings of a run share."""

    recipe: ExperimentConfig
    device: str
    workers: int | None
    checkpoint_minutes: float
    made_by: Mapping[str, Any]
    logs: Path

    def tested(self, task: Trial, data: SplitSounds, sounds: DecodedSounds, folder: Path, name: str) -> TrialResult:
        """Train and test, or give what an earlier run of it left.

        The answers are written when all of them and the network are there, in place of the training's checkpoints; its
        log for TensorBoard goes to `logs`.

        Parameters
        ----------
        task : Trial
        data : SplitSounds
        sounds : DecodedSounds
        folder : Path
            Its name is the round's; beside it lie `NAME.json` and `NAME.safetensors`.
        name : str
            What the progress bar is of.
        """
        done = folder.with_name(f"{folder.name}.json")
        if not is_tested(done):
            write_json(done, self._learned(task, data, sounds, folder, name))
        log = folder / "logs" / "tensorboard"
        if log.is_dir():
            kept = self.logs / folder.name
            shutil.rmtree(kept, ignore_errors=True)
            make_folder(kept.parent)
            log.replace(kept)
        shutil.rmtree(folder, ignore_errors=True)
        return read_tested(done)

    def _learned(
        self, task: Trial, data: SplitSounds, sounds: DecodedSounds, folder: Path, name: str
    ) -> dict[str, Any]:
        recipe, optimisation = self.recipe, self.recipe.training
        torch.manual_seed(task.seed)
        network = recipe.build([data.manifest.class_names[output] for output in task.outputs])
        heard = {split: self._heard(task, data, sounds, network, split) for split in ("train", "validation", "test")}
        batch_size = optimisation.batch_size
        stream = recipe.sampling.training(heard["train"], optimisation.augmentation, task.seed)
        steps_per_epoch = max(1, -(-recipe.sampling.epoch_pieces(stream, batch_size) // batch_size))
        validation, count = None, 0
        if heard["validation"].sounds:
            validation, count = recipe.sampling.validation(heard["validation"], task.seed, batch_size)
        feed = TrainingBatches(
            stream, batch_size, optimisation.epochs * steps_per_epoch, steps_per_epoch, validation, count
        )
        amplitude = network.preprocessing.amplitude

        def listen(sound: Tensor) -> Tensor:
            # The streams have standardised what is to be standardised, with the whole sound in view.
            return network.logits(sound * amplitude)

        network.to(choose_device(self.device))
        network.fit_front_end(_first_batches(feed, amplitude))
        trained = train_network(
            network, listen, optimisation, feed, folder, name, task.seed, self.device, self.workers,
            self.checkpoint_minutes,
        )  # fmt: skip
        whole = recipe.sampling.whole(heard["test"])
        answers = self._answers(network, whole, len(whole), amplitude)
        write_network(
            network.cpu(),
            folder.with_name(f"{folder.name}.safetensors"),
            {**self.made_by, "seed": task.seed, "fold": task.fold},
        )
        places = sounds.places(data, task.fold, "test")
        return {
            "ids": [data.manifest.clips[place].id for place in places.tolist()],
            "owners": whole.owners.tolist(),
            "pieces": answers.tolist(),
            "history": trained.history,
            "kept_step": trained.kept_step,
            "steps_per_epoch": steps_per_epoch,
            "parameters": parameter_count(network),
            "seconds": trained.seconds,
        }

    def _heard(
        self, task: Trial, data: SplitSounds, sounds: DecodedSounds, network: SoundClassifier, split: Split
    ) -> HeardSounds:
        asked = network.preprocessing
        places = sounds.places(data, task.fold, split)
        return HeardSounds(
            sounds.of(data, places),
            np.ascontiguousarray(data.targets[places][:, list(task.outputs)]),
            asked.sample_rate,
            self.recipe.sampling.samples(asked.sample_rate, asked.least_samples),
            asked.standardise,
        )

    @torch.inference_mode()
    def _answers(
        self, network: SoundClassifier, stream: SegmentDataset, count: int, amplitude: float
    ) -> NDArray[np.float64]:
        """Return the probabilities (pieces, outputs), computed in 32 bit."""
        batches = list(in_batches(count, self.recipe.training.batch_size))
        device = next(network.parameters()).device
        found = []
        with full_precision():
            for sound, _ in tqdm(DataLoader(stream, batch_sampler=batches), desc="test", unit="batch"):
                logits = network.logits(sound.to(device) * amplitude)
                found.append(probabilities(self.recipe.training.loss, logits.cpu().double()))
        return torch.cat(found).numpy()


def is_network(file: Path) -> bool:
    """Tell whether a training's network is there; one that is damaged is set aside."""
    try:
        read_network(file)
    except FormatError:
        if file.exists():
            rename_damaged(file, "it is trained again")
        return False
    return True


def is_tested(file: Path) -> bool:
    """Tell whether a training has left what `read_tested` reads; a damaged file is set aside."""
    keys = ("ids", "owners", "pieces", "history", "kept_step", "steps_per_epoch", "parameters", "seconds")
    return read_own_json(file, keys, "its network is trained again") is not None


def read_tested(file: str | Path) -> TrialResult:
    """Read what a training left."""
    file = Path(file)
    content = read_json(file)
    return TrialResult(
        tuple(content["ids"]),
        np.array(content["owners"], dtype=np.int64),
        np.array(content["pieces"], dtype=np.float64),
        content["history"],
        content["kept_step"],
        content["steps_per_epoch"],
        content["parameters"],
        content["seconds"],
    )


def _first_batches(feed: TrainingBatches, amplitude: float) -> Iterator[Tensor]:
    steps = min(FITTED_BATCHES, feed.steps_per_epoch)
    for step in range(steps):
        first = step * feed.batch_size
        yield torch.stack([feed.stream[place][0] for place in range(first, first + feed.batch_size)]) * amplitude
