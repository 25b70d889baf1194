"""HEAR's downstream evaluation, for tasks on this disk in the layout of HEAR's preprocessed ones.

The benchmark's own evaluation kit (hear-eval-kit 2021.1) asks for NumPy 1.19 and does not run any more. What it does
with scene embeddings is done here from its description (Turian et al., HEAR: Holistic Evaluation of Audio
Representations, PMLR 176, 2022, section 4 and appendix) and the kit's settings: a small network of fully connected
layers on the embeddings as they are, chosen from a grid by the validation part. Only the evaluation is HEAR's; what a
row means depends on the task's sounds.

A task is a folder with `task_metadata.json`, `labelvocabulary.csv`, a file `SPLIT.json` (labels of each file) for each
split, and the sounds in `RATE/SPLIT/`. Tasks of events, which need `sed_eval`, are refused.
"""

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import ParameterGrid
from torch import Tensor, nn

from soundnet_kd.errors import FormatError, SettingsError, nearest
from soundnet_kd.interfaces.listening import Listener

GRID = {
    "hidden_layers": [1, 2],
    "learning_rate": [3.2e-3, 1e-3, 3.2e-4, 1e-4],
    "initialization": ["xavier_uniform_", "xavier_normal_"],
}
"""hear-eval-kit's grid, of which it tries some points, drawn at random (`GRID_POINTS` of them by default)."""
GRID_POINTS = 8
HIDDEN_UNITS = 1024
DROPOUT = 0.1
BATCH_SIZE = 1024
MAX_EPOCHS = 500
EPOCHS_PER_CHECK = 3
PATIENCE = 20
"""So many checks without a better validation score end a training."""
SEED = 42

Score = Callable[[NDArray[np.float32], NDArray[np.float32]], float]


@dataclass(frozen=True)
class HearTask:
    """A task of scenes in HEAR's layout.

    Attributes
    ----------
    folder : Path
    name : str
        With its version, such as esc50-v2.0.0.
    labels : tuple of str
    exclusive : bool
        Whether a sound has one label; any number else.
    scores : tuple of str
        The first of them chooses.
    splits : tuple of str
        Parts of the data: train, valid and test, or folds.
    folds : bool
    """

    folder: Path
    name: str
    labels: tuple[str, ...]
    exclusive: bool
    scores: tuple[str, ...]
    splits: tuple[str, ...]
    folds: bool

    def parts(self) -> list[tuple[tuple[str, ...], str, str]]:
        """Return the splits to train on, to choose by and to test on, once for each test.

        Of folds each is the test once, and the one that follows it the validation.
        """
        if not self.folds:
            return [(("train",), "valid", "test")]
        count = len(self.splits)
        following = [self.splits[(number + 1) % count] for number in range(count)]
        return [
            (tuple(each for each in self.splits if each not in (test, valid)), valid, test)
            for test, valid in zip(self.splits, following, strict=True)
        ]


@dataclass(frozen=True)
class HearResult:
    """What a network is worth in a task.

    Attributes
    ----------
    task, model : str
    scores : dict from score to tuple of float
        One value for each test split.
    settings : dict
        The point of the grid that was chosen.
    """

    task: str
    model: str
    scores: dict[str, tuple[float, ...]]
    settings: dict[str, Any]

    def mean(self, score: str) -> float:
        """Return the mean of a score over the test splits."""
        return float(np.mean(self.scores[score]))


def read_task(folder: str | Path) -> HearTask:
    """Read what a task is, without its sounds.

    Raises
    ------
    SettingsError
        If there is no such folder, or it is a task of events, or asks for a score that is not known here.
    FormatError
        If files are missing, or do not hold what HEAR's do.
    """
    folder = Path(folder)
    if not (folder / "task_metadata.json").is_file():
        raise SettingsError(f"{folder} is no task in HEAR's layout: it has no task_metadata.json")
    try:
        about = json.loads((folder / "task_metadata.json").read_text(encoding="utf-8"))
        with (folder / "labelvocabulary.csv").open(newline="", encoding="utf-8") as file:
            vocabulary = {int(row["idx"]): row["label"] for row in csv.DictReader(file)}
        name, kind, prediction = about["task_name"], about["embedding_type"], about["prediction_type"]
        mode, scores = about["split_mode"], tuple(about["evaluation"])
        splits = ("train", "valid", "test") if mode == "trainvaltest" else tuple(sorted(about["splits"]))
    except (OSError, ValueError, KeyError) as error:
        raise FormatError(f"{folder} is no whole task in HEAR's layout: {type(error).__name__} {error}") from error
    if kind != "scene":
        raise SettingsError(f"{folder} is a task of {kind}s; only tasks of scenes are evaluated here")
    for score in scores:
        if score not in SCORES:
            raise SettingsError(f"{folder} asks for the score {score!r}{nearest(score, SCORES)}")
    if sorted(vocabulary) != list(range(len(vocabulary))) or not scores or len(splits) < 3:
        raise FormatError(f"{folder} needs labels numbered from 0, a score, and three splits or more")
    labels = tuple(vocabulary[number] for number in range(len(vocabulary)))
    named = f"{name}-{about['version']}" if "version" in about else name
    return HearTask(folder, named, labels, prediction == "multiclass", scores, splits, mode != "trainvaltest")


