"""The results of an evaluation, and the files that hold them.

Layout of `results.json`
------------------------
`format_version`, `kind` (what was evaluated, one of `KINDS`), `source` (what made it: the `identity` of its inputs,
with the `student` if there is one; in words where the `folds` come from; the seed, versions; of trained networks also
`parameters`, `training_seconds`, `trainings`, and how many sounds were `skipped`), `classes`, `chance`, `best_layer`,
and `results`, one for each layer. The properties of `Evaluation` read `source`. The results of tags have `tags`,
`protocol`, and measures of tags as `results`. Version 0.1.0 wrote no `kind`.

Beside it lies `predictions.csv`, a row for each clip: `id`, `fold`, `label` (empty where it was not tested), `group`
and `path` where they are known, and the class that it was given from each layer.
"""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.features.cache import NetworkIdentity
from soundnet_kd.storage import read_json, write_csv, write_json
from soundnet_kd.transfer.classifiers import Setting
from soundnet_kd.transfer.cross_validation import CrossValidation
from soundnet_kd.transfer.fitting import UNTESTED
from soundnet_kd.transfer.protocols import SELECTIONS

FORMAT_VERSION = 1
RESULTS_FILE = "results.json"
PREDICTIONS_FILE = "predictions.csv"
SETTINGS_FILE = "evaluate.json"
"""What `evaluate` made the results from, and how."""

