"""The command `demo-teacher`: train a small image network on labelled frames, to be a teacher."""

from dataclasses import dataclass
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
from soundnet_kd.storage import require_equal
from soundnet_kd.teachers import write_teacher
from soundnet_kd.teachers.teacher import frame_transform, read_teacher_description
from soundnet_kd.training.trainer import quiet_lightning

HELD_OUT_EVERY = 5


@dataclass(frozen=True)
class DemoTeacherResult:
    """A teacher, and its accuracy on frames that it was not trained on."""

    out: Path
    classes: int
    accuracy: float

    def __str__(self) -> str:
        return f"wrote {self.out}: {self.classes} classes, {self.accuracy:.1%} of held-out frames right"


def demo_teacher(
    frames: Path | str,
    out: Path | str,
    network: str = "resnet18",
    input_size: int = 48,
    epochs: int = 3,
    batch_size: int = 32,
    learning_rate: float = 2e-3,
    seed: int = 0,
) -> DemoTeacherResult:
    """Train a torchvision network from scratch on labelled frames.

    Every fifth frame is not trained on, but used to measure the accuracy. The file that it writes can be given to
    `soundnet-kd teach` as --objects or --scenes.

    Parameters
    ----------
    frames : str or Path
        Folder with a sub-folder of pictures for each class.
    out : str or Path
        File to write, ending in .safetensors.
    network : str
        Name of a torchvision classification network.
    input_size : int
        Side of the square that frames are resized to, in pixels.
    epochs : int
        Passes over the frames.
    batch_size : int
        Frames per optimizer step.
    learning_rate : float
        Highest learning rate of a one-cycle schedule (AdamW).
    seed : int
        Seed of the initial weights and the shuffling.

    Raises
    ------
    SettingsError
        If `frames` has no sub-folders of pictures.
    RunConflictError
        If `out` holds a teacher that was trained with other settings.
    """
    frames = Path(frames)
    out = Path(out)
    library = find_library(network)
    if epochs < 1 or batch_size < 1:
        raise SettingsError(f"epochs and batch_size are {epochs} and {batch_size}; both have to be at least 1")
    training, held_out, classes = _read(frames, input_size)
    settings = {
        "network": network,
        "input_size": input_size,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
        "frames": len(training) + len(held_out),
    }
    if out.exists():
        before = read_teacher_description(out).training
        require_equal(str(out), before["settings"], settings)
        return DemoTeacherResult(out, len(classes), before["accuracy"])
    keep_freed_memory()
    lightning.seed_everything(seed, verbose=False)
    model = library.build(network, len(classes))
    batches = DataLoader(training, batch_size, shuffle=True, drop_last=len(training) > batch_size)
    with quiet_lightning():
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(_Classification(model, learning_rate, epochs * len(batches)), batches)
    accuracy = _accuracy(model, held_out)
    write_teacher(out, model, network, classes, input_size, {"settings": settings, "accuracy": accuracy})
    return DemoTeacherResult(out, len(classes), accuracy)


class _Classification(lightning.LightningModule):
    """Plain supervised training."""

    def __init__(self, network: nn.Module, learning_rate: float, steps: int) -> None:
        super().__init__()
        self.network = network
        self.learning_rate = learning_rate
        self.steps = steps

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        images, labels = batch
        return nn.functional.cross_entropy(self.network(images), labels, label_smoothing=0.1)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, total_steps=self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _read(frames: Path, input_size: int) -> tuple[TensorDataset, TensorDataset, list[str]]:
    """Read all frames into memory: what to train on, what to hold out, and the classes."""
    try:
        folder = ImageFolder(frames, transform=v2.Compose([v2.PILToTensor(), frame_transform(input_size)]))
    except FileNotFoundError as error:
        raise SettingsError(f"{frames} has no folder of pictures for each class ({error})") from error
    images = torch.stack([image for image, _ in folder])
    labels = torch.tensor(folder.targets)
    held = torch.from_numpy(np.arange(len(labels)) % HELD_OUT_EVERY == 0)
    return TensorDataset(images[~held], labels[~held]), TensorDataset(images[held], labels[held]), folder.classes


@torch.inference_mode()
def _accuracy(network: nn.Module, dataset: TensorDataset) -> float:
    images, labels = dataset.tensors
    return float((network.eval()(images).argmax(dim=1) == labels).float().mean())
