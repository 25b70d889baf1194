"""The files of an experiment: tables of its trials, of its tested clips and of its classes, with their figures."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from soundnet_kd.analysis.classes.tables import ClassReport, class_reports, draw_classes, write_class_tables
from soundnet_kd.models.checkpoint import CLASSIFIER_FILE, read_network
from soundnet_kd.storage import write_csv
from soundnet_kd.supervised.evaluation import class_probabilities
from soundnet_kd.supervised.experiment import ExperimentRun
from soundnet_kd.supervised.figures import draw_trainings
from soundnet_kd.supervised.finetuning import RANDOM_WEIGHTS
from soundnet_kd.supervised.trial import TrialResult
from soundnet_kd.training.classification import FIGURES, MEASURES
from soundnet_kd.training.history import write_history
from soundnet_kd.training.model_card import ModelCard, accuracy_result, write_model_card
from soundnet_kd.transfer.results import Evaluation, write_evaluation

LEARNED_FROM_ALL = "The accuracy is of networks that each left a fold out; this one has learned from all of them."


def write_trainings(run: ExperimentRun) -> None:
    """Write what the trainings came to: `trainings.csv`, and where there were any `history.csv` and `history.png`."""
    write_trials(run.results, run.out)
    if run.config.given is not None:
        return
    write_trial_histories(run)
    histories = (tested.history for tested in run.results)
    draw_trainings(dict(zip(_short_names(run.results), histories, strict=True)), run.out / "history.png")


def write_class_evaluation(run: ExperimentRun, evaluation: Evaluation) -> ClassReport:
    """Write an evaluation, the probabilities of its clips and the tables of its classes, and draw the first seed's.

    Returns
    -------
    ClassReport
        Of the first seed.
    """
    write_evaluation(evaluation, run.out)
    write_probabilities(run, run.out)
    reports = class_reports(evaluation)
    write_class_tables(reports, run.out)
    _write_card(run, evaluation)
    first = next(iter(evaluation.results))
    draw_classes(evaluation, reports[first], first, run.out)
    return reports[first]


def _write_card(run: ExperimentRun, evaluation: Evaluation) -> None:
    """Write the card of the network that stays, where one was trained."""
    file = run.out / CLASSIFIER_FILE
    if run.config.given is not None or not file.is_file():
        return
    network = read_network(file)
    names = list(run.class_names)
    shown = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
    data = f"{len(run.clips.ids)} sounds of {len(names)} classes ({shown})"
    found = next(iter(evaluation.results.values()))
    how = f"mean over {len(found.folds)} folds" if len(found.folds) > 1 else "of sounds that it did not learn from"
    settings = run.config.training
    student = run.identity.get("student", {"sha256": RANDOM_WEIGHTS})
    is_kept = student["sha256"] != RANDOM_WEIGHTS
    write_model_card(
        ModelCard(
            title=f"{network.architecture} for {len(names)} classes of sound",
            summary="A network that says which of its classes a sound is of, learned from labelled sounds.",
            network=network,
            file=CLASSIFIER_FILE,
            settings={
                "data": data,
                **({"began with": f"{student['architecture']} (`{student['sha256'][:16]}`)"} if is_kept else {}),
                "training": f"{settings.epochs} epochs in batches of {settings.batch_size}, learning rate "
                f"{settings.learning_rate:g}, seed {run.config.seeds[0]}",
            },
            measured={
                "accuracy": f"{found.accuracy:.1%}, {how}",
                "chance": f"{evaluation.chance:.1%}",
            },
            notes=[
                f"Tested on {run.clips.origin}."
                + (f" {LEARNED_FROM_ALL}" if run.config.final_training and len(found.folds) > 1 else "")
            ],
            origins=["the sounds", *(["the student that it began with"] if is_kept else [])],
            results=[accuracy_result(data, found.accuracy, how)],
        ),
        run.out,
    )


def write_trials(results: Sequence[TrialResult], out: str | Path) -> None:
    """Write `trainings.csv`, a row for each trial.

    Columns: `seed`, `fold`, `network`, `parameters`; `epochs` until the weights that were kept, and `training_seconds`,
    both empty of given weights; `validation_loss` and `validation_accuracy` of these weights, by pieces of the
    validation sounds, NaN where there were none; `pieces` of the tested sounds; `piece_accuracy`, and of clips
    `clip_accuracy` by their mean probability and `vote_accuracy` by the votes of their pieces. Of all tags, where
    sounds have several.
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
                *((each.epochs, each.seconds) if each.history else ("", "")),
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


def write_trial_histories(run: ExperimentRun) -> None:
    """Write `history.csv`, a row for each trial and step.

    Where trials are named by their fold, and nothing else tells them apart, it says only this, and leaves out what
    nobody measured.
    """
    by_fold = run.config.layout.named_by == ("fold",)
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


def write_probabilities(run: ExperimentRun, out: str | Path) -> None:
    """Write `probabilities.csv`: of each tested clip, by each network, the classes' mean probabilities and votes."""
    out = Path(out)
    write_csv(
        out / "probabilities.csv",
        ("seed", "fold", "id", "truth", *run.class_names, "pieces", *(f"votes {name}" for name in run.class_names)),
        _probability_rows(run),
    )


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


def _short_names(results: Sequence[TrialResult]) -> list[str]:
    """Name each training by what tells it from the others."""
    kinds = {
        "network": [each.network for each in results],
        "seed": [f"seed {each.trial.seed}" for each in results],
        "fold": [f"fold {each.trial.fold}" for each in results],
    }
    several = [names for names in kinds.values() if len(dict.fromkeys(names)) > 1] or [kinds["network"]]
    return [", ".join(names) for names in zip(*several, strict=True)]
