"""What the site's builder takes for granted: findings that say where they were seen, rooms that it knows, links.

The site itself is built by `.ci/run`; here nothing of Sphinx is needed.
"""

import importlib.util
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import pytest

import soundnet_kd
import soundnet_kd.interfaces

ROOT = Path(__file__).parents[1]
HELPERS = {"suites"}
"""Modules of `interfaces/` that doors are made of, and that nobody else calls."""


def builder(name: str) -> ModuleType:
    """Import a module of `docs/builders`, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "builders" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("script", sorted((ROOT / "findings").glob("*.sh")), ids=lambda path: path.stem)
def test_a_finding_says_what_it_is_of_and_where_it_was_seen(script: Path) -> None:
    found = builder("findings_page").read_finding(script)
    assert found.title.endswith((".", ":")), found.title
    assert re.search(r"\d+\.\d+|[Vv]ersion|FFmpeg \d", found.title + found.text), "which version?"
    assert re.match(r"Seen on .* on \d{4}-\d{2}-\d{2}", found.seen)
    assert script.name in (ROOT / "findings" / "README.md").read_text(encoding="utf-8")


def test_a_finding_without_its_last_paragraph_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "x.sh"
    script.write_text("#!/bin/sh\n# A surprise.\n#\n# At length.\nset -e\n", encoding="utf-8")
    with pytest.raises(ValueError, match="Seen on"):
        builder("findings_page").read_finding(script)


def test_every_public_room_has_a_page() -> None:
    rooms = {"soundnet_kd", "soundnet_kd.errors", "soundnet_kd.pretrained.formats"}
    rooms |= {
        f"soundnet_kd.{'.'.join(init.relative_to(ROOT / 'soundnet_kd').parts[:-1])}"
        for init in (ROOT / "soundnet_kd").rglob("*/__init__.py")
        if "__all__" in init.read_text(encoding="utf-8") and init.parent.name != "cli"
    }
    doors = [each.name for each in pkgutil.iter_modules(soundnet_kd.interfaces.__path__) if each.name not in HELPERS]
    rooms |= {f"soundnet_kd.interfaces.{name}" for name in doors}
    assert sorted(rooms) == sorted(builder("api_pages").ROOMS)
    listed = (ROOT / "docs" / "api" / "index.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^made/(soundnet_kd\S*)$", listed, re.MULTILINE)) == sorted(rooms)


def test_each_example_has_its_place() -> None:
    scripts = {script.name for script in (ROOT / "docs" / "gallery").glob("*.py")}
    assert {*builder("gallery_runs").ORDER} == scripts


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.stem)
def test_tests_and_benchmarks_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = [Path(name) for name in re.findall(r"`(tests/[^` ]+)`", text)]
    named += [Path(*name.split(".")).with_suffix(".py") for name in re.findall(r"tests\.benchmarks\.[a-z_]+", text)]
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_stars_of_docstrings_are_stars() -> None:
    plain = builder("api_pages").plain_markup
    assert plain(["Pattern, such as *.t7 or `a*b`.", "*"]) == ["Pattern, such as \\*.t7 or `a*b`.", "\\*"]


def test_links_of_a_site_are_followed(tmp_path: Path) -> None:
    wrong_links = builder("check_site").wrong_links
    (tmp_path / "sub").mkdir()
    right = '<h1 id="top"><a href="sub/b.html#there">b</a> <a href="#top">up</a> <a href="https://x.org/">x</a></h1>'
    (tmp_path / "a.html").write_text(right, encoding="utf-8")
    (tmp_path / "sub" / "b.html").write_text('<p id="there"><img src="data:image/png;base64,AA"></p>', encoding="utf-8")
    assert wrong_links(tmp_path) == []
    wrong = '<a href="c.html">c</a><a href="../a.html#nowhere">a</a><script src="https://cdn.org/x.js"></script>'
    (tmp_path / "sub" / "b.html").write_text(f'<p id="there">{wrong}</p>', encoding="utf-8")
    assert wrong_links(tmp_path) == [
        "sub/b.html: https://cdn.org/x.js comes from a network",
        "sub/b.html: there is no c.html",
        "sub/b.html: there is no place ../a.html#nowhere",
    ]
    (tmp_path / "empty").mkdir()
    assert wrong_links(tmp_path / "empty") != []
