"""The command `demo-teacher`: train a small image network on labelled frames, to be a teacher."""

from dataclasses import dataclass
from pathlib import Path

from soundnet_kd.demo.teacher import frame_accuracy, read_frames, train_on_frames
from soundnet_kd.errors import SettingsError
from soundnet_kd.pretrained.image_networks import find_library
from soundnet_kd.storage import require_equal
from soundnet_kd.teachers import write_teacher
from soundnet_kd.teachers.teacher import read_teacher_description


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

    Every fifth frame is held out of training, to measure the accuracy. The file that it writes can be given to
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
    find_library(network)
    if epochs < 1 or batch_size < 1:
        raise SettingsError(f"epochs and batch_size are {epochs} and {batch_size}; both have to be at least 1")
    training, held_out, classes = read_frames(frames, input_size)
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
    model = train_on_frames(
        network,
        len(classes),
        training,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
    )
    accuracy = frame_accuracy(model, held_out)
    write_teacher(out, model, network, classes, input_size, {"settings": settings, "accuracy": accuracy})
    return DemoTeacherResult(out, len(classes), accuracy)
