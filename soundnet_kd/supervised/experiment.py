"""The bench: a recipe's networks, trained and tested seed by seed, fold by fold and, where asked, tag by tag."""

import csv
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from soundnet_kd.data.checks import announce
from soundnet_kd.data.splits import SplitSounds
from soundnet_kd.data.voice_activity import VOICE_FILE, count_voiceless
from soundnet_kd.errors import SettingsError
from soundnet_kd.media import SOUNDS_WORTH_A_WORKER, RawAudioDecoder
from soundnet_kd.models import CLASSIFIER_FILE, choose_device
from soundnet_kd.storage import (
    FAILURES_FILE,
    ensure_same_settings,
    lock_folder,
    make_folder,
    rename_damaged,
    unique_file_stems,
    versions,
)
from soundnet_kd.supervised.config import ExperimentConfig
from soundnet_kd.supervised.sounds import decoded_sounds, merged_identity, require_learnable
from soundnet_kd.supervised.trial import Trial, TrialResult, TrialRunner, is_network, is_tested, read_tested
from soundnet_kd.training.classification import FIGURES, MEASURES
from soundnet_kd.training.history import write_history
from soundnet_kd.training.trainer import deterministic, quiet_lightning

RUN_FILE = "train.json"
SOUNDS = ".sounds"
"""Folder of the decoded sounds, while a run lasts."""
LOGS = "logs"
"""Folder of the logs for TensorBoard; while a training lasts, its log is in its own folder."""
TRIALS_FOLDER = "rounds"
"""Folder of what each training left."""
TAG_NETWORKS = "classifiers"
"""Folder of the networks of single tags."""


