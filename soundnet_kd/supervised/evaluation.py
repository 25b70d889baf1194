"""What the networks of an experiment predicted, in the form that all evaluations have."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data.manifest import UNLABELED
from soundnet_kd.supervised.experiment import ExperimentRun
from soundnet_kd.supervised.trial import TrialResult
from soundnet_kd.transfer.cross_validation import CrossValidation
from soundnet_kd.transfer.fitting import UNTESTED
from soundnet_kd.transfer.results import Evaluation


def evaluate_classes(run: ExperimentRun, source: Mapping[str, Any]) -> Evaluation:
    """Count how many clips are given their class by their mean probability, a result for each seed.

    Clips that are not tested are in it without a class.

    Parameters
    ----------
    run : ExperimentRun
    source : mapping
        What the results say of how they were made.
    """
    clips, names = run.clips, run.config.result_names(run.class_names)
    tested = {name for each in run.results for name in each.ids}
    seeds = run.config.seeds
    results = {names.layer if len(seeds) == 1 else f"{names.layer} seed {seed}": _result(run, seed) for seed in seeds}
    return Evaluation(
        kind=names.kind,
        results=results,
        channels=dict.fromkeys(results, names.channels),
        classes=run.class_names,
        ids=clips.ids,
        labels=np.where([name in tested for name in clips.ids], clips.labels, UNLABELED),
        folds=clips.folds,
        groups=clips.groups,
        source=source,
        paths=clips.paths,
    )


def class_probabilities(tested: TrialResult, classes: int, clips: bool = True) -> NDArray[np.float64]:
    """Return (clips, classes) of a network of all classes; one that has one output for two classes says both."""
    found = tested.clips if clips else tested.pieces
    return found if found.shape[1] == classes else np.hstack([1 - found, found])


def describe_run(run: ExperimentRun) -> dict[str, Any]:
    """Return what results say of a run: sounds that could not be used, parameters, trainings and their seconds."""
    trained = {
        "training_seconds": round(float(np.sum([each.seconds for each in run.results])), 1),
        "trainings": len(run.results),
    }
    return {
        "skipped": len(run.failures),
        **({} if run.voiceless is None else {"without_voice": run.voiceless}),
        "parameters": run.results[0].parameters,
        **(trained if run.config.given is None else {}),
    }


def _result(run: ExperimentRun, seed: int) -> CrossValidation:
    """Count the right classes of a seed's networks."""
    clips, names = run.clips, run.config.result_names(run.class_names)
    labels = clips.labels
    classes = len(run.class_names)
    place_of = {name: place for place, name in enumerate(clips.ids)}
    predictions = np.full(len(labels), UNTESTED, dtype=np.int64)
    fold_accuracy: dict[int, float] = {}
    confusion = np.zeros((classes, classes), dtype=np.int64)
    for tested in run.results:
        if tested.trial.seed == seed and tested.trial.fold is not None:
            places = [place_of[name] for name in tested.ids]
            predicted = class_probabilities(tested, classes).argmax(axis=1)
            predictions[places] = predicted
            fold_accuracy[tested.trial.fold] = float((predicted == labels[places]).mean())
            np.add.at(confusion, (labels[places], predicted), 1)
    training = run.config.training
    setting = {} if run.config.given else {"epochs": float(training.epochs), "learning_rate": training.learning_rate}
    accuracy = float(np.mean(list(fold_accuracy.values())))
    return CrossValidation(
        protocol=names.protocol,
        head=names.head,
        selection="fixed",
        accuracy=accuracy,
        folds=tuple(fold_accuracy),
        fold_accuracy=tuple(fold_accuracy.values()),
        chosen=(setting,) * len(fold_accuracy),
        grid=(setting,),
        grid_accuracy=(accuracy,),
        confusion=confusion,
        predictions=predictions,
        classes=run.class_names,
        left_out=int((labels < 0).sum()),
        unconverged=(),
    )
