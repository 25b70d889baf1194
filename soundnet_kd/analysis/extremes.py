"""The hardest and the easiest classes of an evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundnet_kd.analysis.class_scores import class_scores
from soundnet_kd.errors import FormatError
from soundnet_kd.storage import read_json
from soundnet_kd.transfer.results import RESULTS_FILE


@dataclass(frozen=True)
class Extremes:
    """The classes that a classifier recognises best and worst.

    Attributes
    ----------
    layer : str
        The evaluation's best layer, whose classifier it is.
    hardest, easiest : mapping from class to the share of its clips that are recognised
        Up to five each, from the end on.
    """

    layer: str
    hardest: dict[int, float]
    easiest: dict[int, float]


def extremes_of(results: str | Path, class_names: Sequence[str]) -> Extremes:
    """Read the hardest and the easiest classes from what `soundnet-kd evaluate` wrote.

    Parameters
    ----------
    results : str or Path
        The folder, or its results.json.
    class_names : sequence of str
        The classes that the evaluation must be of.

    Raises
    ------
    FormatError
        If there are no results there, or they are of other classes.
    """
    path = Path(results)
    path = path / RESULTS_FILE if path.is_dir() else path
    if not path.is_file():
        raise FormatError(f"there is no {path}; make it with `soundnet-kd evaluate FEATURES --out {results}`")
    content = read_json(path)
    try:
        classes, layer = content["classes"], content["best_layer"]
        (confusion,) = (np.array(each["confusion"]) for each in content["results"] if each["layer"] == layer)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{path} holds no evaluation; make it again with `soundnet-kd evaluate`") from error
    if classes != list(class_names):
        raise FormatError(f"{path} is of other classes than the features; name the evaluation of these features")
    # A row for each clip, as the confusion counts them.
    truth, answers = np.repeat(np.indices(confusion.shape).reshape(2, -1), confusion.ravel(), axis=1)
    scores = class_scores(truth, answers, np.ones(len(truth), dtype=np.int64), classes)
    easiest, hardest = ({int(each): float(scores.recall[each]) for each in end} for end in scores.ends)
    return Extremes(layer, hardest, easiest)
