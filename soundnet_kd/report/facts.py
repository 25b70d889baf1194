"""Facts about the features and trainings on a page, as pairs of a name and a value."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from soundnet_kd.features import FeatureCache
from soundnet_kd.storage import read_json

TRAINING_SETTINGS = ("run.json", "finetune.json", "train.json")


def training_settings(folder: Path) -> dict[str, Any]:
    """Return the settings of a training; empty if it wrote none."""
    for name in TRAINING_SETTINGS:
        if (folder / name).is_file():
            settings: dict[str, Any] = read_json(folder / name)
            return settings
    return {}


def facts_of_cache(cache: FeatureCache) -> Iterator[tuple[str, str]]:
    """Yield facts about features: their sounds, network and settings."""
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
    network = cache.network
    yield "Student", network.architecture + (f" (weights {network.sha256[:12]})" if network.sha256 else "")
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
    """Yield facts about the teachers and videos of a student; none for a training without teachers."""
    targets = training_settings(folder).get("targets", {})
    for teacher, about in targets.get("teachers", {}).items():
        known = [str(about[key]) for key in ("network", "weights") if about.get(key)]
        yield f"Teacher of {teacher}", ": ".join(known) or json.dumps(about)
    if "clips" in targets:
        yield "Clips of video", str(targets["clips"])


def facts_of_training(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the settings and versions of a training."""
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
