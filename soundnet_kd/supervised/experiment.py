"""An experiment: networks trained and tested seed by seed, fold by fold and, where asked, tag by tag, in a folder.

Whatever is trained on labelled sounds is: from scratch after a recipe, or a student with a new head.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from soundnet_kd.data.checks import announce
from soundnet_kd.data.splits import SplitSounds
from soundnet_kd.data.voice_activity import VOICE_FILE, count_voiceless
from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.media import RawAudioDecoder
from soundnet_kd.models import choose_device
from soundnet_kd.models.checkpoint import CLASSIFIER_FILE, read_network, write_network
from soundnet_kd.models.preprocessing import Preprocessing
from soundnet_kd.storage import (
    FAILURES_FILE,
    ensure_same_settings,
    lock_folder,
    make_folder,
    read_failures,
    rename_damaged,
    unique_file_stems,
    versions,
)
from soundnet_kd.supervised.config import ExperimentConfig
from soundnet_kd.supervised.plan import Experiment, Trial
from soundnet_kd.supervised.sounds import decode_data_sets, merged_identity, require_learnable
from soundnet_kd.supervised.trial import (
    TrialResult,
    is_tested,
    read_result,
    train_trial,
    write_predictions,
)
from soundnet_kd.system.workers import SOUNDS_WORTH_A_WORKER
from soundnet_kd.training.settings_file import TRAIN_FILE
from soundnet_kd.training.trainer import deterministic, quiet_lightning

SOUNDS_FOLDER = ".sounds"
"""Folder of the decoded sounds, while a run lasts."""
LOGS_FOLDER = "logs"
"""Folder of the logs for TensorBoard; while a training lasts, its log is in its own folder."""
TRIALS_FOLDER = "rounds"
"""Folder of what each training left."""
TAG_NETWORKS_FOLDER = "classifiers"
"""Folder of the networks of single tags."""

DataSets = Callable[[Container[str] | None], Mapping[int, SplitSounds]]
"""Returns the data set of each seed, given the ids of the sounds that could be read, or None before any is; raises
SettingsError where there is not enough to learn from."""


@dataclass(frozen=True, eq=False)
class ExperimentRun:
    """A run that is done.

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
    voiceless : int, optional
        How many sounds have no voice and stay whole, where others are cut to theirs.
    reading : str
        What the data set is taken for.
    """

    out: Path
    config: Experiment
    sets: Mapping[int, SplitSounds] = field(repr=False)
    results: tuple[TrialResult, ...] = field(repr=False)
    names: tuple[str, ...] = field(repr=False)
    failures: Mapping[str, str] = field(repr=False)
    voiceless: int | None = None
    reading: str = ""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the data set."""
        return next(iter(self.sets.values())).manifest.class_names

    @property
    def has_tags(self) -> bool:
        """Whether sounds have several labels each."""
        return bool(next(iter(self.sets.values())).tags)


def run_experiment(
    config: ExperimentConfig,
    place: str | Path,
    out: str | Path,
    device: str = "auto",
    workers: int | None = None,
    checkpoint_minutes: float = 10.0,
    dry_run: bool = False,
) -> ExperimentRun:
    """Train and test all networks of a recipe, from where an earlier run of it was.

    Parameters
    ----------
    config : ExperimentConfig
    place : str or Path
        Folder or table of the data set.
    out : str or Path
        Folder of the run.
    device : str
        As in `choose_device`.
    workers : int, optional
        Processes that read, as in `train_network`.
    checkpoint_minutes : float
        Longest time between two checkpoints.
    dry_run : bool
        Only say what the data set is taken for.

    Raises
    ------
    RunConflictError
        If `out` holds a run with other settings.
    SettingsError
        If recipe and data set do not go together, or a training diverged.
    MediaError
        If not a single sound could be read.
    """
    place, out = Path(place), Path(out)
    choose_device(device)
    sets = {seed: config.data.read(place, seed) for seed in config.seeds}
    first = next(iter(sets.values()))
    reading = announce(place, first.manifest, first, dry_run)
    # Also says what cannot be built, before anything is decoded.
    (outputs, *_) = outputs_of(config, first)
    preprocessing = config.build([first.manifest.class_names[output] for output in outputs]).preprocessing
    # A handful is decoded in a moment, which tells more: what cannot be read, too.
    is_checked_first = dry_run or len(first.manifest) >= SOUNDS_WORTH_A_WORKER

    def data_sets(readable: Container[str] | None) -> Mapping[int, SplitSounds]:
        for data in sets.values() if is_checked_first or readable is not None else ():
            for fold in data.splits:
                require_learnable(data, fold, readable)
        return sets

    data_sets(None)
    if dry_run:
        return ExperimentRun(out, config, sets, (), (), {}, reading=reading)
    settings = {"sounds": merged_identity(sets), "splits_sha256": _splits_sha256(sets), **config.identity}
    with open_run(out / TRAIN_FILE, {**settings, "versions": versions()}):
        run = run_trials(
            config,
            data_sets,
            out,
            out / TRIALS_FOLDER,
            preprocessing,
            settings,
            named_by=("seed",),
            logs=out / LOGS_FOLDER,
            device=device,
            workers=workers,
            checkpoint_minutes=checkpoint_minutes,
        )
        shutil.rmtree(out / SOUNDS_FOLDER, ignore_errors=True)
    voiceless = None if config.voice_activity is None else count_voiceless(out / VOICE_FILE)
    return replace(run, voiceless=voiceless, reading=reading)


