"""An experiment: networks trained and tested seed by seed, fold by fold and, where asked, tag by tag, in a folder.

Whatever is trained on labelled sounds is: from scratch after a recipe, or a student with a new head.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

from soundnet_kd.data.splits import SplitSounds
from soundnet_kd.data.voice_activity import VOICE_FILE, count_voiceless
from soundnet_kd.errors import FormatError
from soundnet_kd.media import RawAudioDecoder, RawAudioFile
from soundnet_kd.models import Network, choose_device
from soundnet_kd.models.checkpoint import read_network, write_network
from soundnet_kd.models.finetuned import FinetunedNetwork
from soundnet_kd.models.preprocessing import Preprocessing
from soundnet_kd.storage import (
    FAILURES_FILE,
    ensure_same_settings,
    lock_folder,
    make_folder,
    read_failures,
    rename_damaged,
    versions,
)
from soundnet_kd.supervised.kept_layers import KeptLayers, keep_layers
from soundnet_kd.supervised.plan import EvaluatedClips, Experiment, Trial, TrialPlan, outputs_of
from soundnet_kd.supervised.sounds import decode_data_sets
from soundnet_kd.supervised.trial import TrialResult, is_tested, read_result, train_trial, write_predictions
from soundnet_kd.training.classification import Trained
from soundnet_kd.training.trainer import deterministic, quiet_lightning
from soundnet_kd.transfer.results import RESULTS_FILE

SOUNDS_FOLDER = ".sounds"
"""Folder of the decoded sounds, while a run lasts."""
KEPT_FOLDER = ".layers"
"""Folder of what the layers that stay as they are make of the sounds, while a run lasts."""
LOGS_FOLDER = "logs"
"""Folder of the logs for TensorBoard; while a training lasts, its log is in its own folder."""
FINISHED_FOLDER = ".over"
"""Name of a folder of trials that does not stay, once the results are there: what a kill leaves of it is not missed."""

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class ExperimentRun:
    """A run whose networks are trained and tested.

    Attributes
    ----------
    out : Path
    config : Experiment
    sets : mapping from seed to SplitSounds
    results : tuple of TrialResult
        In the order in which they were trained.
    names : tuple of str
        Of the trials, as their files are called.
    failures : mapping from id to str
        The sounds that could not be used.
    identity : mapping
        What made the networks.
    voiceless : int, optional
        How many sounds have no voice and stay whole, where others are cut to theirs.
    """

    out: Path
    config: Experiment
    sets: Mapping[int, SplitSounds] = field(repr=False)
    results: tuple[TrialResult, ...] = field(repr=False)
    names: tuple[str, ...] = field(repr=False)
    failures: Mapping[str, str] = field(repr=False)
    identity: Mapping[str, Any] = field(repr=False)
    voiceless: int | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the data set."""
        return next(iter(self.sets.values())).manifest.class_names

    @property
    def has_tags(self) -> bool:
        """Whether sounds have several labels each."""
        return bool(next(iter(self.sets.values())).tags)

    @cached_property
    def clips(self) -> EvaluatedClips:
        """The clips that the results are about."""
        return self.config.evaluated_clips(self.sets, self.failures)


