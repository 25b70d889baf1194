"""Train a classifier of clips: as many steps as it was told, with nothing that would have to look at other clips."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from soundnet_kd.errors import SettingsError
from soundnet_kd.media import RawAudioFile
from soundnet_kd.models.finetuned import FinetunedNetwork
from soundnet_kd.models.network import HEAD
from soundnet_kd.training.augmentation import Augmentation
from soundnet_kd.training.classification import Trained, TrainingBatches, train_network
from soundnet_kd.training.optimization import TrainingConfig
from soundnet_kd.training.segments import CropDataset


@dataclass(frozen=True)
class TrainingRecipe:
    """How a classifier of clips is trained.

    Attributes
    ----------
    epochs : int
        Passes over the clips.
    batch_size : int
        Clips of a step.
    learning_rate : float
        Highest one, of AdamW; it warms up over a tenth of the steps and goes down to 0 on half a cosine.
    weight_decay : float
    crop_seconds : float
        Length of what is heard of a clip each time.
    augmentation : Augmentation
    precision : {"32", "bf16"}
    seed : int
        Of the order and the augmentation.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    crop_seconds: float
    augmentation: Augmentation
    precision: Literal["32", "bf16"]
    seed: int

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate", "crop_seconds"):
            if getattr(self, name) <= 0:
                raise SettingsError(f"{name} is {getattr(self, name)}; it has to be above 0")
        if self.weight_decay < 0:
            raise SettingsError(f"weight_decay is {self.weight_decay}; it is at least 0, which is none")

    @property
    def optimisation(self) -> TrainingConfig:
        """The same, in the terms of all trainings of classifiers."""
        return TrainingConfig(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            optimizer="adamw",
            schedule="cosine",
            weight_decay=self.weight_decay,
            precision=self.precision,
        )


def train(
    classifier: FinetunedNetwork,
    sounds: Sequence[RawAudioFile],
    labels: NDArray[np.integer],
    recipe: TrainingRecipe,
    folder: Path,
    name: str,
    device: str = "auto",
    workers: int | None = None,
    checkpoint_minutes: float = 10.0,
) -> Trained:
    """Train a classifier in place, from its last checkpoint on if there is one; it stays on the device.

    Parameters
    ----------
    classifier : FinetunedNetwork
    sounds : sequence of RawAudioFile
    labels : (sounds,) int
        From 0.
    recipe : TrainingRecipe
    folder : Path
        For checkpoints and logs.
    name : str
        What the progress bar is of.
    device : str
        As in `choose_device`.
    workers : int, optional
        Processes that read; 0 on a CPU, else as many as there are cores but one, at most 8, if not given.
    checkpoint_minutes : float
        Longest time between two checkpoints.

    Returns
    -------
    Trained
        What was logged, and how long it took.

    Raises
    ------
    SettingsError
        If the training diverged.
    """
    preprocessing = classifier.network.preprocessing
    samples = round(recipe.crop_seconds * preprocessing.sample_rate)
    batch_size = min(recipe.batch_size, len(sounds))
    steps = math.ceil(recipe.epochs * len(sounds) / batch_size)
    stream = CropDataset(
        sounds,
        labels,
        len(classifier.class_names[HEAD]),
        samples,
        preprocessing.sample_rate,
        recipe.augmentation,
        recipe.seed,
    )

    def listen(sound: Tensor) -> Tensor:
        return classifier.logits(preprocessing.amplify(sound))

    feed = TrainingBatches(stream, batch_size, steps, math.ceil(len(sounds) / batch_size))
    return train_network(
        classifier, listen, recipe.optimisation, feed, folder, name, recipe.seed, device, workers, checkpoint_minutes
    )
