"""A suite that is not installed, or of another version than was tried."""

import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from soundnet_kd.errors import SettingsError
from soundnet_kd.interfaces.suites import HOPLITE, MTEB, XARES, Suite


def test_a_suite_that_is_not_installed_names_its_extra() -> None:
    with pytest.raises(SettingsError, match=r"no-such-suite is not installed; `pip install \"soundnet-kd\[maeb\]\"`"):
        Suite("no-such-suite", "maeb", "1.0").check()


@pytest.mark.parametrize("change", [-1, 1])
def test_one_of_another_generation_says_which_was_tried(change: int) -> None:
    tried = f"{Version(version('packaging')).major + change}.0"
    with pytest.raises(SettingsError, match=rf"packaging .* is installed; this door was tried with {tried}"):
        Suite("packaging", "maeb", tried).check()


def test_a_near_one_is_used_with_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    installed = Version(version("packaging"))
    same = Suite("packaging", "maeb", f"{installed.major}.{installed.minor}.99")
    assert same.check() == str(installed)
    assert not recwarn
    with pytest.warns(UserWarning, match="was tried with"):
        Suite("packaging", "maeb", f"{installed.major}.{installed.minor + 1}").check()


def test_the_extras_install_what_was_tried() -> None:
    extras = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for suite in (MTEB, XARES, HOPLITE):
        (needed,) = [each for each in map(Requirement, extras[suite.extra]) if each.name == suite.package]
        assert needed.specifier.contains(suite.tried)