@dataclass(frozen=True, eq=False)
class ExperimentRun:
    """A run that is done.

    Attributes
    ----------
    out : Path
    recipe : ExperimentConfig
    sets : mapping from seed to SplitSounds
    tested : mapping from Trial to TrialResult
        In the order in which they were trained.
    failures : mapping from id to str
        The sounds that could not be used.
    voiceless : int, optional
        How many sounds have no voice and stay whole, where others are cut to theirs.
    reading : str
        What the data set is taken for.
    """

    out: Path
    recipe: ExperimentConfig
    sets: Mapping[int, SplitSounds] = field(repr=False)
    tested: Mapping[Trial, TrialResult] = field(repr=False)
    failures: Mapping[str, str] = field(repr=False)
    voiceless: int | None = None
    reading: str = ""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the data set."""
        return next(iter(self.sets.values())).manifest.class_names


def run_experiment(
    recipe: ExperimentConfig,
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
    recipe : ExperimentConfig
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
    place = Path(place)
    out = Path(out)
    choose_device(device)
    sets = {seed: recipe.data.read(place, seed) for seed in recipe.seeds}
    first = next(iter(sets.values()))
    reading = announce(place, first.manifest, first, dry_run)
    tasks = [
        Trial(seed, fold, outputs)
        for seed, data in sets.items()
        for fold in data.splits
        for outputs in outputs_of(recipe, data)
    ]
    asked = recipe.build([first.manifest.class_names[output] for output in tasks[0].outputs]).preprocessing
    # A handful is decoded in a moment, which tells more: what cannot be read, too.
    if dry_run or len(first.manifest) >= SOUNDS_WORTH_A_WORKER:
        for task in tasks:
            require_learnable(sets[task.seed], task.fold)
    if dry_run:
        return ExperimentRun(out, recipe, sets, {}, {}, reading=reading)
    settings = {"sounds": merged_identity(sets), "splits_sha256": _splits_sha256(sets), **recipe.identity}
    with lock_folder(out), quiet_lightning(), deterministic():
        ensure_same_settings(out / RUN_FILE, {**settings, "versions": versions()})
        folder = out / TRIALS_FOLDER
        make_folder(folder)
        names = {task: _name(task, tasks) for task in tasks}
        _train_lost_again(tasks, names, first, folder, out)
        # The folder of a training that is done goes last.
        if any((folder / name).exists() or not is_tested(folder / f"{name}.json") for name in names.values()):
            store = RawAudioDecoder(asked.sample_rate, asked.channel)
            sounds = decoded_sounds(sets, store, out / SOUNDS, out, recipe.voice_activity)
            for task in tasks:
                sounds.require_classes(sets[task.seed], task.fold)
            bench = TrialRunner(recipe, device, workers, checkpoint_minutes, settings, out / LOGS)
            tested = {
                task: bench.tested(task, sets[task.seed], sounds, folder / name, name) for task, name in names.items()
            }
        else:
            tested = {task: read_tested(folder / f"{name}.json") for task, name in names.items()}
        failures = _failures(out)
        shutil.rmtree(out / SOUNDS, ignore_errors=True)
        _keep_networks(tasks, names, first, folder, out)
        voiceless = None if recipe.voice_activity is None else count_voiceless(out / VOICE_FILE)
        run = ExperimentRun(out, recipe, sets, tested, failures, voiceless, reading)
        _write_history(run, names)
    return run


def outputs_of(recipe: ExperimentConfig, data: SplitSounds) -> list[tuple[int, ...]]:
    """Return which classes each network of a recipe has outputs for.

    Raises
    ------
    SettingsError
        If the loss does not go with the data set's labels.
    """
    loss, count = recipe.training.loss, len(data.manifest.class_names)
    everything = tuple(range(count))
    if data.tags:
        if loss == "cross_entropy":
            raise SettingsError(
                "the sounds have several tags each; set training.loss to binary_cross_entropy or squared_error"
            )
        return [(output,) for output in everything] if recipe.training.one_network_per_tag else [everything]
    if recipe.training.one_network_per_tag:
        raise SettingsError("training.one_network_per_tag is for sounds with several tags each; set it to false")
    if loss != "cross_entropy" and count == 2:
        # One logit says which of two classes it is.
        return [(1,)]
    return [everything]


def _splits_sha256(sets: Mapping[int, SplitSounds]) -> str:
    """Tell the splits of all seeds from others, so that no run goes on under splits that are drawn otherwise."""
    splits = {seed: {fold: list(mine) for fold, mine in data.splits.items()} for seed, data in sets.items()}
    return hashlib.sha256(json.dumps(splits).encode()).hexdigest()


def _name(task: Trial, tasks: Sequence[Trial]) -> str:
    parts = [f"seed-{task.seed}"]
    if len({each.fold for each in tasks}) > 1:
        parts.append(f"fold-{task.fold}")
    if len({each.outputs for each in tasks}) > 1:
        parts.append(f"output-{task.outputs[0]}")
    return "-".join(parts)


def _keep_networks(
    tasks: Sequence[Trial], names: Mapping[Trial, str], data: SplitSounds, folder: Path, out: Path
) -> None:
    """Put the networks of the first seed and fold where they are looked for, and delete the others."""
    kept = _kept_networks(tasks, data, out)
    for task in tasks:
        made = folder / f"{names[task]}.safetensors"
        if task not in kept:
            made.unlink(missing_ok=True)
        elif made.is_file():
            make_folder(kept[task].parent)
            made.replace(kept[task])


def _kept_networks(tasks: Sequence[Trial], data: SplitSounds, out: Path) -> dict[Trial, Path]:
    """Return where the networks of the first seed and fold are looked for."""
    first = [task for task in tasks if (task.seed, task.fold) == (tasks[0].seed, tasks[0].fold)]
    if len(first) == 1:
        return {first[0]: out / CLASSIFIER_FILE}
    stems = unique_file_stems(data.manifest.class_names)
    return {task: out / TAG_NETWORKS / f"{stems[task.outputs[0]]}.safetensors" for task in first}


def _train_lost_again(
    tasks: Sequence[Trial], names: Mapping[Trial, str], data: SplitSounds, folder: Path, out: Path
) -> None:
    """Let a network that was to be kept, and is not there any more, or damaged, be trained again."""
    for task, target in _kept_networks(tasks, data, out).items():
        made, tested = folder / f"{names[task]}.safetensors", folder / f"{names[task]}.json"
        if tested.is_file() and not is_network(made) and not is_network(target):
            rename_damaged(tested, "it is trained again", f"without its network {target.name}")


def _write_history(run: ExperimentRun, names: Mapping[Trial, str]) -> None:
    trainings = (
        ({"seed": task.seed, "fold": task.fold, "network": names[task]}, tested.history)
        for task, tested in run.tested.items()
    )
    write_history(run.out, trainings, (*FIGURES, *MEASURES))


def _failures(out: Path) -> dict[str, str]:
    file = out / FAILURES_FILE
    if not file.is_file():
        return {}
    with file.open(newline="", encoding="utf-8") as handle:
        return {row["file"]: row["reason"] for row in csv.DictReader(handle)}
