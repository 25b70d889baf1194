"""What an evaluation says of ESC-50's classes, on the real features."""

import csv
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import classification_report

from soundnet_kd.commands.evaluate import evaluate
from soundnet_kd.data.datasets.esc50 import ESC50_CATEGORIES, ESC50_CLASSES
from tests.analysis.caches import write_cache


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.mark.real
@pytest.mark.slow
def test_the_reference_features_class_by_class(real_data: Path, tmp_path: Path) -> None:
    features = np.load(real_data / "soundnet_reference" / "X.npy").astype(np.float32)
    labels = np.load(real_data / "soundnet_reference" / "y.npy")
    folds = np.repeat(np.arange(1, 6), 400)
    cache = write_cache(tmp_path / "features.h5", {"pool5": features}, labels.tolist(), folds.tolist(), ESC50_CLASSES)
    text = str(evaluate(cache, tmp_path / "results"))

    predictions = rows_of(tmp_path / "results" / "predictions.csv")
    theirs = classification_report(
        [row["label"] for row in predictions], [row["pool5"] for row in predictions], output_dict=True
    )
    classes = rows_of(tmp_path / "results" / "classes.csv")
    assert [row["class"] for row in classes] == list(ESC50_CLASSES)
    for row in classes:
        for ours, score in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
            assert float(row[ours]) == pytest.approx(theirs[row["class"]][score], abs=5e-5)
    # Every class has 40 clips, so the mean recall is the accuracy: FACTS.md, protocol `notebook`.
    assert np.mean([float(row["recall"]) for row in classes]) == pytest.approx(0.7195, abs=0.0025)

    categories = rows_of(tmp_path / "results" / "categories.csv")
    assert [row["category"] for row in categories] == list(ESC50_CATEGORIES)
    assert np.mean([float(row["accuracy"]) for row in categories]) == pytest.approx(0.7195, abs=0.0025)
    assert all(float(row["category accuracy"]) > float(row["accuracy"]) for row in categories)
    worst = sorted(ESC50_CLASSES, key=lambda name: theirs[name]["recall"])[:3]
    hardest = next(line for line in text.splitlines() if "hardest" in line)
    for name in worst:
        assert f"{name.replace('_', ' ')} {theirs[name]['recall']:.0%}" in hardest
    for figure in ("confusion", "classes", "confused_pairs", "categories"):
        assert (tmp_path / "results" / f"{figure}_pool5.png").is_file()
