"""What the networks of an experiment predicted, in the form that all evaluations have, and a line for each trial."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.storage import escape_name, versions, write_csv
from soundnet_kd.supervised.experiment import ExperimentRun
from soundnet_kd.supervised.finetuning import ClipFolds, FinetuneConfig
from soundnet_kd.supervised.trial import TrialResult
from soundnet_kd.training.classification import FIGURES, MEASURES
from soundnet_kd.training.history import write_history
from soundnet_kd.transfer.cross_validation import CrossValidation
from soundnet_kd.transfer.fitting import UNTESTED
from soundnet_kd.transfer.results import Evaluation

PROTOCOL = "from scratch"


def write_trials(results: Sequence[TrialResult], out: str | Path) -> None:
    """Write `trainings.csv`, a row for each trial.

    Columns: `seed`, `fold`, `network`, `parameters`; `epochs` until the weights that were kept; `training_seconds`;
    `validation_loss` and `validation_accuracy` of these weights, by pieces of the validation sounds, NaN where there
    were none; `pieces` of the tested sounds; `piece_accuracy`, and of clips `clip_accuracy` by their mean probability
    and `vote_accuracy` by the votes of their pieces. Of all tags, where sounds have several.
    """
    columns = (
        "seed",
        "fold",
        "network",
        "parameters",
        "epochs",
        "training_seconds",
        "validation_loss",
        "validation_accuracy",
        "pieces",
        "piece_accuracy",
        "clip_accuracy",
        "vote_accuracy",
    )
    write_csv(
        Path(out) / "trainings.csv",
        columns,
        (
            (
                each.trial.seed,
                each.trial.fold,
                each.network,
                each.parameters,
                each.epochs,
                each.seconds,
                each.at_kept_step("validation/loss"),
                each.at_kept_step("validation/accuracy"),
                len(each.pieces),
                each.piece_accuracy,
                each.clip_accuracy,
                each.vote_accuracy,
            )
            for each in results
        ),
    )


def write_trial_histories(run: ExperimentRun, by_fold: bool = False) -> None:
    """Write `history.csv`, a row for each trial and step.

    Parameters
    ----------
    run : ExperimentRun
    by_fold : bool
        Where nothing but the fold tells trials apart, say only this, and leave out what nobody measured.
    """
    figures: tuple[str, ...] = (*FIGURES, *MEASURES)
    names: list[dict[str, object]] = [
        {"seed": each.trial.seed, "fold": each.trial.fold, "network": name}
        for each, name in zip(run.results, run.names, strict=True)
    ]
    if by_fold and len(run.sets) == 1:
        names = [{"fold": each["fold"]} for each in names]
    if by_fold and not any(MEASURES[0] in row for each in run.results for row in each.history):
        figures = FIGURES
    write_history(run.out, zip(names, (each.history for each in run.results), strict=True), figures)


def evaluate_classes(run: ExperimentRun, about: str) -> Evaluation:
    """Count how many clips are given their class by their mean probability, a result for each seed.

    Parameters
    ----------
    run : ExperimentRun
    about : str
        What the recipe says of itself.
    """
    data = next(iter(run.sets.values()))
    # The tested clips of one seed are those of the others, but for what a layout draws.
    ids = tuple(dict.fromkeys(name for tested in run.results for name in tested.ids))
    clip_of = {clip.id: clip for each in run.sets.values() for clip in each.manifest.clips}
    place_of = {name: place for place, name in enumerate(ids)}
    labels = np.array([clip_of[name].label for name in ids], dtype=np.int64)
    folds = np.ones(len(ids), dtype=np.int64)
    for tested in run.results:
        assert tested.trial.fold is not None
        folds[[place_of[name] for name in tested.ids]] = tested.trial.fold
    results = _results_by_seed(run, run.config.network, ids, labels, PROTOCOL, run.config.network)
    source = {
        "recipe": about.strip(),
        "identity": run.config.identity,
        "folds": "the folds of the data set" if len(data.splits) > 1 else "one test, the split of the data set",
        "skipped": len(run.failures),
        **({} if run.voiceless is None else {"without_voice": run.voiceless}),
        **describe_trainings(run.results),
        "versions": versions(),
        "epochs": run.config.training.epochs,
    }
    return Evaluation(
        kind="trained",
        results=results,
        channels=dict.fromkeys(results, len(run.class_names)),
        classes=run.class_names,
        ids=ids,
        labels=labels,
        folds=folds,
        groups=None,
        source=source,
        paths=tuple(escape_name(clip_of[name].path.resolve()) for name in ids),
    )


def evaluate_folds(run: ExperimentRun, folds: ClipFolds, student: str, identity: Mapping[str, Any]) -> Evaluation:
    """Count as `evaluate_classes`, for clips under folds; those that are not tested are told of, too.

    Parameters
    ----------
    run : ExperimentRun
        Of a `FinetuneConfig`.
    folds : ClipFolds
        The clips that could be read.
    student : str
        Name of the student that was fine-tuned.
    identity : mapping
        What made the run.
    """
    config = run.config
    assert isinstance(config, FinetuneConfig)
    several = {"seeds": list(config.seeds)} if len(config.seeds) > 1 else {}
    results = _results_by_seed(run, config.layer, folds.ids, folds.labels, config.protocol, "linear layer")
    return Evaluation(
        kind="finetuned",
        results=results,
        channels=dict.fromkeys(results, config.student.channels(config.layer)),
        classes=run.class_names,
        ids=folds.ids,
        labels=folds.plan.hide_untested(folds.labels),
        folds=folds.plan.folds,
        groups=folds.groups,
        paths=folds.paths,
        source={
            "student": student,
            "identity": identity,
            "skipped": len(run.failures),
            **describe_trainings(run.results),
            "seed": config.seeds[0],
            **several,
            "versions": versions(),
            "folds": folds.plan.origin,
        },
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
    """Return (clips, classes) of a network of all classes; one that has one output for two classes says both."""
    found = tested.clips if clips else tested.pieces
    return found if found.shape[1] == classes else np.hstack([1 - found, found])


def describe_trainings(results: Sequence[TrialResult]) -> dict[str, Any]:
    """Return what results say of the trainings: parameters of a network, seconds of all, and how many they are."""
    return {
        "parameters": results[0].parameters,
        "training_seconds": round(float(np.sum([each.seconds for each in results])), 1),
        "trainings": len(results),
    }


def _probability_rows(run: ExperimentRun) -> Iterator[list[object]]:
    classes = len(run.class_names)
    for tested in run.results:
        trial = tested.trial
        label_of = {clip.id: clip.label for clip in run.sets[trial.seed].manifest.clips}
        means = class_probabilities(tested, classes)
        votes = np.zeros((len(tested.ids), classes), dtype=np.int64)
        np.add.at(votes, (tested.owners, class_probabilities(tested, classes, clips=False).argmax(axis=1)), 1)
        for row, name in enumerate(tested.ids):
            truth = run.class_names[label_of[name]]
            means_of_row = (f"{value:.6f}" for value in means[row])
            yield [trial.seed, trial.fold, name, truth, *means_of_row, votes[row].sum(), *votes[row]]


def _results_by_seed(
    run: ExperimentRun, name: str, ids: Sequence[str], labels: NDArray[np.int64], protocol: str, head: str
) -> dict[str, CrossValidation]:
    """Count the right classes of each seed's networks; of several seeds each is named."""
    seeds = run.config.seeds
    return {
        name if len(seeds) == 1 else f"{name} seed {seed}": _result(run, seed, ids, labels, protocol, head)
        for seed in seeds
    }


def _result(
    run: ExperimentRun, seed: int, ids: Sequence[str], labels: NDArray[np.int64], protocol: str, head: str
) -> CrossValidation:
    classes = len(run.class_names)
    place_of = {name: place for place, name in enumerate(ids)}
    predictions = np.full(len(labels), UNTESTED, dtype=np.int64)
    fold_accuracy: dict[int, float] = {}
    confusion = np.zeros((classes, classes), dtype=np.int64)
    for tested in run.results:
        if tested.trial.seed == seed and tested.trial.fold is not None:
            places = [place_of[name] for name in tested.ids]
            predicted = class_probabilities(tested, classes).argmax(axis=1)
            predictions[places] = predicted
            fold_accuracy[tested.trial.fold] = float((predicted == labels[places]).mean())
            np.add.at(confusion, (labels[places], predicted), 1)
    training = run.config.training
    setting = {"epochs": float(training.epochs), "learning_rate": training.learning_rate}
    accuracy = float(np.mean(list(fold_accuracy.values())))
    return CrossValidation(
        protocol=protocol,
        head=head,
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
        left_out=int((labels < 0).sum()),
        unconverged=(),
    )
