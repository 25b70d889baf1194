"""A run to report on, its report, and a browser."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from soundnet_kd.commands.report import report
from tests.report.runs import make_run

if TYPE_CHECKING:
    from tests.report.browsing import Browser

REQUIRE_BROWSER = "SOUNDNET_KD_REQUIRE_BROWSER"


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its report; tests leave both as they are."""
    folder = make_run(tmp_path_factory.mktemp("report") / "run")
    report(folder)
    return folder


@pytest.fixture(scope="session")
def chromium() -> Iterator["Browser"]:
    """A headless Chromium; the test is skipped without one, or fails where CI demands it."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        message = "browser tests need chromium and chromedriver (Debian: chromium and chromium-driver) on the PATH"
        if os.environ.get(REQUIRE_BROWSER) == "1":
            pytest.fail(message)
        pytest.skip(message)
    from tests.report.browsing import Browser

    browser = Browser(binary, driver)
    yield browser
    browser.quit()