def evaluate_task(
    task: str | Path | HearTask, listener: Listener, *, grid_points: int = GRID_POINTS, seed: int = SEED
) -> HearResult:
    """Evaluate a network as HEAR does.

    The points of the grid are tried on the first parts; the best one is trained on each of the others too.

    Parameters
    ----------
    task : str, Path or HearTask
        A folder, or what `read_task` gives.
    listener : Listener
        The network, its layer, and what is taken of it.
    grid_points : int
        How many points are tried, drawn at random; HEAR's own rows have 8, of the 16 that there are.
    seed : int

    Raises
    ------
    SettingsError, FormatError
        As `read_task`.
    MediaError
        If a sound cannot be read; the message names it.
    """
    task = task if isinstance(task, HearTask) else read_task(task)
    points = list(ParameterGrid(GRID))
    if not 1 <= grid_points <= len(points):
        raise SettingsError(f"grid_points is {grid_points}; the grid has {len(points)}")
    data = {split: _read_split(task, split, listener) for split in task.splits}
    order = np.random.default_rng(seed).permutation(len(points))[:grid_points]
    first, *others = task.parts()
    tried = [_train(task, data, first, points[place], seed) for place in order]
    best = max(tried, key=lambda each: each.validation)
    trained = [best, *(_train(task, data, parts, best.settings, seed) for parts in others)]
    scores: dict[str, tuple[float, ...]] = {}
    for score in task.scores:
        scores[score] = tuple(
            SCORES[score](each.answer(data[test][0]), data[test][1].numpy())
            for each, (_, _, test) in zip(trained, task.parts(), strict=True)
        )
    return HearResult(task.name, listener.name, scores, best.settings)


@dataclass(frozen=True)
class _Trained:
    network: nn.Sequential
    exclusive: bool
    settings: dict[str, Any]
    validation: float

    def answer(self, embeddings: Tensor) -> NDArray[np.float32]:
        """Return the probability of each label, (sounds, labels), of embeddings (sounds, dimensions)."""
        with torch.inference_mode():
            logits = self.network(embeddings)
        return np.asarray(logits.softmax(dim=1) if self.exclusive else logits.sigmoid())


def _train(
    task: HearTask,
    data: dict[str, tuple[Tensor, Tensor]],
    parts: tuple[tuple[str, ...], str, str],
    settings: dict[str, Any],
    seed: int,
) -> _Trained:
    """Return the network at its best validation score."""
    training, valid, _ = parts
    sounds = torch.cat([data[split][0] for split in training])
    targets = torch.cat([data[split][1] for split in training])
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _fully_connected(sounds.shape[1], len(task.labels), settings)
        optimizer = torch.optim.Adam(network.parameters(), lr=settings["learning_rate"])
        loss_of = nn.CrossEntropyLoss() if task.exclusive else nn.BCEWithLogitsLoss()
        best, kept, checks_since = -np.inf, network.state_dict(), 0
        for epoch in range(1, MAX_EPOCHS + 1):
            network.train()
            # The kit shuffles the sounds of a training split, and not those of folds.
            order = torch.arange(len(sounds)) if task.folds else torch.randperm(len(sounds), generator=generator)
            for batch in torch.split(order, BATCH_SIZE):
                optimizer.zero_grad()
                loss_of(network(sounds[batch]), targets[batch]).backward()
                optimizer.step()
            if epoch % EPOCHS_PER_CHECK:
                continue
            now = _Trained(network.eval(), task.exclusive, settings, 0.0).answer(data[valid][0])
            score = SCORES[task.scores[0]](now, data[valid][1].numpy())
            if score > best:
                best, checks_since = score, 0
                kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
            else:
                checks_since += 1
            if checks_since >= PATIENCE:
                break
    network.load_state_dict(kept)
    return _Trained(network.eval(), task.exclusive, settings, float(best))


