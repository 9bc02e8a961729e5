"""A headless Chromium for tests, and the few gestures they need."""

import io
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Any, TypeVar

T = TypeVar("T")

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1360,943",
    "--hide-scrollbars",
)
WAIT_S = 300.0
COLOURS = 128
"""Of a kept picture: pages have few, and a palette makes the file a third as large."""


def missing() -> str:
    """Why there is no browser to test with; "" where there is one."""
    if which("chromium") is None or which("chromedriver") is None:
        return "no chromium and chromedriver on PATH (Debian: apt install chromium chromium-driver)"
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed (pip install selenium)"
    return ""


class Page:
    """A tab. Waits for what it looks for; fails with what was on the page instead.

    pictures: the folder that `shot` writes to, None for no pictures.
    """

    def __init__(self, driver: Any, pictures: Path | None = None) -> None:
        self.driver = driver
        self.pictures = pictures

    def open(self, url: str) -> None:
        self.driver.get(url)

    def script(self, code: str, *arguments: Any) -> Any:
        return self.driver.execute_script(code, *arguments)

    def until(self, what: str, look: Callable[[], T], seconds: float = WAIT_S) -> T:
        """What `look` finds, once it finds something."""
        from selenium.common.exceptions import StaleElementReferenceException

        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                found = look()
            except StaleElementReferenceException:
                continue
            if found:
                return found
            time.sleep(0.3)
        text = self.script("return document.body.innerText")
        raise AssertionError(f"no {what} within {seconds} s at {self.driver.current_url}; text there:\n{text[:2000]}")

    def text(self) -> str:
        return self.script("return document.body.innerText")

    def wait_text(self, *words: str) -> None:
        self.until(f"text {words}", lambda: all(word in self.text() for word in words))

    def look(self, width: int, *, dark: bool = False, height: int = 900, media: str = "") -> None:
        """Show the page `width` pixels wide, in the dark if asked for. media: "print" for how it looks on paper."""
        command = self.driver.execute_cdp_cmd
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        command("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        command("Emulation.setEmulatedMedia", {"media": media, "features": [scheme]})

    def errors(self) -> list[str]:
        """What the console has complained about since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press a key, e.g. `Keys.TAB`, on whatever has the focus."""
        from selenium.webdriver import ActionChains, Keys

        keys = ActionChains(self.driver)
        if shift:
            keys.key_down(Keys.SHIFT)
        keys.send_keys(key)
        if shift:
            keys.key_up(Keys.SHIFT)
        keys.perform()

    def elements(self, css: str, text: str = "") -> list[Any]:
        from selenium.webdriver.common.by import By

        found = self.driver.find_elements(By.CSS_SELECTOR, css)
        return [element for element in found if text in element.text] if text else found

    def click(self, css: str, text: str = "") -> None:
        """Click the first element of that kind with that text, when there is one that can be clicked."""
        from selenium.common.exceptions import ElementClickInterceptedException, ElementNotInteractableException

        def attempt() -> bool:
            for element in self.elements(css, text):
                try:
                    element.click()
                except (ElementClickInterceptedException, ElementNotInteractableException):
                    continue
                return True
            return False

        self.until(f"{css} {text!r} to click", attempt)

    def shot(self, name: str) -> None:
        """Keep a picture of what is seen, for the documentation; nothing where no folder was named."""
        if self.pictures is None:
            return
        from PIL import Image

        time.sleep(2)  # for animations to end
        image = Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB")
        image = image.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        image.save(self.pictures / f"{name}.png", optimize=True)


@contextmanager
def browsing(pictures: Path | None = None) -> Iterator[Page]:
    """A browser without a past, closed on the way out. pictures: the folder that screenshots are written to."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in FLAGS:
        options.add_argument(flag)
    options.binary_location = which("chromium") or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as profile:
        options.add_argument(f"--user-data-dir={profile}")
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(which("chromedriver")))
        driver.set_page_load_timeout(WAIT_S)
        driver.set_script_timeout(WAIT_S)
        if pictures is not None:
            pictures.mkdir(parents=True, exist_ok=True)
        try:
            yield Page(driver, pictures)
        finally:
            driver.quit()