def run_experiment(
    config: Experiment,
    sets: Mapping[int, SplitSounds],
    out: str | Path,
    write: Callable[[ExperimentRun], T],
    device: str = "auto",
    workers: int | None = None,
    checkpoint_minutes: float = 10.0,
    dry_run: bool = False,
) -> T | None:
    """Train and test all networks of an experiment, from where an earlier run of it was, and write the results.

    Parameters
    ----------
    config : Experiment
    sets : mapping from seed to SplitSounds
        The data set, as each seed splits it.
    out : str or Path
        Folder of the run.
    write : callable
        Writes the results of what was trained; not called where an earlier run has written them and left no more.
    device : str
        As in `choose_device`.
    workers : int, optional
        Processes that read, as in `train_network`.
    checkpoint_minutes : float
        Longest time between two checkpoints.
    dry_run : bool
        Only check that configuration and data set go together.

    Returns
    -------
    What `write` returns; None where it was not called.

    Raises
    ------
    RunConflictError
        If `out` holds a run with other settings, or another process works in it.
    SettingsError
        If configuration and data set do not go together, or a training diverged.
    MediaError
        If not a single sound could be read.
    """
    out = Path(out)
    choose_device(device)
    first = next(iter(sets.values()))
    # As if all sounds could be read: what cannot be built or learned is to be said before they are decoded.
    (outputs, *_) = outputs_of(config.training, first)
    preprocessing = config.build([first.manifest.class_names[output] for output in outputs]).preprocessing
    sets = config.select_readable(sets)
    if dry_run:
        return None
    layout, identity = config.layout, config.run_identity(sets)
    trials, finished = out / layout.trials, out / FINISHED_FOLDER
    train = partial(train_trial, device=device, workers=workers, checkpoint_minutes=checkpoint_minutes)
    with lock_folder(out), quiet_lightning(), deterministic():
        ensure_same_settings(out / layout.settings, {**identity, "versions": versions()})
        # Then only a network that is lost is still to be trained again.
        is_over = not layout.keeps_trials and (out / RESULTS_FILE).is_file() and not trials.exists()
        run = _run_trials(
            config, sets, out, finished if is_over else trials, preprocessing, identity, train, is_over, device
        )
        written = None if is_over else write(run)
        if not (is_over or layout.keeps_trials):
            shutil.rmtree(finished, ignore_errors=True)
            trials.replace(finished)
        for folder in (out / KEPT_FOLDER, out / SOUNDS_FOLDER, finished):
            shutil.rmtree(folder, ignore_errors=True)
        return written


def _run_trials(
    config: Experiment,
    sets: Mapping[int, SplitSounds],
    out: Path,
    folder: Path,
    preprocessing: Preprocessing,
    identity: Mapping[str, Any],
    train: Callable[..., tuple[Network, Trained]],
    only_final: bool,
    device: str,
) -> ExperimentRun:
    """Train and test what an earlier start has left to do.

    Parameters
    ----------
    config : Experiment
    sets : mapping from seed to SplitSounds
    out : Path
        Folder of the run.
    folder : Path
        Of the trials: `NAME.json` of each that is done, `NAME/` with the checkpoints of the one in hand.
    preprocessing : Preprocessing
        Of the networks: how sounds are decoded.
    identity : mapping
        What is written beside the weights.
    train : callable
        As `train_trial`.
    only_final : bool
        Leave the tests out, whose results are there.
    device : str
        As in `choose_device`.
    """
    failures = read_failures(out / FAILURES_FILE)
    plan = TrialPlan(config, sets)
    names, kept = _named(plan, only_final), plan.kept_networks(out)
    _train_lost_again(names, kept, folder)
    if not all(_is_done(trial, folder / name, kept.get(trial)) for trial, name in names.items()):
        make_folder(folder)
        decoder = RawAudioDecoder(preprocessing.sample_rate, preprocessing.channel)
        heard = sets if config.given is None else {seed: data.only("test") for seed, data in sets.items()}
        sounds = decode_data_sets(heard, decoder, out / SOUNDS_FOLDER, out, config.voice_activity)
        failures = read_failures(out / FAILURES_FILE)
        sets = config.select_readable(sets, sounds)
        layers = _keep_layers(config, sets, sounds, identity, out / KEPT_FOLDER, device)
        plan = TrialPlan(config, sets)
        names, kept = _named(plan, only_final), plan.kept_networks(out)
        for trial, name in names.items():
            place, target, data = folder / name, kept.get(trial), sets[trial.seed]
            done = place.with_name(f"{name}.json")
            if not _is_done(trial, place, target, is_cleared=True):
                title = plan.title(trial) or config.network
                network, trained = train(trial, config, data, sounds, place, title, kept=layers)
                if trial.fold is None:
                    assert target is not None
                    write_network(network, target, identity)
                else:
                    if target is not None:
                        made = place.with_name(f"{name}.safetensors")
                        write_network(network, made, {**identity, "seed": trial.seed, "fold": trial.fold})
                    write_predictions(trial, config, data, sounds, network, trained, done, layers)
            if config.layout.keeps_trials:
                _move_log(place, out / LOGS_FOLDER)
            shutil.rmtree(place, ignore_errors=True)
        if layers is not None:
            layers.close()
    else:
        ids = {clip.id for data in sets.values() for clip in data.manifest.clips}
        sets = config.select_readable(sets, ids - failures.keys())
    tested = [trial for trial in names if trial.fold is not None]
    results = tuple(read_result(trial, config, sets[trial.seed], folder / f"{names[trial]}.json") for trial in tested)
    _move_networks(names, kept, folder)
    voiceless = None if config.voice_activity is None else count_voiceless(out / VOICE_FILE)
    return ExperimentRun(
        out, config, sets, results, tuple(names[trial] for trial in tested), failures, identity, voiceless
    )


