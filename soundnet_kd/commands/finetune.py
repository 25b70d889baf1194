"""The command `finetune`: a student with a new head, trained and tested fold by fold."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from soundnet_kd.data import Manifest, read_manifest
from soundnet_kd.data.checks import announce, require_classes, require_whole_folds
from soundnet_kd.errors import SettingsError
from soundnet_kd.media import RawAudioDecoder, RawAudioFile
from soundnet_kd.models import ARCHITECTURES, SoundNet, choose_device
from soundnet_kd.models.finetuned import FinetunedNetwork, default_layer
from soundnet_kd.pretrained import load_student
from soundnet_kd.storage import versions
from soundnet_kd.supervised.clip_evaluation import ClipTable, Experiment
from soundnet_kd.supervised.clip_run import ClipRunResult, run_folds
from soundnet_kd.supervised.clip_training import TrainingRecipe, train
from soundnet_kd.training.augmentation import Augmentation
from soundnet_kd.training.classification import Trained

VARIED = Augmentation(shift=True, mix=0.5, gain_db=6.0)


def finetune(
    sounds: str | Path | Manifest,
    student: str | Path | SoundNet,
    out: str | Path,
    layer: str | None = None,
    from_layer: str | None = None,
    scratch: bool = False,
    epochs: int = 40,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.01,
    crop_seconds: float = 5.0,
    augmentation: Augmentation = VARIED,
    precision: Literal["32", "bf16"] = "32",
    folds_only: bool = False,
    seed: int = 0,
    workers: int | None = None,
    device: str = "auto",
    checkpoint_minutes: float = 10.0,
    dry_run: bool = False,
) -> ClipRunResult:
    """Return a student a new head for the classes of a data set, train both, and test them fold by fold.

    For each fold a new classifier is trained on all others, for a fixed number of epochs, and tested once, after its
    last step: nothing is chosen by what the tested fold says. Training hears pieces of the clips, varied and mixed;
    tested are whole clips, tiled as the student learned. Stopped and started again with the same settings, it goes on
    from its last checkpoint, and ends as if it had never been stopped.

    Parameters
    ----------
    sounds : str or Path or Manifest
        Folder in the layout of ESC-50 or UrbanSound8K, CSV file with columns "path", "label" and optionally "fold" or
        "split", or a folder with a sub-folder for each class. Where there is no fold and no split (train, validation,
        test), folds are drawn, class by class; of a split the test is tested on, and all else learned from.
    student : str or Path or SoundNet
        A student.safetensors, the run folder that holds one, or a name such as soundnet8 (`soundnet-kd weights list`);
        with --scratch also SoundNet8 or SoundNet5.
    out : str or Path
        Folder for the results, and the classifier.
    layer : str, optional
        The layer that the new head sits on, averaged over time. [default: pool5, or in SoundNet5 conv4]
    from_layer : str, optional
        The first layer that learns, such as conv5; those before it stay as they are, with their batch norm.
        [default: all learn]
    scratch : bool
        Forget what the student has learned and begin with random weights, for comparison.
    epochs : int
        Passes over the clips.
    batch_size : int
        Clips of a step.
    learning_rate : float
        Highest one, of AdamW; it warms up over a tenth of the steps and goes down to 0 on half a cosine.
    weight_decay : float
        Of AdamW.
    crop_seconds : float
        Length of the piece of a clip that is heard each time; shorter clips are repeated.
    augmentation : Augmentation
        How the pieces are varied; shift: they begin anywhere in their clip
    precision : {"32", "bf16"}
        bf16 computes most layers in bfloat16, faster where the device has it; tests are in 32 bit.
    folds_only : bool
        Do not train once more, on all folds together, for classifier.safetensors.
    seed : int
        Of the new weights, the shuffling, the augmentation, and of folds where there are none.
    workers : int, optional
        Processes that prepare pieces; 0 prepares them in the main process. [default: 0 on a CPU, which the network
        needs itself, else one for each core but one, at most 8]
    device : str
        Where it trains: auto, cpu, cuda, cuda:1, mps.
    checkpoint_minutes : float
        Longest time between two checkpoints.
    dry_run : bool
        Say what the data set is taken for, and stop: nothing is decoded or written.

    Raises
    ------
    RunConflictError
        If `out` holds a run with other settings.
    SettingsError
        If a layer does not exist or nothing can be learned, or a training diverged.
    MediaError
        If not a single sound could be read.
    """
    out = Path(out)
    choose_device(device)
    manifest = sounds if isinstance(sounds, Manifest) else read_manifest(sounds)
    reading = announce(sounds, manifest, dry_run=dry_run)
    require_classes(manifest)
    require_whole_folds(manifest)
    # As if all sounds could be read: what cannot be learned from is to be said before they are decoded.
    ClipTable(manifest, {clip.id: RawAudioFile(clip.path) for clip in manifest.clips}, seed)
    network = _network(student, scratch)
    layer = layer or default_layer(network)
    recipe = TrainingRecipe(
        epochs, batch_size, learning_rate, weight_decay, crop_seconds, augmentation, precision, seed
    )
    preprocessing = network.preprocessing
    samples = round(crop_seconds * preprocessing.sample_rate)
    # A clip that is tested is no shorter than what was heard in training.
    network.preprocessing = replace(preprocessing, least_samples=max(samples, preprocessing.least_samples))

    def new_classifier() -> FinetunedNetwork:
        torch.manual_seed(seed)
        fresh = deepcopy(network)
        if scratch:
            fresh.reset_parameters()
        return FinetunedNetwork(fresh, layer, manifest.class_names, from_layer)

    def learn(
        chosen: Sequence[RawAudioFile], labels: NDArray[np.int64], folder: Path, name: str
    ) -> tuple[FinetunedNetwork, Trained]:
        classifier = new_classifier()
        return classifier, train(classifier, chosen, labels, recipe, folder, name, device, workers, checkpoint_minutes)

    new_classifier()  # What cannot be built is to be said before anything is decoded.
    if network.steps(samples, layer) * batch_size < 2:
        raise SettingsError(f"pieces of {crop_seconds} s are too short for {layer}; give a larger --crop_seconds")
    protocol = "scratch" if scratch else "finetune"
    if dry_run:
        return ClipRunResult(out, protocol, {}, float("nan"), 0, reading)
    identity = {
        "student": {
            "architecture": type(network).__name__,
            "sha256": "random weights" if scratch else network.fingerprint(),
        },
        "sounds": manifest.identity,
        "settings": {
            "protocol": protocol,
            "layer": layer,
            "from_layer": from_layer,
            **asdict(recipe),
            "folds_only": folds_only,
            "preprocessing": asdict(network.preprocessing),
        },
        "versions": versions(),
    }
    experiment = Experiment(
        protocol=protocol,
        layer=layer,
        channels=network.channels(layer),
        setting={"epochs": float(epochs), "learning_rate": learning_rate},
        student=type(student).__name__ if isinstance(student, SoundNet) else str(student),
        seed=seed,
    )
    store = RawAudioDecoder(preprocessing.sample_rate, preprocessing.channel)
    return run_folds(manifest, store, learn, experiment, identity, out, folds_only)


def _network(student: str | Path | SoundNet, scratch: bool) -> SoundNet:
    if isinstance(student, SoundNet):
        return deepcopy(student)
    if scratch and str(student) in ARCHITECTURES:
        return ARCHITECTURES[str(student)]()
    return load_student(student)
