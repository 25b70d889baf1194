"""The page in a real browser, opened from disk: what a person clicks plays the right sound, and names stay text."""

import csv
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from soundnet_kd.commands.report import report
from soundnet_kd.figures.style import COLORS
from soundnet_kd.storage import write_json
from tests.report.runs import CLASS_NAMES, HOSTILE, LABELS, features, pitch_heard, pitch_of

if TYPE_CHECKING:
    from tests.report.browsing import Browser

pytestmark = pytest.mark.browser

STEP_HZ = pitch_of(1) - pitch_of(0)


@pytest.fixture
def page(run: Path) -> Path:
    return run / "report" / "index.html"


def clip_played(browser: "Browser", page: Path) -> int:
    """Tell by its pitch which clip the browser plays."""
    file = browser.playing()
    assert file.parent == page.parent / "sounds"
    clip = round((pitch_heard(file) - pitch_of(0)) / STEP_HZ)
    assert pitch_heard(file) == pytest.approx(pitch_of(clip), abs=STEP_HZ / 10)
    return clip


def name_of(clip: int) -> str:
    return f"{HOSTILE}{clip}.wav" if clip % 5 == 4 else f"clip {clip}.wav"


def test_every_section_is_there_and_the_console_is_clean(chromium: "Browser", page: Path) -> None:
    chromium.open(page)
    assert chromium.run("return [...document.querySelectorAll('main > section')].map(each => each.id)") == [
        *("overview", "classes", "neurons", "map", "clips", "peeled")
    ]
    for plot in ("confusion", "neuron-curve", "neuron-classes", "depth", "map-plot"):
        chromium.find(f"#{plot}")
        chromium.wait_for("return !!document.getElementById(arguments[0])._fullLayout", plot)
    assert chromium.complaints() == []


def test_the_first_screen_says_what_was_learned_and_plays_it(chromium: "Browser", page: Path) -> None:
    chromium.open(page, width=1280, height=800)
    chromium.wait_for("return document.querySelectorAll('#selective-neurons article').length")
    before_tables, in_sight = chromium.run(
        "const box = (each) => document.querySelector(each).getBoundingClientRect();"
        "const [found, table] = [box('#selective-neurons'), box('table')];"
        "return [table.height === 0 || found.top < table.top, scrollY === 0 && found.bottom < innerHeight]"
    )
    assert before_tables
    assert in_sight
    layers = chromium.run("return [...document.querySelectorAll('.gains li')].map(row => row.children[0].textContent)")
    assert layers == ["conv1", "pool5"]
    assert "of the clips are given the right class from pool5 of “results”" in chromium.text(".headline")
    assert chromium.text("#selective-neurons h4") in {name.replace("_", " ") for name in CLASS_NAMES}
    neuron = int(chromium.text("#selective-neurons .note a").rpartition(" ")[2])
    chromium.click("#selective-neurons .clip button")
    assert clip_played(chromium, page) == np.argsort(-features()["pool5"][:, neuron], kind="stable")[0]
    chromium.click("#selective-neurons .note a")
    chromium.wait_for(
        "return document.getElementById('neuron-title').textContent.startsWith(arguments[0])",
        f"pool5, neuron {neuron}:",
    )
    assert chromium.complaints() == []


def test_a_neuron_shows_and_plays_the_clip_that_excites_it_most(chromium: "Browser", page: Path) -> None:
    neuron = 2
    chromium.open(page)
    chromium.choose("#neuron-layer", "pool5")
    chromium.click(f'#neuron-list a[href="#neuron=pool5,{neuron}"]')
    chromium.wait_for("return document.getElementById('neuron-title').textContent.includes(arguments[0])", f"{neuron}")
    order = np.argsort(-features()["pool5"][:, neuron], kind="stable")
    named = chromium.run("return [...document.querySelectorAll('#neuron-clips .clip')].map(row => row.dataset.clip)")
    assert named == [name_of(clip) for clip in order[:9]]
    assert HOSTILE in chromium.text("#neuron-title")
    chromium.click("#neuron-clips .clip button")
    assert clip_played(chromium, page) == order[0]


def test_neurons_of_a_class_are_found(chromium: "Browser", page: Path) -> None:
    chromium.open(page)
    chromium.choose("#neuron-layer", "pool5")
    chromium.choose("#neuron-class", "0")
    title = chromium.wait_for(
        "const text = document.getElementById('neuron-title').textContent; return text.includes('cat') && text"
    )
    assert title.startswith("pool5, neuron 0: cat")