def _keep_layers(
    config: Experiment,
    sets: Mapping[int, SplitSounds],
    sounds: Mapping[str, RawAudioFile],
    identity: Mapping[str, Any],
    folder: Path,
    device: str,
) -> KeptLayers | None:
    """Compute the layers that stay as they are, where they are to be kept."""
    if config.versions is None:
        return None
    network = config.build(next(iter(sets.values())).manifest.class_names)
    assert isinstance(network, FinetunedNetwork)
    return keep_layers(network, sounds, config.versions, identity, folder, device)


def _named(plan: TrialPlan, only_final: bool) -> dict[Trial, str]:
    return {trial: plan.name(trial) for trial in (*(() if only_final else plan.tested), *plan.final)}


def _is_network(path: Path) -> bool:
    """Return whether a run's network is there; one that is damaged gets another name."""
    try:
        read_network(path)
    except FormatError:
        if path.exists():
            rename_damaged(path, "it is trained again")
        return False
    return True


def _is_done(trial: Trial, place: Path, target: Path | None, is_cleared: bool = False) -> bool:
    """Return whether a trial has left what it was to leave, and no folder of its own, which goes last."""
    if place.exists() and not is_cleared:
        return False
    if trial.fold is None:
        return target is not None and _is_network(target)
    return is_tested(place.with_name(f"{place.name}.json"))


def _train_lost_again(names: Mapping[Trial, str], kept: Mapping[Trial, Path], folder: Path) -> None:
    """Let a network that was to be kept, and is not there any more, or damaged, be trained again."""
    for trial, name in names.items():
        made, tested = folder / f"{name}.safetensors", folder / f"{name}.json"
        if trial not in kept or trial.fold is None or not tested.is_file():
            continue
        if not _is_network(made) and not _is_network(kept[trial]):
            rename_damaged(tested, "it is trained again", f"without its network {kept[trial].name}")


def _move_networks(names: Mapping[Trial, str], kept: Mapping[Trial, Path], folder: Path) -> None:
    """Put the networks that stay where they are looked for, and delete others."""
    for trial, name in names.items():
        made = folder / f"{name}.safetensors"
        if trial not in kept:
            made.unlink(missing_ok=True)
        elif made.is_file():
            make_folder(kept[trial].parent)
            made.replace(kept[trial])


def _move_log(place: Path, logs: Path) -> None:
    """Put a training's log for TensorBoard to those of the others."""
    log = place / "logs" / "tensorboard"
    if log.is_dir():
        kept = logs / place.name
        shutil.rmtree(kept, ignore_errors=True)
        make_folder(kept.parent)
        log.replace(kept)
