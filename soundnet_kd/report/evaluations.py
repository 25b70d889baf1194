"""The evaluations of a run, in the form in which the page's tables show them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soundnet_kd.data.datasets.esc50 import PAPER_ACCURACY_BY_LAYER, is_esc50
from soundnet_kd.features import FeatureCache
from soundnet_kd.features.cache import STUDENT
from soundnet_kd.report.clips import Clips
from soundnet_kd.report.find import RunFiles, Skipped, made_from
from soundnet_kd.transfer.cross_validation import CrossValidation
from soundnet_kd.transfer.protocols import SELECTIONS
from soundnet_kd.transfer.results import Evaluation, format_settings, read_evaluation


@dataclass(frozen=True)
class LayerAccuracy:
    """A row of an evaluation: accuracies from 0 to 1; and for ESC-50 the paper's accuracy of that layer, in percent."""

    layer: str
    features: int
    accuracy: float
    std: float
    folds: tuple[float, ...]
    chosen: str
    published: float | None


@dataclass(frozen=True)
class ShownEvaluation:
    """An evaluation on the page.

    Attributes
    ----------
    label : str
        Path from the run's folder.
    name : str
        Its name on the page.
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
        """Name of the protocol of the first layer."""
        return self._first.protocol

    @property
    def head(self) -> str:
        """Name of the classifier of the first layer."""
        return self._first.head.replace("_", " ").replace("svm", "SVM")

    @property
    def selection(self) -> str:
        """How the settings of the first layer were chosen."""
        return SELECTIONS[self._first.selection]

    @property
    def folds(self) -> tuple[int | str, ...]:
        """Names of the folds of the first layer."""
        return self._first.folds

    @property
    def chance(self) -> float:
        """Accuracy of always predicting the commonest class."""
        return self.evaluation.chance

    @property
    def best(self) -> LayerAccuracy:
        """The row with the best accuracy; on a tie that of the layer nearest the input."""
        return max(self.rows, key=lambda row: row.accuracy)

    def is_of(self, clips: Clips) -> bool:
        """Whether it has the classes of the clips, and tested at least one of them."""
        same_classes = set(self.evaluation.classes) == set(clips.class_names)
        return same_classes and bool(self.evaluation.place_of.keys() & set(clips.ids))

    @property
    def _first(self) -> CrossValidation:
        return next(iter(self.evaluation.results.values()))


def read_evaluations(files: RunFiles, cache: FeatureCache | None, skipped: Skipped) -> list[ShownEvaluation]:
    """Read the evaluations of a run: those of the page's network and sounds first, the best of these at the top."""
    found = []
    for label, folder in files.evaluations.items():
        shown = skipped.read(label, _read_shown, label, files.name_of(label), folder)
        if shown is not None:
            found.append(shown)
    own = None if cache is None else _heard(cache.identity)
    return sorted(found, key=lambda each: (own not in (None, _heard(made_from(each.folder))), -each.best.accuracy))


def _heard(identity: Mapping[str, Any] | None) -> tuple[Any, Any] | None:
    """Return which network heard which sounds, however: the layers, the pooling and the speeds may differ."""
    return None if identity is None else (identity.get("student"), identity.get("sounds"))


def _read_shown(label: str, name: str, folder: Path) -> ShownEvaluation:
    evaluation = read_evaluation(folder)
    return ShownEvaluation(label, name, folder, evaluation, layer_accuracies(evaluation))


def layer_accuracies(evaluation: Evaluation) -> tuple[LayerAccuracy, ...]:
    """Return a row for each layer of an evaluation."""
    # The paper's accuracies are of features of SoundNet's eight layers, not of networks that were trained on labels.
    network = evaluation.network if evaluation.kind == "features" else None
    comparable = (
        is_esc50(evaluation.classes)
        and network is not None
        and network.kind == STUDENT
        and network.architecture == "SoundNet8"
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