def test_a_cell_of_the_confusion_plays_its_clips(chromium: "Browser", run: Path, page: Path) -> None:
    chromium.open(page)
    chromium.find("#confusion")
    # Another cell than the one that is shown first.
    chromium.wait_for("return document.getElementById('cell-title').textContent !== 'Clips of a cell'")
    chromium.choose("#cell-true", "2")
    chromium.choose("#classes-layer", "pool5")
    chromium.wait_for("return document.getElementById('classes-note').textContent.startsWith('pool5')")
    chromium.click_in_plot("#confusion", x=0, y=1)
    title = chromium.wait_for(
        "const text = document.getElementById('cell-title').textContent; return text.includes('dog bark') && text"
    )
    with (run / "results" / "predictions.csv").open(encoding="utf-8", newline="") as handle:
        mistaken = [
            clip
            for clip, row in enumerate(csv.DictReader(handle))
            if row["label"] == "dog_bark" and row["pool5"] == "cat"
        ]
    assert len(mistaken) > 1
    assert title == f"dog bark taken for cat from pool5: {len(mistaken)} clips"
    named = chromium.run("return [...document.querySelectorAll('#cell-clips .clip')].map(row => row.dataset.clip)")
    assert named == [name_of(clip) for clip in mistaken]
    assert clip_played(chromium, page) == mistaken[0]
    chromium.click("#cell-clips .clip:nth-child(2) button")
    chromium.wait_for("return document.getElementById('player-name').textContent.startsWith(arguments[0])", named[1])
    assert clip_played(chromium, page) == mistaken[1]
    assert chromium.complaints() == []


def test_a_point_of_the_map_plays_its_clip(chromium: "Browser", page: Path) -> None:
    chromium.open(page)
    chromium.find("#map-plot")
    chromium.wait_for("return !!document.getElementById('map-plot')._fullLayout")
    # The clip with the most room around it, so that the pointer meets no other.
    clip, x, y = chromium.run(
        """
        const points = document.getElementById("map-plot").data.flatMap((trace) =>
          trace.customdata.map((clip, place) => [clip, trace.x[place], trace.y[place]]));
        const room = ([clip, x, y]) => Math.min(...points.filter((other) => other[0] !== clip)
          .map((other) => Math.hypot(other[1] - x, other[2] - y)));
        return points.sort((one, other) => room(other) - room(one))[0];
        """
    )
    chromium.click_in_plot("#map-plot", x, y)
    assert clip_played(chromium, page) == clip


def test_a_clip_is_found_by_its_name_and_shows_what_is_known_of_it(chromium: "Browser", page: Path) -> None:
    chromium.open(page)
    chromium.find("#search").send_keys("dog 9")
    chromium.wait_for("return document.querySelectorAll('#found .clip').length === 1")
    assert chromium.text("#found .clip small") == "dog bark"
    chromium.click("#found .clip a")
    assert chromium.text("#clip-title") == f"{HOSTILE}9.wav"
    facts = chromium.text("#clip-facts").replace("\n", " ")
    assert "True class dog bark" in facts
    assert "results, pool5 cat (wrong)" in facts
    layers = chromium.wait_for("return document.querySelectorAll('#layers tr').length === 2")
    assert layers
    # Of the mistaken dogs the nearest by the cosine are other clips that look like cats.
    vectors = features()["pool5"]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    nearest = next(clip for clip in np.argsort(-(unit @ unit[9]), kind="stable") if clip != 9)
    assert chromium.run("return document.querySelector('#neighbors .clip').dataset.clip") == name_of(int(nearest))
    chromium.click("#clip-player button")
    assert clip_played(chromium, page) == 9


def test_an_address_leads_to_a_clip(chromium: "Browser", page: Path) -> None:
    chromium.open(page, fragment="#clip=clip%203.wav")
    assert chromium.text("#clip-title") == "clip 3.wav"


def test_a_link_to_where_the_address_is_leads_there_again(chromium: "Browser", page: Path) -> None:
    chromium.open(page, fragment="#neuron=pool5,1")
    chromium.wait_for("return document.getElementById('neuron-title').textContent.startsWith('pool5, neuron 1:')")
    number = chromium.find("#neuron-number")
    number.clear()
    number.send_keys("2\t")
    chromium.wait_for("return document.getElementById('neuron-title').textContent.startsWith('pool5, neuron 2:')")
    chromium.click('#neuron-list a[href="#neuron=pool5,1"]')
    chromium.wait_for("return document.getElementById('neuron-title').textContent.startsWith('pool5, neuron 1:')")


@pytest.mark.parametrize(
    "fragment", ["#neuron=pool5", "#neuron=pool5,abc", "#neuron=pool5,1.5", "#clip=%", "#clip=none"]
)
def test_odd_addresses_do_no_harm(chromium: "Browser", page: Path, fragment: str) -> None:
    chromium.open(page, fragment=fragment)
    chromium.find("#neurons h2")
    chromium.wait_for("return document.getElementById('neuron-title').textContent.includes(', neuron ')")
    assert chromium.complaints() == []


