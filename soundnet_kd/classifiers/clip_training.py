"""Train a classifier of clips: as many steps as it was told, with nothing that would have to look at other clips."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import joblib
import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from soundnet_kd.classifiers.clip_classifier import ClipClassifier
from soundnet_kd.classifiers.crops import CropDataModule, CropStream
from soundnet_kd.distill.augmentation import Augmentation
from soundnet_kd.distill.checkpoints import FOLDER, LastCheckpoints, WholeCheckpoints, last_checkpoint
from soundnet_kd.distill.devices import trainer_options
from soundnet_kd.distill.fitting import fit
from soundnet_kd.distill.history import Columns, Progress, csv_logger, read_history
from soundnet_kd.distill.module import cosine_factor
from soundnet_kd.errors import SettingsError
from soundnet_kd.media import StoredSound
from soundnet_kd.models import choose_device
from soundnet_kd.models.memory import keep_freed_memory

FIGURES = ("train/loss", "train/accuracy", "train/learning_rate")
MOST_WORKERS = 8


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


class ClipTraining(lightning.LightningModule):
    """Learn what share of a piece of sound is of each class, by cross-entropy.

    Parameters
    ----------
    classifier : ClipClassifier
    recipe : TrainingRecipe
    steps : int
        Of the whole training.
    """

    def __init__(self, classifier: ClipClassifier, recipe: TrainingRecipe, steps: int) -> None:
        super().__init__()
        self.classifier = classifier
        self.recipe = recipe
        self.steps = steps

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Give the loss of a batch."""
        sound, shares = batch
        logits = self.classifier(self.classifier.network.preprocessing.scale(sound))
        loss = torch.nn.functional.cross_entropy(logits, shares)
        accuracy = (logits.argmax(dim=1) == shares.argmax(dim=1)).float().mean()
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.log_dict(dict(zip(FIGURES, (loss.detach(), accuracy, rate), strict=True)))
        return loss

    def configure_optimizers(self) -> Any:
        """Give AdamW over what learns, and the schedule of its learning rate."""
        learning = [parameter for parameter in self.classifier.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(learning, self.recipe.learning_rate, weight_decay=self.recipe.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine_factor(step, self.steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def train(
    classifier: ClipClassifier,
    sounds: Sequence[StoredSound],
    labels: NDArray[np.integer],
    recipe: TrainingRecipe,
    folder: Path,
    name: str,
    device: str = "auto",
    workers: int | None = None,
    checkpoint_minutes: float = 10.0,
) -> list[dict[str, float]]:
    """Train a classifier in place, from its last checkpoint on if there is one; it stays on the device.

    Parameters
    ----------
    classifier : ClipClassifier
    sounds : sequence of StoredSound
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
    list of dict from figure to number
        What was logged, in the order of the steps.

    Raises
    ------
    SettingsError
        If the training diverged.
    """
    where = choose_device(device)
    if workers is None:
        workers = 0 if where.type == "cpu" else min(MOST_WORKERS, max(1, joblib.cpu_count() - 1))
    rate = classifier.network.preprocessing.sample_rate
    samples = round(recipe.crop_seconds * rate)
    batch_size = min(recipe.batch_size, len(sounds))
    steps = math.ceil(recipe.epochs * len(sounds) / batch_size)
    stream = CropStream(sounds, labels, len(classifier.class_names), samples, rate, recipe.augmentation, recipe.seed)
    module = ClipTraining(classifier, recipe, steps).train()
    keep_freed_memory()
    trainer = lightning.Trainer(
        max_steps=steps,
        precision="bf16-mixed" if recipe.precision == "bf16" else "32-true",
        default_root_dir=folder,
        logger=csv_logger(folder),
        callbacks=[
            Columns(list(FIGURES)),
            Progress(name),
            LastCheckpoints(folder / FOLDER, checkpoint_minutes, keep=1, validate_every=0),
        ],
        enable_progress_bar=False,
        log_every_n_steps=max(1, min(50, steps // 20)),
        limit_val_batches=0,
        check_val_every_n_epoch=None,
        enable_model_summary=False,
        plugins=[WholeCheckpoints()],
        **trainer_options(where, devices=1, nodes=1),
    )
    fit(trainer, module, CropDataModule(stream, batch_size, steps, workers), last_checkpoint(folder))
    history = read_history(folder)
    if not all(bool(torch.isfinite(tensor).all()) for tensor in classifier.state_dict().values()):
        raise SettingsError(
            f"the training of {name} diverged at step {trainer.global_step}; try a lower --learning_rate, with another "
            "--out"
        )
    classifier.to(where).eval()
    return history
