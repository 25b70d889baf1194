"""What the networks of a run answered, in the form that all evaluations have, and one line for each training."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from soundnet_kd.features.extractor import FeatureExtractor
from soundnet_kd.features.reading import batches_of_equal_length
from soundnet_kd.media import RawAudioFile
from soundnet_kd.models import FinetunedNetwork
from soundnet_kd.storage import escape_name, versions, write_csv
from soundnet_kd.supervised.experiment import ExperimentRun
from soundnet_kd.supervised.trial import TrialResult
from soundnet_kd.transfer.cross_validation import CrossValidation
from soundnet_kd.transfer.results import Evaluation

PROTOCOL = "from scratch"
TESTED_TOGETHER = 8
"""Clips of equal length that are tested together."""


@dataclass(frozen=True)
class TrialScores:
    """What came of one training, accuracies from 0 to 1.

    Attributes
    ----------
    seed, fold : int
    network : str
        Its tag, where there is one for each, or the recipe's network.
    parameters : int
    epochs : float
        Until the weights that were kept.
    training_seconds : float
    validation_loss, validation_accuracy : float
        Of the weights that were kept, by pieces of the validation sounds; NaN where there were none.
    pieces : int
        Of the tested sounds.
    piece_accuracy, clip_accuracy, vote_accuracy : float
        Of the tested pieces; of clips by their mean probability, and by the votes of their pieces. Of all tags,
        where sounds have several.
    """

    seed: int
    fold: int
    network: str
    parameters: int
    epochs: float
    training_seconds: float
    validation_loss: float
    validation_accuracy: float
    pieces: int
    piece_accuracy: float
    clip_accuracy: float
    vote_accuracy: float


def trial_scores(run: ExperimentRun) -> list[TrialScores]:
    """Score every training of a run."""
    scores = []
    for task, tested in run.tested.items():
        data = run.sets[task.seed]
        row_of = {clip.id: row for row, clip in enumerate(data.manifest.clips)}
        truth = data.targets[[row_of[name] for name in tested.ids]][:, list(task.outputs)]
        votes = _votes(tested, len(task.outputs) > 1 and not data.tags)
        by_class = len(task.outputs) > 1 and not data.tags
        alone = bool(data.tags) and len(task.outputs) == 1
        scores.append(
            TrialScores(
                seed=task.seed,
                fold=task.fold,
                network=run.class_names[task.outputs[0]] if alone else run.recipe.network,
                parameters=tested.parameters,
                epochs=tested.kept_step / tested.steps_per_epoch,
                training_seconds=tested.seconds,
                validation_loss=tested.at_kept_step("validation/loss"),
                validation_accuracy=tested.at_kept_step("validation/accuracy"),
                pieces=len(tested.pieces),
                piece_accuracy=_right(tested.pieces, truth[tested.owners], by_class),
                clip_accuracy=_right(tested.clips, truth, by_class),
                vote_accuracy=_right(votes, truth, by_class),
            )
        )
    return scores


def write_trials(scores: list[TrialScores], out: str | Path) -> None:
    """Write `trainings.csv`, a row for each training."""
    out = Path(out)
    rows = [asdict(each) for each in scores]
    write_csv(out / "trainings.csv", rows[0], (row.values() for row in rows))


def class_evaluation(run: ExperimentRun, scores: list[TrialScores]) -> Evaluation:
    """Count how many clips are given their class by their mean probability, a result for each seed."""
    data = next(iter(run.sets.values()))
    # The tested clips of one seed are those of the others, but for what a layout draws.
    ids = tuple(dict.fromkeys(name for tested in run.tested.values() for name in tested.ids))
    clip_of = {clip.id: clip for each in run.sets.values() for clip in each.manifest.clips}
    place_of = {name: place for place, name in enumerate(ids)}
    labels = np.array([clip_of[name].label for name in ids], dtype=np.int64)
    folds = np.ones(len(ids), dtype=np.int64)
    for task, tested in run.tested.items():
        folds[[place_of[name] for name in tested.ids]] = task.fold
    results = {}
    for seed in run.recipe.seeds:
        name = run.recipe.network if len(run.recipe.seeds) == 1 else f"{run.recipe.network} seed {seed}"
        results[name] = _result(run, seed, place_of, labels)
    trained = [score.training_seconds for score in scores]
    source = {
        "recipe": run.recipe.about.strip(),
        "identity": run.recipe.identity,
        "folds": "the folds of the data set" if len(data.splits) > 1 else "one test, the split of the data set",
        "skipped": len(run.failures),
        **({} if run.voiceless is None else {"without_voice": run.voiceless}),
        "parameters": scores[0].parameters,
        "training_seconds": round(float(np.sum(trained)), 1),
        "trainings": len(scores),
        "versions": versions(),
    }
    width = run.recipe.training.epochs
    return Evaluation(
        kind="trained",
        results=results,
        channels=dict.fromkeys(results, len(run.class_names)),
        classes=run.class_names,
        ids=ids,
        labels=labels,
        folds=folds,
        groups=None,
        source={**source, "epochs": width},
        paths=tuple(escape_name(clip_of[name].path.resolve()) for name in ids),
    )


def write_probabilities(run: ExperimentRun, out: str | Path) -> None:
    """Write `probabilities.csv`: of each tested clip, by each network, the classes' mean probabilities and votes."""
    out = Path(out)
    write_csv(
        out / "probabilities.csv",
        ("seed", "fold", "id", "truth", *run.class_names, "pieces", *(f"votes {name}" for name in run.class_names)),
        _probability_rows(run),
    )