def test_of_two_choices_the_last_is_shown_however_late_the_first_arrives(chromium: "Browser", page: Path) -> None:
    chromium.open(page)
    chromium.find("#map h2")
    chromium.wait_for("return document.getElementById('map-note').textContent")
    chromium.wait_for("return !!document.getElementById('map-plot')._fullLayout")
    names = chromium.run("return [...document.getElementById('map-choice').options].map(each => each.textContent)")
    assert names == ["conv1", "pool5"]
    note = chromium.run("return document.getElementById('map-note').textContent")
    late = """
        const real = load, late = real("map-0");
        provided.delete("map-0");
        waiting.set("map-0", {promise: new Promise(resolve => setTimeout(() => late.then(resolve), 600))});
        const choice = document.getElementById("map-choice");
        for (const value of ["0", "1"]) { choice.value = value; choice.dispatchEvent(new Event("change")); }
        setTimeout(() => { window.settled = true; }, 1500);
    """
    chromium.run(late)
    chromium.wait_for("return window.settled")
    assert chromium.run("return document.getElementById('map-note').textContent") == note


def test_a_finger_scrolls_past_a_plot(chromium: "Browser", page: Path) -> None:
    chromium.open(page, width=390, height=844)
    chromium.find("#map-plot")
    chromium.wait_for("return !!document.getElementById('map-plot')._fullLayout")
    dragging, fixed = chromium.run(
        "const {dragmode, xaxis, yaxis} = document.getElementById('map-plot')._fullLayout;"
        "return [dragmode, xaxis.fixedrange && yaxis.fixedrange]"
    )
    hovers = chromium.run("return matchMedia('(hover: hover)').matches")
    assert (dragging, fixed) == (("zoom", False) if hovers else (False, True))


