"""The evaluations that a page shows, as its tables have them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundnet_kd.data.datasets.esc50 import PAPER_ACCURACY_BY_LAYER, is_esc50
from soundnet_kd.features import FeatureCache
from soundnet_kd.report.clips import Clips
from soundnet_kd.report.find import RunFiles, made_from
from soundnet_kd.report.skipped import Skipped
from soundnet_kd.transfer.cross_validation import CrossValidation
from soundnet_kd.transfer.protocols import SELECTIONS
from soundnet_kd.transfer.results import Evaluation, format_settings, read_evaluation


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
class ShownEvaluation:
    """An evaluation of the page.

    Attributes
    ----------
    label : str
        Path from the run's folder.
    name : str
        As the page calls it.
    folder : Path
    evaluation : Evaluation
    rows : tuple of LayerAccuracy
    """

    label: str
    name: str
    folder: Path
    evaluation: Evaluation
    rows: tuple[LayerAccuracy, ...]

    @property
    def protocol(self) -> str:
        """Of its first layer, as the next three are."""
        return self._first.protocol

    @property
    def head(self) -> str:
        """The classifier."""
        return self._first.head.replace("_", " ").replace("svm", "SVM")

    @property
    def selection(self) -> str:
        """How settings were chosen."""
        return SELECTIONS[self._first.selection]

    @property
    def folds(self) -> tuple[int | str, ...]:
        """Their names."""
        return self._first.folds

    @property
    def chance(self) -> float:
        """Accuracy of always answering the commonest class."""
        return self.evaluation.chance

    @property
    def best(self) -> LayerAccuracy:
        """The row with the best accuracy, the one nearest the input where several are equally good."""
        return max(self.rows, key=lambda row: row.accuracy)

    def is_of(self, clips: Clips) -> bool:
        """Whether its classes are those of some clips, and some of these were tested."""
        same_classes = set(self.evaluation.classes) == set(clips.class_names)
        return same_classes and bool(self.evaluation.place_of.keys() & set(clips.ids))

    @property
    def _first(self) -> CrossValidation:
        return next(iter(self.evaluation.results.values()))


def read_evaluations(files: RunFiles, cache: FeatureCache | None, skipped: Skipped) -> list[ShownEvaluation]:
    """Read the evaluations of a run: those of some features first, and of these the best one at the top."""
    found = []
    for label, folder in files.evaluations.items():
        shown = skipped.read(label, _shown, label, files.name_of(label), folder)
        if shown is not None:
            found.append(shown)
    own = None if cache is None else cache.identity
    return sorted(found, key=lambda each: (own is not None and made_from(each.folder) != own, -each.best.accuracy))


def _shown(label: str, name: str, folder: Path) -> ShownEvaluation:
    evaluation = read_evaluation(folder)
    return ShownEvaluation(label, name, folder, evaluation, layer_accuracies(evaluation))


def layer_accuracies(evaluation: Evaluation) -> tuple[LayerAccuracy, ...]:
    """Return a row for each layer of an evaluation."""
    # The paper's figures are of transfer from SoundNet's eight layers, not of networks that were trained on the labels.
    student = evaluation.source["identity"]["student"] if evaluation.kind == "features" else None
    comparable = (
        is_esc50(evaluation.classes) and isinstance(student, Mapping) and student["architecture"] == "SoundNet8"
    )
    return tuple(
        LayerAccuracy(
            layer=layer,
            features=evaluation.channels[layer],
            accuracy=each.accuracy,
            std=float(np.std(each.fold_accuracy)),
            folds=each.fold_accuracy,
            chosen=format_settings(each.chosen),
            published=PAPER_ACCURACY_BY_LAYER.get(layer.partition("_")[0]) if comparable else None,
        )
        for layer, each in evaluation.results.items()
    )
