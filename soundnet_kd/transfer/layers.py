"""Every layer of a feature cache through the same cross-validation."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from soundnet_kd.errors import SettingsError
from soundnet_kd.features import FeatureCache
from soundnet_kd.storage import versions, write_csv, write_json
from soundnet_kd.transfer.cross_validation import CrossValidation, cross_validate
from soundnet_kd.transfer.folds import folds_or_stratified

FORMAT_VERSION = 1
RESULTS_FILE = "results.json"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How well each layer of a cache tells the classes apart.

    Attributes
    ----------
    results : mapping from layer to CrossValidation
        From the input on.
    channels : mapping from layer to its number of channels
    classes : tuple of str
    ids : tuple of str
        Of every clip of the cache.
    labels, folds : (clips,) int64
        -1 where unlabeled; the folds that were used.
    source : mapping
        The cache, what made it, and where the folds come from.
    """

    results: Mapping[str, CrossValidation]
    channels: Mapping[str, int]
    classes: tuple[str, ...]
    ids: tuple[str, ...] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    folds: NDArray[np.int64] = field(repr=False)
    source: Mapping[str, Any] = field(repr=False)

    @property
    def best_layer(self) -> str:
        """The layer with the best accuracy, the one nearest the input where several are equally good."""
        return max(self.results, key=lambda layer: self.results[layer].accuracy)

    @property
    def chance(self) -> float:
        """Accuracy of always answering the commonest class."""
        counts = np.bincount(self.labels[self.labels >= 0])
        return float(counts.max() / counts.sum())


def evaluate_layers(
    features: Path, layers: Sequence[str] | None = None, protocol: str = "notebook", seed: int = 0
) -> Evaluation:
    """Cross-validate the layers of a cache.

    Parameters
    ----------
    features : Path
        What `soundnet-kd extract` wrote.
    layers : sequence of str, optional
        All if not given.
    protocol : str
        As in `cross_validate`.
    seed : int
        Draws folds where the data set has none.

    Raises
    ------
    SettingsError
        If a layer or the protocol does not exist, or no clip has a label.
    FormatError
        If `features` is no feature cache.
    """
    with FeatureCache(features) as cache:
        wanted = chosen_layers(cache, layers)
        labels = cache.labels
        folds, origin = folds_or_stratified(cache.folds, labels, seed)
        results: dict[str, CrossValidation] = {}
        channels: dict[str, int] = {}
        for layer in tqdm(wanted, desc="evaluate", unit="layer"):
            averages = cache[layer]
            channels[layer] = averages.shape[1]
            results[layer] = cross_validate(averages, labels, folds, protocol, class_names=cache.class_names)
        return Evaluation(
            results=results,
            channels=channels,
            classes=results[wanted[0]].classes,
            ids=cache.ids,
            labels=labels,
            folds=folds,
            source={
                "features": str(features.resolve()),
                "identity": cache.identity,
                "folds": origin,
                "seed": seed,
                "versions": versions(),
            },
        )


def chosen_layers(cache: FeatureCache, layers: Sequence[str] | None) -> tuple[str, ...]:
    """Give the wanted layers of a cache from the input on; all if none are named.

    Raises
    ------
    SettingsError
        If the cache lacks one of them.
    """
    if layers is None:
        return cache.layers
    if not layers:
        raise SettingsError(f"no layers are asked for; {cache.path} has {', '.join(cache.layers)}")
    for layer in layers:
        if layer not in cache:
            nearest = difflib.get_close_matches(layer, cache.layers, n=1, cutoff=0.0)[0]
            raise SettingsError(
                f"{cache.path} has no layer {layer!r}, did you mean {nearest!r}? It has {', '.join(cache.layers)}"
            )
    return tuple(layer for layer in cache.layers if layer in layers)


def write_evaluation(evaluation: Evaluation, out: Path) -> None:
    """Write `results.json`, `accuracy.csv` (a row per layer) and `predictions.csv` (a row per clip).

    Parameters
    ----------
    evaluation : Evaluation
    out : Path
        Folder.
    """
    results = evaluation.results
    write_json(
        out / RESULTS_FILE,
        {
            "format_version": FORMAT_VERSION,
            "source": evaluation.source,
            "classes": evaluation.classes,
            "chance": evaluation.chance,
            "best_layer": evaluation.best_layer,
            "results": [_as_json(layer, evaluation.channels[layer], result) for layer, result in results.items()],
        },
    )
    folds = next(iter(results.values())).folds
    write_csv(
        out / "accuracy.csv",
        ("layer", "channels", "accuracy", "std", "best_C", *(f"fold {fold}" for fold in folds)),
        (
            (
                layer,
                evaluation.channels[layer],
                f"{result.accuracy:.4f}",
                f"{np.std(result.fold_accuracy):.4f}",
                result.best_C,
                *(f"{accuracy:.4f}" for accuracy in result.fold_accuracy),
            )
            for layer, result in results.items()
        ),
    )
    names = (*evaluation.classes, "")
    predictions = [result.predictions for result in results.values()]
    write_csv(
        out / "predictions.csv",
        ("id", "fold", "label", *results),
        (
            (clip, fold, names[label], *(names[answers[index]] for answers in predictions))
            for index, (clip, fold, label) in enumerate(
                zip(evaluation.ids, evaluation.folds, evaluation.labels, strict=True)
            )
        ),
    )


def _as_json(layer: str, channels: int, result: CrossValidation) -> dict[str, Any]:
    return {
        "layer": layer,
        "channels": channels,
        "protocol": result.protocol,
        "selection": result.selection,
        "accuracy": result.accuracy,
        "folds": result.folds,
        "fold_accuracy": result.fold_accuracy,
        "best_C": result.best_C,
        "accuracy_by_C": {str(C): accuracy for C, accuracy in result.accuracy_by_C.items()},
        "confusion": result.confusion.tolist(),
        "left_out": result.left_out,
        "unconverged": result.unconverged,
    }
