"""The command `train`: a recipe's networks from scratch, their evaluation, tables and figures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from soundnet_kd.analysis.classes.tables import ClassReport, class_reports, draw_classes, write_class_tables
from soundnet_kd.storage import FAILURES_FILE
from soundnet_kd.supervised.config import read_experiment_config
from soundnet_kd.supervised.evaluation import (
    TrialScores,
    class_evaluation,
    trial_scores,
    write_probabilities,
    write_trials,
)
from soundnet_kd.supervised.experiment import ExperimentRun, run_experiment
from soundnet_kd.supervised.figures import draw_tag_overlap, draw_tracks, draw_trainings
from soundnet_kd.supervised.gallery import write_gallery
from soundnet_kd.supervised.tags import TagScores, tag_overlap, tag_scores, track_scores, write_tag_evaluation
from soundnet_kd.transfer.results import write_evaluation

MAX_SHOWN = 12


@dataclass(frozen=True, eq=False)
class TrainResult:
    """What the trainings of a recipe came to, and where it is written."""

    out: Path
    scores: Sequence[TrialScores] = field(repr=False)
    report: ClassReport | Sequence[TagScores] = field(repr=False)
    skipped: int
    voiceless: int | None = None
    reading: str = ""
    """What the data set is taken for, where nothing but this was asked for."""

    def __str__(self) -> str:
        if self.reading:
            return self.reading
        lines = [f"{'seed':>4} {'fold':>4} {'network':<20} {'epochs':>6} {'validation':>10} {'pieces':>8} {'clips':>8}"]
        for each in self.scores[:MAX_SHOWN]:
            validation = "" if np.isnan(each.validation_accuracy) else f"{each.validation_accuracy:.1%}"
            lines.append(
                f"{each.seed:>4} {each.fold:>4} {each.network:<20} {each.epochs:>6.3g} {validation:>10} "
                f"{each.piece_accuracy:>8.1%} {each.clip_accuracy:>8.1%}"
            )
        if len(self.scores) > MAX_SHOWN:
            lines.append(f"… and {len(self.scores) - MAX_SHOWN} more in {self.out / 'trainings.csv'}")
        lines += [str(self.report)] if isinstance(self.report, ClassReport) else map(str, self.report)
        spread = [
            f"{name} {np.mean(values):.1%} ± {np.std(values):.1%}"
            for name, values in (
                ("validation", [each.validation_accuracy for each in self.scores]),
                ("pieces", [each.piece_accuracy for each in self.scores]),
                ("clips", [each.clip_accuracy for each in self.scores]),
                ("clips by votes", [each.vote_accuracy for each in self.scores]),
            )
            if not np.isnan(values).any()
        ]
        skipped = f", {self.skipped} sounds skipped (see {self.out / FAILURES_FILE})" if self.skipped else ""
        whole = f", {self.voiceless} sounds without a voice stay whole" if self.voiceless is not None else ""
        first = self.scores[0]
        trainings = f"{len(self.scores)} trainings" if len(self.scores) > 1 else "1 training"
        return "\n".join(
            [
                *lines,
                f"wrote {self.out}: {', '.join(spread)} ({trainings} of {first.parameters} "
                f"parameters, {sum(each.training_seconds for each in self.scores):.0f} s){skipped}{whole}",
            ]
        )


def train(
    recipe: Path | str,
    data: Path | str,
    out: Path | str,
    overrides: list[str] | None = None,
    device: str = "auto",
    workers: int | None = None,
    checkpoint_minutes: float = 10.0,
    dry_run: bool = False,
) -> TrainResult:
    """Train the networks of a recipe from scratch on labelled sounds, and test them.

    A recipe is a data set's layout, a front end, a network, how pieces of sound are drawn, how it is trained, and what
    is told of it. Stopped and started again with the same settings, it goes on from its last checkpoint, and ends as
    if it had never been stopped.

    Parameters
    ----------
    recipe : str or Path
        A recipe's YAML file; a name alone (cats_dogs) is one of those that come with this package.
    data : str or Path
        Folder, or table, of the data set, in the layout that the recipe says.
    out : str or Path
        Folder for the results and the classifier.
    overrides : list of str, optional
        Other values for the recipe's keys, such as training.epochs=3 seeds=[0,1,2]
    device : str
        Where it trains: auto, cpu, cuda, cuda:1, mps.
    workers : int, optional
        Processes that prepare pieces; 0 prepares them in the main process. [default: 0 on a CPU, which the network
        needs itself, else one for each core but one, at most 8]
    checkpoint_minutes : float
        Longest time between two checkpoints.
    dry_run : bool
        Say what the data set is taken for, and stop: nothing is decoded or written.

    Raises
    ------
    RunConflictError
        If `out` holds a run with other settings.
    SettingsError
        If a key or a value of the recipe is wrong, or does not go with the data set.
    MediaError
        If not a single sound could be read.
    """
    recipe = Path(recipe)
    data = Path(data)
    out = Path(out)
    asked = read_experiment_config(recipe, overrides or ())
    run = run_experiment(asked, data, out, device, workers, checkpoint_minutes, dry_run)
    if dry_run:
        return TrainResult(out, (), (), 0, reading=run.reading)
    scores = trial_scores(run)
    write_trials(scores, out)
    histories = (tested.history for tested in run.tested.values())
    draw_trainings(dict(zip(_told_apart(scores), histories, strict=True)), out / "history.png")
    report = _write_tags(run, scores) if next(iter(run.sets.values())).tags else _write_classes(run, scores)
    return TrainResult(out, scores, report, len(run.failures), run.voiceless)


def _write_classes(run: ExperimentRun, scores: list[TrialScores]) -> ClassReport:
    evaluation = class_evaluation(run, scores)
    write_evaluation(evaluation, run.out)
    write_probabilities(run, run.out)
    reports = class_reports(evaluation)
    write_class_tables(reports, run.out)
    first = next(iter(evaluation.results))
    draw_classes(evaluation, reports[first], first, run.out)
    if run.recipe.evaluation.galleries:
        write_gallery(run)
    return reports[first]


def _told_apart(scores: Sequence[TrialScores]) -> list[str]:
    """Name each training by what tells it from the others."""
    several = [kind for kind in ("network", "seed", "fold") if len({getattr(each, kind) for each in scores}) > 1]
    return [
        ", ".join(each.network if kind == "network" else f"{kind} {getattr(each, kind)}" for kind in several)
        or each.network
        for each in scores
    ]


def _write_tags(run: ExperimentRun, scores: list[TrialScores]) -> list[TagScores]:
    tracks = [track_scores(run, seed) for seed in run.recipe.seeds]
    found = [tag_scores(run, each, scores) for each in tracks]
    write_tag_evaluation(run, tracks, found, scores)
    draw_tag_overlap(tag_overlap(run), run.class_names, run.out / "tag_overlap.png")
    draw_tracks(tracks[0], run.class_names, run.recipe.evaluation.top, run.out / "tracks.png")
    return found
