from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from soundnet_kd.analysis.map_figures import draw_map
from soundnet_kd.figures import drawn, percents, readable

SVG = "{http://www.w3.org/2000/svg}"


def texts(path: Path) -> list[str]:
    return ["".join(element.itertext()) for element in ElementTree.parse(path).iter(f"{SVG}text")]


def test_a_figure_is_a_png_and_an_svg_with_text(tmp_path: Path) -> None:
    path = tmp_path / "by_layer.v2.png"
    with drawn(path, 4.0, 3.0) as figure:
        axes = figure.subplots()
        axes.barh(["a $1 coin $2", "<b>loud</b> & long"], [1, 2])
    with Image.open(path) as picture:
        assert picture.size == (600, 450)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["by_layer.v2.png", "by_layer.v2.svg"]
    found = texts(tmp_path / "by_layer.v2.svg")
    assert {"a $1 coin $2", "<b>loud</b> & long"} <= set(found)


def test_the_same_figure_is_the_same_file(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with drawn(tmp_path / f"{name}.png", 4.0, 3.0) as figure:
            figure.subplots().plot([0, 1, 0])
    for ending in ("png", "svg"):
        assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"two.{ending}").read_bytes()


def test_a_figure_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), drawn(tmp_path / "figure.png", 4.0, 3.0):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("classes", [0, 2, 50, 200])
def test_an_svg_of_many_clips_is_small(classes: int, tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(20_000, 2))
    labels = np.arange(20_000) % classes if classes else np.full(20_000, -1)
    names = [f"class_{index}" for index in range(classes)]
    draw_map(points, labels, names, "pool5", "trustworthiness 0.9", tmp_path / "map.png")
    assert (tmp_path / "map.svg").stat().st_size < 1_000_000
    found = texts(tmp_path / "map.svg")
    assert ("class 1" in found) == (classes in (2, 50))
    assert ("the 200 classes are named in map.html" in found) == (classes == 200)


def test_names_are_cut_to_what_fits() -> None:
    assert readable("door_wood_knock") == "door wood knock"
    assert readable("great_white_shark, white_shark, man-eater") == "great white shark, white shar…"


def test_percents_are_exact() -> None:
    """Ticks of 2.5 % once read 2 %, 5 %, 8 %."""
    assert [percents()(share, 0) for share in (0.0, 0.025, 0.07, 0.3, 1.0)] == ["0%", "2.5%", "7%", "30%", "100%"]