def class_probabilities(tested: TrialResult, classes: int, clips: bool = True) -> NDArray[np.float64]:
    """Give (clips, classes) of a network of all classes; one that has one output for two classes says both."""
    found = tested.clips if clips else tested.pieces
    return found if found.shape[1] == classes else np.hstack([1 - found, found])


def clip_logits(network: FinetunedNetwork, sounds: Sequence[RawAudioFile]) -> Tensor:
    """Tell the classes of whole sounds of any length, tiled as the network's preprocessing says.

    Parameters
    ----------
    network : FinetunedNetwork
    sounds : sequence of RawAudioFile

    Returns
    -------
    (sounds, classes) float32
        Logits, computed in 32 bit, on the CPU.
    """
    extractor = FeatureExtractor(network.network.eval(), (network.layer,), "mean")
    averages = torch.empty(len(sounds), network.head.in_features)
    with tqdm(total=len(sounds), desc="test", unit="sound") as progress:
        for batch in batches_of_equal_length(enumerate(sounds), TESTED_TOGETHER, extractor.longest):
            averages[list(batch)] = torch.from_numpy(extractor.extract(list(batch.values()))[network.layer])
            progress.update(len(batch))
    with torch.inference_mode():
        logits: Tensor = network.head(averages.to(network.head.weight.device)).cpu()
    return logits


def _probability_rows(run: ExperimentRun) -> Iterator[list[object]]:
    classes = len(run.class_names)
    for task, tested in run.tested.items():
        label_of = {clip.id: clip.label for clip in run.sets[task.seed].manifest.clips}
        means = class_probabilities(tested, classes)
        votes = np.zeros((len(tested.ids), classes), dtype=np.int64)
        np.add.at(votes, (tested.owners, class_probabilities(tested, classes, clips=False).argmax(axis=1)), 1)
        for row, name in enumerate(tested.ids):
            truth = run.class_names[label_of[name]]
            shares = (f"{value:.6f}" for value in means[row])
            yield [task.seed, task.fold, name, truth, *shares, votes[row].sum(), *votes[row]]


def _result(run: ExperimentRun, seed: int, place_of: dict[str, int], labels: NDArray[np.int64]) -> CrossValidation:
    classes = len(run.class_names)
    predictions = np.full(len(labels), -1, dtype=np.int64)
    fold_accuracy: dict[int, float] = {}
    confusion = np.zeros((classes, classes), dtype=np.int64)
    for task, tested in run.tested.items():
        if task.seed == seed:
            places = [place_of[name] for name in tested.ids]
            answers = class_probabilities(tested, classes).argmax(axis=1)
            predictions[places] = answers
            fold_accuracy[task.fold] = float((answers == labels[places]).mean())
            np.add.at(confusion, (labels[places], answers), 1)
    setting = {"epochs": float(run.recipe.training.epochs), "learning_rate": run.recipe.training.learning_rate}
    accuracy = float(np.mean(list(fold_accuracy.values())))
    return CrossValidation(
        protocol=PROTOCOL,
        head=run.recipe.network,
        selection="fixed",
        accuracy=accuracy,
        folds=tuple(fold_accuracy),
        fold_accuracy=tuple(fold_accuracy.values()),
        chosen=(setting,) * len(fold_accuracy),
        grid=(setting,),
        grid_accuracy=(accuracy,),
        confusion=confusion,
        predictions=predictions,
        classes=run.class_names,
        left_out=0,
        unconverged=(),
    )


def _votes(tested: TrialResult, by_class: bool) -> NDArray[np.float64]:
    """Return the share of a clip's pieces that votes for each output."""
    if by_class:
        ballots = np.eye(tested.pieces.shape[1])[tested.pieces.argmax(axis=1)]
    else:
        ballots = (tested.pieces > 0.5).astype(float)
    sums = np.zeros((len(tested.ids), ballots.shape[1]))
    np.add.at(sums, tested.owners, ballots)
    return np.asarray(sums / np.bincount(tested.owners, minlength=len(tested.ids))[:, None])


def _right(probabilities: NDArray[np.float64], truth: NDArray[np.float32], by_class: bool) -> float:
    if by_class:
        return float((probabilities.argmax(axis=1) == truth.argmax(axis=1)).mean())
    return float(((probabilities > 0.5) == (truth > 0.5)).mean())
