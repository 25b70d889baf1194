from pathlib import Path

import pytest

from soundnet_kd.analysis.classes.scores import read_extremes
from soundnet_kd.errors import FormatError, SettingsError
from tests.transfer.evaluations import write_results

NAMES = ("a", "b", "c", "d")
LABELS = "aaaabbbbccccdddd"
PREDICTIONS = {"conv1": 4 * "abbb", "pool5": "aaaaabbbaacccccd"}


def test_recalls_by_hand(tmp_path: Path) -> None:
    write_results(tmp_path, PREDICTIONS, LABELS)
    for place in (tmp_path / "results.json", tmp_path):
        found = read_extremes(place, NAMES)
        assert found.layer == "pool5"
        # Four classes have two ends of two.
        assert list(found.hardest.items()) == [(3, 0.25), (2, 0.5)]
        assert list(found.easiest.items()) == [(0, 1.0), (1, 0.75)]


def test_what_is_no_evaluation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="soundnet-kd evaluate"):
        read_extremes(tmp_path, NAMES)
    write_results(tmp_path, PREDICTIONS, LABELS)
    with pytest.raises(FormatError, match="other classes"):
        read_extremes(tmp_path, ("a", "b", "c", "e"))
    (tmp_path / "results.json").write_text("{}", encoding="utf-8")
    with pytest.raises(FormatError, match="holds nothing that is known"):
        read_extremes(tmp_path, NAMES)
