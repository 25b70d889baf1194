"""The table of a run's history, by hand, and its curves, read back from matplotlib's objects."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from soundnet_kd.training.history import Curve, draw_curve, finish_curves, read_curves, write_history


def test_the_table_of_one_training(tmp_path: Path) -> None:
    write_history(tmp_path, [({}, [{"step": 1, "loss": 0.5}, {"step": 4, "loss": 0.25, "accuracy": 1.0}])])
    assert (tmp_path / "history.csv").read_text().split() == ["step,accuracy,loss", "1,,0.5", "4,1.0,0.25"]
    assert read_curves(tmp_path) == [Curve("loss", None, [1, 4], [0.5, 0.25]), Curve("accuracy", None, [4], [1])]


def test_trainings_are_told_apart_by_what_tells_most(tmp_path: Path) -> None:
    rows = [{"step": 2, "train/loss": float("inf")}, {"step": 4, "train/loss": 3.0}]
    trainings = [({"seed": 7, "fold": fold}, rows[fold - 1 :]) for fold in (1, 2)]
    write_history(tmp_path, trainings, ["train/loss"])
    assert (tmp_path / "history.csv").read_text().split() == [
        "seed,fold,step,train/loss", "7,1,2,inf", "7,1,4,3.0", "7,2,4,3.0"
    ]  # fmt: skip
    assert read_curves(tmp_path) == [Curve("train/loss", f"fold {fold}", [4], [3.0]) for fold in (1, 2)]
    named = [({"fold": 1, "network": name}, rows[1:]) for name in ("rock", "pop")]
    write_history(tmp_path, named)
    assert [curve.training for curve in read_curves(tmp_path)] == ["rock", "pop"]


def test_a_curve_goes_through_the_rows_that_have_it() -> None:
    axes = Figure().subplots()
    history = [{"step": 1, "train/loss": 3.0}, {"step": 2, "validation/loss": 2.0}, {"step": 4, "train/loss": 1.0}]
    draw_curve(axes, history, "train/loss", label="a")
    draw_curve(axes, history, "train/accuracy")
    finish_curves(axes, "Loss", fractions=True)
    (line,) = axes.lines
    np.testing.assert_array_equal(line.get_xydata(), [[1, 3], [4, 1]])
    assert axes.get_ylim() == (0, 1)
    assert axes.yaxis.get_major_formatter()(0.25) == "25%"