@contextmanager
def open_run(file: Path, settings: Mapping[str, Any]) -> Iterator[None]:
    """Hold the folder of a run for training in it, with the file that tells the run from others.

    Raises
    ------
    RunConflictError
        If the folder holds a run with other settings, or another process works in it.
    """
    with lock_folder(file.parent), quiet_lightning(), deterministic():
        ensure_same_settings(file, settings)
        yield


def run_trials(
    config: Experiment,
    data_sets: DataSets,
    out: Path,
    folder: Path,
    preprocessing: Preprocessing,
    made_by: Mapping[str, Any],
    *,
    named_by: Sequence[str],
    only_final: bool = False,
    logs: Path | None = None,
    device: str = "auto",
    workers: int | None = None,
    checkpoint_minutes: float = 10.0,
) -> ExperimentRun:
    """Train and test what an earlier start has left to do, in a folder that `open_run` holds.

    Parameters
    ----------
    config : Experiment
    data_sets : callable
    out : Path
        Folder of the run.
    folder : Path
        Of the trials: `NAME.json` of each that is done, `NAME/` with the checkpoints of the one in hand.
    preprocessing : Preprocessing
        Of the networks: how sounds are decoded.
    made_by : mapping
        What is written beside the weights.
    named_by : sequence of str
        What a trial's name always says, seed or fold; it says whatever else tells trials apart, too.
    only_final : bool
        Leave the tests out, whose results are there.
    logs : Path, optional
        Where the logs for TensorBoard stay.
    device, workers, checkpoint_minutes
        As in `train_network`.
    """
    sets = data_sets(None)
    trials = [
        Trial(seed, fold, outputs)
        for seed, data in sets.items()
        for fold in data.splits
        for outputs in outputs_of(config, data)
    ]
    kept = _kept_networks(config, trials, next(iter(sets.values())), out)
    final = [trial for trial in kept if trial.fold is None]
    names = {trial: _name(trial, trials, named_by) for trial in (*([] if only_final else trials), *final)}
    make_folder(folder)
    _train_lost_again(names, kept, folder)
    failures = read_failures(out / FAILURES_FILE)
    if not all(_is_done(trial, folder / name, kept.get(trial)) for trial, name in names.items()):
        decoder = RawAudioDecoder(preprocessing.sample_rate, preprocessing.channel)
        sounds = decode_data_sets(sets, decoder, out / SOUNDS_FOLDER, out, config.voice_activity)
        failures = read_failures(out / FAILURES_FILE)
        sets = data_sets(sounds)
        for trial, name in names.items():
            place, target, data = folder / name, kept.get(trial), sets[trial.seed]
            done = place.with_name(f"{name}.json")
            if not _is_done(trial, place, target, is_cleared=True):
                title = _title(trial, trials, data) or config.network
                network, trained = train_trial(
                    trial, config, data, sounds, place, title, device, workers, checkpoint_minutes
                )
                if trial.fold is None:
                    assert target is not None
                    write_network(network, target, made_by)
                else:
                    if target is not None:
                        made = place.with_name(f"{name}.safetensors")
                        write_network(network, made, {**made_by, "seed": trial.seed, "fold": trial.fold})
                    write_predictions(trial, config, data, sounds, network, trained, done)
            if logs is not None:
                _keep_log(place, logs)
            shutil.rmtree(place, ignore_errors=True)
    else:
        sets = data_sets({clip.id for data in sets.values() for clip in data.manifest.clips} - failures.keys())
    tested = [trial for trial in names if trial.fold is not None]
    results = tuple(read_result(trial, config, sets[trial.seed], folder / f"{names[trial]}.json") for trial in tested)
    _move_networks(names, kept, folder)
    return ExperimentRun(out, config, sets, results, tuple(names[trial] for trial in tested), failures)


