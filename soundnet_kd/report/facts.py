"""Facts about the features and trainings on a page, as pairs of a name and a value."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from soundnet_kd.features import FeatureCache
from soundnet_kd.training.settings_file import read_training_settings


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
    yield "Features", f"{', '.join(cache.layers)}; over time: {', '.join(cache.poolings) or cache.pooling}"
    preprocessing = settings["preprocessing"]
    rate = preprocessing["sample_rate"]
    yield (
        "Heard",
        f"{'each file at its own rate' if rate is None else f'{rate} Hz'}, scaled to "
        f"±{preprocessing['amplitude']:g}, {preprocessing['channel']} channel"
        + (
            f", at {', '.join(f'{speed:g}' for speed in cache.speeds)} times its speed"
            if cache.speeds != (1.0,)
            else ""
        ),
    )
    yield "Versions", _versions(identity.get("versions", {}))


def facts_of_teachers(folder: str | Path) -> Iterator[tuple[str, str]]:
    """Yield facts about the teachers and videos of a student; none for a training without teachers."""
    training = read_training_settings(folder)
    if training is None:
        return
    for teacher, about in training.teachers.items():
        known = [str(about[key]) for key in ("network", "weights") if about.get(key)]
        yield f"Teacher of {teacher}", ": ".join(known) or json.dumps(about)
    if training.clips is not None:
        yield "Clips of video", str(training.clips)


def facts_of_training(folder: str | Path) -> Iterator[tuple[str, str]]:
    """Yield the settings and versions of a training."""
    training = read_training_settings(folder)
    if training is None:
        return
    yield from facts_of_teachers(folder)
    yield from _start(training.settings)
    yield from _leaves({name: value for name, value in training.settings.items() if name not in _OF_START})
    if training.versions:
        yield "Versions", _versions(training.versions)


_OF_START = ("init", "init_sha256", "kept_heads", "freeze")


def _start(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a student started from, if not from random weights, and what of it was held."""
    if "init" not in settings:
        return
    heads = ", ".join(settings["kept_heads"]) or "none"
    yield "Started from", f"{settings['init']} (weights {settings['init_sha256'][:12]}); of its heads it kept {heads}"
    if "freeze" in settings:
        yield "Held", f"what lies before {settings['freeze']}"


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
