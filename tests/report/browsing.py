"""A browser as a person uses it: looks, clicks, types, and hears which file plays."""

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from selenium.webdriver import ActionChains, Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

PATIENCE_SECONDS = 30


class Browser:
    """A headless Chromium that opens pages from disk.

    Parameters
    ----------
    binary, driver : str
        Paths of Chromium and of its driver.
    """

    def __init__(self, binary: str, driver: str) -> None:
        options = ChromeOptions()
        options.binary_location = binary
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            # A test is nobody who would have to allow sounds.
            "--autoplay-policy=no-user-gesture-required",
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = Chrome(options=options, service=Service(driver))

    def open(self, page: Path, width: int = 1440, height: int = 1000, dark: bool = False, fragment: str = "") -> None:
        """Open a page from disk in a window of some size, and wait until its script is ready."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        # From elsewhere, so that the same page with another fragment is loaded anew.
        self.driver.get("about:blank")
        self.complaints()
        self.driver.get(page.resolve().as_uri() + fragment)
        self.wait_for("return document.documentElement.dataset.ready === 'yes'")

    def quit(self) -> None:
        self.driver.quit()

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait_for(self, script: str, *arguments: object) -> Any:
        """Wait until a script gives something true, and give that."""
        return WebDriverWait(self.driver, PATIENCE_SECONDS).until(lambda _: self.run(script, *arguments))

    def find(self, selector: str) -> WebElement:
        """Wait for an element that can be seen, and bring it into view."""

        def visible(_: object) -> WebElement | None:
            found = self.driver.find_elements(By.CSS_SELECTOR, selector)
            return found[0] if found and found[0].is_displayed() else None

        element = WebDriverWait(self.driver, PATIENCE_SECONDS).until(visible)
        assert element is not None
        self.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
        return element

    def text(self, selector: str) -> str:
        return self.find(selector).text

    def click(self, selector: str) -> None:
        self.find(selector).click()

    def choose(self, selector: str, value: str) -> None:
        """Choose what a list offers, as a click or the arrow keys do."""
        self.run(
            "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change'))",
            self.find(selector),
            value,
        )

    def click_in_plot(self, selector: str, x: float, y: float) -> None:
        """Click a point of a plot, given in the plot's own numbers, with the pointer."""
        plot = self.find(selector)
        self.wait_for("return arguments[0]._fullLayout && !!arguments[0].querySelector('.nsewdrag')", plot)
        # Plotly takes a moment to notice that the page has moved.
        left, top = self.run(
            "const {xaxis, yaxis} = arguments[0]._fullLayout;"
            "return [xaxis._offset + xaxis.l2p(arguments[1]), yaxis._offset + yaxis.l2p(arguments[2])]",
            plot,
            x,
            y,
        )
        size = plot.size
        pointer = ActionChains(self.driver)
        for step in (3, 0):
            pointer.move_to_element_with_offset(
                plot, round(left - size["width"] / 2) + step, round(top - size["height"] / 2)
            ).pause(0.3)
        pointer.click().perform()

    def playing(self) -> Path:
        """Wait until a sound has begun to play, and give its file."""
        source = self.wait_for(
            "const audio = document.getElementById('audio');"
            "return audio.error ? 'error ' + audio.error.message : audio.currentTime > 0 && audio.currentSrc"
        )
        return Path(unquote(urlsplit(source).path))

    def complaints(self) -> list[str]:
        """Give what the console has said since it was last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]
