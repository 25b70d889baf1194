import csv
from pathlib import Path

import pytest

from soundnet_kd.data.datasets.esc50 import ESC50_CLASSES, is_esc50


@pytest.mark.real
def test_the_classes_are_those_of_the_real_table(real_data: Path) -> None:
    with (real_data / "esc50/meta/esc50.csv").open(encoding="utf-8") as handle:
        names = {int(row["target"]): row["category"] for row in csv.DictReader(handle)}
    assert tuple(names[index] for index in range(50)) == ESC50_CLASSES


def test_other_classes_are_not_taken_for_esc50s() -> None:
    assert is_esc50([name.replace("_", " ") for name in ESC50_CLASSES])
    assert not is_esc50(sorted(ESC50_CLASSES))
    assert not is_esc50(("cat", "dog"))
