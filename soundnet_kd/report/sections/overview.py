"""What was run, and how well it did: the first thing that a person wants to know."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soundnet_kd.data.datasets.esc50 import PAPER_ACCURACY_BY_LAYER, is_esc50
from soundnet_kd.features import FeatureCache
from soundnet_kd.report.sections.training import training_settings
from soundnet_kd.transfer.comparison import Comparison, LayerComparison
from soundnet_kd.transfer.protocols import SELECTIONS
from soundnet_kd.transfer.results import Evaluation, format_settings


@dataclass(frozen=True)
class LayerAccuracy:
    """A row of an evaluation: accuracies from 0 to 1, and the paper's in percent for the same layer of ESC-50."""

    layer: str
    features: int
    accuracy: float
    std: float
    folds: tuple[float, ...]
    chosen: str
    published: float | None


@dataclass(frozen=True)
class Accuracies:
    """An evaluation as the page's first table has it."""

    name: str
    protocol: str
    head: str
    selection: str
    chance: float
    folds: tuple[int | str, ...]
    rows: tuple[LayerAccuracy, ...]

    @property
    def best(self) -> LayerAccuracy:
        """The row with the best accuracy, the one nearest the input where several are equally good."""
        return max(self.rows, key=lambda row: row.accuracy)


WRITTEN_TO = 1e-4
"""Accuracies in a table of a comparison have four digits."""


@dataclass(frozen=True)
class Gains:
    """Two evaluations side by side, for the top of the page: accuracies, and that of guessing, from 0 to 1."""

    names: tuple[str, str]
    chance: float
    rows: tuple[LayerComparison, ...]

    @property
    def best(self) -> LayerComparison:
        """The row with the best accuracy after the change."""
        return max(self.rows, key=lambda row: row.accuracy[1])


def gains(comparisons: Iterable[Comparison], evaluations: Sequence[Accuracies]) -> Gains | None:
    """Find what the page's first evaluation gained on another one, layer by layer; None if no comparison tells it.

    A comparison is known to be of that evaluation by the accuracy of its best layer.
    """
    for each in comparisons:
        # A layer against another one (pool2:pool5) is no step on the way through the network.
        rows = tuple(row for row in each.rows if row.layers[0] == row.layers[1])
        if rows and evaluations:
            found = Gains(each.names, evaluations[0].chance, rows)
            if abs(found.best.accuracy[1] - evaluations[0].best.accuracy) < WRITTEN_TO:
                return found
    return None


def accuracies(name: str, results: Evaluation) -> Accuracies:
    """Return the accuracy of each layer and fold of an evaluation."""
    # The paper's figures are of transfer from SoundNet's eight layers, not of networks that were trained on the labels.
    student = results.source.get("identity", {}).get("student", {}) if results.kind == "features" else {}
    comparable = is_esc50(results.classes) and student.get("architecture") == "SoundNet8"
    first = next(iter(results.results.values()))
    return Accuracies(
        name=name,
        protocol=first.protocol,
        head=first.head.replace("_", " ").replace("svm", "SVM"),
        selection=SELECTIONS[first.selection],
        chance=results.chance,
        folds=first.folds,
        rows=tuple(
            LayerAccuracy(
                layer=layer,
                features=results.channels[layer],
                accuracy=each.accuracy,
                std=float(np.std(each.fold_accuracy)),
                folds=each.fold_accuracy,
                chosen=format_settings(each.chosen),
                published=PAPER_ACCURACY_BY_LAYER.get(layer.partition("_")[0]) if comparable else None,
            )
            for layer, each in results.results.items()
        ),
    )


def facts_of_cache(cache: FeatureCache) -> Iterator[tuple[str, str]]:
    """Tell what the features are of."""
    identity = cache.identity
    labels, folds = cache.labels, cache.folds
    labelled = int((labels >= 0).sum())
    yield "Sounds", f"{len(cache.ids)}" + (f", {len(cache.failures)} could not be read" if cache.failures else "")
    if labelled:
        yield (
            "Classes",
            f"{len(cache.class_names)}"
            + (f" ({len(labels) - labelled} sounds have none)" if labelled < len(labels) else ""),
        )
    own = np.unique(folds[folds != cache.no_fold])
    if len(own):
        yield "Folds", f"{len(own)}, those of the data set"
    student = identity["student"]
    yield (
        "Student",
        f"{student['architecture']} (weights {student['sha256'][:12]})"
        if isinstance(student, Mapping)
        else str(student),
    )
    settings = identity["settings"]
    yield "Features", f"{', '.join(cache.layers)}; over time: {cache.pooling}"
    preprocessing = settings["preprocessing"]
    rate = preprocessing["sample_rate"]
    yield (
        "Heard",
        f"{'each file at its own rate' if rate is None else f'{rate} Hz'}, scaled to "
        f"±{preprocessing['amplitude']:g}, {preprocessing['channel']} channel",
    )
    yield "Versions", _versions(identity.get("versions", {}))


def facts_of_teachers(folder: Path) -> Iterator[tuple[str, str]]:
    """Tell what a student was distilled from; nothing of a training that had no teachers."""
    targets = training_settings(folder).get("targets", {})
    for teacher, about in targets.get("teachers", {}).items():
        known = [str(about[key]) for key in ("network", "weights") if about.get(key)]
        yield f"Teacher of {teacher}", ": ".join(known) or json.dumps(about)
    if "clips" in targets:
        yield "Clips of video", str(targets["clips"])


def facts_of_training(folder: Path) -> Iterator[tuple[str, str]]:
    """Tell how a training was set: from whatever it left, `run.json` or another."""
    settings = dict(training_settings(folder))
    versions = settings.pop("versions", {})
    settings.pop("targets", None)
    yield from facts_of_teachers(folder)
    yield from _leaves(settings)
    if versions:
        yield "Versions", _versions(versions)


def _leaves(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        label = f"{above}{name.replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{label}: ")
        elif value is not None:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield label, text[:12] if "sha256" in name else text


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())
