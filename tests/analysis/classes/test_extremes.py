import json
from pathlib import Path

import pytest

from soundnet_kd.analysis.classes.scores import hardest_and_easiest
from soundnet_kd.errors import FormatError

NAMES = ("a", "b", "c", "d")
CONFUSION = [[4, 0, 0, 0], [1, 3, 0, 0], [2, 0, 2, 0], [0, 0, 3, 1]]


def write_results(folder: Path) -> Path:
    path = folder / "results.json"
    other = [[1, 3, 0, 0]] * 4
    results = [{"layer": "conv1", "confusion": other}, {"layer": "pool5", "confusion": CONFUSION}]
    path.write_text(json.dumps({"classes": NAMES, "best_layer": "pool5", "results": results}), encoding="utf-8")
    return path


def test_recalls_by_hand(tmp_path: Path) -> None:
    path = write_results(tmp_path)
    for place in (path, tmp_path):
        found = hardest_and_easiest(place, NAMES)
        assert found.layer == "pool5"
        # Four classes have two ends of two.
        assert list(found.hardest.items()) == [(3, 0.25), (2, 0.5)]
        assert list(found.easiest.items()) == [(0, 1.0), (1, 0.75)]


def test_what_is_no_evaluation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="soundnet-kd evaluate"):
        hardest_and_easiest(tmp_path, NAMES)
    path = write_results(tmp_path)
    with pytest.raises(FormatError, match="other classes"):
        hardest_and_easiest(path, ("a", "b", "c", "e"))
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(FormatError, match="holds no evaluation"):
        hardest_and_easiest(path, NAMES)
