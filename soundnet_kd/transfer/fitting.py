"""The classifiers of a cross-validation, several trained at the same time."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.transfer.classifiers import CLASSIFIERS, Setting
from soundnet_kd.transfer.protocols import Protocol

UNTESTED = -1
"""Stands for the predicted class of a clip that was not tested."""
FEATURES = "features"
"""Key of the name of the features in a setting, where there are several."""


class FoldFits:
    """Train classifiers without some folds, and predict the classes of their clips.

    Parameters
    ----------
    plan : Protocol
    rows : mapping from name to (rows, channels) float32 or float64
        Features of the same clips; a setting names in `FEATURES` which it is for, where there are several.
    owners : (rows,) int
        The clip of each row.
    labels : (clips,) int
        -1 for clips that are left out.
    folds : (clips,) int
    seed : int
        Seed of the classifiers that use random numbers.
    workers : int, optional
        Number of threads.

    Attributes
    ----------
    unconverged : set of str
        Settings for which a solver stopped before it reached the optimum.
    """

    def __init__(
        self,
        plan: Protocol,
        rows: Mapping[str, NDArray[np.floating]],
        owners: NDArray[np.integer],
        labels: NDArray[np.integer],
        folds: NDArray[np.integer],
        seed: int,
        workers: int | None,
    ) -> None:
        self.plan, self.rows, self.owners, self.labels, self.folds = plan, rows, owners, labels, folds
        self.seed, self.workers = seed, workers
        self.unconverged: set[str] = set()

    def predict(self, jobs: Sequence[tuple[Sequence[int], Sequence[Setting]]]) -> list[list[NDArray[np.int64]]]:
        """Train, for each job, without its folds and for each of its settings, and return the predictions, (clips,)."""
        from joblib import Parallel, delayed
        from sklearn.exceptions import ConvergenceWarning
        from threadpoolctl import threadpool_limits

        from soundnet_kd.transfer.svm import linear_svm  # noqa: F401  (the limit holds for the libraries already loaded)

        # Threads of BLAS slow down the many small systems, and their number would change the rounding.
        with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
            # The result lists the settings that did not converge.
            warnings.simplefilter("ignore", ConvergenceWarning)
            found: list[list[NDArray[np.int64]]] = Parallel(n_jobs=self.workers or -1, prefer="threads")(
                delayed(self._fit)(test_folds, settings) for test_folds, settings in jobs
            )
        return found

    def _fit(self, test_folds: Sequence[int], settings: Sequence[Setting]) -> list[NDArray[np.int64]]:
        tested = np.isin(self.folds, test_folds) & (self.labels >= 0)
        train = (~np.isin(self.folds, test_folds) & (self.labels >= 0))[self.owners]
        test = tested[self.owners]
        known_labels = self.labels[self.owners[train]]
        classes = np.unique(known_labels)
        found: dict[int, NDArray[np.int64]] = {}
        for known, unseen, places in self._transform(train, test, known_labels, settings):
            same = [settings[place] for place in places]
            decisions = CLASSIFIERS[self.plan.head].decide(known, known_labels, unseen, same, self.seed)
            for place, (values, converged) in zip(places, decisions, strict=True):
                if not converged:
                    self.unconverged.add(str(settings[place]))
                # A clip's class is that with the largest sum of its rows' values.
                sums = np.zeros((len(self.labels), len(classes)))
                np.add.at(sums, self.owners[test], values)
                found[place] = np.where(tested, classes[sums.argmax(axis=1)], UNTESTED)
        return [found[place] for place in range(len(settings))]

    def _transform(
        self,
        train: NDArray[np.bool_],
        test: NDArray[np.bool_],
        known_labels: NDArray[np.int64],
        settings: Sequence[Setting],
    ) -> Iterator[tuple[NDArray[np.floating], NDArray[np.floating], list[int]]]:
        """Yield transformed rows of training and of test, and the places of the settings that they are for.

        Steps before the first one that has a setting are the same for all settings, and fitted once.
        """
        (first, *_) = self.rows
        groups: dict[str, dict[tuple[tuple[str, float], ...], list[int]]] = {}
        for place, setting in enumerate(settings):
            of_steps = tuple((name, value) for name, value in setting.items() if "__" in name)
            groups.setdefault(setting.get(FEATURES, first), {}).setdefault(of_steps, []).append(place)
        names = [name for name, _ in self.plan.steps()]
        tuned = {name.partition("__")[0] for setting in settings for name in setting if "__" in name}
        split = min((names.index(name) for name in tuned), default=len(names))
        for name, of_features in groups.items():
            # Many windows stay in the half of the memory; whatever transforms them, or is no linear SVM, needs float64.
            kept = not names and self.plan.head == "linear_svm"
            known, unseen = (
                self.rows[name][wanted].astype(self.rows[name].dtype if kept else np.float64, copy=False)
                for wanted in (train, test)
            )
            known, unseen = _apply(self.plan.steps()[:split], {}, known, unseen, known_labels)
            for of_steps, places in of_features.items():
                yield *_apply(self.plan.steps()[split:], dict(of_steps), known, unseen, known_labels), places

    def accuracy(self, predictions: NDArray[np.int64], fold: int) -> float:
        """Return the fraction of a fold's clips whose class is predicted correctly."""
        tested = (self.folds == fold) & (self.labels >= 0)
        return float((predictions == self.labels)[tested].mean())


def _apply(
    steps: list[tuple[str, Any]],
    settings: Mapping[str, float],
    known: NDArray[np.floating],
    unseen: NDArray[np.floating],
    known_labels: NDArray[np.int64],
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Fit steps with their settings to the known rows, and transform both."""
    if not steps:
        return known, unseen
    from sklearn.pipeline import Pipeline

    pipeline = Pipeline(steps).set_params(**settings)
    return pipeline.fit_transform(known, known_labels), pipeline.transform(unseen)