def _fully_connected(dimensions: int, labels: int, settings: dict[str, Any]) -> nn.Sequential:
    """Return hidden layers, each with batch norm, dropout and ReLU, and a linear answer."""
    initialize = getattr(nn.init, settings["initialization"])
    layers: list[nn.Module] = []
    # The kit takes the gain of what came before a layer.
    width, gain = dimensions, nn.init.calculate_gain("linear")
    for _ in range(settings["hidden_layers"]):
        layers += [nn.Linear(width, HIDDEN_UNITS), nn.BatchNorm1d(HIDDEN_UNITS), nn.Dropout(DROPOUT), nn.ReLU()]
        initialize(layers[-4].weight, gain=gain)
        width, gain = HIDDEN_UNITS, nn.init.calculate_gain("relu")
    layers.append(nn.Linear(width, labels))
    initialize(layers[-1].weight, gain=gain)
    return nn.Sequential(*layers)


def _read_split(task: HearTask, split: str, listener: Listener) -> tuple[Tensor, Tensor]:
    """Return embeddings (sounds, dimensions) and targets (sounds, labels) of 0 and 1."""
    try:
        labels_of = json.loads((task.folder / f"{split}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{task.folder} has no readable {split}.json: {error}") from error
    number_of = {label: number for number, label in enumerate(task.labels)}
    targets = np.zeros((len(labels_of), len(task.labels)), np.float32)
    for row, (file, labels) in enumerate(labels_of.items()):
        for label in labels:
            if label not in number_of:
                raise FormatError(f"{split}.json calls {file} {label!r}, which labelvocabulary.csv does not list")
            targets[row, number_of[label]] = 1
    if task.exclusive and len(targets) and not (targets.sum(axis=1) == 1).all():
        raise FormatError(
            f"{task.folder / f'{split}.json'} gives some sounds none or several labels, in a multiclass task"
        )
    if not len(targets):
        raise FormatError(f"{task.folder / f'{split}.json'} lists no sounds")
    folder = _sounds_folder(task.folder, listener.sample_rate) / split
    asked = listener.network.preprocessing

    def sounds() -> Iterator[NDArray[np.float32]]:
        for file in labels_of:
            yield asked.read(folder / file)

    return torch.from_numpy(listener.embed(sounds())), torch.from_numpy(targets)


def _sounds_folder(folder: Path, sample_rate: int) -> Path:
    """Return the folder of sounds at a rate, or at the highest there is, which are resampled."""
    rates = sorted(int(each.name) for each in folder.iterdir() if each.is_dir() and each.name.isdecimal())
    if not rates:
        raise FormatError(f"{folder} has no folder of sounds; HEAR calls them by their rate, such as 48000")
    return folder / str(sample_rate if sample_rate in rates else rates[-1])


def _top1_accuracy(answers: NDArray[np.float32], targets: NDArray[np.float32]) -> float:
    return float(np.take_along_axis(targets, answers.argmax(axis=1, keepdims=True), axis=1).mean(dtype=np.float64))


def _mean_average_precision(answers: NDArray[np.float32], targets: NDArray[np.float32]) -> float:
    return float(average_precision_score(targets, answers, average="macro"))


def _area_under_roc(answers: NDArray[np.float32], targets: NDArray[np.float32]) -> float:
    return float(roc_auc_score(targets, answers, average="macro"))


def _d_prime(answers: NDArray[np.float32], targets: NDArray[np.float32]) -> float:
    """Return the mean over the labels of the distance of two normal distributions that have the area under the ROC."""
    areas = roc_auc_score(targets, answers, average=None)
    return float(np.mean(np.sqrt(2) * norm.ppf(areas)))


SCORES: dict[str, Score] = {
    "top1_acc": _top1_accuracy,
    "mAP": _mean_average_precision,
    "aucroc": _area_under_roc,
    "d_prime": _d_prime,
}
"""HEAR's scores of scenes, by the names that its tasks call them."""
