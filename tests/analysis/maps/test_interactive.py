import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from soundnet_kd.analysis.maps.interactive import PLOTLY_FILE, write_interactive_map, write_plotly
from soundnet_kd.analysis.maps.layout import LabeledMap
from soundnet_kd.data.datasets.esc50 import ESC50_CATEGORIES, ESC50_CLASSES

HOSTILE = "</script><b onclick=alert(1)>&amp; %{x}"
POINTS = np.arange(12, dtype=np.float32).reshape(6, 2)


class Tags(HTMLParser):
    """The tags of a page, and where they point."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def traces_of(page: str) -> list[dict[str, object]]:
    """Read the list of traces that the page hands to plotly."""
    start = re.search(r'Plotly\.newPlot\(\s*"map",\s*', page)
    assert start
    traces: list[dict[str, object]] = json.JSONDecoder().raw_decode(page[start.end() :])[0]
    return traces


@pytest.fixture
def page(tmp_path: Path) -> str:
    path = tmp_path / "map.html"
    labels = np.array([0, 0, 1, 1, -1, 1])
    ids = [f"clip {index} {HOSTILE}" for index in range(6)]
    write_interactive_map(LabeledMap(POINTS, labels, ("cat", HOSTILE)), ids, HOSTILE, f"5 neighbors\n{HOSTILE}", path)
    return path.read_text(encoding="utf-8")


def test_names_are_text(page: str) -> None:
    tags = [tag for tag, _ in Tags(page).found]
    assert "b" not in tags
    assert tags.count("script") == page.count("</script>")
    shown = "&lt;/script&gt;&lt;b onclick=alert(1)&gt;&amp;amp; %{x}"
    unlabeled, cat, hostile = traces_of(page)
    assert (unlabeled["name"], cat["name"], hostile["name"]) == ("unlabeled", "cat", shown)
    assert cat["customdata"] == [[f"clip {index} {shown}", "cat"] for index in (0, 1)]
    assert "%{x}" not in str(hostile["hovertemplate"])


def test_the_page_asks_nothing_of_a_network(page: str, tmp_path: Path) -> None:
    sources = [attributes["src"] for tag, attributes in Tags(page).found if "src" in attributes]
    assert sources == [PLOTLY_FILE]
    assert not re.search(r"https?://", page)
    write_plotly(tmp_path)
    assert "Plotly" in (tmp_path / PLOTLY_FILE).read_text(encoding="utf-8")


def test_esc50_is_grouped_by_category(tmp_path: Path) -> None:
    labels = np.array([0, 9, 10, 25, 38, 49])
    path = tmp_path / "map.html"
    write_interactive_map(LabeledMap(POINTS, labels, ESC50_CLASSES), list("abcdef"), "pool5", "", path)
    traces = traces_of(path.read_text(encoding="utf-8"))
    assert [trace["name"] for trace in traces] == [
        *("dog", "crow", "rain", "footsteps", "clock tick", "hand saw"),
    ]
    assert [trace["legendgroup"] for trace in traces] == [ESC50_CATEGORIES[index] for index in (0, 0, 1, 2, 3, 4)]
    markers = [dict(trace["marker"]) for trace in traces]  # type: ignore[call-overload]
    assert markers[0]["color"] == markers[1]["color"] != markers[2]["color"]
    assert markers[0]["symbol"] != markers[1]["symbol"]


def test_clips_far_away_do_not_squeeze_the_others(tmp_path: Path) -> None:
    """A hundred clips on 0 … 99 and one at 10 000: the room between is shortened, marked and told of."""
    points = np.column_stack([[*range(100), 10_000], np.zeros(101)])
    path = tmp_path / "map.html"
    known = LabeledMap(points, np.zeros(101, dtype=int), ("cat",))
    write_interactive_map(known, list(map(str, range(101))), "pool5", "", path)
    page = path.read_text(encoding="utf-8")
    [clips] = traces_of(page)
    assert list(clips["customdata"])[-1] == ["100", "cat"]  # type: ignore[call-overload]
    assert '"dash":"dash"' in page
    assert "a wide strip without clips is shortened there" in page
    assert "10000" not in page
