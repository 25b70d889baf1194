"""The outputs of commands in a run's folder, recognised by their contents, wherever they lie."""

import csv
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from soundnet_kd.analysis.maps.file import MAPS_FILE
from soundnet_kd.analysis.maps.file import SETTINGS_FILE as MAPS_SETTINGS
from soundnet_kd.analysis.neurons.file import NEURONS_FILE
from soundnet_kd.analysis.neurons.file import SETTINGS_FILE as NEURONS_SETTINGS
from soundnet_kd.errors import SettingsError, SoundNetKDError
from soundnet_kd.features import FeatureCache
from soundnet_kd.features.activation_file import PEEL_FILE
from soundnet_kd.features.cache import is_feature_cache, read_source_identity
from soundnet_kd.training.history import HISTORY_FILE
from soundnet_kd.transfer.comparison import is_comparison
from soundnet_kd.transfer.ranking import RANKING_FILE, is_ranking
from soundnet_kd.transfer.results import PREDICTIONS_FILE, RESULTS_FILE, kind_of_results
from soundnet_kd.transfer.results import SETTINGS_FILE as EVALUATION_SETTINGS

MARK = "report.json"
"""File that marks a folder as a report, in which no outputs are looked for."""

_FILES: Mapping[str, str] = {
    HISTORY_FILE: "trainings",
    RESULTS_FILE: "evaluations",
    NEURONS_FILE: "neurons",
    MAPS_FILE: "maps",
    PEEL_FILE: "peels",
}

Asked = ParamSpec("Asked")
Found = TypeVar("Found")


@dataclass(frozen=True)
class RunFiles:
    """Outputs of commands in a folder and its sub-folders, each by its path relative to the folder.

    Attributes
    ----------
    folder : Path
    trainings, evaluations, neurons, maps, peels : mapping from name to folder
        Folders with the history of a training, with the results of an evaluation (which trainings of classifiers have
        too), and folders that `neurons`, `project` and `peel` wrote.
    caches, comparisons, rankings : mapping from name to file
        Files that `extract`, `compare` and `rank` wrote.
    """

    folder: Path
    trainings: dict[str, Path] = field(default_factory=dict)
    evaluations: dict[str, Path] = field(default_factory=dict)
    neurons: dict[str, Path] = field(default_factory=dict)
    maps: dict[str, Path] = field(default_factory=dict)
    peels: dict[str, Path] = field(default_factory=dict)
    caches: dict[str, Path] = field(default_factory=dict)
    comparisons: dict[str, Path] = field(default_factory=dict)
    rankings: dict[str, Path] = field(default_factory=dict)

    @classmethod
    def find(cls, folder: str | Path) -> "RunFiles":
        """Search a folder for outputs.

        Raises
        ------
        SettingsError
            If there is no such folder, or it holds nothing that a report can show.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise SettingsError(f"there is no folder {folder}; give the folder that a recipe or a command wrote")
        found = cls(folder)
        for place, names in _walk(folder):
            label = "." if place == folder else place.relative_to(folder).as_posix()
            for name in names:
                if name == RESULTS_FILE and not _is_evaluation(place):
                    continue
                if name in _FILES:
                    getattr(found, _FILES[name])[label] = place
                elif name.endswith(".h5") and is_feature_cache(place / name):
                    found.caches[(place / name).relative_to(folder).as_posix()] = place / name
                elif name == RANKING_FILE and is_ranking(place / name):
                    found.rankings[label] = place / name
                elif name.endswith(".csv") and is_comparison(place / name):
                    found.comparisons[(place / name).relative_to(folder).as_posix()] = place / name
        if not any(getattr(found, each.name) for each in fields(found) if each.name != "folder"):
            raise SettingsError(
                f"{folder} holds nothing to report on: no student, features, results, comparison, ranking, neurons, "
                "maps or peeled sound; give the folder that a recipe or a command wrote"
            )
        return found

    def name_of(self, label: str) -> str:
        """Return the name of an output on a page: its path, or the run folder's name if it lies directly there."""
        return self.folder.resolve().name if label == "." else label

    def choose_cache(self, wanted: str | Path | None) -> Path | None:
        """Return the features of the page: the `wanted` ones, or those from which most other outputs were made.

        Raises
        ------
        SettingsError
            If `wanted` is not in this run.
        """
        if wanted is not None:
            for path in self.caches.values():
                if path.resolve() == Path(wanted).resolve():
                    return path
            known = ", ".join(map(str, self.caches.values())) or "none"
            raise SettingsError(f"{wanted} is no features file in {self.folder}; there are {known}")
        if not self.caches:
            return None
        identities = [identity for identity in map(made_from, self._derived()) if identity]
        return max(self.caches.values(), key=lambda path: identities.count(_identity(path)))

    def select_made_from(self, kind: Mapping[str, Path], cache: str | Path) -> dict[str, Path]:
        """Return the outputs of a kind that were made from the given features."""
        identity = _identity(cache)
        return {label: place for label, place in kind.items() if made_from(place) == identity}

    def _derived(self) -> Iterator[Path]:
        for kind in (self.neurons, self.maps, self.evaluations):
            yield from kind.values()


def made_from(place: str | Path) -> dict[str, Any] | None:
    """Return the identity of the features that an output of `evaluate`, `neurons` or `project` was made from."""
    files = (Path(place) / name for name in (NEURONS_SETTINGS, MAPS_SETTINGS, EVALUATION_SETTINGS))
    identities = (read_source_identity(file) for file in files if file.is_file())
    return next((identity for identity in identities if identity is not None), None)


def _identity(cache: str | Path) -> dict[str, Any]:
    with FeatureCache(cache) as features:
        return features.identity


def _is_evaluation(place: Path) -> bool:
    """Tell whether a folder holds an evaluation of classes, not one of tags, or a file of another program."""
    return kind_of_results(place) not in (None, "tags") and (place / PREDICTIONS_FILE).is_file()


def _walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield each folder with the names of its files, without hidden files, unfinished caches and reports."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and not name.endswith(".parts") and not (Path(place) / name / MARK).is_file()
        )
        yield Path(place), sorted(names)


class Skipped(dict[str, str]):
    """The reason for each output that is not shown, by its name."""

    def read(
        self, name: str, function: Callable[Asked, Found], *values: Asked.args, **options: Asked.kwargs
    ) -> Found | None:
        """Call a function that reads an output; if that fails, note the reason and return None."""
        try:
            return function(*values, **options)
        # Any of these may come from a file that was damaged or edited.
        except (SoundNetKDError, OSError, LookupError, TypeError, ValueError, csv.Error) as error:
            self[name] = " ".join(str(error).split()) or type(error).__name__
            return None
