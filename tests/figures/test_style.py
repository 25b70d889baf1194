import warnings
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.font_manager import fontManager
from PIL import Image

from soundnet_kd.analysis.maps.figures import draw_map
from soundnet_kd.analysis.maps.layout import LabeledMap
from soundnet_kd.figures import fonts as letters
from soundnet_kd.figures.heat_map import heat_map
from soundnet_kd.figures.style import display_name, new_figure, percent_formatter

SVG = "{http://www.w3.org/2000/svg}"


def texts(path: Path) -> list[str]:
    return ["".join(element.itertext()) for element in ElementTree.parse(path).iter(f"{SVG}text")]


def test_a_figure_is_a_png_and_an_svg_with_text(tmp_path: Path) -> None:
    path = tmp_path / "by_layer.v2.png"
    with new_figure(path, 4.0, 3.0) as figure:
        axes = figure.subplots()
        axes.barh(["a $1 coin $2", "<b>loud</b> & long"], [1, 2])
    with Image.open(path) as picture:
        assert picture.size == (600, 450)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["by_layer.v2.png", "by_layer.v2.svg"]
    found = texts(tmp_path / "by_layer.v2.svg")
    assert {"a $1 coin $2", "<b>loud</b> & long"} <= set(found)


def test_the_same_figure_is_the_same_file(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with new_figure(tmp_path / f"{name}.png", 4.0, 3.0) as figure:
            figure.subplots().plot([0, 1, 0])
    for ending in ("png", "svg"):
        assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"two.{ending}").read_bytes()


def test_a_figure_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_figure(tmp_path / "figure.png", 4.0, 3.0):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("classes", [0, 2, 50, 200])
def test_an_svg_of_many_clips_is_small(classes: int, tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(20_000, 2))
    labels = np.arange(20_000) % classes if classes else np.full(20_000, -1)
    names = [f"class_{index}" for index in range(classes)]
    draw_map(LabeledMap(points, labels, names), "pool5", "trustworthiness 0.9", tmp_path / "map.png")
    assert (tmp_path / "map.svg").stat().st_size < 1_000_000
    found = texts(tmp_path / "map.svg")
    assert ("class 1" in found) == (classes in (2, 50))
    assert ("the 200 classes are named in map.html" in found) == (classes == 200)


def test_names_are_cut_to_what_fits() -> None:
    assert display_name("door_wood_knock") == "door wood knock"
    assert display_name("great_white_shark, white_shark, man-eater") == "great white shark, white shar…"


def test_percents_are_exact() -> None:
    """Ticks of 2.5 % once read 2 %, 5 %, 8 %."""
    assert [percent_formatter()(share, 0) for share in (0.0, 0.025, 0.07, 0.3, 1.0)] == [
        "0%",
        "2.5%",
        "7%",
        "30%",
        "100%",
    ]


NAMES = ("犬", "ねこ", "собака", "كلب", "कुत्ता", "สุนัข", "한국어", "a\tb", "犬" * 30)


def draw_names(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with new_figure(path, 6.0, 5.0) as figure:
            axes = figure.subplots()
            heat_map(axes, np.eye(len(NAMES)), NAMES, NAMES, "犬")
            axes.set_title("犬 has a title")
            axes.plot([0, 1], [0, 1], label="ねこ")
            axes.legend()


@pytest.fixture
def _fresh_letters() -> Iterator[None]:
    letters._find_family.cache_clear()
    yield
    letters._find_family.cache_clear()


@pytest.mark.usefixtures("_fresh_letters")
def test_letters_without_a_font_are_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no other font than the one that comes with matplotlib, which has Cyrillic and Arabic letters."""
    ours = [font for font in fontManager.ttflist if font.name == "DejaVu Sans"]
    monkeypatch.setattr(fontManager, "ttflist", ours)
    draw_names(tmp_path / "names.png")
    found = texts(tmp_path / "names.svg")
    assert found.count("собака") == found.count("كلب") == found.count("a b") == 2
    assert found.count(r"\u72ac") == 3
    assert found.count(r"\u306d\u3053") == 3
    assert r"\u72ac has a title" in found
    assert r"\u0e2a\u0e38\u0e19\u0e31\u0e02" in found
    assert r"\ud55c\uad6d\uc5b4" in found
    assert f"{(chr(92) + 'u72ac') * 4}…" in found


@pytest.mark.usefixtures("_fresh_letters")
def test_long_names_that_begin_alike_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = [font for font in fontManager.ttflist if font.name == "DejaVu Sans"]
    monkeypatch.setattr(fontManager, "ttflist", ours)
    names = ["犬犬犬犬犬ねこ", "犬犬犬犬犬さる", "ねこねこねこ"]
    with new_figure(tmp_path / "names.png", 6.0, 5.0) as figure:
        heat_map(figure.subplots(), np.eye(3), names, names, "share")
    found = texts(tmp_path / "names.svg")
    for shown in (r"\u72ac\u72ac…\u306d\u3053", r"\u72ac\u72ac…\u3055\u308b", r"\u306d\u3053\u306d\u3053…"):
        assert found.count(shown) == 2


def write_font(path: Path, family: str, letters_of_it: str) -> None:
    """Write a font whose letters are all the same square."""
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for corner in ((100, 700), (800, 700), (800, 0)):
        pen.lineTo(corner)
    pen.closePath()
    names = [".notdef", *(f"letter{number}" for number in range(len(letters_of_it)))]
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(names)
    font.setupCharacterMap({ord(letter): f"letter{number}" for number, letter in enumerate(letters_of_it)})
    font.setupGlyf(dict.fromkeys(names, pen.glyph()))
    font.setupHorizontalMetrics(dict.fromkeys(names, (900, 100)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": family, "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(path)


@pytest.mark.usefixtures("_fresh_letters")
def test_a_font_of_this_machine_that_has_the_letters_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_font(tmp_path / "font.ttf", "Squares Sans", "犬ねこ")
    monkeypatch.setattr(fontManager, "ttflist", [font for font in fontManager.ttflist if font.name == "DejaVu Sans"])
    fontManager.addfont(tmp_path / "font.ttf")
    draw_names(tmp_path / "names.png")
    svg = (tmp_path / "names.svg").read_text(encoding="utf-8")
    found = texts(tmp_path / "names.svg")
    assert found.count("犬") == 3
    assert found.count("ねこ") == 3
    assert "犬 has a title" in found
    assert "Squares Sans" in svg
    assert r"\u72ac" not in svg
    assert r"\ud55c\uad6d\uc5b4" in found
