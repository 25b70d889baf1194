"""Two evaluations side by side, worked out by hand."""

from pathlib import Path

import pytest

from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.storage import write_json
from soundnet_kd.transfer import compare


def write_results(
    folder: Path, accuracy: dict[str, float], classes: tuple[str, ...] = ("a", "b"), protocol: str = "notebook"
) -> Path:
    results = [{"layer": layer, "accuracy": value, "protocol": protocol} for layer, value in accuracy.items()]
    source = {"identity": {"sounds": {"count": 4, "sha256": "a"}}}
    write_json(folder / "results.json", {"classes": classes, "source": source, "results": results})
    return folder


def test_layers_that_both_have_are_compared(tmp_path: Path) -> None:
    before = write_results(tmp_path / "before", {"conv1": 0.25, "conv5": 0.5, "pool5": 0.125})
    after = write_results(tmp_path / "after", {"conv5": 0.75, "pool5": 0.875})
    comparison = compare(after, before, tmp_path / "table.csv", ["untrained", "distilled"])
    assert comparison.rows == (("conv5", 0.5, 0.75), ("pool5", 0.125, 0.875))
    assert comparison.best == (0.5, 0.875)
    assert (tmp_path / "table.csv").read_text().split() == [
        "layer,untrained,distilled", "conv5,0.5000,0.7500", "pool5,0.1250,0.8750",
    ]  # fmt: skip
    assert str(comparison).splitlines()[:4] == [
        "layer   untrained distilled     gain",
        "conv5       50.0%     75.0%    +25.0",
        "pool5       12.5%     87.5%    +75.0",
        "best        50.0%     87.5%    +37.5",
    ]


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    before = write_results(tmp_path / "before", {"conv1": 0.25})
    with pytest.raises(SettingsError, match="no layer in common"):
        compare(write_results(tmp_path / "a", {"conv2": 0.5}), before, tmp_path / "t.csv")
    with pytest.raises(SettingsError, match="their classes differ"):
        compare(write_results(tmp_path / "b", {"conv1": 0.5}, classes=("a", "c")), before, tmp_path / "t.csv")
    with pytest.raises(SettingsError, match="their protocol differ"):
        compare(write_results(tmp_path / "c", {"conv1": 0.5}, protocol="power"), before, tmp_path / "t.csv")
    with pytest.raises(SettingsError, match=r"there is no .*none; make it with"):
        compare(tmp_path / "none", before, tmp_path / "t.csv")
    write_json(tmp_path / "d" / "results.json", {"x": 1})
    with pytest.raises(FormatError, match="'classes' is missing"):
        compare(tmp_path / "d", before, tmp_path / "t.csv")
    assert not (tmp_path / "t.csv").exists()
