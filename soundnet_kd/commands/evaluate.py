"""The command `evaluate`: results, tables and figures of every layer."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from soundnet_kd.analysis.classes.tables import ClassReport, class_reports, draw_classes, write_class_tables
from soundnet_kd.data.checks import describe_data_set
from soundnet_kd.features import FeatureCache
from soundnet_kd.features.pooling import Pooling
from soundnet_kd.storage import ensure_same_settings, require_same_settings, versions
from soundnet_kd.transfer.classifiers import ClassifierName
from soundnet_kd.transfer.figures import draw_accuracy
from soundnet_kd.transfer.layers import choose_layers, evaluate_layers
from soundnet_kd.transfer.protocols import SELECTIONS, ProtocolName
from soundnet_kd.transfer.results import SETTINGS_FILE, Evaluation, format_settings, write_evaluation
from soundnet_kd.transfer.windows import Windows

log = logging.getLogger(__name__)

_MAX_FOLDS_SHOWN = 10


@dataclass(frozen=True, eq=False)
class EvaluateResult:
    """The evaluation of each layer, the scores of each class for the best layer, and where they are written."""

    out: Path
    evaluation: Evaluation = field(repr=False)
    classes: ClassReport = field(repr=False)

    def __str__(self) -> str:
        evaluation = self.evaluation
        width = max(7, *map(len, evaluation.results))
        best = evaluation.results[evaluation.best_layer]
        folds = best.folds if len(best.folds) <= _MAX_FOLDS_SHOWN else ()
        columns = "".join(f"{f'fold {fold}':>8}" for fold in folds)
        lines = [f"{'layer':<{width}} {'features':>8} {'accuracy':>8}   std {columns}  chosen"]
        for layer, result in evaluation.results.items():
            each = "".join(f"{accuracy:>8.1%}" for accuracy in result.fold_accuracy[: len(folds)])
            lines.append(
                f"{layer:<{width}} {evaluation.channels[layer]:>8} {result.accuracy:>8.2%}"
                f" {np.std(result.fold_accuracy):>5.1%} {each}  {format_settings(result.chosen)}"
            )
        lines.append(f"protocol {best.protocol}, {best.head}; chosen: {SELECTIONS[best.selection]}")
        unsolved = [
            format_settings([setting]) for result in evaluation.results.values() for setting in result.unconverged
        ]
        if unsolved:
            lines.append(f"not converged: {', '.join(dict.fromkeys(unsolved))}")
        among = f" of {len(evaluation.results)}, chosen by these folds," if len(evaluation.results) > 1 else ""
        skipped = f", {best.left_out} without a label left out" if best.left_out else ""
        return "\n".join(
            [
                *lines,
                f"classes from {evaluation.best_layer}, by the share of their clips that are recognised:",
                str(self.classes),
                f"wrote {self.out}: {evaluation.best_layer} is best{among} with {best.accuracy:.2%} "
                f"(chance {evaluation.chance:.1%}; {evaluation.fold_origin}){skipped}",
            ]
        )


def evaluate(
    features: str | Path,
    out: str | Path,
    layers: Sequence[str] | None = None,
    protocol: ProtocolName = "notebook",
    head: ClassifierName | None = None,
    selection: Literal["same folds", "nested"] | None = None,
    together: bool = False,
    choose: bool = False,
    poolings: Sequence[Pooling] | None = None,
    windows: Windows | None = None,
    folds: int | None = None,
    groups: str | None = None,
    seed: int = 0,
) -> EvaluateResult:
    """Measure how well each layer tells the classes of a data set apart.

    For every fold, a classifier is trained on a layer's features of all other folds, and tested on this one.

    Parameters
    ----------
    features : str or Path
        The features.h5 that `soundnet-kd extract` wrote.
    out : str or Path
        Folder for the results, tables and figures.
    layers : sequence of str, optional
        Layers to evaluate, such as [conv5, pool5, conv5+pool5], the last of which is both side by side. [default: all]
    protocol : str
        notebook: linear SVM on standardised averages, C chosen by the same folds. paper: linear SVM on windows of 1 s
        (needs whole sequences). power: notebook, on cube roots of the averages. best: kernel ridge regression on square
        roots of the averages, standardised and whitened within the classes, with nested selection.
    head : str, optional
        Classifier to use instead of the protocol's: linear_svm, logistic_regression, rbf_svm, kernel_ridge, lda, mlp.
    selection : str, optional
        How the classifier's settings are chosen: "same folds", by the accuracies that are reported (which makes them
        slightly optimistic), or nested, within the training folds. [default: the protocol's way]
    together : bool
        Join the features of all layers, and evaluate them as one.
    choose : bool
        Evaluate a single classifier, for which the layers are chosen as its settings are: with nested selection, for
        each fold, those that did best within its training folds.
    poolings : sequence of str, optional
        Statistics over time to join: mean, max, std, such as [mean, std] (those that the file of features holds; any,
        if it holds whole sequences). [default: all that it holds]
    windows : Windows, optional
        Train on windows of the clips, and average the decision values of each clip (needs whole sequences), such as
        --windows.seconds 2; also hop_seconds, pooling (flatten, mean, max) and clip_seconds.
    folds : int, optional
        Number of folds to make. [default: the folds of the data set; five if it has none]
    groups : str, optional
        Column with the recording that each clip was cut from; clips of one recording stay in one fold.
        [default: src_file, if there is one]
    seed : int
        Seed of new folds, and of the classifiers that use random numbers.
    """
    out = Path(out)
    how: dict[str, Any] = {
        "protocol": protocol,
        "head": head,
        "selection": selection,
        "together": together,
        **({"choose": True} if choose else {}),
        "poolings": poolings,
        "windows": windows,
        "folds": folds,
        "groups": groups,
        "seed": seed,
    }
    with FeatureCache(features) as cache:
        log.info("%s: %s", features, describe_data_set(cache.manifest, decoded=True))
        settings = {"layers": choose_layers(cache, layers), **how, "windows": windows and asdict(windows)}
        made_by = cache.source_of(settings, versions())
    require_same_settings(out / SETTINGS_FILE, made_by)
    evaluation = evaluate_layers(Path(features), layers, **how)
    ensure_same_settings(out / SETTINGS_FILE, made_by)
    write_evaluation(evaluation, out)
    draw_accuracy(evaluation, out / "accuracy_by_layer.png")
    reports = class_reports(evaluation)
    write_class_tables(reports, out)
    best = evaluation.best_layer
    draw_classes(evaluation, reports[best], best, out)
    return EvaluateResult(out, evaluation, reports[best])
