"""What an evaluation of layers found, and the files that it is kept in."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.storage import read_json, write_csv, write_json
from soundnet_kd.transfer.classifiers import Setting
from soundnet_kd.transfer.cross_validation import CrossValidation
from soundnet_kd.transfer.protocols import SELECTIONS

FORMAT_VERSION = 1
RESULTS_FILE = "results.json"
PREDICTIONS_FILE = "predictions.csv"


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
    paths : tuple of str, optional
        Where every clip lies, for whoever wants to hear them; of a cache's clips the cache knows.
    """

    results: Mapping[str, CrossValidation]
    channels: Mapping[str, int]
    classes: tuple[str, ...]
    ids: tuple[str, ...] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    folds: NDArray[np.int64] = field(repr=False)
    groups: tuple[str, ...] | None = field(repr=False)
    source: Mapping[str, Any] = field(repr=False)
    paths: tuple[str, ...] | None = field(default=None, repr=False)

    @property
    def best_layer(self) -> str:
        """The layer with the best accuracy, the one nearest the input where several are equally good."""
        return max(self.results, key=lambda layer: self.results[layer].accuracy)

    @property
    def chance(self) -> float:
        """Accuracy of always answering the commonest class."""
        counts = np.bincount(self.labels[self.labels >= 0])
        return float(counts.max() / counts.sum())


def write_evaluation(evaluation: Evaluation, out: str | Path) -> None:
    """Write `results.json`, `accuracy.csv` (a row per layer) and `predictions.csv` (a row per clip).

    Parameters
    ----------
    evaluation : Evaluation
    out : str or Path
        Folder.
    """
    out = Path(out)
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
                format_settings(result.chosen),
                *(f"{accuracy:.4f}" for accuracy in result.fold_accuracy),
            )
            for layer, result in results.items()
        ),
    )
    names = (*evaluation.classes, "")
    predictions = [result.predictions for result in results.values()]
    others = {"group": evaluation.groups, "path": evaluation.paths}
    told_of = {name: values for name, values in others.items() if values is not None}
    write_csv(
        out / PREDICTIONS_FILE,
        ("id", "fold", "label", *told_of, *results),
        (
            (
                clip,
                fold,
                names[label],
                *(values[index] for values in told_of.values()),
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


def format_settings(settings: Sequence[Setting]) -> str:
    """Return the settings of the folds in a few words, such as C=0.1, or C=0.1 (3 folds), C=0.01 (2 folds)."""
    words = [
        ", ".join(f"{name.rpartition('__')[2]}={value:g}" for name, value in setting.items()) for setting in settings
    ]
    counts = Counter(words)
    if len(counts) == 1:
        return words[0]
    return "; ".join(
        f"{setting} ({count} {'fold' if count == 1 else 'folds'})" for setting, count in counts.most_common()
    )


@dataclass(frozen=True, eq=False)
class StoredResults:
    """What an evaluation answered for each clip that it tested.

    Attributes
    ----------
    folder : Path
    protocol : str
        Its name, the classifier, and how the classifier's settings were chosen.
    classes : tuple of str
    layers : tuple of str
        From the input on.
    labels : mapping from the id of a clip to its class
    folds : mapping from the id of a clip to the fold that it was tested in
    groups : mapping from the id of a clip to its source recording, or None where that is not known
    paths : mapping from the id of a clip to where it lies; empty where that is not known
    answers : mapping from layer to a mapping from the id of a clip to the class that it was given
    content : mapping
        Of results.json.
    """

    folder: Path
    protocol: str
    classes: tuple[str, ...]
    layers: tuple[str, ...]
    labels: Mapping[str, str] = field(repr=False)
    folds: Mapping[str, int] = field(repr=False)
    groups: Mapping[str, str] | None = field(repr=False)
    paths: Mapping[str, Path] = field(repr=False)
    answers: Mapping[str, Mapping[str, str]] = field(repr=False)
    content: Mapping[str, Any] = field(repr=False)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read the folder, or the results.json in it, that `soundnet-kd evaluate` wrote.

        Raises
        ------
        SettingsError
            If there is none.
        FormatError
            If it is not what `evaluate` writes.
        """
        path = Path(path)
        folder = path.parent if path.suffix == ".json" else path
        for name in (RESULTS_FILE, PREDICTIONS_FILE):
            if not (folder / name).is_file():
                raise SettingsError(f"there is no {folder / name}; make it with `soundnet-kd evaluate`")
        content = read_json(folder / RESULTS_FILE)
        with (folder / PREDICTIONS_FILE).open(encoding="utf-8", newline="") as handle:
            rows = [row for row in csv.DictReader(handle) if row.get("label")]
        try:
            results = content["results"]
            layers = tuple(result["layer"] for result in results)
            protocols = (
                f"{each['protocol']}, {each['head']}, settings chosen: {each['selection']}" for each in results
            )
            return cls(
                folder=folder,
                protocol="; ".join(dict.fromkeys(protocols)),
                classes=tuple(content["classes"]),
                layers=layers,
                labels={row["id"]: row["label"] for row in rows},
                folds={row["id"]: int(row["fold"]) for row in rows},
                groups={row["id"]: row["group"] for row in rows} if rows and "group" in rows[0] else None,
                paths={row["id"]: Path(row["path"]) for row in rows} if rows and "path" in rows[0] else {},
                answers={layer: {row["id"]: row[layer] for row in rows} for layer in layers},
                content=content,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{folder} is not what `soundnet-kd evaluate` writes ({error} is missing)") from error

    @property
    def best_layer(self) -> str:
        """The layer with the most clips right, the one nearest the input where several have as many."""
        ids = tuple(self.labels)
        return max(self.layers, key=lambda layer: int(self.right(layer, ids).sum()))

    def right(self, layer: str, ids: tuple[str, ...]) -> NDArray[np.bool_]:
        """Tell which clips a layer has right.

        Parameters
        ----------
        layer : str
        ids : tuple of str, (clips,)

        Returns
        -------
        (clips,) bool
        """
        answers = self.answers[layer]
        return np.array([answers[clip] == self.labels[clip] for clip in ids], dtype=np.bool_)
