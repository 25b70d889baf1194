"""A small image network trained on labelled frames, and its accuracy on frames that it was not trained on."""

from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from soundnet_kd.errors import SettingsError
from soundnet_kd.models.device import keep_freed_memory
from soundnet_kd.pretrained.image_networks import find_library
from soundnet_kd.teachers.transforms import frame_transform
from soundnet_kd.training.trainer import quiet_lightning

HELD_OUT_EVERY = 5
LABEL_SMOOTHING = 0.1


def read_frames(folder: str | Path, input_size: int) -> tuple[TensorDataset, TensorDataset, list[str]]:
    """Read all frames into memory: what to train on, every fifth frame held out, and the classes.

    Parameters
    ----------
    folder : str or Path
        With a sub-folder of pictures for each class.
    input_size : int
        Side of the square that frames are resized to, in pixels.

    Returns
    -------
    training, held_out : dataset of ((3, input_size, input_size) float32, int64)
    classes : list of str

    Raises
    ------
    SettingsError
        If there are no sub-folders of pictures.
    """
    try:
        frames = ImageFolder(folder, transform=v2.Compose([v2.PILToTensor(), frame_transform(input_size)]))
    except FileNotFoundError as error:
        raise SettingsError(f"{folder} has no folder of pictures for each class ({error})") from error
    images = torch.stack([image for image, _ in frames])
    labels = torch.tensor(frames.targets)
    held = torch.from_numpy(np.arange(len(labels)) % HELD_OUT_EVERY == 0)
    return TensorDataset(images[~held], labels[~held]), TensorDataset(images[held], labels[held]), frames.classes


def train_on_frames(
    name: str,
    class_count: int,
    frames: TensorDataset,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
) -> nn.Module:
    """Train a network from scratch, on the CPU.

    Parameters
    ----------
    name : str
        Of a classification network, as `find_library` knows it.
    class_count : int
    frames : dataset
        As `read_frames` returns it.
    epochs : int
    batch_size : int
    learning_rate : float
        Highest learning rate of a one-cycle schedule (AdamW).
    seed : int
        Of the initial weights and the shuffling.

    Raises
    ------
    SettingsError
        If there is no such network.
    """
    library = find_library(name)
    keep_freed_memory()
    lightning.seed_everything(seed, verbose=False)
    network = library.build(name, class_count)
    batches = DataLoader(frames, batch_size, shuffle=True, drop_last=len(frames) > batch_size)
    with quiet_lightning():
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(_FrameTraining(network, learning_rate, epochs * len(batches)), batches)
    return network


@torch.inference_mode()
def frame_accuracy(network: nn.Module, frames: TensorDataset) -> float:
    """Return the share of frames that a network is right about."""
    images, labels = frames.tensors
    return float((network.eval()(images).argmax(dim=1) == labels).float().mean())


class _FrameTraining(lightning.LightningModule):
    """A network that learns one label of each picture."""

    def __init__(self, network: nn.Module, learning_rate: float, steps: int) -> None:
        super().__init__()
        self.network = network
        self.learning_rate = learning_rate
        self.steps = steps

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        images, labels = batch
        return nn.functional.cross_entropy(self.network(images), labels, label_smoothing=LABEL_SMOOTHING)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, total_steps=self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
