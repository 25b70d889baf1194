"""A small cache for the commands that read one, and the tables that they write."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.analysis.caches import write_cache

NAMES = ("cat", "dog_bark", "rain")
LABELS = [0] * 10 + [1] * 10 + [2] * 10 + [-1]
PNG = b"\x89PNG\r\n"


FOLDS = (*(1 + index % 2 for index in range(30)), 0)


def make_cache(folder: Path, folds: Sequence[int] = FOLDS) -> Path:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(31, 4)).astype(np.float32)
    telling = (np.abs(noise) * 0.1 + 5 * np.eye(4)[LABELS]).astype(np.float32)
    return write_cache(folder / "features.h5", {"conv1": noise, "pool5": telling}, LABELS, folds, NAMES)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))
