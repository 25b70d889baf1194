"""A trial: a network of a seed learns without a fold, for some data sets of one tag only, and is tested on the fold."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from soundnet_kd.features.extractor import FeatureExtractor
from soundnet_kd.features.reading import Sound, batches_of_equal_length
from soundnet_kd.media import RawAudioFile
from soundnet_kd.models import Network, choose_device
from soundnet_kd.models.device import full_precision
from soundnet_kd.models.finetuned import FinetunedNetwork
from soundnet_kd.storage import read_json, read_own_json, write_json
from soundnet_kd.supervised.kept_layers import KeptLayers
from soundnet_kd.supervised.plan import Experiment, Trial
from soundnet_kd.supervised.sounds import clips_for, select_sounds
from soundnet_kd.training.augmentation import Augmentation
from soundnet_kd.training.classification import (
    Trained,
    in_batches,
    parameter_count,
    step_counts,
    train_network,
)
from soundnet_kd.training.kept_segments import KeptSegmentDataset, surrounded
from soundnet_kd.training.optimization import probabilities
from soundnet_kd.training.segments import LabelledSounds, SegmentDataset, SlidingDataset, at_speed

FITTED_BATCHES = 100
"""The front end is fitted to so many batches of training pieces."""
SOUNDS_AT_ONCE = 8
"""Whole sounds of equal length that are tested together."""
_KEYS = ("ids", "owners", "pieces", "history", "kept_step", "steps_per_epoch", "parameters", "seconds")


@dataclass(frozen=True, eq=False)
class TrialResult:
    """What came of a trial; accuracies are from 0 to 1.

    Attributes
    ----------
    trial : Trial
    network : str
        Its tag, where there is a network for each, or the kind of network.
    ids : tuple of str
        The tested clips.
    owners : (pieces,) int64
        The tested clip that each piece is of; clips that are tested as a whole are a piece each.
    pieces : (pieces, outputs) float64
        The probability of each output.
    truth : (clips, outputs) float32
    by_class : bool
        Each clip has one of several classes; else each output is a question of its own.
    history : list of dict from figure to number
    kept_step, steps_per_epoch, parameters : int
    seconds : float
        That the training took.
    """

    trial: Trial
    network: str
    ids: tuple[str, ...] = field(repr=False)
    owners: NDArray[np.int64] = field(repr=False)
    pieces: NDArray[np.float64] = field(repr=False)
    truth: NDArray[np.float32] = field(repr=False)
    by_class: bool
    history: Sequence[Mapping[str, float]] = field(repr=False)
    kept_step: int
    steps_per_epoch: int
    parameters: int
    seconds: float

    @property
    def epochs(self) -> float:
        """Until the weights that were kept; 0 of given ones."""
        return self.kept_step / self.steps_per_epoch

    @property
    def clips(self) -> NDArray[np.float64]:
        """(clips, outputs) the mean probability over each clip's pieces."""
        return self._mean(self.pieces)

    @property
    def votes(self) -> NDArray[np.float64]:
        """(clips, outputs) the fraction of each clip's pieces that votes for each output."""
        if self.by_class:
            return self._mean(np.eye(self.pieces.shape[1])[self.pieces.argmax(axis=1)])
        return self._mean((self.pieces > 0.5).astype(float))

    @property
    def piece_accuracy(self) -> float:
        """Of the tested pieces."""
        return self._accuracy(self.pieces, self.truth[self.owners])

    @property
    def clip_accuracy(self) -> float:
        """Of clips by their mean probability."""
        return self._accuracy(self.clips, self.truth)

    @property
    def vote_accuracy(self) -> float:
        """Of clips by the votes of their pieces."""
        return self._accuracy(self.votes, self.truth)

    def at_kept_step(self, figure: str) -> float:
        """Return a figure of the step whose weights were kept; NaN where it was not measured."""
        found = [row[figure] for row in self.history if figure in row and row["step"] == self.kept_step]
        return found[-1] if found else float("nan")

    def _mean(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = np.zeros((len(self.ids), values.shape[1]))
        np.add.at(sums, self.owners, values)
        return np.asarray(sums / np.bincount(self.owners, minlength=len(self.ids))[:, None])

    def _accuracy(self, predicted: NDArray[np.float64], truth: NDArray[np.float32]) -> float:
        if self.by_class:
            return float((predicted.argmax(axis=1) == truth.argmax(axis=1)).mean())
        return float(((predicted > 0.5) == (truth > 0.5)).mean())


def train_trial(
    trial: Trial,
    config: Experiment,
    data: SplitSounds,
    sounds: Mapping[str, RawAudioFile],
    folder: Path,
    title: str,
    device: str = "auto",
    workers: int | None = None,
    checkpoint_minutes: float = 10.0,
    kept: KeptLayers | None = None,
) -> tuple[Network, Trained]:
    """Train a network, from its last checkpoint on if there is one, or take the given one; it stays on the device.

    Parameters
    ----------
    trial : Trial
    config : Experiment
    data : SplitSounds
    sounds : mapping from id to RawAudioFile
        All that could be read.
    folder : Path
        For checkpoints and logs.
    title : str
        What the progress bar is of.
    device, workers, checkpoint_minutes
        As in `train_network`.
    kept : KeptLayers, optional
        What the layers that stay as they are make of the sounds.

    Raises
    ------
    SettingsError
        If the training diverged, or is to be measured and nothing is there to measure by.
    """
    if config.given is not None:
        return config.given.to(choose_device(device)), Trained([], kept_step=0, steps_per_epoch=1, seconds=0.0)
    training, sampling = config.training, config.sampling
    torch.manual_seed(trial.seed)
    network = config.build([data.manifest.class_names[output] for output in trial.outputs])
    ids, learned = _select(trial, config, data, sounds, network, "train")
    dataset: SegmentDataset
    if kept is None:
        dataset = sampling.training(learned, training.augmentation, trial.seed, training.batch_size)
    else:
        dataset = _kept_segments(kept, network, ids, learned, training.augmentation, trial.seed)
    measured = _select(trial, config, data, sounds, network, "validation")[1]
    validation = sampling.validation(measured, trial.seed, training.batch_size) if measured.sounds else None
    network.to(choose_device(device))
    network.fit_front_end(_first_batches(dataset, training.batch_size, network.preprocessing.amplitude))
    trained = train_network(
        network,
        training,
        dataset,
        validation,
        folder,
        title,
        trial.seed,
        sampling.whole_epochs,
        device,
        workers,
        checkpoint_minutes,
    )
    return network, trained


def write_predictions(
    trial: Trial,
    config: Experiment,
    data: SplitSounds,
    sounds: Mapping[str, RawAudioFile],
    network: Network,
    trained: Trained,
    file: str | Path,
    kept: KeptLayers | None = None,
) -> None:
    """Test a network on the sounds of its fold, and write what `read_result` reads."""
    ids, tested = _select(trial, config, data, sounds, network, "test")
    pieces = config.sampling.test(tested)
    loss = config.training.loss
    if pieces is None:
        owners = np.arange(len(ids))
        if kept is not None and kept.holds_whole_sounds:
            logits = kept_logits(network, kept, ids)
        else:
            logits = clip_logits(network, tested.sounds, config.sampling.speeds)
        found = probabilities(loss, logits.double()).numpy()
    else:
        owners = pieces.owners
        found = _piece_probabilities(network, pieces, config)
    write_json(
        file,
        {
            "ids": ids,
            "owners": owners.tolist(),
            "pieces": found.tolist(),
            "history": trained.history,
            "kept_step": trained.kept_step,
            "steps_per_epoch": trained.steps_per_epoch,
            "parameters": parameter_count(network),
            "seconds": trained.seconds,
        },
    )


def is_tested(file: Path) -> bool:
    """Return whether a trial has left what `read_result` reads; a damaged file gets another name."""
    then = "its network is trained again"
    content = read_own_json(file, ("history", "parameters", "seconds"), then)
    if content is None or "answers" in content:
        return content is not None
    return read_own_json(file, _KEYS, then) is not None


def read_result(trial: Trial, config: Experiment, data: SplitSounds, file: str | Path) -> TrialResult:
    """Read what a trial left."""
    content = read_json(file)
    if "answers" in content:
        content = _of_first_version(content, trial, config, data)
    outputs = list(trial.outputs)
    row_of = {clip.id: row for row, clip in enumerate(data.manifest.clips)}
    alone = bool(data.tags) and len(outputs) == 1
    return TrialResult(
        trial=trial,
        network=data.manifest.class_names[outputs[0]] if alone else config.network,
        ids=tuple(content["ids"]),
        owners=np.array(content["owners"], dtype=np.int64),
        pieces=np.array(content["pieces"], dtype=np.float64),
        truth=data.targets[[row_of[name] for name in content["ids"]]][:, outputs],
        by_class=len(outputs) > 1 and not data.tags,
        history=content["history"],
        kept_step=content["kept_step"],
        steps_per_epoch=content["steps_per_epoch"],
        parameters=content["parameters"],
        seconds=content["seconds"],
    )


@torch.inference_mode()
def clip_logits(network: Network, sounds: Sequence[RawAudioFile], speeds: Sequence[float] = (1.0,)) -> Tensor:
    """Return the logits (sounds, classes) float32 of whole sounds of any length, on the CPU, computed in 32 bit.

    Short ones are tiled as the network's preprocessing says.

    Parameters
    ----------
    network : FinetunedNetwork
    sounds : sequence of RawAudioFile
    speeds : sequence of float
        A sound is heard at each of them, and the logits are averaged.
    """
    assert isinstance(network, FinetunedNetwork)
    extractor = FeatureExtractor(network.eval(), [network.output_layer], "mean")
    rate = network.preprocessing.sample_rate
    # Also when it is slowed down.
    longest = int(extractor.longest * min(1.0, *speeds))
    logits = torch.zeros(len(sounds), network.channels(network.output_layer))
    with tqdm(total=len(sounds) * len(speeds), desc="test", unit="sound") as progress:
        for batch in batches_of_equal_length(enumerate(sounds), SOUNDS_AT_ONCE, longest):
            for speed in speeds:
                heard: list[Sound] = [
                    sounds[place] if speed == 1 else at_speed(sounds[place].read(), rate, speed) for place in batch
                ]
                logits[list(batch)] += torch.from_numpy(extractor.extract(heard)[network.output_layer]) / len(speeds)
                progress.update(len(batch))
    return logits


@torch.inference_mode()
def kept_logits(network: Network, kept: KeptLayers, ids: Sequence[str]) -> Tensor:
    """Return the logits (sounds, classes) float32 of whole sounds that are heard over and over, as they were learned.

    They are computed in 32 bit and averaged over the speeds.

    Parameters
    ----------
    network : FinetunedNetwork
    kept : KeptLayers
    ids : sequence of str
    """
    assert isinstance(network, FinetunedNetwork)
    network.eval()
    device, margin = next(network.parameters()).device, network.margin_steps
    logits = torch.zeros(len(ids), network.channels(network.output_layer))
    with full_precision(), tqdm(total=len(ids), desc="test", unit="sound") as progress:
        for place, name in enumerate(ids):
            for version in kept.as_they_are:
                steps = kept.read(kept.number_of[name], version)
                piece = torch.from_numpy(surrounded(steps, 0, steps.shape[1], margin))[None]
                logits[place] += network.logits_from(piece.to(device), margin)[0].cpu() / len(kept.as_they_are)
            progress.update()
    return logits


def _kept_segments(
    kept: KeptLayers,
    network: Network,
    ids: Sequence[str],
    learned: LabelledSounds,
    augmentation: Augmentation,
    seed: int,
) -> KeptSegmentDataset:
    assert isinstance(network, FinetunedNetwork)
    assert network.frozen_layer is not None
    numbers = np.array([kept.number_of[name] for name in ids], dtype=np.int64)
    steps = network.network.steps(learned.samples, network.frozen_layer)
    return KeptSegmentDataset(kept, numbers, learned.targets, steps, network.margin_steps, augmentation, seed)


@torch.inference_mode()
def _piece_probabilities(network: Network, pieces: SlidingDataset, config: Experiment) -> NDArray[np.float64]:
    """Return the probabilities (pieces, outputs), computed in 32 bit."""
    loader = DataLoader(pieces, batch_sampler=list(in_batches(len(pieces), config.training.batch_size)))
    device = next(network.parameters()).device
    found = []
    with full_precision():
        for sound, _ in tqdm(loader, desc="test", unit="batch"):
            logits = network.logits(sound.to(device) * network.preprocessing.amplitude)
            found.append(probabilities(config.training.loss, logits.cpu().double()))
    return torch.cat(found).numpy()


def _select(
    trial: Trial,
    config: Experiment,
    data: SplitSounds,
    sounds: Mapping[str, RawAudioFile],
    network: Network,
    split: Split,
) -> tuple[tuple[str, ...], LabelledSounds]:
    asked = network.preprocessing
    samples = config.sampling.samples(asked.sample_rate, asked.least_samples)
    return select_sounds(data, trial.fold, split, sounds, trial.outputs, asked, samples)


def _first_batches(dataset: SegmentDataset, batch_size: int, amplitude: float) -> Iterator[Tensor]:
    for step in range(min(FITTED_BATCHES, max(1, -(-len(dataset) // batch_size)))):
        first = step * batch_size
        yield torch.stack([dataset[place][0] for place in range(first, first + batch_size)]) * amplitude


def _of_first_version(
    content: Mapping[str, Any], trial: Trial, config: Experiment, data: SplitSounds
) -> dict[str, Any]:
    """Complete what `finetune` of version 0.1.0 left of a fold: of each clip, in their order, only the class."""
    clips = data.manifest.clips
    ids = [clips[place].id for place in clips_for(data, trial.fold, "test")]
    learned = len(clips_for(data, trial.fold, "train"))
    _, steps_per_epoch, steps = step_counts(config.training, learned, config.sampling.whole_epochs)
    return {
        **content,
        "ids": ids,
        "owners": range(len(ids)),
        "pieces": np.eye(len(trial.outputs))[content["answers"]],
        "kept_step": steps,
        "steps_per_epoch": steps_per_epoch,
    }
