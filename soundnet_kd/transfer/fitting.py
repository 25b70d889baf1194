"""The classifiers of a cross-validation, several trained at the same time."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.transfer.classifiers import CLASSIFIERS, Setting
from soundnet_kd.transfer.protocols import Protocol

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

UNTESTED = -1
"""Stands for the predicted class of a clip that was not tested."""
FEATURES = "features"
"""Key of the name of the features in a setting, where there are several."""


class FoldFits:
    """Train classifiers without some folds, and predict the classes of their clips.

    Parameters
    ----------
    plan : Protocol
    rows : mapping from name to (rows, channels) float64
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
        rows: Mapping[str, NDArray[np.float64]],
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
        found: dict[int, NDArray[np.int64]] = {}
        for rows, transforms, places in self._group_by_transforms(settings):
            known = transforms.fit_transform(rows[train], known_labels)
            unseen = transforms.transform(rows[test])
            same = [settings[place] for place in places]
            for place, model in zip(
                places, CLASSIFIERS[self.plan.head].fit(known, known_labels, same, self.seed), strict=True
            ):
                if not getattr(model, "converged_", True):
                    self.unconverged.add(str(settings[place]))
                found[place] = np.full(len(self.labels), UNTESTED, dtype=np.int64)
                found[place][tested] = self._predict_clips(model, unseen, self.owners[test])[tested]
        return [found[place] for place in range(len(settings))]

    def _group_by_transforms(
        self, settings: Sequence[Setting]
    ) -> Iterator[tuple[NDArray[np.float64], "Pipeline", list[int]]]:
        """Group the settings that share features and transforms: these rows, a pipeline, and the settings' places."""
        from sklearn.pipeline import Pipeline

        (first, *_) = self.rows
        groups: dict[tuple[str, tuple[tuple[str, float], ...]], list[int]] = {}
        for place, setting in enumerate(settings):
            of_steps = tuple((name, value) for name, value in setting.items() if "__" in name)
            groups.setdefault((setting.get(FEATURES, first), of_steps), []).append(place)
        for (name, of_steps), places in groups.items():
            # A pipeline needs at least one step.
            pipeline = Pipeline(self.plan.steps() or [("as they are", "passthrough")])
            yield self.rows[name], pipeline.set_params(**dict(of_steps)), places

    def _predict_clips(self, model: Any, rows: NDArray[np.float64], owners: NDArray[np.integer]) -> NDArray[np.int64]:
        """Predict the class of every clip from the sum of its rows' decision values; arbitrary if it has no row."""
        values = model.decision_function(rows) if hasattr(model, "decision_function") else model.predict_proba(rows)
        if values.ndim == 1:
            values = np.stack([-values, values], axis=1)
        sums = np.zeros((len(self.labels), values.shape[1]))
        np.add.at(sums, owners, values)
        return np.asarray(model.classes_[sums.argmax(axis=1)], dtype=np.int64)

    def accuracy(self, predictions: NDArray[np.int64], fold: int) -> float:
        """Return the fraction of a fold's clips whose class is predicted correctly."""
        tested = (self.folds == fold) & (self.labels >= 0)
        return float((predictions == self.labels)[tested].mean())
