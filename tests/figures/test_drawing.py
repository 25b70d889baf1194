"""Panels and heat maps of counts, read back from matplotlib's objects."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from soundnet_kd.figures.heat_map import count_map
from soundnet_kd.figures.panels import add_panels, new_panels


@pytest.mark.parametrize(("count", "columns", "rows"), [(7, 3, 3), (6, 3, 2), (2, 4, 1)])
def test_a_figure_grows_with_its_rows(count: int, columns: int, rows: int, tmp_path: Path) -> None:
    path = tmp_path / "panels.png"
    with new_panels(path, count, columns, 1.0, 2.0, extra_height=0.5) as (figure, panels):
        assert len(panels) == count
        assert sum(axes.get_visible() for axes in figure.axes) == count
    with Image.open(path) as picture:
        assert picture.size == (150 * columns, 300 * rows + 75)


def test_the_lowest_panel_of_each_column_has_the_numbers() -> None:
    panels = add_panels(Figure(), 7, 3, sharex=True)
    numbered = [axes.xaxis.get_major_ticks()[0].label1.get_visible() for axes in panels]
    assert numbered == [False] * 4 + [True] * 3


def test_counts_are_written_on_the_colour_of_their_fraction() -> None:
    axes = Figure().subplots()
    counts = np.array([[3, 1, 0], [0, 0, 0], [2, 0, 2]])
    count_map(axes, counts, np.array([4, 0, 8]), ["a_b", "c", "d"], "share", font_size=7)
    written = {text.get_position()[::-1]: (text.get_text(), text.get_color()) for text in axes.texts}
    assert written == {
        (0, 0): ("3", "white"),
        (0, 1): ("1", "black"),
        (2, 0): ("2", "black"),
        (2, 2): ("2", "black"),
    }
    shown = axes.images[0].get_array()
    assert shown is not None
    np.testing.assert_array_equal(shown, [[0.75, 0.25, 0], [0, 0, 0], [0.25, 0, 0.25]])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a b", "c", "d"]