Kind = Literal["features", "finetuned", "trained", "tags"]
"""What was evaluated: classifiers on the features of layers; a student that was trained on, with new outputs; networks
of a recipe, on classes; networks of a recipe, on tags, several to a sound."""
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How well each layer of a cache, or each trained network, tells the classes apart.

    Attributes
    ----------
    kind : str
        What was evaluated; never tags, which have an evaluation of their own.
    results : mapping from layer to CrossValidation
        From the input on; joined layers are one, such as conv5+pool5.
    channels : mapping from layer to its number of features
    classes : tuple of str
    ids : tuple of str
        Identifiers of all clips.
    labels, folds : (clips,) int64
        Label of each clip, -1 where unlabeled or not tested; its fold.
    groups : tuple of str or None
        Source recording of each clip; None if not known.
    source : mapping
        Inputs, settings and versions of the evaluation, and where the folds come from.
    paths : tuple of str, optional
        File of each clip; empty for a cache, which knows the files of its clips.
    folder : Path, optional
        Folder that it was read from.
    """

    kind: Kind
    results: Mapping[str, CrossValidation]
    channels: Mapping[str, int]
    classes: tuple[str, ...]
    ids: tuple[str, ...] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    folds: NDArray[np.int64] = field(repr=False)
    groups: tuple[str, ...] | None = field(repr=False)
    source: Mapping[str, Any] = field(repr=False)
    paths: tuple[str, ...] | None = field(default=None, repr=False)
    folder: Path | None = None

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, from the input on."""
        return tuple(self.results)

    @property
    def protocol(self) -> str:
        """Name of the protocol, the classifier, and how its settings were chosen."""
        protocols = (
            f"{each.protocol}, {each.head}, settings chosen: {each.selection}" for each in self.results.values()
        )
        return "; ".join(dict.fromkeys(protocols))

    @property
    def network(self) -> NetworkIdentity | None:
        """The network whose layers, or whose training, were evaluated; None for networks that began from scratch."""
        identity = self.source.get("identity")
        return NetworkIdentity.from_identity(identity) if isinstance(identity, Mapping) else None

    @property
    def parameters(self) -> int | None:
        """Number of parameters of a trained network; None if it was not trained here, or is not known."""
        parameters: int | None = self.source.get("parameters")
        return parameters

    @property
    def seconds_per_training(self) -> float | None:
        """Time of one training, mean over the folds (and seeds); None if there was none, or it is not known."""
        if "training_seconds" not in self.source:
            return None
        return float(self.source["training_seconds"] / self.source["trainings"])

    @property
    def skipped(self) -> int:
        """Number of sounds that a training had to leave out, since they could not be read."""
        return int(self.source["skipped"])

    @property
    def fold_origin(self) -> str:
        """Where the folds come from, in words."""
        return str(self.source["folds"])

    @property
    def best_layer(self) -> str:
        """The layer with the best accuracy; on a tie the one nearest the input."""
        return max(self.results, key=lambda layer: self.results[layer].accuracy)

    @property
    def chance(self) -> float:
        """Accuracy of always predicting the commonest class."""
        counts = np.bincount(self.labels[self.labels >= 0])
        return float(counts.max() / counts.sum())

    @cached_property
    def place_of(self) -> Mapping[str, int]:
        """Row of each tested clip, by its id."""
        return {clip: place for place, clip in enumerate(self.ids) if self.labels[place] >= 0}

    def true_class(self, clip: str) -> str:
        """Return the true class of a tested clip."""
        return self.classes[int(self.labels[self.place_of[clip]])]

    def correct(self, layer: str, clips: Sequence[str]) -> NDArray[np.bool_]:
        """Return which of the given tested clips are classified correctly from a layer, (clips,) bool."""
        places = [self.place_of[clip] for clip in clips]
        correct: NDArray[np.bool_] = self.results[layer].predictions[places] == self.labels[places]
        return correct


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
    write_results(
        out,
        evaluation.kind,
        {
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
    known = {name: values for name, values in others.items() if values is not None}
    write_csv(
        out / PREDICTIONS_FILE,
        ("id", "fold", "label", *known, *results),
        (
            (
                clip,
                fold,
                names[label],
                *(values[index] for values in known.values()),
                *(names[given[index]] for given in predictions),
            )
            for index, (clip, fold, label) in enumerate(
                zip(evaluation.ids, evaluation.folds, evaluation.labels, strict=True)
            )
        ),
    )


def write_results(out: str | Path, kind: Kind, content: Mapping[str, Any]) -> None:
    """Write `results.json` for an evaluation of a kind."""
    write_json(Path(out) / RESULTS_FILE, {"format_version": FORMAT_VERSION, "kind": kind, **content})


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
    """Write the settings of the folds briefly, such as C=0.1, or C=0.1 (3 folds), C=0.01 (2 folds)."""
    words = [
        ", ".join(
            value if isinstance(value, str) else f"{name.rpartition('__')[2]}={value:g}"
            for name, value in setting.items()
        )
        for setting in settings
    ]
    counts = Counter(words)
    if len(counts) == 1:
        return words[0]
    return "; ".join(
        f"{setting} ({count} {'fold' if count == 1 else 'folds'})" for setting, count in counts.most_common()
    )


def read_evaluation(path: str | Path) -> Evaluation:
    """Read an evaluation of classes that `evaluate`, `finetune` or `train` wrote.

    Parameters
    ----------
    path : str or Path
        The folder, or the results.json in it, beside which the predictions lie.

    Raises
    ------
    SettingsError
        If one of the files is missing.
    FormatError
        If the files are not what these commands write.
    """
    path = Path(path)
    file = path if path.suffix == ".json" else path / RESULTS_FILE
    for needed in (file, file.parent / PREDICTIONS_FILE):
        if not needed.is_file():
            raise SettingsError(f"there is no {needed}; make it with `soundnet-kd evaluate`")
    content = read_json(file)
    try:
        kind = _kind(content)
        if kind is None or kind == "tags":
            found = "measures of tags, which cannot be compared yet" if kind else "nothing that is known"
            raise FormatError(f"{file} holds {found}; name what `soundnet-kd evaluate`, finetune or train wrote")
        classes = tuple(content["classes"])
        layers = [each["layer"] for each in content["results"]]
        rows, header = _rows(file.parent / PREDICTIONS_FILE)
        numbers = {name: number for number, name in enumerate(classes)} | {"": UNTESTED}
        columns = {name: [row[name] for row in rows] for name in ("id", "fold", "label", *layers)}
        given = {name: np.array([numbers[each] for each in columns[name]], np.int64) for name in ("label", *layers)}
        return Evaluation(
            kind=kind,
            results={each["layer"]: _from_json(each, classes, given[each["layer"]]) for each in content["results"]},
            channels={each["layer"]: each["channels"] for each in content["results"]},
            classes=classes,
            ids=tuple(columns["id"]),
            labels=given["label"],
            folds=np.array([int(fold) for fold in columns["fold"]], dtype=np.int64),
            groups=tuple(row["group"] for row in rows) if "group" in header else None,
            source=content["source"],
            paths=tuple(row["path"] for row in rows) if "path" in header else None,
            folder=file.parent,
        )
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        raise FormatError(f"{file.parent} is not what `soundnet-kd evaluate` writes ({what}); make it again") from error


def kind_of_results(folder: str | Path) -> Kind | None:
    """Return the kind of the results in a folder; None if there are none, or the file is from another program."""
    try:
        return _kind(read_json(Path(folder) / RESULTS_FILE))
    except (FormatError, OSError):
        return None


def _kind(content: Any) -> Kind | None:
    if not isinstance(content, dict) or not content.get("results"):
        return None
    if "kind" in content:
        return content["kind"] if content["kind"] in KINDS else None
    # Version 0.1.0 wrote no kind.
    if "tags" in content:
        return "tags"
    if not {"classes", "chance"} <= content.keys() or not isinstance(content.get("source"), dict):
        return None
    if "features" in content["source"]:
        return "features"
    return "trained" if "recipe" in content["source"] else "finetuned"


def _from_json(stored: Mapping[str, Any], classes: tuple[str, ...], predictions: NDArray[np.int64]) -> CrossValidation:
    return CrossValidation(
        protocol=stored["protocol"],
        head=stored["head"],
        selection=stored["selection"],
        accuracy=stored["accuracy"],
        folds=tuple(stored["folds"]),
        fold_accuracy=tuple(stored["fold_accuracy"]),
        chosen=tuple(stored["chosen"]),
        grid=tuple(stored["grid"]),
        grid_accuracy=tuple(stored["grid_accuracy"]),
        confusion=np.array(stored["confusion"], dtype=np.int64),
        predictions=predictions,
        classes=classes,
        left_out=stored["left_out"],
        unconverged=tuple(stored["unconverged"]),
    )


def _rows(file: Path) -> tuple[list[dict[str, str]], Sequence[str]]:
    with file.open(encoding="utf-8", newline="") as handle:
        reader = csv.DictReader(handle)
        return list(reader), reader.fieldnames or ()
