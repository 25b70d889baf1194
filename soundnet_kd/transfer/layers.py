"""Every layer of a feature cache through the same cross-validation."""

import difflib
from collections import Counter
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
from soundnet_kd.transfer.folds import usable_folds
from soundnet_kd.transfer.heads import HeadName, Setting
from soundnet_kd.transfer.inputs import Pooling, layer_inputs
from soundnet_kd.transfer.protocols import SELECTIONS, ProtocolName, Selection, planned
from soundnet_kd.transfer.windows import Windows

FORMAT_VERSION = 1
RESULTS_FILE = "results.json"
SOURCE_COLUMN = "src_file"
"""ESC-50's name for the recording that a clip was cut from."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How well each layer of a cache tells the classes apart.

    Attributes
    ----------
    results : mapping from layer to CrossValidation
        From the input on; layers that were joined are one, such as conv5+pool5.
    channels : mapping from layer to its number of features
    classes : tuple of str
    ids : tuple of str
        Of every clip of the cache.
    labels, folds : (clips,) int64
        -1 where unlabeled; the folds that were used.
    groups : tuple of str or None
        Source recording of every clip, where it is known.
    source : mapping
        The cache, what made it, and where the folds come from.
    """

    results: Mapping[str, CrossValidation]
    channels: Mapping[str, int]
    classes: tuple[str, ...]
    ids: tuple[str, ...] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    folds: NDArray[np.int64] = field(repr=False)
    groups: tuple[str, ...] | None = field(repr=False)
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
    features: Path,
    layers: Sequence[str] | None = None,
    protocol: ProtocolName = "notebook",
    *,
    head: HeadName | None = None,
    selection: Selection | None = None,
    together: bool = False,
    poolings: Sequence[Pooling] | None = None,
    windows: Windows | None = None,
    folds: int | None = None,
    groups: str | None = None,
    seed: int = 0,
) -> Evaluation:
    """Cross-validate the layers of a cache.

    Parameters
    ----------
    features : Path
        What `soundnet-kd extract` wrote.
    layers : sequence of str, optional
        All if not given.
    protocol, head, selection : str
        As in `cross_validate`.
    together, poolings, windows
        As in `layer_inputs`; the protocol's own windows if none are given.
    folds : int, optional
        Number of folds to make; if not given, those of the data set.
    groups : str, optional
        Column of the data set's table that names the recording that a clip was cut from. [default: src_file, if there
        is one]
    seed : int
        Draws folds, and whatever a classifier draws.

    Raises
    ------
    SettingsError
        If a name does not exist, or no clip has a label.
    FormatError
        If `features` is no feature cache.
    """
    plan = planned(protocol, head, None)
    with FeatureCache(features) as cache:
        wanted = chosen_layers(cache, layers)
        labels = cache.labels
        sources = _sources(cache, groups)
        fold_of, origin = usable_folds(cache.folds, labels, seed, folds, sources)
        results: dict[str, CrossValidation] = {}
        channels: dict[str, int] = {}
        inputs = layer_inputs(cache, wanted, together, poolings, windows or plan.windows)
        for each in tqdm(inputs, desc="evaluate", unit="layer", total=1 if together else len(wanted)):
            channels[each.name] = each.rows.shape[1]
            results[each.name] = cross_validate(
                each.rows,
                labels,
                fold_of,
                protocol,
                head=head,
                selection=selection,
                clips=each.clips,
                class_names=cache.class_names,
                seed=seed,
            )
        return Evaluation(
            results=results,
            channels=channels,
            classes=next(iter(results.values())).classes,
            ids=cache.ids,
            labels=labels,
            folds=fold_of,
            groups=sources,
            source={
                "features": str(features.resolve()),
                "identity": cache.identity,
                "folds": origin,
                "seed": seed,
                "versions": versions(),
            },
        )


def _sources(cache: FeatureCache, column: str | None) -> tuple[str, ...] | None:
    if column is None:
        return cache.columns.get(SOURCE_COLUMN)
    if column not in cache.columns:
        raise SettingsError(
            f"{cache.path} carries no column {column!r} (it has {', '.join(cache.columns) or 'none'}); extract from a "
            "table that has it"
        )
    return cache.columns[column]


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
        ("layer", "channels", "accuracy", "std", "chosen", *(f"fold {fold}" for fold in folds)),
        (
            (
                layer,
                evaluation.channels[layer],
                f"{result.accuracy:.4f}",
                f"{np.std(result.fold_accuracy):.4f}",
                told(result.chosen),
                *(f"{accuracy:.4f}" for accuracy in result.fold_accuracy),
            )
            for layer, result in results.items()
        ),
    )
    names = (*evaluation.classes, "")
    predictions = [result.predictions for result in results.values()]
    groups = evaluation.groups
    write_csv(
        out / "predictions.csv",
        ("id", "fold", "label", *(() if groups is None else ("group",)), *results),
        (
            (
                clip,
                fold,
                names[label],
                *(() if groups is None else (groups[index],)),
                *(names[answers[index]] for answers in predictions),
            )
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
        "head": result.head,
        "selection": result.selection,
        "selection_note": SELECTIONS[result.selection],
        "accuracy": result.accuracy,
        "folds": result.folds,
        "fold_accuracy": result.fold_accuracy,
        "chosen": result.chosen,
        "grid": result.grid,
        "grid_accuracy": result.grid_accuracy,
        "confusion": result.confusion.tolist(),
        "left_out": result.left_out,
        "unconverged": result.unconverged,
    }


def told(settings: Sequence[Setting]) -> str:
    """Give the settings of the folds in a few words, such as C=0.1, or C=0.1 (3 folds), C=0.01 (2 folds)."""
    words = [
        ", ".join(f"{name.rpartition('__')[2]}={value:g}" for name, value in setting.items()) for setting in settings
    ]
    counts = Counter(words)
    if len(counts) == 1:
        return words[0]
    return "; ".join(f"{setting} ({count} {'fold' if count == 1 else 'folds'})" for setting, count in counts.most_common())
