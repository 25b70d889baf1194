"""Make `report.webp`, the picture of the page that the README shows, from a run of the quickstart.

    soundnet-kd quickstart && python docs/pictures/report.py runs/quickstart/report docs/pictures/report.webp

It needs Chromium and chromedriver, as the tests of the page do.
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.report.browsing import Browser

WIDTH, HEIGHT = 1100, 628
"""Of the window, in pixels: the page's beginning, with what was learned."""


def main(report: Path, out: Path) -> None:
    """Take a picture of the beginning of the page in a folder `report`."""
    browser = Browser(str(shutil.which("chromium")), str(shutil.which("chromedriver")))
    try:
        browser.open(report / "index.html", width=WIDTH, height=HEIGHT)
        browser.run("document.documentElement.style.scrollbarWidth = 'none'")
        picture = Image.open(io.BytesIO(browser.driver.get_screenshot_as_png())).convert("RGB")
    finally:
        browser.quit()
    picture.save(out, quality=80, method=6)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
