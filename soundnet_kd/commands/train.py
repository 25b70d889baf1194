"""The command `train`: a recipe's networks from scratch, their evaluation, tables and figures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from soundnet_kd.analysis.classes.tables import ClassReport
from soundnet_kd.errors import SettingsError
from soundnet_kd.models import choose_device
from soundnet_kd.models.classifiers import SoundClassifier
from soundnet_kd.pretrained import load_network, student_registry
from soundnet_kd.pretrained.students import student_names
from soundnet_kd.storage import FAILURES_FILE, escape_name, versions
from soundnet_kd.supervised.config import ExperimentConfig, read_experiment_config
from soundnet_kd.supervised.evaluation import describe_run, evaluate_classes
from soundnet_kd.supervised.experiment import ExperimentRun, run_experiment
from soundnet_kd.supervised.figures import draw_tag_overlap, draw_tracks
from soundnet_kd.supervised.gallery import write_gallery
from soundnet_kd.supervised.tags import TagScores, tag_overlap, tag_scores, track_scores, write_tag_evaluation
from soundnet_kd.supervised.trial import TrialResult
from soundnet_kd.supervised.writing import write_class_evaluation, write_trainings

MAX_SHOWN = 12


@dataclass(frozen=True, eq=False)
class TrainResult:
    """What the trainings of a recipe came to, and where it is written."""

    out: Path
    results: Sequence[TrialResult] = field(repr=False)
    report: ClassReport | Sequence[TagScores] = field(repr=False)
    skipped: int
    voiceless: int | None = None
    weights: str = ""
    """Whose weights were tested, where nothing was trained."""
    reading: str = ""
    """What the data set is taken for, where nothing but this was asked for."""

    def __str__(self) -> str:
        if self.reading:
            return self.reading
        lines = [f"{'seed':>4} {'fold':>4} {'network':<20} {'epochs':>6} {'validation':>10} {'pieces':>8} {'clips':>8}"]
        for each in self.results[:MAX_SHOWN]:
            measured = each.at_kept_step("validation/accuracy")
            validation = "" if np.isnan(measured) else f"{measured:.1%}"
            epochs = "given" if self.weights else f"{each.epochs:.3g}"
            lines.append(
                f"{each.trial.seed:>4} {each.trial.fold:>4} {each.network:<20} {epochs:>6} {validation:>10} "
                f"{each.piece_accuracy:>8.1%} {each.clip_accuracy:>8.1%}"
            )
        if len(self.results) > MAX_SHOWN:
            lines.append(f"… and {len(self.results) - MAX_SHOWN} more in {self.out / 'trainings.csv'}")
        lines += [str(self.report)] if isinstance(self.report, ClassReport) else map(str, self.report)
        spread = [
            f"{name} {np.mean(values):.1%} ± {np.std(values):.1%}"
            for name, values in (
                ("validation", [each.at_kept_step("validation/accuracy") for each in self.results]),
                ("pieces", [each.piece_accuracy for each in self.results]),
                ("clips", [each.clip_accuracy for each in self.results]),
                ("clips by votes", [each.vote_accuracy for each in self.results]),
            )
            if not np.isnan(values).any()
        ]
        skipped = f", {self.skipped} sounds skipped (see {self.out / FAILURES_FILE})" if self.skipped else ""
        uncut = f", {self.voiceless} sounds without a voice stay whole" if self.voiceless is not None else ""
        parameters = f"{self.results[0].parameters} parameters"
        made = f"{len(self.results)} trainings" if len(self.results) > 1 else "1 training"
        made += f" of {parameters}, {sum(each.seconds for each in self.results):.0f} s"
        if self.weights:
            made = f"{parameters}, the weights of {self.weights}; nothing was trained"
        return "\n".join([*lines, f"wrote {self.out}: {', '.join(spread)} ({made}){skipped}{uncut}"])


def train(
    recipe: Path | str,
    data: Path | str,
    out: Path | str,
    overrides: list[str] | None = None,
    weights: Path | str | None = None,
    device: str = "auto",
    workers: int | None = None,
    checkpoint_minutes: float = 10.0,
    dry_run: bool = False,
) -> TrainResult:
    """Train the networks of a recipe from scratch on labelled sounds, and test them; or test weights that there are.

    A recipe is a data set's layout, a front end, a network, how segments of sound are drawn, how it is trained, and
    what is reported. Stopped and started again with the same settings, it goes on from its last checkpoint, and ends as
    if it had never been stopped. With --weights nothing is trained: the same tests are made, and the same files
    written, but for the history.

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
    weights : str or Path, optional
        A network from scratch to test instead of training one: its file, the run folder that holds it, or a name that
        `soundnet-kd weights import` gave. It has to be the recipe's network, with its classes and preprocessing; the
        first of the seeds splits the sounds. (Which weights a training keeps is another thing: training.weights.)
    device : str
        Where it trains: auto, cpu, cuda, cuda:1, mps.
    workers : int, optional
        Processes that prepare segments; 0 prepares them in the main process. [default: 0 on a CPU, which the network
        needs itself, else one for each core but one, at most 8]
    checkpoint_minutes : float
        Longest time between two checkpoints.
    dry_run : bool
        Say how the data set is read, and stop: nothing is decoded or written.

    Raises
    ------
    RunConflictError
        If `out` holds a run with other settings.
    SettingsError
        If a key or a value of the recipe is wrong, or does not go with the data set or the given weights.
    MediaError
        If not a single sound could be read.
    """
    out = Path(out)
    config = read_experiment_config(recipe, overrides or ())
    choose_device(device)
    if weights is not None:
        config = config.evaluate_only(_read_weights(weights))
    reading, sets = config.read(data, dry_run)
    write = partial(_write, config, "" if weights is None else escape_name(weights))
    result = run_experiment(config, sets, out, write, device, workers, checkpoint_minutes, dry_run)
    return result or TrainResult(out, (), (), 0, reading=reading)


def _read_weights(weights: Path | str) -> SoundClassifier:
    """Read the network to test; what is fetched, and is none from scratch, is refused before it is."""
    if str(weights) in ("last", "best") and not Path(weights).exists() and str(weights) not in student_names():
        raise SettingsError(
            f"there is no network {weights}, which --weights is to test; which weights a training keeps is set by "
            f"--set training.weights={weights}"
        )
    network = None if str(weights) in student_registry() else load_network(weights)
    if not isinstance(network, SoundClassifier):
        raise SettingsError(
            f"{weights} is no network from scratch, which a recipe's is; test a student by `soundnet-kd extract` and "
            "`evaluate`, and train it for other classes by `finetune`"
        )
    return network


def _write(config: ExperimentConfig, weights: str, run: ExperimentRun) -> TrainResult:
    write_trainings(run)
    report = _write_tags(run, config) if run.has_tags else _write_classes(run, config, weights)
    return TrainResult(run.out, run.results, report, len(run.failures), run.voiceless, weights)


def _write_classes(run: ExperimentRun, config: ExperimentConfig, weights: str) -> ClassReport:
    source = {
        "recipe": config.about.strip(),
        "identity": config.identity,
        "folds": run.clips.origin,
        **describe_run(run),
        "versions": versions(),
        **({"weights": weights} if weights else {"epochs": config.training.epochs}),
    }
    report = write_class_evaluation(run, evaluate_classes(run, source))
    if config.evaluation.galleries:
        write_gallery(run)
    return report


def _write_tags(run: ExperimentRun, config: ExperimentConfig) -> list[TagScores]:
    tracks = [track_scores(run, seed) for seed in config.seeds]
    found = [tag_scores(run, each, config.evaluation.top) for each in tracks]
    write_tag_evaluation(run, config, tracks, found)
    draw_tag_overlap(tag_overlap(run), run.class_names, run.out / "tag_overlap.png")
    draw_tracks(tracks[0], run.class_names, config.evaluation.top, run.out / "tracks.png")
    return found
