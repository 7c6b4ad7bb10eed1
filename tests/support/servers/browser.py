"""Opens pages from disk in a real headless Chromium, and reads what they show, log and request."""

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)

# A page draws its plots after it is loaded, and then says so; other files have no such script.
DRAWN = "!document.querySelector('#plotly') || document.documentElement.dataset.plots === 'done'"
PATIENCE = 30.0  # seconds; a busy machine is slow


class Browser:
    """A tab of Chromium: call `open` first, as the other methods act on the open page."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, page: Path, *, width: int = 1280, scheme: str = "light") -> None:
        """Loads a file in a window of `width` CSS pixels, and waits until its plots are drawn.

        `scheme` is light or dark.
        """
        self.driver.get("about:blank")
        for log in ("browser", "performance"):  # reading a log empties it
            self._log(log)
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=800,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.command("Emulation.setEmulatedMedia", features=[feature])
        self.driver.get(page.as_uri())
        WebDriverWait(self.driver, PATIENCE).until(lambda _: self.value(DRAWN))

    def command(self, method: str, **parameters: Any) -> Any:
        """Sends a command of Chrome's DevTools protocol, and returns its answer."""
        return self.driver.execute_cdp_cmd(method, parameters)

    def value(self, expression: str) -> Any:
        """Returns the value of a JavaScript expression in the page."""
        return self.driver.execute_script(f"return {expression}")

    def _log(self, name: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.driver.get_log(name)  # type: ignore[no-untyped-call]
        return entries

    def errors(self) -> list[str]:
        """Returns warnings and errors of the console, uncaught exceptions too, and clears them."""
        return [entry["message"] for entry in self._log("browser")]

    def requests(self) -> list[str]:
        """Returns requested addresses, except those that carry their content (data:, blob:)."""
        events = [json.loads(entry["message"]) for entry in self._log("performance")]
        urls = [
            event["message"]["params"]["request"]["url"]
            for event in events
            if event["message"]["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in urls if not url.startswith(("data:", "blob:"))]

    def screenshot(self, file: Path) -> None:
        """Writes the whole page, also the part below the window, as PNG."""
        picture = self.command("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(picture["data"]))


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Starts Debian's Chromium, from the packages chromium and chromium-driver."""
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not chromedriver:
        pytest.fail("no chromium or chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(executable_path=chromedriver))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


@pytest.fixture
def open_html(browser: Browser, tmp_path: Path) -> Callable[..., Browser]:
    """Returns a function that opens a page, given as HTML, and returns the browser."""

    def write_and_open(html: str, **window: Any) -> Browser:
        file = tmp_path / "report.html"
        file.write_text(html, encoding="utf-8")
        browser.open(file, **window)
        return browser

    return write_and_open
