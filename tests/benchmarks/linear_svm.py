"""Time the notebook's grid of C with our solver against scikit-learn's default LinearSVC.

Run by hand, `python -m tests.benchmarks.linear_svm`, on ESC-50's real features where SOUNDNET_KD_DATA points at the
data folder, elsewhere on made ones of the same shape.
"""

import os
import time
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from soundnet_kd.transfer import cross_validate
from soundnet_kd.transfer.classifiers import DECADES

FOLDS = np.repeat(np.arange(1, 6), 400)


def features() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    folder = os.environ.get("SOUNDNET_KD_DATA")
    if folder:
        reference = Path(folder) / "soundnet_reference"
        return np.load(reference / "X.npy").astype(np.float64), np.load(reference / "y.npy").astype(np.int64)
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(50), 40)
    return np.maximum(0, 0.6 * rng.normal(size=(50, 256))[labels] + rng.normal(size=(2000, 256))), labels


def scikit_learn(X: NDArray[np.float64], y: NDArray[np.int64]) -> list[float]:
    accuracies = []
    for C in DECADES:
        hits = 0
        for fold in range(1, 6):
            train = fold != FOLDS
            scaler = StandardScaler().fit(X[train])
            svm = LinearSVC(C=C, max_iter=10_000, dual=True, random_state=0).fit(scaler.transform(X[train]), y[train])
            hits += int((svm.predict(scaler.transform(X[~train])) == y[~train]).sum())
        accuracies.append(hits / len(y))
    return accuracies


def main() -> None:
    X, y = features()
    start = time.perf_counter()
    ours = list(cross_validate(X, y, FOLDS, workers=1).grid_accuracy)
    middle = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = scikit_learn(X, y)
    end = time.perf_counter()
    print(f"{X.shape[0]} clips x {X.shape[1]} channels, {len(DECADES)} values of C, 5 folds, one process, one thread")
    print(f"ours         {middle - start:7.1f} s  {ours}")
    print(f"scikit-learn {end - middle:7.1f} s  {theirs}")
    print(f"ratio        {(end - middle) / (middle - start):7.1f}")


if __name__ == "__main__":
    main()
