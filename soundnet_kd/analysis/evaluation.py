"""The command `evaluate`: results, tables and figures of every layer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from soundnet_kd.analysis.accuracy import draw_accuracy, draw_confusion
from soundnet_kd.features import FeatureCache
from soundnet_kd.storage import check_claim, claim, versions
from soundnet_kd.transfer.layers import Evaluation, chosen_layers, evaluate_layers, write_evaluation


@dataclass(frozen=True, eq=False)
class EvaluateResult:
    """What an evaluation found and where it is written."""

    out: Path
    evaluation: Evaluation = field(repr=False)

    def __str__(self) -> str:
        evaluation = self.evaluation
        lines = [f"{'layer':<7} {'channels':>8} {'accuracy':>8}   std      C"]
        for layer, result in evaluation.results.items():
            lines.append(
                f"{layer:<7} {evaluation.channels[layer]:>8} {result.accuracy:>8.1%}"
                f" {np.std(result.fold_accuracy):>5.1%} {result.best_C:>6g}"
            )
        best = evaluation.results[evaluation.best_layer]
        skipped = f", {best.left_out} clips without a label left out" if best.left_out else ""
        return "\n".join(
            [
                *lines,
                f"wrote {self.out}: {evaluation.best_layer} is best with {best.accuracy:.1%} "
                f"(chance {evaluation.chance:.1%}; {evaluation.source['folds']}){skipped}",
            ]
        )


def evaluate(
    features: str | Path,
    out: str | Path,
    layers: Sequence[str] | None = None,
    protocol: str = "notebook",
    seed: int = 0,
) -> EvaluateResult:
    """Measure how well each layer tells the classes of a data set apart.

    A linear classifier is trained on the layer's features of all folds but one and tested on that one, for every fold.

    Parameters
    ----------
    features : str or Path
        The features.h5 that `soundnet-kd extract` wrote.
    out : str or Path
        Folder for the results, tables and figures.
    layers : sequence of str, optional
        Which layers, such as [conv5, pool5]. [default: all]
    protocol : str
        How the classifier is trained and its regularisation chosen: notebook.
    seed : int
        Draws the folds if the data set has none of its own; the same seed gives the same folds.
    """
    out = Path(out)
    with FeatureCache(features) as cache:
        settings = {"layers": chosen_layers(cache, layers), "protocol": protocol, "seed": seed}
        made_by = {"features": cache.identity, "settings": settings, "versions": versions()}
    check_claim(out / "evaluate.json", made_by)
    evaluation = evaluate_layers(Path(features), layers, protocol, seed)
    claim(out / "evaluate.json", made_by)
    write_evaluation(evaluation, out)
    draw_accuracy(evaluation, out / "accuracy_by_layer.png")
    best = evaluation.best_layer
    draw_confusion(evaluation.results[best], best, out / f"confusion_{best}.png")
    return EvaluateResult(out, evaluation)