def test_the_tab_key_reaches_what_plays(chromium: "Browser", page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    chromium.open(page)
    chromium.find("#search").send_keys(f"clip 11{Keys.TAB}")
    chromium.wait_for("return document.querySelectorAll('#found .clip').length === 1")
    for _ in range(3):
        if chromium.run("return document.activeElement.getAttribute('aria-label')") == "Play clip 11.wav":
            break
        chromium.driver.switch_to.active_element.send_keys(Keys.TAB)
    chromium.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert clip_played(chromium, page) == 11


def test_comparisons_and_peeled_sounds_are_shown(chromium: "Browser", page: Path) -> None:
    chromium.open(page)
    row = chromium.run(
        "return [...document.querySelectorAll('#overview details')]"
        ".find(each => each.textContent.includes('comparison')).querySelector('tbody tr').textContent"
    )
    assert row.startswith("conv1:pool5")
    assert chromium.text("#peeled h3") == "clip 0.wav, through SoundNet5"
    picture = chromium.find("#peeled details[open] img")
    assert chromium.wait_for("return arguments[0].complete && arguments[0].naturalWidth", picture) > 500
    source = chromium.run("return document.querySelector('#peeled audio').getAttribute('src')")
    assert pitch_heard(page.parent / source) == pytest.approx(pitch_of(0), abs=6)


def test_a_ranking_is_a_table_with_its_figure(chromium: "Browser", page: Path) -> None:
    chromium.open(page)
    rows = chromium.run(
        "return [...document.querySelectorAll('details.ranking tbody tr')]"
        ".map(row => [...row.cells].map(cell => cell.textContent.trim()))"
    )
    with (page.parent.parent / "ranking" / "ranking.csv").open(newline="", encoding="utf-8") as handle:
        ranked = list(csv.DictReader(handle))
    assert [row[1] for row in rows] == [each["layer"] for each in ranked] == ["pool5", "conv1"]
    assert [row[6] for row in rows] == [f"{100 * float(each['accuracy']):.1f} %" for each in ranked]
    assert "results: only a classifier on kept features was fitted" in chromium.text("details.ranking .note")
    picture = chromium.find("details.ranking img")
    assert chromium.wait_for("return arguments[0].complete && arguments[0].naturalWidth", picture) > 500


def test_losses_of_each_objective_have_a_plot_of_their_own(chromium: "Browser", tmp_path: Path) -> None:
    """Also of one that no part of the page has heard of, since the run names them; its average is told apart."""
    figures = ["loss", "loss_kl_objects", "loss_novelty_objects", "agreement_objects"]
    columns = [f"train/{figure}" for figure in figures[:3]]
    columns += [f"{stage}/{figure}" for stage in ("validation", "averaged") for figure in figures]
    (tmp_path / "student").mkdir()
    rows = [",".join(["step", *columns])] + [",".join([str(step), *["0.5"] * len(columns)]) for step in (1, 2)]
    (tmp_path / "student" / "history.csv").write_text("\n".join(rows), encoding="utf-8")
    write_json(tmp_path / "student" / "run.json", {"objectives": {"kl": 1, "novelty": 2}, "average": 0.9})
    chromium.open(report(tmp_path).page)
    chromium.find("[data-training]")
    plots = "[...document.querySelectorAll('[data-training] .plot')]"
    chromium.wait_for(f"return {plots}.length === 4 && {plots}.every((each) => each._fullLayout)")
    shown = chromium.run(
        f"return {plots}.map((plot) => [plot.parentElement.querySelector('h4').textContent,"
        "plot.data.map((each) => `${each.name} ${each.line.dash}`)])"
    )
    lines = ["objects solid", "objects, held out dash", "objects, held out, average dot"]
    assert shown == [
        ["Loss of kl", lines],
        ["Loss of novelty", lines],
        ["Loss", [line.replace("objects", "all") for line in lines]],
        ["Agreement with the teachers", lines[1:]],
    ]
    assert chromium.complaints() == []


def test_names_are_shown_as_written_and_do_nothing(chromium: "Browser", page: Path) -> None:
    chromium.open(page)
    assert CLASS_NAMES[2] == HOSTILE
    for plot in ("confusion", "neuron-classes", "map-plot"):
        chromium.find(f"#{plot}")
        chromium.wait_for("return !!document.getElementById(arguments[0])._fullLayout", plot)
    # Beside the matrix long names are cut.
    assert HOSTILE[:21] in chromium.run("return document.getElementById('confusion').textContent")
    assert HOSTILE in chromium.run("return document.getElementById('map-plot').textContent")
    assert HOSTILE in chromium.text("#scores")
    chromium.click_in_plot("#confusion", x=2, y=2)
    chromium.wait_for("return document.getElementById('cell-title').textContent.startsWith('<img')")
    hover = chromium.wait_for("return document.querySelector('#confusion .hoverlayer')?.textContent")
    assert f"{HOSTILE} taken for {HOSTILE}" in hover
    assert chromium.run("return document.querySelectorAll('main img:not(.picture img)').length") == 0
    assert chromium.run("return window.hurt") is None
    assert chromium.complaints() == []


def test_it_is_usable_with_the_keyboard_alone(chromium: "Browser", page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    chromium.open(page)
    true_class = chromium.find("#cell-true")
    chromium.wait_for("return document.getElementById('cell-title').textContent !== 'Clips of a cell'")
    true_class.send_keys(Keys.HOME)
    chromium.find("#cell-given").send_keys(Keys.HOME)
    chromium.wait_for("return document.getElementById('cell-title').textContent.startsWith('cat, recognised')")
    chromium.find("#cell-clips .clip button").send_keys(Keys.ENTER)
    assert LABELS[clip_played(chromium, page)] == 0
    chromium.find("#scores th:nth-child(1) button").send_keys(Keys.ENTER)
    assert chromium.run("return document.querySelector('#scores th').getAttribute('aria-sort')") == "ascending"


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (1440, True), (390, False), (390, True)])
def test_it_fits_the_screen_and_takes_its_colours(chromium: "Browser", page: Path, width: int, dark: bool) -> None:
    chromium.open(page, width=width, height=844, dark=dark)
    for section in ("classes", "neurons", "map", "clips"):
        chromium.find(f"#{section} h2")
    chromium.wait_for("return !!document.getElementById('map-plot')._fullLayout")
    assert chromium.run("return document.documentElement.scrollWidth") <= width
    text = chromium.run("return document.getElementById('map-plot')._fullLayout.font.color")
    assert int(text[1:3], 16) > 128 if dark else int(text[1:3], 16) < 128


def test_groups_have_the_colours_of_all_figures(chromium: "Browser", page: Path) -> None:
    """But for black, which nobody would see on a dark page."""
    chromium.open(page, dark=True)
    colors = chromium.run(
        "const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();"
        "return [...page.palette.colors.map((_, number) => groupColor(number, style)), style('--text')]"
    )
    assert colors[:-1] == [color if color != "#000000" else colors[-1] for color in COLORS]
    assert colors[-1] != "#000000"
    symbols = chromium.run("return [0, COUNT, 2 * COUNT].map(groupSymbol)".replace("COUNT", str(len(COLORS))))
    assert symbols == ["circle", "triangle-up", "square"]


def test_a_part_that_is_lost_is_named(chromium: "Browser", run: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(run / "report", broken)
    (broken / "data" / "classes-0.js").unlink()
    chromium.open(broken / "index.html")
    chromium.find("#classes h2")
    assert "data/classes-0.js is missing; make the report again" in chromium.text("[role=alert]")
