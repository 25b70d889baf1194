"""Two evaluations side by side, worked out by hand."""

import csv
from pathlib import Path

import pytest

from soundnet_kd.commands.compare import compare
from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.storage import write_json
from soundnet_kd.transfer.comparison import is_comparison, read_comparison
from tests.transfer.evaluations import write_results

LABELS = "aaaabbbb"


def test_layers_that_both_have_and_the_best_of_each_are_compared(tmp_path: Path) -> None:
    before = write_results(tmp_path / "before", {"conv1": "aaaabbba", "conv5": "aaaaaaaa", "pool5": "abbbaaaa"}, LABELS)
    after = write_results(tmp_path / "after", {"conv5": "aaaabbaa", "pool5": "aaaabbbb"}, LABELS, protocol="power")
    comparison = compare(after, before, tmp_path / "table.csv", ["untrained", "distilled"])
    assert [(row.name, row.accuracy) for row in comparison.rows] == [
        ("conv5", (0.5, 0.75)),
        ("pool5", (0.125, 1.0)),
        ("conv1:pool5", (0.875, 1.0)),
    ]
    # Seven clips only the second has right: 2 of 2^7 ways to fall are as uneven.
    assert (comparison.rows[1].test.only_first, comparison.rows[1].test.only_second) == (0, 7)
    assert comparison.rows[1].test.p_value == pytest.approx(2 / 128)
    with (tmp_path / "table.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["layer"] for row in rows] == ["conv5", "pool5", "conv1:pool5"]
    assert (rows[0]["untrained"], rows[0]["distilled"], rows[0]["gain"]) == ("0.5000", "0.7500", "0.2500")
    assert (rows[1]["only untrained"], rows[1]["only distilled"], rows[1]["p"]) == ("0", "7", "0.01562")
    assert rows[0]["protocol of untrained"] == "notebook, linear_svm, settings chosen: same folds"
    assert rows[0]["protocol of distilled"] == "power, linear_svm, settings chosen: same folds"
    lines = str(comparison).splitlines()
    assert lines[0].startswith("layer       untrained distilled     gain   95 % interval        p")
    assert lines[1].startswith("conv5           50.0%     75.0%    +25.0")
    assert lines[4] == "untrained: notebook, linear_svm, settings chosen: same folds"
    assert lines[-1].endswith("3 comparisons on 8 clips")


def test_the_table_reads_back(tmp_path: Path) -> None:
    before = write_results(tmp_path / "before", {"conv1": "aaaabbba-"}, LABELS + "-")
    after = write_results(tmp_path / "after", {"conv1": "aaaabbaa-", "pool5": LABELS + "-"}, LABELS + "-")
    found = compare(after, before, tmp_path / "table.csv", ["one", "two, or more"])
    assert found.clips == 8
    assert is_comparison(tmp_path / "table.csv")
    read = read_comparison(tmp_path / "table.csv")
    assert (read.names, read.protocols) == (found.comparison.names, found.comparison.protocols)
    for row, written in zip(read.rows, found.rows, strict=True):
        assert (row.layers, row.accuracy, row.gain) == (written.layers, written.accuracy, written.gain)
        assert row.interval == written.interval
        assert row.test == written.test
    text = (tmp_path / "table.csv").read_text(encoding="utf-8")
    (tmp_path / "table.csv").write_text(text.replace("gain", "loss"), encoding="utf-8")
    assert not is_comparison(tmp_path / "table.csv")
    with pytest.raises(FormatError, match=r"is no table that `soundnet-kd compare` wrote .*write it again"):
        read_comparison(tmp_path / "table.csv")


def test_any_layer_is_compared_with_any_other(tmp_path: Path) -> None:
    before = write_results(tmp_path / "before", {"conv1": "aaaabbba"}, LABELS)
    after = write_results(tmp_path / "after", {"conv5": "aaaabbaa", "conv5+pool5": LABELS}, LABELS)
    found = compare(after, before, tmp_path / "table.csv", layers=["conv1:conv5", "conv1:conv5+pool5"])
    assert [row.accuracy for row in found.rows] == [(0.875, 0.75), (0.875, 1.0)]
    with pytest.raises(SettingsError, match=r"before has no layer 'conv5'; did you mean 'conv1'\?"):
        compare(after, before, tmp_path / "table.csv", layers=["conv5"])


def test_clips_of_one_recording_are_resampled_together(tmp_path: Path) -> None:
    """Of two recordings one is won and one is not: only 0, 1/2 and 1 can be drawn."""
    before = write_results(tmp_path / "before", {"pool5": "bbbbbbbb"}, LABELS)
    after = write_results(tmp_path / "after", {"pool5": LABELS}, LABELS, groups=["one"] * 4 + ["two"] * 4)
    grouped = compare(after, before, tmp_path / "table.csv")
    assert grouped.groups == 2
    assert grouped.rows[0].interval == (0, 1)
    assert "bootstrap over the 2 source recordings" in str(grouped)
    alone = compare(write_results(tmp_path / "alone", {"pool5": LABELS}, LABELS), before, tmp_path / "table.csv")
    assert alone.groups is None
    # Of Binomial(8, 1/2) 2.5 % lie below 1 and 97.5 % below 7 (0.4 % are 0, 3.5 % at most 1).
    assert alone.rows[0].interval == (1 / 8, 7 / 8)


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    before = write_results(tmp_path / "before", {"conv1": LABELS}, LABELS)
    with pytest.raises(SettingsError, match="their classes differ"):
        compare(write_results(tmp_path / "b", {"conv1": LABELS}, "aaaacccc"), before, tmp_path / "t.csv")
    with pytest.raises(SettingsError, match="2 clips were tested in one of them only, such as clip-0"):
        compare(write_results(tmp_path / "c", {"conv1": LABELS}, LABELS, first_id=1), before, tmp_path / "t.csv")
    with pytest.raises(SettingsError, match=r"1 clips have another label, such as clip-3 \(a, b\)"):
        compare(write_results(tmp_path / "d", {"conv1": LABELS}, "aaabbbbb"), before, tmp_path / "t.csv")
    with pytest.raises(SettingsError, match="names has to be two names"):
        compare(before, before, tmp_path / "t.csv", names=["one"])
    with pytest.raises(SettingsError, match=r"there is no .*none.results\.json; make it with"):
        compare(tmp_path / "none", before, tmp_path / "t.csv")
    (before / "predictions.csv").rename(tmp_path / "predictions.csv")
    with pytest.raises(SettingsError, match=r"there is no .*predictions.csv; make it with"):
        compare(before, before, tmp_path / "t.csv")
    (tmp_path / "predictions.csv").rename(before / "predictions.csv")
    write_json(before / "results.json", {"x": 1})
    with pytest.raises(
        FormatError, match=r"results.json holds nothing that is known; name what `soundnet-kd evaluate`"
    ):
        compare(before, before, tmp_path / "t.csv")
    assert not (tmp_path / "t.csv").exists()