def outputs_of(config: Experiment, data: SplitSounds) -> list[tuple[int, ...]]:
    """Return which classes each network has outputs for.

    Raises
    ------
    SettingsError
        If the loss does not go with the data set's labels.
    """
    loss, count = config.training.loss, len(data.manifest.class_names)
    everything = tuple(range(count))
    if data.tags:
        if loss == "cross_entropy":
            raise SettingsError(
                "the sounds have several tags each; set training.loss to binary_cross_entropy or squared_error"
            )
        return [(output,) for output in everything] if config.training.one_network_per_tag else [everything]
    if config.training.one_network_per_tag:
        raise SettingsError("training.one_network_per_tag is for sounds with several tags each; set it to false")
    if loss != "cross_entropy" and count == 2:
        # One logit says which of two classes it is.
        return [(1,)]
    return [everything]


def is_network(path: Path) -> bool:
    """Return whether a run's network is there; one that is damaged gets another name."""
    try:
        read_network(path)
    except FormatError:
        if path.exists():
            rename_damaged(path, "it is trained again")
        return False
    return True


def _splits_sha256(sets: Mapping[int, SplitSounds]) -> str:
    """Tell the splits of all seeds from others, so that no run goes on under splits that are drawn otherwise."""
    splits = {seed: {fold: list(mine) for fold, mine in data.splits.items()} for seed, data in sets.items()}
    return hashlib.sha256(json.dumps(splits).encode()).hexdigest()


def _name(trial: Trial, trials: Sequence[Trial], named_by: Sequence[str]) -> str:
    several = {what for what in ("seed", "fold", "outputs") if len({getattr(each, what) for each in trials}) > 1}
    parts = []
    if trial.fold is None:
        parts.append("all")
    else:
        parts += [f"{what}-{getattr(trial, what)}" for what in ("seed", "fold") if what in {*several, *named_by}]
    if "outputs" in several:
        parts.append(f"output-{trial.outputs[0]}")
    return "-".join(parts)


def _title(trial: Trial, trials: Sequence[Trial], data: SplitSounds) -> str:
    """Return what tells a trial from others in its progress bar."""
    parts = []
    if trial.fold is None:
        parts.append("all folds")
    else:
        if len({each.seed for each in trials}) > 1:
            parts.append(f"seed {trial.seed}")
        if len(data.splits) > 1:
            parts.append(f"fold {list(data.splits).index(trial.fold) + 1}/{len(data.splits)}")
    if len({each.outputs for each in trials}) > 1:
        parts.append(data.manifest.class_names[trial.outputs[0]])
    return ", ".join(parts)


def _is_done(trial: Trial, place: Path, target: Path | None, is_cleared: bool = False) -> bool:
    """Return whether a trial has left what it was to leave, and no folder of its own, which goes last."""
    if place.exists() and not is_cleared:
        return False
    if trial.fold is None:
        return target is not None and is_network(target)
    return is_tested(place.with_name(f"{place.name}.json"))


def _kept_networks(config: Experiment, trials: Sequence[Trial], data: SplitSounds, out: Path) -> dict[Trial, Path]:
    """Return where the networks that stay are looked for: those of all folds, or of the first seed and fold."""
    seed, fold = trials[0].seed, trials[0].fold
    first = [trial for trial in trials if (trial.seed, trial.fold) == (seed, fold)]
    if config.final_training:
        first = [Trial(seed, None, trial.outputs) for trial in first]
    elif not config.keeps_tested_network:
        return {}
    if len(first) == 1:
        return {first[0]: out / CLASSIFIER_FILE}
    stems = unique_file_stems(data.manifest.class_names)
    return {trial: out / TAG_NETWORKS_FOLDER / f"{stems[trial.outputs[0]]}.safetensors" for trial in first}


def _train_lost_again(names: Mapping[Trial, str], kept: Mapping[Trial, Path], folder: Path) -> None:
    """Let a network that was to be kept, and is not there any more, or damaged, be trained again."""
    for trial, name in names.items():
        made, tested = folder / f"{name}.safetensors", folder / f"{name}.json"
        if trial not in kept or trial.fold is None or not tested.is_file():
            continue
        if not is_network(made) and not is_network(kept[trial]):
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


def _keep_log(place: Path, logs: Path) -> None:
    """Put a training's log for TensorBoard to those of the others."""
    log = place / "logs" / "tensorboard"
    if log.is_dir():
        kept = logs / place.name
        shutil.rmtree(kept, ignore_errors=True)
        make_folder(kept.parent)
        log.replace(kept)
